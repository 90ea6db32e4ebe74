import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/TestClock"
import { makeAuthentication } from "../../src/internal/session/authenticate.js"
import type { KnownCredentials } from "../../src/internal/session/password.js"
import { readPassword } from "../../src/internal/session/password.js"
import type { Crypto } from "../../src/internal/session/saslCrypto.js"
import { nodeCrypto } from "../../src/internal/session/saslCrypto.js"
import type { Reply } from "../../src/protocol/Reply.js"
import { make } from "../../src/protocol/Reply.js"
import { setUpError } from "../../src/internal/session/setUp.js"
import type { AuthenticationContext, AuthenticationMemory } from "../../src/protocol/sasl/Authentication.js"
import { maximumChallenges } from "../../src/protocol/sasl/Authentication.js"
import type { Step } from "../../src/protocol/SetUpStep.js"
import { isUntrusted } from "../../src/protocol/SetUpStep.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import type { SetupError } from "../../src/SmtpSession.js"

/** What the client has to send, and what the server says to it; `undefined` hangs up. */
type Script = ReadonlyArray<readonly [line: string, reply: string | undefined]>

const reply = (text: string): Reply => make(Number(text.slice(0, 3)), [text.slice(4)])

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const verifiedTls = { verified: true, channelBinding: undefined }

interface Options extends Partial<AuthenticationContext> {
  readonly tokenLimit?: Duration.Duration
  readonly memory?: AuthenticationMemory
  /** Whether SCRAM-PLUS has worked at the endpoint before. */
  readonly bound?: boolean
}

type Refusal =
  SetupError | { readonly _tag: "ProtocolError" | "ServerDisconnected"; readonly message: string }

const endpoint = { _tag: "Tcp", host: "mail.example.com", port: 587 } as const

/** Authenticates with a server that says what `answer` says; fails with why that came to nothing. */
const authenticate = (
  credentials: SmtpAuth.Credentials,
  answer: (line: string) => Reply | undefined,
  options: Options = {},
  crypto: Crypto = nodeCrypto
): Effect.Effect<Reply, Refusal> =>
  Effect.flatMap(readPassword(credentials, options.tokenLimit ?? Duration.minutes(5)), (known) =>
    authenticateBy(known, answer, options, crypto)
  )

const authenticateBy = (
  credentials: KnownCredentials,
  answer: (line: string) => Reply | undefined,
  { bound = false, memory, tokenLimit = Duration.minutes(5), ...options }: Options = {},
  crypto: Crypto = nodeCrypto
): Effect.Effect<Reply, Refusal> => {
  const context: AuthenticationContext = {
    mechanisms: ["PLAIN"],
    tls: verifiedTls,
    endpoint,
    allowInsecureAuth: false,
    secrets: { guard: () => undefined, withhold: (text) => text },
    ...options
  }
  const authentication = makeAuthentication(credentials, tokenLimit, memory, crypto)
  const follow = (step: Step<Reply>): Effect.Effect<Reply, Refusal> => {
    switch (step._tag) {
      case "Submit": {
        const answered = answer(step.command.line)
        if (answered !== undefined) return follow(step.replied(answered))
        return step.lost === undefined
          ? Effect.fail({ _tag: "ServerDisconnected", message: "" })
          : follow(step.lost)
      }
      case "Done":
        return Effect.succeed(step.value)
      case "Failed":
        expect(isUntrusted(step.failure)).toBe(
          step.failure._tag === "NotAuthenticated" && step.failure.reason === "ServerNotVerified"
        )
        return Effect.fail(setUpError(step.failure, endpoint))
      case "Violated":
        return Effect.fail({ _tag: "ProtocolError", message: step.reason })
      case "Secure":
      case "Announced":
      case "Pinned":
        return Effect.dieMessage(`${step._tag} is no part of authentication`)
      case "ChannelBound":
        return follow(step.answered(bound))
      case "BindChannel":
        return follow(step.answered())
      default:
        return Effect.flatMap(authentication.answer(step), follow)
    }
  }
  return Effect.suspend(() => follow(authentication.begin(context)))
}

/** A fixed nonce, so that the exchanges of the RFCs can be replayed. */
const cryptoWith = (nonce: string): Crypto => ({ ...nodeCrypto, nonce: Effect.succeed(nonce) })

const ann = SmtpAuth.password({ username: "ann", password: Redacted.make("secret") })
const user = { username: "user", password: Redacted.make("pencil") }
const plainAnn = `AUTH PLAIN ${base64("\0ann\0secret")}`

const run = (
  credentials: SmtpAuth.Credentials,
  script: Script,
  options: Options = {},
  crypto: Crypto = nodeCrypto
) =>
  Effect.gen(function* () {
    const sent: Array<string> = []
    const answer = (line: string): Reply | undefined => {
      const text = script[sent.push(line) - 1]?.[1]
      return text === undefined ? undefined : reply(text)
    }
    const result = yield* Effect.either(authenticate(credentials, answer, options, crypto))
    expect(sent).toEqual(script.map(([line]) => line))
    return result
  })

const accepted = (
  credentials: SmtpAuth.Credentials,
  script: Script,
  options: Options = {},
  crypto: Crypto = nodeCrypto
) =>
  Effect.map(run(credentials, script, options, crypto), (result) => {
    expect(result).toMatchObject({ _tag: "Right", right: { code: 235 } })
  })

const refused = (
  credentials: SmtpAuth.Credentials,
  script: Script,
  error: object,
  options: Options = {},
  crypto: Crypto = nodeCrypto
) =>
  Effect.map(run(credentials, script, options, crypto), (result) => {
    expect(result).toMatchObject({ _tag: "Left", left: error })
    if (result._tag === "Right") return undefined
    const shown = `${result.left.message} ${JSON.stringify(result.left)}`
    expect(shown).not.toMatch(/secret|pencil|token-/)
    return result.left
  })

