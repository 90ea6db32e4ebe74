import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { inspect } from "node:util"
import * as Commands from "../../src/protocol/Command.js"
import type { Event } from "../../src/protocol/Dialogue.js"
import { Dialogue } from "../../src/protocol/Dialogue.js"
import { none } from "../../src/protocol/Capabilities.js"
import { invalid, isInvalid } from "../../src/protocol/Invalid.js"
import { make as makeReply } from "../../src/protocol/Reply.js"
import type { Credentials } from "../../src/protocol/sasl/Credentials.js"
import { Authentication, maximumAttempts } from "../../src/protocol/sasl/Authentication.js"
import { respond, wait } from "../../src/protocol/sasl/Mechanism.js"
import type { SetUpContext } from "../../src/protocol/SetUp.js"
import * as SetUp from "../../src/protocol/SetUp.js"
import type { SetUpFailure, Step } from "../../src/protocol/SetUpStep.js"
import { done, failed, isUntrusted } from "../../src/protocol/SetUpStep.js"
import type { ClientAttributes } from "../../src/protocol/Xclient.js"
import * as Xclient from "../../src/protocol/Xclient.js"
import { runsOf } from "../support/runs.js"

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

const base64 = (text: string): string => Buffer.from(text).toString("base64")

interface Options extends Partial<Pick<SetUpContext, "dialect" | "tls">> {
  readonly credentials?: Credentials
  readonly xclient?: ClientAttributes
  readonly allowInsecureAuth?: boolean
  /** Whether the endpoint has completed STARTTLS before. */
  readonly pinned?: boolean
  /** What is set up. Default: all. */
  readonly by?: (context: SetUpContext, begin: () => Step<unknown>) => Step<unknown>
}

interface Played {
  /** The lines of the client, each with what the server said to it last; and what else was done. */
  readonly log: ReadonlyArray<string>
  /** The last step, or how the session ended before it. */
  readonly end: string
}

const showFailure = (failure: SetUpFailure): string => {
  switch (failure._tag) {
    case "HeloRefused":
      return `${failure.command} refused ${failure.reply.code}`
    case "CommandRefused":
      return `${failure.command.verb} refused ${failure.reply.code}`
    case "Unsupported":
      return `${failure.extension} unsupported`
    case "Invalid":
      return `${failure.field} invalid`
    case "OfferVanished":
      return failure._tag
    case "NotAuthenticated":
      return `${failure.reason} ${failure.mechanism ?? ""}${isUntrusted(failure) ? " untrusted" : ""}`.trim()
  }
}

const showEnd = (event: Exclude<Event<string>, { readonly _tag: "Replied" }>): string =>
  event._tag === "Violated" && event.injection ? "Injection" : event._tag

/**
 * Sets a session up against a server that says these replies, each as soon as the one before has been dealt with. The
 * dialogue is a real one; the handshake succeeds, and what is asked for has fixed answers.
 */
