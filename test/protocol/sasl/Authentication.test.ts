/** What authentication says, asks and remembers, against a server that says given replies; without a dialogue. */
import { describe, expect, it } from "@effect/vitest"
import { invalid } from "../../../src/protocol/Invalid.js"
import type { Reply } from "../../../src/protocol/Reply.js"
import { make as makeReply } from "../../../src/protocol/Reply.js"
import type {
  AuthenticationContext,
  AuthenticationMemory
} from "../../../src/protocol/sasl/Authentication.js"
import { Authentication } from "../../../src/protocol/sasl/Authentication.js"
import type { Credentials, PasswordCredentials } from "../../../src/protocol/sasl/Credentials.js"
import { respond, wait } from "../../../src/protocol/sasl/Mechanism.js"
import type { Step } from "../../../src/protocol/SetUpStep.js"
import { utf8 } from "./replay.js"

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const reply = (text: string): Reply => makeReply(Number(text.slice(0, 3)), [text.slice(4)])

interface Answers {
  readonly md5?: boolean
  readonly bound?: boolean
  /** What tokens there are, in order. */
  readonly tokens?: ReadonlyArray<string>
}

interface Played {
  /** The lines of the client, and what it asked for. */
  readonly log: ReadonlyArray<string>
  readonly end: Step<Reply> | undefined
  /** What no reply may quote. */
  readonly guarded: ReadonlyArray<string>
}

const channel = { type: "tls-exporter", data: utf8("key") }
const verified = { verified: true, channelBinding: undefined }

/** `undefined` hangs up; whatever is computed is all zeros. */
const play = (
  authentication: Authentication,
  mechanisms: string,
  replies: ReadonlyArray<string | undefined>,
  about: Partial<AuthenticationContext> = {},
  { bound = false, md5 = true, tokens = [] }: Answers = {}
): Played => {
  const log: Array<string> = []
  const guarded: Array<string> = []
  const left = [...replies]
  const others = [...tokens]
  const follow = (step: Step<Reply>): Step<Reply> | undefined => {
    switch (step._tag) {
      case "Submit": {
        log.push(step.command.line)
        const said = left.shift()
        return said === undefined ? step.lost : follow(step.replied(reply(said)))
      }
      case "Nonce":
        return follow(step.answered("nonce"))
      case "Md5":
        log.push("Md5")
        return follow(step.answered(md5))
      case "ChannelBound":
        log.push("ChannelBound")
        return follow(step.answered(bound))
      case "BindChannel":
        log.push("BindChannel")
        return follow(step.answered())
      case "Compute":
        return follow(step.answered(new Uint8Array(20)))
      case "Prepare":
        return follow(step.answered({ username: step.username, password: () => "prepared" }))
      case "Token": {
        log.push(step.refused === undefined ? "Token" : `Token but ${step.refused()}`)
        const token = others.shift() ?? "last"
        return follow(step.answered(() => token))
      }
      case "Program":
        return follow(step.answered(step.event._tag === "Challenge" ? respond(step.event.octets) : wait))
      default:
        return step
    }
  }
  const context: AuthenticationContext = {
    mechanisms: mechanisms.split(" ").filter(Boolean),
    tls: verified,
    allowInsecureAuth: false,
    endpoint: undefined,
    secrets: { guard: (value) => guarded.push(value), withhold: (text) => text.replaceAll("secret", "*") },
    ...about
  }
  const end = follow(authentication.begin(context))
  return { log, end, guarded }
}

const password = (...mechanisms: ReadonlyArray<string>): PasswordCredentials => ({
  _tag: "Password",
  username: "ann",
  password: () => "secret",
  ...(mechanisms.length === 0 ? {} : { mechanisms })
})

const token = (renewable: boolean, ...mechanisms: ReadonlyArray<string>): Credentials => ({
  _tag: "OAuth2",
  username: "ann",
  renewable,
  mechanisms: mechanisms.length === 0 ? ["XOAUTH2"] : mechanisms
})