describe("before a line is sent", () => {
  it.effect("no credentials go out without TLS", () =>
    refused(ann, [], { _tag: "AuthenticationError", reason: "Insecure" }, { tls: undefined })
  )

  it.effect("the program can allow it", () =>
    accepted(ann, [[plainAnn, "235 ok"]], { tls: undefined, allowInsecureAuth: true })
  )

  it.effect("a server without AUTH is told apart", () =>
    refused(ann, [], { _tag: "AuthenticationError", reason: "NotOffered" }, { mechanisms: [] })
  )

  it.effect("a server without a common mechanism is told apart, and both lists are named", () =>
    refused(
      SmtpAuth.password({ ...user, mechanisms: ["scram-sha-256", "PLAIN"] }),
      [],
      {
        reason: "NoCommonMechanism",
        detail: "it announces GSSAPI, XOAUTH2; usable here: SCRAM-SHA-256, PLAIN"
      },
      { mechanisms: ["GSSAPI", "XOAUTH2"] }
    )
  )

  it.effect.each([
    ["an empty user name", "username", SmtpAuth.password({ ...user, username: "" })],
    [
      "a line end in the password",
      "password",
      SmtpAuth.password({ ...user, password: Redacted.make("x\n") })
    ],
    ["a NUL in the password", "password", SmtpAuth.password({ ...user, password: Redacted.make("x\0y") })],
    ["a CR in the identity", "authorizationId", SmtpAuth.password({ ...user, authorizationId: "x\ry" })],
    ["no mechanisms", "mechanisms", SmtpAuth.password({ ...user, mechanisms: [] })],
    ["a low iteration limit", "maximumIterations", SmtpAuth.password({ ...user, maximumIterations: 4095 })],
    ["no iteration limit", "maximumIterations", SmtpAuth.password({ ...user, maximumIterations: NaN })],
    [
      "U+0001 in the user name",
      "username",
      SmtpAuth.oauth2({ username: "\u0001", token: Redacted.make("t") })
    ],
    ["a line end in the token", "token", SmtpAuth.oauth2({ username: "u", token: Redacted.make("t\n") })],
    ["an empty identity", "authorizationId", SmtpAuth.external({ authorizationId: "" })],
    ["a long trace", "trace", SmtpAuth.anonymous({ trace: "x".repeat(256) })],
    [
      "a name that is two commands",
      "name",
      SmtpAuth.mechanism({ name: "X\r\nRSET", begin: Effect.dieMessage("not reached") })
    ]
  ] as const)("%s is InvalidArgument", ([, field, credentials]) =>
    refused(credentials, [], { _tag: "InvalidArgument", field }, { mechanisms: ["PLAIN", "XOAUTH2"] })
  )

  it.effect("a password that SASLprep forbids is InvalidArgument where SCRAM would be used", () =>
    refused(
      SmtpAuth.password({ ...user, password: Redacted.make("\u0627a") }),
      [],
      { _tag: "InvalidArgument", field: "password" },
      { mechanisms: ["SCRAM-SHA-256", "PLAIN"] }
    )
  )

  it.effect("and is sent as it is where only PLAIN is used (RFC 4616 section 2)", () =>
    accepted(SmtpAuth.password({ ...user, password: Redacted.make("\u0627a\u00ad") }), [
      [`AUTH PLAIN ${base64("\0user\0\u0627a\u00ad")}`, "235 ok"]
    ])
  )

  it.effect("a token that no line can hold is InvalidArgument (RFC 4954 section 4)", () =>
    refused(
      SmtpAuth.oauth2({ username: "u", token: Redacted.make("x".repeat(9300)) }),
      [],
      { _tag: "InvalidArgument", field: "token" },
      { mechanisms: ["XOAUTH2"] }
    )
  )
})

describe("the exchange (RFC 4954 section 4)", () => {
  it.effect("goes in one line where the mechanism begins", () => accepted(ann, [[plainAnn, "235 ok"]]))

  it.effect("takes mechanisms that were announced in any letter case", () =>
    accepted(ann, [[plainAnn, "235 ok"]], { mechanisms: ["plain"] })
  )

  it.effect("skips what it does not know", () =>
    accepted(ann, [[plainAnn, "235 ok"]], { mechanisms: ["BOGUS", "GSSAPI", "PLAIN"] })
  )

  it.effect("goes in two lines when the program wants no initial response", () =>
    accepted(SmtpAuth.password({ ...ann, initialResponse: false }), [
      ["AUTH PLAIN", "334 "],
      [base64("\0ann\0secret"), "235 ok"]
    ])
  )

  it.effect("goes in two lines when one would exceed 512 octets, and not a line earlier", () => {
    const password = (length: number) =>
      SmtpAuth.password({ username: "ann", password: Redacted.make("x".repeat(length)) })
    const message = (length: number) => base64(`\0ann\0${"x".repeat(length)}`)
    const fits = 367
    const exceeds = 368
    expect(`AUTH PLAIN ${message(fits)}\r\n`.length).toBe(509)
    expect(`AUTH PLAIN ${message(exceeds)}\r\n`.length).toBe(513)
    return Effect.zipRight(
      accepted(password(fits), [[`AUTH PLAIN ${message(fits)}`, "235 ok"]]),
      accepted(password(exceeds), [
        ["AUTH PLAIN", "334 "],
        [message(exceeds), "235 ok"]
      ])
    )
  })

  it.effect("writes an empty initial response as =", () =>
    accepted(SmtpAuth.external(), [["AUTH EXTERNAL =", "235 ok"]], { mechanisms: ["EXTERNAL"] })
  )

  it.effect("writes an empty response as an empty line", () =>
    accepted(
      SmtpAuth.external({ initialResponse: false }),
      [
        ["AUTH EXTERNAL", "334 "],
        ["", "235 ok"]
      ],
      { mechanisms: ["EXTERNAL"] }
    )
  )

  it.effect("sends the trace of ANONYMOUS", () =>
    accepted(SmtpAuth.anonymous({ trace: "sirhc" }), [["AUTH ANONYMOUS c2lyaGM=", "235 ok"]], {
      mechanisms: ["ANONYMOUS"]
    })
  )

  it.effect("answers the prompts of LOGIN in whatever language", () =>
    accepted(
      ann,
      [
        ["AUTH LOGIN", `334 ${base64("Benutzername?")}`],
        [base64("ann"), "334"],
        [base64("secret"), "235 ok"]
      ],
      { mechanisms: ["LOGIN"] }
    )
  )

  it.effect("says by CRAM-MD5 what RFC 2195 says", () =>
    accepted(
      SmtpAuth.password({ username: "tim", password: Redacted.make("tanstaaftanstaaf") }),
      [
        ["AUTH CRAM-MD5", "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"],
        ["dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw", "235 ok"]
      ],
      { mechanisms: ["CRAM-MD5"] }
    )
  )
})