const play = (options: Options, replies: ReadonlyArray<string>): Played => {
  const dialogue = new Dialogue<string>("set-up", { dialect: options.dialect ?? "smtp" })
  const log: Array<string> = []
  let secured = options.tls === "implicit"
  const context: SetUpContext = {
    dialect: options.dialect ?? "smtp",
    clientName: "client.test",
    tls: options.tls ?? "none",
    authenticates: options.credentials !== undefined,
    dialogue,
    secured: () => secured
  }
  const { credentials } = options
  const begin = (): Step<unknown> =>
    credentials === undefined
      ? done(undefined)
      : new Authentication(credentials).begin({
          mechanisms: dialogue.capabilities().authMechanisms,
          tls: secured ? { verified: true, channelBinding: undefined } : undefined,
          allowInsecureAuth: options.allowInsecureAuth ?? false,
          endpoint: undefined,
          secrets: dialogue.secrets
        })
  const xclient = options.xclient === undefined ? undefined : Xclient.make(options.xclient, "xclient")
  if (isInvalid(xclient)) throw new Error(xclient.reason)
  dialogue.receive(octets("220 mx.test\r\n"))
  expect(dialogue.next()).toMatchObject({ _tag: "Replied" })
  const left = [...replies]

  /** Writes what the dialogue lets go, and hears the next reply. */
  const converse = (): Event<string> | undefined => {
    const line = Buffer.concat(dialogue.take()).toString().trimEnd()
    const reply = left.shift()
    if (reply === undefined) {
      log.push(line)
      return undefined
    }
    log.push(`${line} > ${reply.split("\r\n").at(-1) ?? ""}`)
    dialogue.receive(octets(`${reply}\r\n`))
    return dialogue.next()
  }

  const follow = (step: Step<unknown>): string => {
    switch (step._tag) {
      case "Submit": {
        const problem = dialogue.submit("set-up", [step.command])
        if (problem !== undefined) return `cannot be submitted: ${problem.reason}`
        const event = converse()
        if (event === undefined) return "no more replies"
        if (event._tag !== "Replied") return step.lost === undefined ? showEnd(event) : follow(step.lost)
        return follow(step.replied(event.reply))
      }
      case "Secure":
        log.push("TLS")
        expect(dialogue.state()).toBe("Upgrading")
        dialogue.upgraded()
        secured = true
        return follow(step.answered())
      case "Announced":
        return follow(step.answered())
      case "Pinned":
        return follow(step.answered(options.pinned ?? false))
      case "ChannelBound":
        return follow(step.answered(false))
      case "BindChannel":
        return follow(step.answered())
      case "Nonce":
        return follow(step.answered("nonce"))
      case "Md5":
        return follow(step.answered(true))
      case "Compute":
        return follow(step.answered(new Uint8Array(20)))
      case "Prepare":
        return follow(step.answered(step))
      case "Token":
        log.push(step.refused === undefined ? "token" : "fresh token")
        return follow(step.answered(() => (step.refused === undefined ? "first" : "second")))
      case "Program":
        return follow(step.answered(step.event._tag === "Challenge" ? respond(step.event.octets) : wait))
      case "Done":
        return "Done"
      case "Failed":
        return showFailure(step.failure)
      case "Violated":
        return "Violated"
    }
  }

  const first = options.by?.(context, begin) ?? SetUp.prepare(context, xclient, credentials && begin)
  return { log, end: follow(first) }
}

const password = (...mechanisms: ReadonlyArray<string>): Credentials => ({
  _tag: "Password",
  username: "ann",
  password: () => "secret",
  mechanisms
})

const token: Credentials = { _tag: "OAuth2", username: "ann", mechanisms: ["XOAUTH2"], renewable: true }

const hello = (...keywords: ReadonlyArray<string>): string =>
  ["mx.test", ...keywords]
    .map((line, index) => `250${index < keywords.length ? "-" : " "}${line}`)
    .join("\r\n")

const plain = `AUTH PLAIN ${base64("\0ann\0secret")}`

describe("the greeting (RFC 5321 section 3.1)", () => {
  it.each([
    [220, "Commands"],
    [421, "Nothing"],
    [450, "Quit"],
    [554, "Quit"],
    [250, "Quit"]
  ] as const)("%i is followed by %s", (code, next) => {
    expect(SetUp.afterGreeting(makeReply(code, ["mx.test"]))).toBe(next)
  })
})

describe("EHLO and HELO", () => {
  it.each([500, 501, 502, 504, 550])("falls back to HELO after %i", (code) => {
    expect(play({}, [`${code} no`, "250 mx.test"])).toEqual({
      log: [`EHLO client.test > ${code} no`, "HELO client.test > 250 mx.test"],
      end: "Done"
    })
  })

  it.each([450, 521, 554])("does not fall back to HELO after %i", (code) => {
    expect(play({}, [`${code} no`])).toEqual({
      log: [`EHLO client.test > ${code} no`],
      end: `EHLO refused ${code}`
    })
  })

  const cases: Readonly<Record<string, Options>> = {
    "needs STARTTLS": { tls: "starttls" },
    "has credentials": { credentials: password("PLAIN") },
    "is on TLS": { tls: "implicit" },
    "has completed STARTTLS before": { pinned: true }
  }
  for (const [what, options] of Object.entries(cases)) {
    it(`does not fall back to HELO if the session ${what}`, () => {
      expect(play(options, ["502 what?"])).toEqual({
        log: ["EHLO client.test > 502 what?"],
        end: "EHLO refused 502"
      })
    })
  }

  it("says LHLO in the LMTP dialect, and never HELO", () => {
    expect(play({ dialect: "lmtp" }, ["502 what?"])).toEqual({
      log: ["LHLO client.test > 502 what?"],
      end: "LHLO refused 502"
    })
  })

  it("fails if HELO is refused too", () => {
    expect(play({}, ["502 what?", "550 no"]).end).toBe("HELO refused 550")
  })
})