const plain = `AUTH PLAIN ${base64("\0ann\0secret")}`
const scramSha1 = `AUTH SCRAM-SHA-1 ${base64("n,,n=ann,r=nonce")}`
const xoauth2 = (value: string) => `AUTH XOAUTH2 ${base64(`user=ann\u0001auth=Bearer ${value}\u0001\u0001`)}`
const oauthBearer = (value: string) =>
  `AUTH OAUTHBEARER ${base64(`n,a=ann,\u0001auth=Bearer ${value}\u0001\u0001`)}`

const failureOf = ({ end }: Played) => (end?._tag === "Failed" ? end.failure : end?._tag)

const notAuthenticated = (reason: string, about: object) => ({ _tag: "NotAuthenticated", reason, ...about })

describe("a further connection after the server has hung up", () => {
  it("is of use for the mechanisms behind the one that it has hung up on", () => {
    const authentication = new Authentication(password("PLAIN", "LOGIN"))
    expect(authentication.resumes(undefined)).toBe(false)
    expect(play(authentication, "PLAIN LOGIN", [undefined]).log).toStrictEqual([plain])
    expect(authentication.resumes(undefined)).toBe(true)
    expect(authentication.resumes(undefined)).toBe(false)
    expect(play(authentication, "PLAIN LOGIN", [undefined]).log).toStrictEqual(["AUTH LOGIN"])
    expect(authentication.resumes(undefined)).toBe(false)
  })

  it("is of none where it has said goodbye, or has accepted, or nothing is left", () => {
    const gone = new Authentication(password("PLAIN", "LOGIN"))
    play(gone, "PLAIN LOGIN", [undefined])
    expect(gone.resumes(reply("421 bye"))).toBe(false)
    const accepted = new Authentication(password("PLAIN", "LOGIN"))
    expect(play(accepted, "PLAIN LOGIN", ["235 ok"]).end).toStrictEqual({
      _tag: "Done",
      value: reply("235 ok")
    })
    expect(accepted.resumes(undefined)).toBe(false)
    const last = new Authentication(password("PLAIN", "PLAIN"))
    play(last, "PLAIN", [undefined])
    expect(last.resumes(undefined)).toBe(false)
  })

  it("comes after three AUTH commands no more", () => {
    const authentication = new Authentication(password("SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"))
    const all = "SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"
    const resumed = [0, 1, 2].map(() => {
      const { log } = play(authentication, all, [undefined])
      return [log.at(-1), authentication.resumes(undefined)]
    })
    expect(resumed).toStrictEqual([
      [scramSha1, true],
      ["AUTH CRAM-MD5", true],
      [plain, false]
    ])
    expect(play(authentication, all, []).log).not.toContain("AUTH LOGIN")
  })

  it("is of none once the password has been refused, which is what is reported", () => {
    const authentication = new Authentication(password("SCRAM-SHA-1", "PLAIN", "LOGIN"))
    const played = play(authentication, "SCRAM-SHA-1 PLAIN LOGIN", ["535 no", undefined])
    expect(played.log).toStrictEqual([scramSha1, plain])
    expect(failureOf(played)).toMatchObject(notAuthenticated("Rejected", { mechanism: "SCRAM-SHA-1" }))
    expect(authentication.resumes(undefined)).toBe(false)
  })

  it("is of use for a fresh token", () => {
    const authentication = new Authentication(token(true))
    const answers = { tokens: ["first", "second"] }
    const first = play(authentication, "XOAUTH2", ["535 no", undefined], {}, answers)
    expect(first.log).toStrictEqual(["Token", xoauth2("first"), "Token but first", xoauth2("second")])
    expect(failureOf(first)).toMatchObject(notAuthenticated("Rejected", { mechanism: "XOAUTH2" }))
    expect(authentication.resumes(reply("421 bye"))).toBe(true)
    const again = play(authentication, "XOAUTH2", ["235 ok"], {}, { tokens: ["third"] })
    expect(again.log).toStrictEqual(["Token but first", xoauth2("third")])
    expect(again.end?._tag).toBe("Done")
  })
})