describe("challenges that cannot be used", () => {
  it.effect("are cancelled when they are not base64, and the answer is read", () =>
    refused(
      ann,
      [
        ["AUTH CRAM-MD5", "334 <x>"],
        ["*", "501 cancelled"]
      ],
      { reason: "Challenge", mechanism: "CRAM-MD5" },
      { mechanisms: ["CRAM-MD5"] }
    )
  )

  it.effect("are not read where the mechanism has no use for them", () =>
    Effect.gen(function* () {
      const twoLines = SmtpAuth.password({ ...ann, initialResponse: false })
      const response = base64("\0ann\0secret")
      yield* accepted(twoLines, [
        ["AUTH PLAIN", "334 OK. Continue authentication"],
        [response, "235 ok"]
      ])
      yield* accepted(
        ann,
        [
          ["AUTH LOGIN", "334 Username:"],
          [base64("ann"), "334 UGFzc3dvcmQ6 "],
          [base64("secret"), "235 ok"]
        ],
        { mechanisms: ["LOGIN"] }
      )
    })
  )

  it.effect("may end in blanks", () =>
    Effect.gen(function* () {
      const script: Script = [
        ["AUTH CRAM-MD5", `334 ${base64("<1896.697170952@postoffice.reston.mci.net>")}\t `],
        [base64("tim b913a602c7eda7a495b4e6e7334d3890"), "235 ok"]
      ]
      const tim = SmtpAuth.password({ username: "tim", password: Redacted.make("tanstaaftanstaaf") })
      yield* accepted(tim, script, { mechanisms: ["CRAM-MD5"] })
    })
  )

  it.effect("are cancelled when they have several lines", () =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      const answer = (line: string): Reply => {
        sent.push(line)
        return line === "*" ? reply("501 no") : make(334, ["AAAA", "AAAA"])
      }
      const error = yield* Effect.flip(authenticate(ann, answer, { mechanisms: ["CRAM-MD5"] }))
      expect(error).toMatchObject({ reason: "Challenge" })
      expect(sent).toEqual(["AUTH CRAM-MD5", "*"])
    })
  )

  it.effect("are cancelled when the mechanism has said everything", () =>
    refused(
      ann,
      [
        [plainAnn, "334 "],
        [plainAnn.slice("AUTH PLAIN ".length), "334 "],
        ["*", "501 cancelled"]
      ],
      { reason: "Challenge", detail: "the server asks for more than PLAIN has to say" }
    )
  )

  it.effect("end the session when the server goes on asking after the cancellation", () =>
    refused(
      ann,
      [
        [plainAnn, "334 "],
        [plainAnn.slice("AUTH PLAIN ".length), "334 "],
        ["*", "334 "]
      ],
      { _tag: "ProtocolError" }
    )
  )

  it.effect("end the session when the server takes the cancellation for a success", () =>
    refused(
      ann,
      [
        [plainAnn, "334 "],
        [plainAnn.slice("AUTH PLAIN ".length), "334 "],
        ["*", "235 welcome"]
      ],
      { _tag: "ProtocolError" }
    )
  )

  it.effect("are what is reported even if the server hangs up on the cancellation", () =>
    refused(
      ann,
      [
        [plainAnn, "334 "],
        [plainAnn.slice("AUTH PLAIN ".length), "334 "],
        ["*", undefined]
      ],
      { reason: "Challenge" }
    )
  )

  it.effect("are not answered for ever", () => {
    const credentials = SmtpAuth.mechanism({
      name: "X-LOOP",
      begin: Effect.succeed({ respond: () => Effect.succeed(Redacted.make(new Uint8Array(0))) })
    })
    const script: Script = [
      ["AUTH X-LOOP", "334 "],
      ...Array.from({ length: maximumChallenges }, () => ["", "334 "] as const),
      ["*", "501 cancelled"]
    ]
    const detail = "the server sent more than 16 challenges"
    return refused(credentials, script, { reason: "Challenge", detail }, { mechanisms: ["X-LOOP"] })
  })
})