describe("STARTTLS (RFC 3207)", () => {
  const offer = hello("STARTTLS")
  const refused = ["EHLO client.test > 250 STARTTLS", "STARTTLS > 454 later"]

  it("is followed by the handshake and another EHLO", () => {
    expect(play({ tls: "starttls" }, [offer, "220 go", hello()])).toEqual({
      log: ["EHLO client.test > 250 STARTTLS", "STARTTLS > 220 go", "TLS", "EHLO client.test > 250 mx.test"],
      end: "Done"
    })
  })

  it.each([
    ["starttls", false, "STARTTLS unsupported"],
    ["starttls", true, "OfferVanished"],
    ["opportunistic", false, "Done"],
    ["opportunistic", true, "OfferVanished"],
    ["none", true, "Done"]
  ] as const)('not offered under "%s", with a pin: %s: %s', (tls, pinned, end) => {
    expect(play({ tls, pinned }, [hello()])).toEqual({ log: ["EHLO client.test > 250 mx.test"], end })
  })

  it.each([
    ["starttls", false, "STARTTLS refused 454"],
    ["starttls", true, "STARTTLS refused 454"],
    ["opportunistic", false, "Done"],
    ["opportunistic", true, "OfferVanished"]
  ] as const)('refused under "%s", with a pin: %s: %s', (tls, pinned, end) => {
    expect(play({ tls, pinned }, [offer, "454 later"])).toEqual({ log: refused, end })
  })

  it("ends the session if anything but 220 accepts it, and if anything follows the 220", () => {
    expect(play({ tls: "opportunistic" }, [offer, "250 ok"]).end).toBe("Violated")
    expect(play({ tls: "opportunistic" }, [offer, "220 go\r\n250 ok"]).end).toBe("Injection")
    expect(play({ tls: "opportunistic" }, [offer, "220 go\r\n"]).end).toBe("Injection")
    expect(play({ tls: "opportunistic" }, [`${offer}\r\n`, "220 go", hello()]).log).toContain("TLS")
  })

  it("by hand fails without a command if the session has TLS", () => {
    const by: Options["by"] = (context) => SetUp.startTls(context, () => done(undefined))
    expect(play({ tls: "implicit", by }, [])).toEqual({ log: [], end: "session invalid" })
  })

  it("by hand says why it cannot be", () => {
    const context: SetUpContext = {
      dialect: "smtp",
      clientName: "client.test",
      tls: "starttls",
      authenticates: false,
      dialogue: {
        greeted: () => true,
        capabilities: () => none,
        authenticated: () => false,
        inTransaction: () => false
      },
      secured: () => false
    }
    const then = (): Step<unknown> => done(undefined)
    const says = (step: Step<unknown>) => (step._tag === "Failed" ? step.failure : step._tag)
    expect(says(SetUp.startTls(context, then))).toStrictEqual({
      _tag: "Unsupported",
      extension: "STARTTLS",
      reason: 'the server does not offer it; check the port: 587 for STARTTLS, 465 for tls "implicit"'
    })
    expect(says(SetUp.startTls({ ...context, secured: () => true }, then))).toStrictEqual(
      invalid("session", "has TLS already")
    )
    const authenticate = (about: Partial<SetUpContext["dialogue"]>) =>
      says(SetUp.authenticate({ ...context, dialogue: { ...context.dialogue, ...about } }, then))
    expect([
      authenticate({}),
      authenticate({ authenticated: () => true }),
      authenticate({ inTransaction: () => true })
    ]).toStrictEqual([
      "Done",
      invalid("session", "is authenticated already"),
      invalid("session", "is in a mail transaction")
    ])
  })
})