describe("tokens", () => {
  it("are not said again if the fresh one is the one that was refused", () => {
    const played = play(
      new Authentication(token(true)),
      "XOAUTH2",
      ["535 no"],
      {},
      { tokens: ["same", "same"] }
    )
    expect(played.log).toStrictEqual(["Token", xoauth2("same"), "Token but same"])
    expect(failureOf(played)).toMatchObject(notAuthenticated("Rejected", { reply: reply("535 no") }))
  })

  it("go on with the mechanism that was refused, not with those before it", () => {
    const played = play(
      new Authentication(token(true, "OAUTHBEARER", "XOAUTH2")),
      "XOAUTH2 OAUTHBEARER",
      ["504 what", "535 no", "535 no"],
      {},
      { tokens: ["first", "second"] }
    )
    expect(played.log).toStrictEqual([
      "Token",
      oauthBearer("first"),
      xoauth2("first"),
      "Token but first",
      xoauth2("second")
    ])
  })

  it("that cannot be renewed go to the next mechanism, if this one does not suit the server", () => {
    const played = play(
      new Authentication(token(false, "OAUTHBEARER", "XOAUTH2")),
      "XOAUTH2 OAUTHBEARER",
      ["503 what", "535 no"],
      {},
      { tokens: ["first"] }
    )
    expect(played.log).toStrictEqual(["Token", oauthBearer("first"), xoauth2("first")])
  })

  it("are refused for good where no other can be had, with what the server has explained", () => {
    const explained = (remark: string) =>
      play(new Authentication(token(false)), "XOAUTH2", [`334 ${base64(remark)}`, "535 no"])
    expect(failureOf(explained('{"status":"400", "secret"}'))).toStrictEqual(
      notAuthenticated("Rejected", {
        mechanism: "XOAUTH2",
        reply: reply("535 no"),
        detail: '{"status":"400", "*"}'
      })
    )
    expect(failureOf(explained("x".repeat(300)))).toMatchObject({ detail: "x".repeat(200) })
    expect(failureOf(explained(""))).toMatchObject({ detail: undefined })
  })
})