describe("refusals", () => {
  it.effect.each([
    ["535 5.7.8 wrong", "Rejected"],
    ["534 5.7.9 application-specific password required", "Rejected"],
    ["538 encryption required", "Rejected"],
    ["550 no", "Rejected"],
    ["454 4.7.0 later", "Temporary"],
    ["432 4.7.12 transition", "Temporary"],
    ["451 local error", "Temporary"]
  ] as const)("%s to PLAIN is final: %s", ([text, reason]) =>
    refused(
      ann,
      [[plainAnn, text]],
      { _tag: "AuthenticationError", reason, mechanism: "PLAIN", reply: { code: Number(text.slice(0, 3)) } },
      { mechanisms: ["PLAIN", "LOGIN"] }
    )
  )

  it.effect("538 asks for TLS, and not for other credentials", () =>
    refused(ann, [[plainAnn, "538 5.7.11 encryption required"]], {
      message:
        'The server authenticates on an encrypted connection only with PLAIN: 538 5.7.11 encryption required. Set tls to "starttls" or "implicit".'
    })
  )

  it.effect.each(["250 fine", "354 go ahead", "220 hello"])("%s is no answer to AUTH", (text) =>
    refused(ann, [[plainAnn, text]], { _tag: "ProtocolError" })
  )

  it.effect("a lost connection is reported as that", () =>
    refused(ann, [[plainAnn, undefined]], { _tag: "ServerDisconnected" })
  )

  it.effect.each(["500 5.5.6 too long", "501 what?", "502 no", "503 not here", "504 unknown"])(
    "%s passes on to the next mechanism",
    (text) =>
      accepted(
        ann,
        [
          [plainAnn, text],
          ["AUTH LOGIN", "334 VXNlcm5hbWU6"],
          [base64("ann"), "334 UGFzc3dvcmQ6"],
          [base64("secret"), "235 ok"]
        ],
        { mechanisms: ["LOGIN", "PLAIN"] }
      )
  )

  it.effect("503 to all of them is Rejected", () =>
    refused(
      ann,
      [
        [plainAnn, "503 not here"],
        ["AUTH LOGIN", "503 not here"]
      ],
      { reason: "Rejected", mechanism: "LOGIN", reply: { code: 503 } },
      { mechanisms: ["LOGIN", "PLAIN"] }
    )
  )

  it.effect("504 to all of them is NoCommonMechanism", () =>
    refused(
      ann,
      [
        [plainAnn, "504 unknown"],
        ["AUTH LOGIN", "504 unknown"]
      ],
      { reason: "NoCommonMechanism", mechanism: "LOGIN", reply: { code: 504 } },
      { mechanisms: ["LOGIN", "PLAIN"] }
    )
  )

  it.effect("three attempts are the most", () => {
    const first = base64("n,,n=user,r=N")
    return refused(
      SmtpAuth.password(user),
      [
        [`AUTH SCRAM-SHA-512 ${first}`, "504 unknown"],
        [`AUTH SCRAM-SHA-256 ${first}`, "504 unknown"],
        [`AUTH SCRAM-SHA-1 ${first}`, "504 unknown"]
      ],
      { reason: "NoCommonMechanism" },
      { mechanisms: ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] },
      cryptoWith("N")
    )
  })
})

describe("535 to a mechanism that needs a secret of its own kind", () => {
  const scrammed: Script = [[`AUTH SCRAM-SHA-256 ${base64("n,,n=ann,r=N")}`, "535 no"]]

  it.effect("lets PLAIN be tried once on verified TLS after SCRAM", () =>
    accepted(
      ann,
      [...scrammed, [plainAnn, "235 ok"]],
      { mechanisms: ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"] },
      cryptoWith("N")
    )
  )

  it.effect("lets LOGIN be tried where there is no PLAIN", () =>
    accepted(
      ann,
      [...scrammed, ["AUTH LOGIN", "334 "], [base64("ann"), "334 "], [base64("secret"), "235 ok"]],
      { mechanisms: ["SCRAM-SHA-256", "LOGIN"] },
      cryptoWith("N")
    )
  )

  it.effect("is Rejected if the server hangs up on PLAIN", () =>
    refused(
      ann,
      [...scrammed, [plainAnn, undefined]],
      { reason: "Rejected", mechanism: "SCRAM-SHA-256", reply: { code: 535 } },
      { mechanisms: ["SCRAM-SHA-256", "PLAIN"] },
      cryptoWith("N")
    )
  )

  it.effect("lets PLAIN be tried after 432 4.7.12, the transition to a new mechanism", () => {
    const [line] = scrammed[0] ?? [""]
    const script = (text: string): Script => [
      [line, text],
      [plainAnn, "235 ok"]
    ]
    const options = { mechanisms: ["SCRAM-SHA-256", "PLAIN"] }
    return Effect.zipRight(
      accepted(ann, script("432 4.7.12 transition"), options, cryptoWith("N")),
      refused(ann, script("432 4.3.2 busy").slice(0, 1), { reason: "Temporary" }, options, cryptoWith("N"))
    )
  })

  it.effect("is not repeated in later sessions: the mechanism that worked comes first", () =>
    Effect.gen(function* () {
      const memory: AuthenticationMemory = { inVain: [] }
      const options = { mechanisms: ["SCRAM-SHA-256", "PLAIN"], memory }
      yield* accepted(ann, [...scrammed, [plainAnn, "235 ok"]], options, cryptoWith("N"))
      yield* accepted(ann, [[plainAnn, "235 ok"]], options)
      // A mechanism that was not offered then may be better.
      const [line] = scrammed[0] ?? [""]
      yield* refused(
        ann,
        [[line.replace("256", "512"), "454 later"]],
        { reason: "Temporary" },
        { ...options, mechanisms: ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] },
        cryptoWith("N")
      )
      // Without verified TLS the password does not come before its proof.
      yield* refused(
        ann,
        scrammed,
        { reason: "Rejected" },
        { ...options, tls: { ...verifiedTls, verified: false } },
        cryptoWith("N")
      )
    })
  )

  it.effect("is final when PLAIN is refused too", () =>
    refused(
      ann,
      [...scrammed, [plainAnn, "535 no"]],
      { reason: "Rejected", mechanism: "PLAIN" },
      { mechanisms: ["SCRAM-SHA-256", "PLAIN", "LOGIN"] },
      cryptoWith("N")
    )
  )

  it.effect.each([
    ["without verified TLS", { tls: { ...verifiedTls, verified: false } }],
    ["without TLS", { tls: undefined, allowInsecureAuth: true }]
  ] as const)("is final %s", ([, options]) =>
    refused(
      ann,
      scrammed,
      { reason: "Rejected", mechanism: "SCRAM-SHA-256" },
      { mechanisms: ["SCRAM-SHA-256", "PLAIN"], ...options },
      cryptoWith("N")
    )
  )

  it.effect("is final when the program left PLAIN and LOGIN out", () =>
    refused(
      SmtpAuth.password({ ...ann, mechanisms: ["SCRAM-SHA-256"] }),
      scrammed,
      { reason: "Rejected", mechanism: "SCRAM-SHA-256" },
      { mechanisms: ["SCRAM-SHA-256", "PLAIN"] },
      cryptoWith("N")
    )
  )

  it.effect("lets PLAIN be tried after CRAM-MD5", () =>
    Effect.gen(function* () {
      const digest = yield* nodeCrypto.compute({
        _tag: "Hmac",
        algorithm: "MD5",
        key: Buffer.from("secret"),
        data: Buffer.from("<x>")
      })
      const line = base64(`ann ${Buffer.from(digest).toString("hex")}`)
      const script: Script = [
        ["AUTH CRAM-MD5", "334 PHg+"],
        [line, "535 no"],
        [plainAnn, "235 ok"]
      ]
      const inThisOrder = SmtpAuth.password({ ...ann, mechanisms: ["CRAM-MD5", "PLAIN"] })
      yield* accepted(inThisOrder, script, { mechanisms: ["CRAM-MD5", "PLAIN"] })
    })
  )

  it.effect("is not risked with CRAM-MD5 where PLAIN is on offer on verified TLS", () =>
    Effect.gen(function* () {
      const options = { mechanisms: ["CRAM-MD5", "PLAIN"] }
      yield* accepted(ann, [[plainAnn, "235 ok"]], options)
      yield* refused(
        ann,
        [["AUTH CRAM-MD5", "454 later"]],
        { reason: "Temporary" },
        { ...options, tls: { ...verifiedTls, verified: false } }
      )
    })
  )

  it.effect("534 is final even there", () =>
    refused(
      ann,
      [[`AUTH SCRAM-SHA-256 ${base64("n,,n=ann,r=N")}`, "534 too weak"]],
      { reason: "Rejected", reply: { code: 534 } },
      { mechanisms: ["SCRAM-SHA-256", "PLAIN"] },
      cryptoWith("N")
    )
  )
})