describe("XCLIENT", () => {
  const xclient = { name: "client.example.net" }
  const command = "XCLIENT NAME=client.example.net"

  it("is said between EHLO and another EHLO, and before AUTH", () => {
    const options = { xclient, credentials: password("PLAIN"), allowInsecureAuth: true }
    expect(play(options, [hello("XCLIENT NAME"), "220 mx.test", hello("AUTH PLAIN"), "235 ok"])).toEqual({
      log: [
        "EHLO client.test > 250 XCLIENT NAME",
        `${command} > 220 mx.test`,
        "EHLO client.test > 250 AUTH PLAIN",
        `${plain} > 235 ok`
      ],
      end: "Done"
    })
  })

  it("fails if it is not offered, not with this attribute, or refused", () => {
    expect(play({ xclient }, [hello()]).end).toBe("XCLIENT unsupported")
    expect(play({ xclient }, [hello("XCLIENT ADDR")]).end).toBe("XCLIENT unsupported")
    expect(play({ xclient }, [hello("XCLIENT NAME"), "550 no"]).end).toBe("XCLIENT refused 550")
  })
})

describe("AUTH", () => {
  const authenticated = (credentials: Credentials, mechanisms: string, replies: ReadonlyArray<string>) => {
    const { end, log } = play({ tls: "implicit", credentials }, [hello(`AUTH ${mechanisms}`), ...replies])
    return [...log.slice(1), end]
  }

  it("is not said in clear", () => {
    expect(play({ credentials: password("PLAIN") }, [hello("AUTH PLAIN")])).toEqual({
      log: ["EHLO client.test > 250 AUTH PLAIN"],
      end: "Insecure"
    })
  })

  const first = `AUTH SCRAM-SHA-1 ${base64("n,,n=ann,r=nonce")}`
  const cramMd5 = base64(`ann ${"0".repeat(40)}`)

  // RFC 4954 section 6: a row for each rule.
  it.each([
    ["235", "PLAIN LOGIN", [`${plain} > 235 x`, "Done"]],
    ["454", "PLAIN LOGIN", [`${plain} > 454 x`, "Temporary PLAIN"]],
    ["432", "SCRAM-SHA-1 PLAIN", [`${first} > 432 x`, "Temporary SCRAM-SHA-1"]],
    ["504", "PLAIN LOGIN", [`${plain} > 504 x`, "AUTH LOGIN > 504 x", "NoCommonMechanism LOGIN"]],
    ["534", "SCRAM-SHA-1 PLAIN", [`${first} > 534 x`, "Rejected SCRAM-SHA-1"]],
    ["535", "SCRAM-SHA-1 PLAIN", [`${first} > 535 x`, `${plain} > 535 x`, "Rejected PLAIN"]],
    ["535", "SCRAM-SHA-1 CRAM-MD5", [`${first} > 535 x`, "Rejected SCRAM-SHA-1"]],
    ["535", "PLAIN LOGIN", [`${plain} > 535 x`, "Rejected PLAIN"]],
    ["538", "SCRAM-SHA-1 PLAIN", [`${first} > 538 x`, "Rejected SCRAM-SHA-1"]],
    ["250", "PLAIN LOGIN", [`${plain} > 250 x`, "Violated"]]
  ] as const)("%s to every attempt with a password, where the server offers %s", (code, mechanisms, told) => {
    const credentials = password("SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")
    expect(authenticated(credentials, mechanisms, Array(5).fill(`${code} x`))).toEqual(told)
  })

  it("tries three mechanisms at most", () => {
    const credentials = password("CRAM-MD5", "SCRAM-SHA-1", "PLAIN", "LOGIN")
    const log = authenticated(credentials, "SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN", Array(5).fill("504 x"))
    expect(log).toEqual([
      "AUTH CRAM-MD5 > 504 x",
      `${first} > 504 x`,
      `${plain} > 504 x`,
      "NoCommonMechanism PLAIN"
    ])
  })

  it("sends the password after CRAM-MD5 was refused", () => {
    const replies = [`334 ${base64("<x>")}`, "535 no", "235 ok"]
    expect(authenticated(password("CRAM-MD5", "PLAIN"), "CRAM-MD5 PLAIN", replies)).toEqual([
      `AUTH CRAM-MD5 > 334 ${base64("<x>")}`,
      `${cramMd5} > 535 no`,
      `${plain} > 235 ok`,
      "Done"
    ])
  })

  const bearer = (value: string) => `AUTH XOAUTH2 ${base64(`user=ann\u0001auth=Bearer ${value}\u0001\u0001`)}`

  it.each([
    [
      ["535 x", "535 x"],
      [`${bearer("first")} > 535 x`, "fresh token", `${bearer("second")} > 535 x`]
    ],
    [
      ["334 e30=", "550 x", "235 x"],
      [`${bearer("first")} > 334 e30=`, " > 550 x", "fresh token", `${bearer("second")} > 235 x`]
    ],
    [
      ["501 5.5.127 x", "235 x"],
      [`${bearer("first")} > 501 5.5.127 x`, "fresh token", `${bearer("second")} > 235 x`]
    ],
    [
      ["334 e30=", "534 x", "550 x"],
      [`${bearer("first")} > 334 e30=`, " > 534 x", "fresh token", `${bearer("second")} > 550 x`]
    ],
    [["504 x"], [`${bearer("first")} > 504 x`]],
    [["454 x"], [`${bearer("first")} > 454 x`]],
    [
      ["334 e30=", "454 x"],
      [`${bearer("first")} > 334 e30=`, " > 454 x"]
    ]
  ])("asks once for a fresh token, if this one was refused: %j", (replies, told) => {
    expect(authenticated(token, "XOAUTH2", replies).slice(0, -1)).toEqual(["token", ...told])
  })

  it("cancels what it cannot answer, and reports that even if the server hangs up", () => {
    const begun = "AUTH CRAM-MD5 > 334 what?"
    const told = (reply: string) => authenticated(password("CRAM-MD5"), "CRAM-MD5", ["334 what?", reply])
    expect(told("501 cancelled")).toEqual([begun, "* > 501 cancelled", "Challenge CRAM-MD5"])
    expect(told("421 bye")).toEqual([begun, "* > 421 bye", "Challenge CRAM-MD5"])
    expect(told("235 welcome")).toEqual([begun, "* > 235 welcome", "Violated"])
  })

  it("does not trust a 235 without the server's proof", () => {
    expect(authenticated(password("SCRAM-SHA-1"), "SCRAM-SHA-1", ["235 welcome"])).toEqual([
      `${first} > 235 welcome`,
      "ServerNotVerified SCRAM-SHA-1 untrusted"
    ])
  })

  it("by hand fails without a command in a mail transaction", () => {
    const by: Options["by"] = (context, begin) =>
      SetUp.authenticate({ ...context, dialogue: { ...context.dialogue, inTransaction: () => true } }, begin)
    expect(play({ credentials: token, by }, [])).toEqual({ log: [], end: "session invalid" })
  })
})