describe("the order of mechanisms", () => {
  const all = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"
  const said = (played: Played) => played.log.map((line) => line.split(" ")[1] ?? line)
  const refuse = ["504 x", "504 x", "504 x"]
  const clear = { tls: undefined, allowInsecureAuth: true }

  it("ends with CRAM-MD5 on verified TLS, and not elsewhere", () => {
    const on = (about: Partial<AuthenticationContext>) =>
      said(play(new Authentication(password()), "CRAM-MD5 PLAIN LOGIN", refuse, about))
    expect(on({})).toStrictEqual(["ChannelBound", "Md5", "PLAIN", "LOGIN", "CRAM-MD5"])
    expect(on(clear)).toStrictEqual(["ChannelBound", "Md5", "CRAM-MD5", "PLAIN", "LOGIN"])
  })

  it("leaves CRAM-MD5 out where MD5 may not be computed, and asks only if it is announced", () => {
    const on = (announced: string) =>
      said(play(new Authentication(password("CRAM-MD5", "PLAIN")), announced, refuse, {}, { md5: false }))
    expect(on("CRAM-MD5 PLAIN")).toStrictEqual(["Md5", "PLAIN"])
    expect(on("PLAIN")).toStrictEqual(["PLAIN"])
  })

  it("leaves out what cannot say whom to act for", () => {
    const credentials: Credentials = { ...password("CRAM-MD5", "LOGIN", "PLAIN"), authorizationId: "bo" }
    expect(play(new Authentication(credentials), all, refuse).log).toStrictEqual([
      `AUTH PLAIN ${base64("bo\0ann\0secret")}`
    ])
  })

  it("puts last what has been in vain before, on verified TLS", () => {
    const memory: AuthenticationMemory = { inVain: [] }
    const once = (about: Partial<AuthenticationContext>, replies: ReadonlyArray<string>) =>
      said(play(new Authentication(password("SCRAM-SHA-1", "PLAIN"), memory), all, replies, about))
    expect(once({}, ["504 x", "235 ok"])).toStrictEqual(["SCRAM-SHA-1", "PLAIN"])
    expect(memory.inVain).toStrictEqual(["SCRAM-SHA-1"])
    expect(once({ tls: { ...verified, verified: false } }, refuse)).toStrictEqual(["SCRAM-SHA-1", "PLAIN"])
    expect(once({}, ["235 ok"])).toStrictEqual(["PLAIN"])
    expect(memory.inVain).toStrictEqual(["SCRAM-SHA-1"])
  })

  it("tries each once, three at most, and none in clear or where none is announced", () => {
    expect(said(play(new Authentication(password("plain", "PLAIN")), all, refuse))).toStrictEqual(["PLAIN"])
    expect(said(play(new Authentication(password()), all, [...refuse, "504 x"]))).toHaveLength(5)
    expect(failureOf(play(new Authentication(password()), all, [], { tls: undefined }))).toStrictEqual(
      notAuthenticated("Insecure", {})
    )
    expect(failureOf(play(new Authentication(password()), "", []))).toStrictEqual(
      notAuthenticated("NotOffered", {})
    )
  })

  it.each([
    [password("PLAIN"), "X-A GSSAPI", "it announces X-A, GSSAPI; usable here: PLAIN"],
    [password("X-A"), "X-A", "it announces X-A; usable here: none"],
    [token(false, "xoauth2"), "PLAIN", "it announces PLAIN; usable here: XOAUTH2"],
    [{ _tag: "External" }, "PLAIN", "it announces PLAIN; usable here: EXTERNAL"],
    [{ _tag: "ProgramMechanism", name: "x-own" }, "PLAIN", "it announces PLAIN; usable here: X-OWN"]
  ] as const)("says what there is and what is usable: %#", (credentials, announced, detail) => {
    expect(failureOf(play(new Authentication(credentials), announced, []))).toStrictEqual(
      notAuthenticated("NoCommonMechanism", { detail })
    )
  })
})

describe("SCRAM", () => {
  const first = `334 ${base64("r=nonceX,s=QUJD,i=4096")}`
  const final = `334 ${base64(`v=${Buffer.alloc(20).toString("base64")}`)}`
  const bound = { tls: { verified: true, channelBinding: channel } }

  it("that is bound to the channel is remembered, and no other is", () => {
    const plus = new Authentication(password("SCRAM-SHA-1-PLUS"))
    const { end, log } = play(plus, "SCRAM-SHA-1-PLUS", [first, final, "235 ok"], bound)
    expect(log[0]).toBe(`AUTH SCRAM-SHA-1-PLUS ${base64("p=tls-exporter,,n=ann,r=nonce")}`)
    expect([log.at(-1), end]).toStrictEqual(["BindChannel", { _tag: "Done", value: reply("235 ok") }])
    const other = play(new Authentication(password("SCRAM-SHA-1")), "SCRAM-SHA-1", [first, final, "235 ok"])
    expect([other.log, other.end?._tag]).toStrictEqual([[scramSha1, expect.any(String), ""], "Done"])
  })

  it.each([
    ["SCRAM-SHA-1", "y,,"],
    ["SCRAM-SHA-1 X-SCRAM-A-PLUS", "y,,"],
    ["SCRAM-SHA-1 SCRAM-SHA-1-PLUSX", "y,,"],
    ["SCRAM-SHA-1 SCRAM-SHA-256-PLUS", "n,,"]
  ])("says what it could bind, where the server announces %s: %s", (announced, flag) => {
    const { log } = play(new Authentication(password("SCRAM-SHA-1")), announced, [], bound)
    expect(log[0]).toBe(`AUTH SCRAM-SHA-1 ${base64(`${flag}n=ann,r=nonce`)}`)
  })

  it("is the only way to a server that it was bound to before", () => {
    const all = new Authentication(password())
    const played = play(all, "PLAIN SCRAM-SHA-1", ["535 no"], {}, { bound: true })
    expect(played.log).toStrictEqual(["ChannelBound", scramSha1])
    expect(failureOf(play(new Authentication(password()), "PLAIN", [], {}, { bound: true }))).toStrictEqual(
      notAuthenticated("NoCommonMechanism", {
        detail:
          "a SCRAM-PLUS mechanism has worked at this endpoint before, and now only the password itself would do, as if somebody were in between; if the server has changed, name the mechanisms without -PLUS in the credentials"
      })
    )
  })

  it("is not asked for where the program names none that binds, or the password would not be sent", () => {
    expect(play(new Authentication(password("PLAIN")), "PLAIN", []).log).toStrictEqual([plain])
    expect(play(new Authentication(password()), "SCRAM-SHA-1", []).log).toStrictEqual([scramSha1])
  })
})