describe("password mechanisms", () => {
  it.effect("are tried in the program's order", () =>
    accepted(SmtpAuth.password({ ...ann, mechanisms: ["plain", "SCRAM-SHA-256"] }), [[plainAnn, "235 ok"]], {
      mechanisms: ["SCRAM-SHA-256", "PLAIN"]
    })
  )

  it.effect("that cannot express an authorization identity are not used with one", () =>
    refused(
      SmtpAuth.password({ ...user, authorizationId: "boss" }),
      [],
      { reason: "NoCommonMechanism" },
      { mechanisms: ["CRAM-MD5", "LOGIN"] }
    )
  )

  it.effect("that compute nothing ask for no computation", () =>
    accepted(
      ann,
      [[plainAnn, "235 ok"]],
      { mechanisms: ["PLAIN"] },
      {
        nonce: Effect.dieMessage("not needed"),
        supports: () => Effect.dieMessage("not needed"),
        compute: () => Effect.dieMessage("not needed")
      }
    )
  )

  it.effect("that need MD5 are passed over where MD5 is forbidden", () =>
    accepted(
      ann,
      [[plainAnn, "235 ok"]],
      { mechanisms: ["CRAM-MD5", "PLAIN"] },
      { ...nodeCrypto, supports: (algorithm) => Effect.succeed(algorithm !== "MD5") }
    )
  )
})