describe("a part that must not be left half done", () => {
  const partOf = (step: Step<unknown>) => SetUp.indivisiblePart(step, "STARTTLS")
  const answered = (): Step<unknown> => done(undefined)
  const submitted = (command: Commands.Command): Step<unknown> => ({
    _tag: "Submit",
    command,
    replied: answered,
    lost: undefined
  })

  it("is STARTTLS with its handshake, and AUTH with all that it asks for", () => {
    expect(partOf(submitted(Commands.ehlo("x.test")))).toBeUndefined()
    expect(partOf(submitted(Commands.startTls))).toBe("STARTTLS")
    expect(partOf({ _tag: "Secure", answered })).toBe("STARTTLS")
    expect(partOf({ _tag: "Pinned", answered })).toBeUndefined()
    expect(partOf({ _tag: "Token", refused: undefined, answered })).toBe("authentication")
    expect(partOf(submitted(Commands.auth("PLAIN")))).toBe("authentication")
    expect(partOf(submitted(Commands.authResponse("*")))).toBe("authentication")
  })

  it("lasts until its result has been taken", () => {
    expect(partOf(done(undefined))).toBe("STARTTLS")
    expect(partOf(failed({ _tag: "OfferVanished" }))).toBe("STARTTLS")
  })
})

describe("whatever the server says", () => {
  const anyReply = FastCheck.oneof(
    {
      weight: 3,
      arbitrary: FastCheck.subarray([
        "STARTTLS",
        "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 XOAUTH2",
        "XCLIENT NAME"
      ]).map((keywords) => hello(...keywords))
    },
    {
      weight: 4,
      arbitrary: FastCheck.constantFrom(
        "220 go",
        "235 ok",
        "250 ok",
        "334 ",
        "334 e30=",
        "334 what?",
        "354 go"
      )
    },
    {
      weight: 3,
      arbitrary: FastCheck.constantFrom(
        "421",
        "432",
        "454",
        "500",
        "501",
        "502",
        "504",
        "534",
        "535",
        "538",
        "550"
      ).map((code) => `${code} x`)
    },
    { weight: 1, arbitrary: FastCheck.constantFrom("220 go\r\n250 ok", "220 go\r\n25", "nonsense") }
  )
  const anyOptions: FastCheck.Arbitrary<Options> = FastCheck.record({
    tls: FastCheck.constantFrom("none", "implicit", "opportunistic", "starttls"),
    pinned: FastCheck.boolean(),
    credentials: FastCheck.constantFrom<Credentials>(
      password("SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"),
      token,
      { _tag: "External" },
      { _tag: "ProgramMechanism", name: "login" }
    )
  })
  const withXclient = FastCheck.tuple(anyOptions, FastCheck.boolean()).map(
    ([options, introduces]): Options => (introduces ? { ...options, xclient: { name: "x.test" } } : options)
  )

  // So that many servers come as far as AUTH.
  const offer = hello("AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 XOAUTH2")
  const anyBeginning = FastCheck.constantFrom([], [offer], [hello("STARTTLS"), "220 go", offer])

  const checking = (property: (played: Played, options: Options) => void): void => {
    FastCheck.assert(
      FastCheck.property(
        withXclient,
        anyBeginning,
        FastCheck.array(anyReply, { maxLength: 12 }),
        (...played) => {
          const [options, beginning, replies] = played
          property(play(options, [...beginning, ...replies]), options)
        }
      ),
      { numRuns: runsOf(200) }
    )
  }

  it("AUTH is never said in clear", () => {
    checking(({ log }, { tls }) => {
      const said = log.findIndex((line) => line.startsWith("AUTH "))
      if (said !== -1 && tls !== "implicit") expect(log.slice(0, said)).toContain("TLS")
    })
  })

  it("nothing is said behind STARTTLS before its reply, and nothing but the handshake after its 220", () => {
    checking(({ log }) => {
      log.forEach((line, index) => {
        if (!line.startsWith("STARTTLS")) return
        const next = log[index + 1]
        if (next === "TLS") expect(line).toBe("STARTTLS > 220 go")
        else if (next !== undefined) expect(line).toMatch(/^STARTTLS > [45]/)
      })
    })
  })

  it("no mechanism follows a final refusal, nor a third attempt", () => {
    checking(({ log }) => {
      const attempts = log.flatMap((line, index) => (line.startsWith("AUTH ") ? [index] : []))
      expect(attempts.length).toBeLessThanOrEqual(maximumAttempts)
      for (const next of attempts.slice(1)) {
        const before = log.slice(0, next).findLast((line) => line.includes(" > "))
        const token = log[next - 1] === "fresh token"
        expect(before).toMatch(token ? / > 5(?!04)/ : / > (?:50[0-4]|535)/)
      }
    })
  })

  it("a step that is printed shows no secret", () => {
    const first = new Authentication(password("SCRAM-SHA-1")).begin({
      mechanisms: ["SCRAM-SHA-1"],
      tls: { verified: true, channelBinding: undefined },
      allowInsecureAuth: false,
      endpoint: undefined,
      secrets: { guard: () => undefined, withhold: (text) => text }
    })
    expect(first._tag).toBe("Prepare")
    expect(`${inspect(first, { depth: 10, showHidden: true })} ${JSON.stringify(first)}`).not.toContain(
      "secret"
    )
  })
})