describe("what no reply may quote", () => {
  const guarded = (credentials: Credentials, announced: string, replies: ReadonlyArray<string>) =>
    play(new Authentication(credentials), announced, replies, {}, { tokens: ["token-1"] }).guarded

  it("is the password, and every response that holds it", () => {
    expect(guarded(password("PLAIN"), "PLAIN", [])).toStrictEqual(["secret", "secret", "\0ann\0secret"])
    expect(guarded(password("SCRAM-SHA-1"), "SCRAM-SHA-1", [])).toStrictEqual([
      "secret",
      "prepared",
      "n,,n=ann,r=nonce"
    ])
    expect(guarded(token(false), "XOAUTH2", [])).toStrictEqual([
      "token-1",
      "user=ann\u0001auth=Bearer token-1\u0001\u0001"
    ])
    expect(guarded({ _tag: "ProgramMechanism", name: "X" }, "X", [`334 ${base64("own")}`])).toStrictEqual([
      "own"
    ])
  })

  it("is not an identity by itself", () => {
    expect(guarded(password("LOGIN"), "LOGIN", ["334 ", "334 "])).toStrictEqual(["secret", "secret"])
    expect(guarded({ _tag: "External", authorizationId: "bo" }, "EXTERNAL", [])).toStrictEqual([])
    expect(guarded({ _tag: "Anonymous", trace: "bo" }, "ANONYMOUS", [])).toStrictEqual([])
  })
})