describe("SCRAM", () => {
  const rfc5802 = cryptoWith("fyko+d2lbbFgONRv9qkxdawL")
  const credentials = SmtpAuth.password(user)
  const first = "AUTH SCRAM-SHA-1 biwsbj11c2VyLHI9ZnlrbytkMmxiYkZnT05Sdjlxa3hkYXdM"
  const challenge = `334 ${base64("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")}`
  const proof = base64("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
  const signature = `334 ${base64("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")}`
  const options = { mechanisms: ["SCRAM-SHA-1"] }
  const withPlain = { mechanisms: ["SCRAM-SHA-1", "PLAIN"] }

  it.effect("replays the exchange of RFC 5802 section 5", () =>
    accepted(
      credentials,
      [
        [first, challenge],
        [proof, signature],
        ["", "235 ok"]
      ],
      options,
      rfc5802
    )
  )

  it.effect.each([
    ["at once", [[first, "235 welcome"]]],
    [
      "before its signature",
      [
        [first, challenge],
        [proof, "235 welcome"]
      ]
    ]
  ] as const)("does not believe a server that announces success %s", ([, script]) =>
    refused(credentials, script, { reason: "ServerNotVerified", reply: { code: 235 } }, withPlain, rfc5802)
  )

  it.effect.each(["501 cancelled", "235 welcome", "334 ", undefined])(
    "cancels after a wrong signature and says so, whatever comes: %s",
    (text) =>
      refused(
        credentials,
        [
          [first, challenge],
          [proof, `334 ${base64("v=AAAApqV8S7suAoZWja4dJRkFsKQ=")}`],
          ["*", text]
        ],
        { reason: "ServerNotVerified" },
        withPlain,
        rfc5802
      )
  )

  it.effect("answers the server's error, and reports it with the refusal", () =>
    refused(
      credentials,
      [
        [first, challenge],
        [proof, `334 ${base64("e=invalid-proof")}`],
        ["", "535 5.7.8 no"]
      ],
      { reason: "Rejected", detail: "invalid-proof" },
      options,
      rfc5802
    )
  )

  it.effect("falls back to nothing after a challenge it cannot use", () =>
    refused(
      credentials,
      [
        [first, `334 ${base64("r=other,s=QSXCR+Q6sek8bf92,i=4096")}`],
        ["*", "501 cancelled"]
      ],
      { reason: "Challenge" },
      withPlain,
      rfc5802
    )
  )

  const bound = {
    tls: { verified: true, channelBinding: { type: "tls-exporter", data: Uint8Array.of(1, 2, 3) } }
  } as const

  it.effect("binds to the channel where the server offers it", () =>
    refused(
      credentials,
      [[`AUTH SCRAM-SHA-256-PLUS ${base64("p=tls-exporter,,n=user,r=N")}`, "454 later"]],
      { reason: "Temporary", mechanism: "SCRAM-SHA-256-PLUS" },
      { mechanisms: ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], ...bound },
      cryptoWith("N")
    )
  )

  describe("bound to the channel has worked before", () => {
    const tls = { verified: true, channelBinding: { type: "tls-exporter", data: new Uint8Array(32) } }
    const first = `AUTH SCRAM-SHA-256-PLUS ${base64("p=tls-exporter,,n=ann,r=N")}`

    it.effect("so that its refusal shows no password", () =>
      refused(
        ann,
        [[first, "535 no"]],
        { reason: "Rejected", reply: { code: 535 } },
        { mechanisms: ["SCRAM-SHA-256-PLUS", "PLAIN"], tls, bound: true },
        cryptoWith("N")
      )
    )

    it.effect.each([
      ["the offer", { tls }],
      ["the binding", {}],
      ["TLS", { tls: undefined, allowInsecureAuth: true }]
    ] as const)("so that without %s no password is shown", ([, options]) =>
      refused(
        ann,
        [],
        { reason: "NoCommonMechanism" },
        {
          mechanisms: ["PLAIN", "LOGIN"],
          bound: true,
          ...options
        }
      )
    )

    it.effect("but a program may name mechanisms without it", () =>
      accepted(SmtpAuth.password({ ...ann, mechanisms: ["PLAIN"] }), [[plainAnn, "235 ok"]], {
        bound: true
      })
    )

    it.effect("or else the password goes out by PLAIN after a refusal", () =>
      accepted(
        ann,
        [
          [first, "535 no"],
          [plainAnn, "235 ok"]
        ],
        { mechanisms: ["SCRAM-SHA-256-PLUS", "PLAIN"], tls },
        cryptoWith("N")
      )
    )
  })

  it.effect("says y where it could bind and the server offers no -PLUS (RFC 5802 section 6)", () =>
    refused(
      credentials,
      [[`AUTH SCRAM-SHA-256 ${base64("y,,n=user,r=N")}`, "454 later"]],
      { reason: "Temporary" },
      { mechanisms: ["SCRAM-SHA-256"], ...bound },
      cryptoWith("N")
    )
  )

  it.effect("says n where the server offers -PLUS and there is nothing to bind to", () =>
    refused(
      credentials,
      [[`AUTH SCRAM-SHA-256 ${base64("n,,n=user,r=N")}`, "454 later"]],
      { reason: "Temporary", mechanism: "SCRAM-SHA-256" },
      { mechanisms: ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] },
      cryptoWith("N")
    )
  )

  it.effect("says n where -PLUS is offered in small letters and not wanted", () =>
    refused(
      SmtpAuth.password({ ...user, mechanisms: ["SCRAM-SHA-256"] }),
      [[`AUTH SCRAM-SHA-256 ${base64("n,,n=user,r=N")}`, "454 later"]],
      { reason: "Temporary" },
      { mechanisms: ["scram-sha-256", "scram-sha-256-plus"], ...bound },
      cryptoWith("N")
    )
  )

  it.effect("says n, and not y, where the server offers -PLUS and the program does not want it", () =>
    refused(
      SmtpAuth.password({ ...user, mechanisms: ["SCRAM-SHA-256"] }),
      [[`AUTH SCRAM-SHA-256 ${base64("n,,n=user,r=N")}`, "454 later"]],
      { reason: "Temporary" },
      { mechanisms: ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], ...bound },
      cryptoWith("N")
    )
  )

  it.effect("prepares the user name (RFC 4013)", () =>
    refused(
      SmtpAuth.password({ ...user, username: "\u2168I\u00adX" }),
      [[`AUTH SCRAM-SHA-256 ${base64("n,,n=IXIX,r=N")}`, "454 later"]],
      { reason: "Temporary" },
      { mechanisms: ["SCRAM-SHA-256"] },
      cryptoWith("N")
    )
  )

  it.effect("takes a user name with characters younger than SASLprep, as a query string", () =>
    refused(
      SmtpAuth.password({ ...user, username: "😀" }),
      [[`AUTH SCRAM-SHA-256 ${base64("n,,n=😀,r=N")}`, "454 later"]],
      { reason: "Temporary" },
      { mechanisms: ["SCRAM-SHA-256"] },
      cryptoWith("N")
    )
  )

  it.effect("computes no more iterations than the program allows", () =>
    refused(
      SmtpAuth.password({ ...user, maximumIterations: 5000 }),
      [
        [
          first,
          challenge.replace(/.*/, `334 ${base64("r=fyko+d2lbbFgONRv9qkxdawL3,s=QSXCR+Q6sek8bf92,i=5001")}`)
        ],
        ["*", "501 cancelled"]
      ],
      { reason: "Challenge" },
      options,
      rfc5802
    )
  )

  it.effect("has a new nonce for every exchange", () =>
    Effect.gen(function* () {
      const sent: Array<string> = []
      const answer = (line: string): Reply => {
        sent.push(line)
        return reply("454 later")
      }
      const once = Effect.flip(authenticate(credentials, answer, options))
      yield* once
      yield* once
      expect(new Set(sent).size).toBe(2)
    })
  )
})