describe("lines and replies", () => {
  const external = (length: number, about: object = {}): Authentication =>
    new Authentication({ _tag: "External", authorizationId: "x".repeat(length), ...about })

  it("puts the initial response into a line of 512 bytes, and no longer one", () => {
    expect(play(external(372), "EXTERNAL", []).log).toStrictEqual([
      `AUTH EXTERNAL ${base64("x".repeat(372))}`
    ])
    expect(play(external(373), "EXTERNAL", ["334 "]).log).toStrictEqual([
      "AUTH EXTERNAL",
      base64("x".repeat(373))
    ])
    expect(play(external(0), "EXTERNAL", []).log).toStrictEqual(["AUTH EXTERNAL ="])
    expect(play(external(1, { initialResponse: false }), "EXTERNAL", ["334 go on"]).log).toStrictEqual([
      "AUTH EXTERNAL",
      base64("x")
    ])
  })

  it.each([
    [password("PLAIN"), "PLAIN", "password"],
    [token(false), "XOAUTH2", "token"],
    [{ _tag: "External", authorizationId: "x".repeat(9300) }, "EXTERNAL", "initialResponse"]
  ] as const)("names what is too long for any line: %#", (credentials, announced, field) => {
    const long = "x".repeat(9300)
    const given = credentials._tag === "Password" ? { ...credentials, password: () => long } : credentials
    const played = play(new Authentication(given), announced, [], {}, { tokens: [long] })
    expect(failureOf(played)).toStrictEqual(
      invalid(field, "is too long: no line of AUTH may exceed 12288 bytes")
    )
  })

  const cancelled = (credentials: Credentials, announced: string, replies: ReadonlyArray<string>) => {
    const { end, log } = play(new Authentication(credentials), announced, [...replies, "501 cancelled"])
    expect(log.at(-1)).toBe("*")
    return end?._tag === "Failed" && end.failure._tag === "NotAuthenticated" ? end.failure.detail : end?._tag
  }
  const own: Credentials = { _tag: "ProgramMechanism", name: "X" }

  it("cancels an exchange that cannot go on, and says why", () => {
    expect(cancelled(password("CRAM-MD5"), "CRAM-MD5", ["334 what?"])).toBe("the challenge is not base64")
    expect(cancelled(own, "X", ["334 what?"])).toBe("the challenge is not base64")
    expect(cancelled(own, "X", Array<string>(17).fill("334 YQ=="))).toBe(
      "the server sent more than 16 challenges"
    )
    expect(cancelled(own, "X", [`334 ${base64("x".repeat(9300))}`])).toBe(
      "the response is too long for a line of AUTH"
    )
  })

  it("answers prompts in words where the mechanism reads none", () => {
    const { log } = play(new Authentication(password("LOGIN")), "LOGIN", ["334 Username:", "334 Password: "])
    expect(log).toStrictEqual(["AUTH LOGIN", base64("ann"), base64("secret")])
  })

  it("takes nothing but 235, 334 and refusals", () => {
    const ends = (credentials: Credentials, announced: string, replies: ReadonlyArray<string>) =>
      play(new Authentication(credentials), announced, replies).end
    expect(ends(password("PLAIN"), "PLAIN", ["250 ok"])).toStrictEqual({
      _tag: "Violated",
      reply: reply("250 ok"),
      reason: "the reply has no place in an AUTH exchange"
    })
    expect(ends(own, "X", ["334 what?", "235 ok"])).toStrictEqual({
      _tag: "Violated",
      reply: reply("235 ok"),
      reason: "the server did not end the AUTH exchange that was cancelled"
    })
  })

  it("says of 504 that the server does not know what it has announced", () => {
    expect(failureOf(play(new Authentication(password("PLAIN")), "PLAIN", ["504 x"]))).toStrictEqual(
      notAuthenticated("NoCommonMechanism", {
        mechanism: "PLAIN",
        reply: reply("504 x"),
        detail: "it announced PLAIN and does not know it"
      })
    )
  })

  it.each([
    ["432 4.7.12 x", "Temporary", [scramSha1, plain]],
    ["432 x", "Temporary", [scramSha1]],
    ["454 x", "Temporary", [scramSha1]],
    ["503 x", "Rejected", [scramSha1, plain, "AUTH LOGIN"]],
    ["534 x", "Rejected", [scramSha1]],
    ["535 x", "Rejected", [scramSha1, plain]],
    ["538 x", "Rejected", [scramSha1]],
    ["550 x", "Rejected", [scramSha1]]
  ] as const)("%s to all: %s", (said, reason, lines) => {
    const authentication = new Authentication(password("SCRAM-SHA-1", "PLAIN", "LOGIN"))
    const played = play(authentication, "SCRAM-SHA-1 PLAIN LOGIN", [said, said, said])
    expect(played.log).toStrictEqual(lines)
    expect(failureOf(played)).toMatchObject({ reason })
    const only = play(new Authentication(password("SCRAM-SHA-1")), "SCRAM-SHA-1", [said])
    expect(failureOf(only)).toMatchObject({ reason, mechanism: "SCRAM-SHA-1" })
  })
})