describe("bearer tokens", () => {
  const xoauth2 = (token: string) =>
    `AUTH XOAUTH2 ${base64(`user=ann\u0001auth=Bearer ${token}\u0001\u0001`)}`
  const error = `334 ${base64('{"status":"401"}')}`
  const options = { mechanisms: ["XOAUTH2"] }

  /** Gives its tokens in turn, and keeps what it was asked for. */
  const tokens = (all: ReadonlyArray<string>) =>
    Effect.map(Ref.make<ReadonlyArray<boolean>>([]), (asked) => ({
      asked: Ref.get(asked),
      token: ({ refresh }: SmtpAuth.TokenRequest) =>
        Ref.modify(asked, (before) => [Redacted.make(all[before.length] ?? "none"), [...before, refresh]])
    }))

  it.effect("go by OAUTHBEARER where it is offered, with host and port (RFC 7628)", () =>
    accepted(
      SmtpAuth.oauth2({ username: "ann", token: Redacted.make("t") }),
      [
        [
          `AUTH OAUTHBEARER ${base64(
            "n,a=ann,\u0001host=mail.example.com\u0001port=587\u0001auth=Bearer t\u0001\u0001"
          )}`,
          "235 ok"
        ]
      ],
      { mechanisms: ["XOAUTH2", "OAUTHBEARER"] }
    )
  )

  it.effect("are asked for at authentication, without refresh", () =>
    Effect.gen(function* () {
      const { asked, token } = yield* tokens(["token-1"])
      yield* accepted(SmtpAuth.oauth2({ username: "ann", token }), [[xoauth2("token-1"), "235 ok"]], options)
      expect(yield* asked).toEqual([false])
    })
  )

  it.effect("are asked for only when they can be used", () =>
    Effect.gen(function* () {
      const { asked, token } = yield* tokens([])
      yield* refused(SmtpAuth.oauth2({ username: "ann", token }), [], { reason: "NoCommonMechanism" })
      expect(yield* asked).toEqual([])
    })
  )

  it.effect("are refreshed once after the error object is answered, and tried once more", () =>
    Effect.gen(function* () {
      const { asked, token } = yield* tokens(["token-1", "token-2"])
      yield* accepted(
        SmtpAuth.oauth2({ username: "ann", token }),
        [
          [xoauth2("token-1"), error],
          ["", "535 5.7.8 no"],
          [xoauth2("token-2"), "235 ok"]
        ],
        options
      )
      expect(yield* asked).toEqual([false, true])
    })
  )

  it.effect("are not refreshed twice", () =>
    Effect.gen(function* () {
      const { asked, token } = yield* tokens(["token-1", "token-2", "token-3"])
      yield* refused(
        SmtpAuth.oauth2({ username: "ann", token }),
        [
          [xoauth2("token-1"), error],
          ["", "535 5.7.8 no"],
          [xoauth2("token-2"), error],
          ["", "535 5.7.8 no"]
        ],
        { reason: "Rejected", mechanism: "XOAUTH2", detail: '{"status":"401"}' },
        options
      )
      expect(yield* asked).toEqual([false, true])
    })
  )

  it.effect("are not tried again when the refreshed one is the refused one", () =>
    refused(
      SmtpAuth.oauth2({ username: "ann", token: Effect.succeed(Redacted.make("token-1")) }),
      [[xoauth2("token-1"), "535 no"]],
      { reason: "Rejected" },
      options
    )
  )

  it.effect("that are fixed are tried once", () =>
    refused(
      SmtpAuth.oauth2({ username: "ann", token: Redacted.make("token-1") }),
      [
        [xoauth2("token-1"), error],
        ["", "535 no"]
      ],
      { reason: "Rejected" },
      options
    )
  )

  it.effect.each(["454 later", "432 4.7.12 transition"])("are not refreshed after %s", (text) =>
    Effect.gen(function* () {
      const { asked, token } = yield* tokens(["token-1"])
      yield* refused(
        SmtpAuth.oauth2({ username: "ann", token }),
        [
          [xoauth2("token-1"), error],
          ["", text]
        ],
        { reply: { code: Number(text.slice(0, 3)) } },
        options
      )
      expect(yield* asked).toEqual([false])
    })
  )

  it.effect("that cannot be had are AuthenticationError Token, with the program's error as the cause", () =>
    refused(
      SmtpAuth.oauth2({ username: "ann", token: Effect.fail("no network") }),
      [],
      { reason: "Token", cause: "no network" },
      options
    )
  )

  it.effect.each([true, "true", undefined])(
    "that cannot be had say by isTransient whether to try again: %s",
    (isTransient) => {
      const cause = { message: "the endpoint answered 503", isTransient }
      return refused(
        SmtpAuth.oauth2({ username: "ann", token: Effect.fail(cause) }),
        [],
        { reason: isTransient === true ? "TokenUnavailable" : "Token", cause },
        options
      )
    }
  )

  it.effect("that do not come are given up in time, and may come later", () =>
    Effect.gen(function* () {
      const refusal = yield* Effect.fork(
        Effect.uninterruptible(
          refused(
            SmtpAuth.oauth2({ username: "ann", token: Effect.never }),
            [],
            { reason: "TokenUnavailable" },
            { ...options, tokenLimit: Duration.seconds(30) }
          )
        )
      )
      yield* TestClock.adjust(29_999)
      expect(refusal.unsafePoll()).toBe(null)
      yield* TestClock.adjust(1)
      const error = yield* Fiber.join(refusal)
      expect(error?.message).toContain("the effect that gives it took more than 30s (timeouts.auth)")
    })
  )

  it.effect("are asked for with the one that was refused", () =>
    Effect.gen(function* () {
      const refusedTokens: Array<string | undefined> = []
      const token = ({ refused }: SmtpAuth.TokenRequest) =>
        Effect.sync(() => {
          refusedTokens.push(refused === undefined ? undefined : Redacted.value(refused))
          return Redacted.make(`token-${refusedTokens.length}`)
        })
      yield* accepted(
        SmtpAuth.oauth2({ username: "ann", token }),
        [
          [xoauth2("token-1"), "535 no"],
          [xoauth2("token-2"), "235 ok"]
        ],
        options
      )
      expect(refusedTokens).toEqual([undefined, "token-1"])
    })
  )

  it.effect("that are longer than an AUTH line take the two-line form", () => {
    const token = "x".repeat(600)
    return accepted(
      SmtpAuth.oauth2({ username: "ann", token: Redacted.make(token) }),
      [
        ["AUTH XOAUTH2", "334 "],
        [base64(`user=ann\u0001auth=Bearer ${token}\u0001\u0001`), "235 ok"]
      ],
      options
    )
  })

  it.effect("that took the two-line form are not sent a second time to the error object", () => {
    const token = "x".repeat(600)
    return refused(
      SmtpAuth.oauth2({ username: "ann", token: Redacted.make(token) }),
      [
        ["AUTH XOAUTH2", "334 "],
        [base64(`user=ann\u0001auth=Bearer ${token}\u0001\u0001`), error],
        ["", "535 no"]
      ],
      { reason: "Rejected" },
      options
    )
  })

  it.effect("refused by OAUTHBEARER are answered with AQ== first", () =>
    refused(
      SmtpAuth.oauth2({ username: "ann", token: Redacted.make("t"), mechanisms: ["oauthbearer"] }),
      [
        [`AUTH OAUTHBEARER ${base64("n,a=ann,\u0001auth=Bearer t\u0001\u0001")}`, error],
        ["AQ==", "535 no"]
      ],
      { reason: "Rejected" },
      { mechanisms: ["OAUTHBEARER"], endpoint: undefined }
    )
  )
})

describe("a program's own mechanism", () => {
  const options = { mechanisms: ["X-TICKET"] }
  const octets = (text: string) => Redacted.make(new Uint8Array(Buffer.from(text)))
  const responder = {
    initialResponse: octets("ticket"),
    respond: (challenge: Uint8Array) =>
      Effect.succeed(octets(Buffer.from(challenge).toString().toUpperCase()))
  }

  it.effect("gives its initial response and answers challenges, whatever its name's letter case", () =>
    accepted(
      SmtpAuth.mechanism({ name: "x-ticket", begin: Effect.succeed(responder) }),
      [
        [`AUTH X-TICKET ${base64("ticket")}`, `334 ${base64("number?")}`],
        [base64("NUMBER?"), "235 ok"]
      ],
      options
    )
  )

  it.effect("may let the server begin", () =>
    accepted(
      SmtpAuth.mechanism({ name: "X-TICKET", begin: Effect.succeed({ respond: responder.respond }) }),
      [
        ["AUTH X-TICKET", `334 ${base64("go")}`],
        [base64("GO"), "235 ok"]
      ],
      options
    )
  )

  it.effect("is begun anew for every authentication", () =>
    Effect.gen(function* () {
      const begun = yield* Ref.make(0)
      const credentials = SmtpAuth.mechanism({
        name: "X-TICKET",
        begin: Effect.as(
          Ref.update(begun, (count) => count + 1),
          responder
        )
      })
      const script: Script = [[`AUTH X-TICKET ${base64("ticket")}`, "235 ok"]]
      yield* accepted(credentials, script, options)
      yield* accepted(credentials, script, options)
      expect(yield* Ref.get(begun)).toBe(2)
    })
  )

  it.effect("is cancelled when it fails", () =>
    refused(
      SmtpAuth.mechanism({
        name: "X-TICKET",
        begin: Effect.succeed({ ...responder, respond: () => Effect.fail("no ticket") })
      }),
      [
        [`AUTH X-TICKET ${base64("ticket")}`, "334 "],
        ["*", "501 cancelled"]
      ],
      { reason: "Challenge", cause: "no ticket" },
      options
    )
  )

  it.effect("sends nothing when it cannot begin", () =>
    refused(
      SmtpAuth.mechanism({ name: "X-TICKET", begin: Effect.fail("no ticket") }),
      [],
      { reason: "Challenge", cause: "no ticket" },
      options
    )
  )

  it.effect("is cancelled when its response fits no line (RFC 4954 section 4)", () =>
    refused(
      SmtpAuth.mechanism({
        name: "X-TICKET",
        begin: Effect.succeed({ ...responder, respond: () => Effect.succeed(octets("x".repeat(9300))) })
      }),
      [
        [`AUTH X-TICKET ${base64("ticket")}`, "334 "],
        ["*", "501 cancelled"]
      ],
      { reason: "Challenge" },
      options
    )
  )

  it.effect.each([
    ["says no", Effect.succeed(false)],
    ["fails", Effect.fail("no proof")]
  ] as const)("does not believe success when its own check %s", ([, verified]) =>
    refused(
      SmtpAuth.mechanism({ name: "X-TICKET", begin: Effect.succeed({ ...responder, verified }) }),
      [[`AUTH X-TICKET ${base64("ticket")}`, "235 ok"]],
      { reason: "ServerNotVerified" },
      options
    )
  )
})
