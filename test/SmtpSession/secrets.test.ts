import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as SmtpTranscript from "../../src/SmtpTranscript.js"
import * as Certificates from "../servers/certificates.js"
import { collectLogs } from "../support/logs.js"
import { scramServer } from "./scram.js"
import { clientName, greeting } from "./oneSession.js"
import { overTcp, serverTls } from "./overTcp.js"

const { expect: says, reply, script } = SmtpTest

const username = "app@example.test"
const secret = "correct-horse-battery"
const base64 = (text: string): string => Buffer.from(text).toString("base64")

const password = (mechanism: SmtpAuth.PasswordMechanism) =>
  SmtpAuth.password({ username, password: Redacted.make(secret), mechanisms: [mechanism] })

const token = (mechanism: SmtpAuth.OAuth2Mechanism) =>
  SmtpAuth.oauth2({ username, token: Redacted.make(secret), mechanisms: [mechanism] })

const scramMechanisms = [
  "SCRAM-SHA-1",
  "SCRAM-SHA-256",
  "SCRAM-SHA-512",
  "SCRAM-SHA-1-PLUS",
  "SCRAM-SHA-256-PLUS",
  "SCRAM-SHA-512-PLUS"
] as const

const octets = (text: string) => Redacted.make(new TextEncoder().encode(text))

const credentials: Readonly<Record<string, SmtpAuth.Credentials>> = {
  PLAIN: password("PLAIN"),
  LOGIN: password("LOGIN"),
  "CRAM-MD5": password("CRAM-MD5"),
  ...Object.fromEntries(scramMechanisms.map((mechanism) => [mechanism, password(mechanism)])),
  XOAUTH2: token("XOAUTH2"),
  OAUTHBEARER: token("OAUTHBEARER"),
  EXTERNAL: SmtpAuth.external({ authorizationId: username }),
  ANONYMOUS: SmtpAuth.anonymous({ trace: username }),
  "X-OWN": SmtpAuth.mechanism({
    name: "X-OWN",
    begin: Effect.succeed({ initialResponse: octets(secret), respond: () => Effect.succeed(octets(secret)) })
  })
}

const challenge = base64("<1.2@mx.test>")

const prompt = reply(`334 ${challenge}`)

/** What the server says to each line of AUTH in turn; whatever comes after them is refused. */
const servers: Readonly<Record<string, ReadonlyArray<(line: string) => SmtpTest.Script>>> = {
  "accepts at once": [() => reply("235 welcome")],
  "accepts after a challenge": [() => prompt, () => reply("235 welcome")],
  "accepts after two challenges": [() => prompt, () => prompt, () => reply("235 welcome")],
  "refuses at once": [() => reply("535 5.7.8 wrong")],
  "refuses after a challenge": [() => prompt, () => reply("535 5.7.8 wrong")],
  "refuses after two challenges": [() => prompt, () => prompt, () => reply("535 5.7.8 wrong")],
  "cannot decide": [() => prompt, () => reply("454 later")],
  "says goodbye": [() => prompt, () => script(reply("421 4.3.2 shutting down"), SmtpTest.close)],
  "says goodbye and repeats the line": [(line) => script(reply(`421 after ${line}`), SmtpTest.close)],
  leaves: [() => prompt, () => SmtpTest.close],
  resets: [() => prompt, () => SmtpTest.reset],
  "never answers": [() => prompt, () => SmtpTest.silence],
  "asks what is not base64": [() => reply("334 what?!")],
  "answers what has no place there": [() => reply("354 go ahead")],
  "breaks the protocol": [() => prompt, () => reply("what?")],
  "breaks the protocol and repeats the line": [(line) => reply(`what is ${line}`)],
  "repeats the line": [(line) => reply(`500 5.5.2 unknown command: "${line}"`)],
  "repeats the response": [() => prompt, (line) => reply(`535-no`, `535 ${line} is wrong`)],
  "repeats the second response": [() => prompt, () => prompt, (line) => reply(`535 ${line} is wrong`)],
  "repeats the line where no reply may": [(line) => reply(`250 ${line}`)],
  "repeats the response in groups": [() => prompt, (line) => reply(`535 ${groupsOf(5, line)} is wrong`)],
  "repeats the response to the cancellation": [(line) => reply(`334 ?${line}`), () => reply("501 what")],
  "asks again instead of being cancelled": [() => reply("334 ?"), () => prompt],
  "explains itself with what it was told": [
    (line) => reply(`334 ${base64(JSON.stringify({ status: "400", said: line, decoded: decodedOf(line) }))}`),
    (line) => reply(`535 5.7.8 ${line}`)
  ]
}

/** What the server says to the NOOP behind AUTH, of the lines of AUTH. */
const later: Readonly<Record<string, (lines: ReadonlyArray<string>) => SmtpTest.Script>> = {
  "repeats the lines in a later reply": (lines) => reply(...multiline(250, lines)),
  "repeats the lines in a later refusal": (lines) => reply(...multiline(502, lines)),
  "repeats the lines decoded": (lines) => reply(...multiline(502, lines.map(decodedOf))),
  "repeats the lines in groups": (lines) =>
    reply(
      ...multiline(
        502,
        lines.map((line) => groupsOf(7, line))
      )
    ),
  "repeats the lines in its goodbye": (lines) =>
    script(reply(...multiline(421, ["last commands:", ...lines])), SmtpTest.close),
  "repeats the lines in a reply too many": (lines) =>
    script(reply("250 ok"), SmtpTest.inject(`250 ${lines.join(", ")}\r\n`), SmtpTest.expectEnd),
  "repeats the lines in a goodbye that nobody asked for": (lines) =>
    script(reply("250 ok"), SmtpTest.inject(`421 ${lines.join(", ")}\r\n`), SmtpTest.close)
}

const multiline = (code: number, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.map((line, index) => `${code}${index < lines.length - 1 ? "-" : " "}${line}`)

const groupsOf = (size: number, line: string): string =>
  Array.from({ length: Math.ceil(line.length / size) }, (_, index) =>
    line.slice(index * size, (index + 1) * size)
  ).join(" ")

const decodedOf = (line: string): string =>
  line
    .split(" ")
    .map((word) =>
      Buffer.from(word, "base64")
        .toString()
        .replaceAll(/[\r\n]/g, "")
    )
    .join(" ")

const hello = (mechanism: string) =>
  script(says(`EHLO ${clientName}`), reply("250-mx.test", `250 AUTH ${mechanism}`))

const answering = (mechanism: string, answers: ReadonlyArray<(line: string) => SmtpTest.Script>) => {
  const rest = [...answers]
  const next = (line: string) => rest.shift()?.(line) ?? reply("501 no more")
  const commands = { NOOP: reply("250 ok"), QUIT: script(reply("221 bye"), SmtpTest.close) }
  return script(greeting, hello(mechanism), SmtpTest.repeat(SmtpTest.branch(commands, next)))
}

/** A server that accepts what it has asked for, and has to say something to the NOOP behind it. */
const repeating = (mechanism: string, then: (lines: ReadonlyArray<string>) => SmtpTest.Script) => {
  const lines: Array<string> = []
  const next = (line: string) => {
    lines.push(line)
    return lines.length < (mechanism === "LOGIN" ? 3 : 2) ? prompt : reply("235 welcome")
  }
  const commands = { NOOP: () => then(lines), QUIT: script(reply("221 bye"), SmtpTest.close) }
  return script(greeting, hello(mechanism), SmtpTest.repeat(SmtpTest.branch(commands, next)))
}

/** The secret in every form that a line may show: itself, in base64 at every alignment, in hexadecimal. */
const formsOf = (value: string): ReadonlyArray<string> => {
  const shifted = [0, 1, 2].map((shift) => {
    const text = base64("x".repeat(shift) + value)
    return text.slice(shift === 0 ? 0 : 4, -4)
  })
  return [value, encodeURIComponent(value), Buffer.from(value).toString("hex"), base64(value), ...shifted]
}

/** The responses on the wire: whatever the client sent within AUTH. */
const responsesIn = (received: string): ReadonlyArray<string> =>
  received
    .split("\r\n")
    .filter((line) => !/^(?:EHLO|NOOP|QUIT)/.test(line))
    .flatMap((line) => line.split(" "))
    .filter((word) => word.length >= 8 && credentials[word] === undefined)

const print = (value: unknown): ReadonlyArray<string> => [
  String(value),
  inspect(value, { depth: Infinity, showHidden: true, getters: true, maxStringLength: null }),
  JSON.stringify([value]),
  Inspectable.toStringUnknown(value),
  Inspectable.format(value),
  ...(value instanceof Error ? [value.message, value.stack ?? "", String(value.cause)] : [])
]

const printExit = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> =>
  Exit.match(exit, {
    onSuccess: print,
    onFailure: (cause) => [
      ...print(cause),
      Cause.pretty(cause),
      Cause.pretty(cause, { renderErrorCause: true }),
      ...[...Cause.failures(cause)].flatMap(print),
      ...Cause.prettyErrors(cause).flatMap(print)
    ]
  })

/** Everything that can be printed of a session that authenticates and goes on as far as it can. */
const printed = (options: SmtpSession.Options, auth: SmtpAuth.Credentials) =>
  Effect.gen(function* () {
    const logs = yield* collectLogs
    const collector = SmtpTranscript.collector()
    const texts: Array<string> = [...print(auth), ...print(options)]
    const program = Effect.gen(function* () {
      const logged = yield* SmtpTranscript.logged
      const session = yield* SmtpSession.connect({
        tls: "none",
        allowInsecureAuth: true,
        ...options,
        auth,
        timeouts: { auth: "50 millis" },
        transcript: SmtpTranscript.combine(collector.listener, logged)
      })
      texts.push(...printExit(yield* Effect.exit(session.authenticate(auth))))
      texts.push(...printExit(yield* Effect.exit(session.noop)))
      texts.push(...print(session))
      if ((yield* session.state) === "Closed") texts.push(...print(yield* session.awaitClosed))
    }).pipe(
      Effect.scoped,
      Effect.tapErrorCause((cause) => Effect.logError("failed", cause)),
      Effect.provide(Layer.merge(logs.layer, Logger.minimumLogLevel(LogLevel.All)))
    )
    yield* program
    texts.push(...collector.entries().map(SmtpTranscript.format))
    texts.push(...(yield* logs.entries).flatMap(print))
    texts.push(...print(yield* Metric.snapshot))
    return { texts, entries: collector.entries().length, logged: (yield* logs.entries).length }
  })

const hidesSecrets = (mechanism: string, server: SmtpTest.Script) =>
  Effect.gen(function* () {
    const auth = credentials[mechanism]
    if (auth === undefined) return yield* Effect.dieMessage(`no credentials for ${mechanism}`)
    const bound = mechanism.endsWith("-PLUS")
    const met = yield* overTcp(
      () => (bound ? script(SmtpTest.upgrade, server) : server),
      bound ? serverTls(yield* Certificates.makeSelfSigned()) : {},
      (options) =>
        printed(bound ? { ...options, tls: "implicit", tlsOptions: { verify: false } } : options, auth)
    )
    expect(met.result._tag).toBe("Right")
    if (met.result._tag === "Left") return
    const { entries, logged, texts } = met.result.right
    expect(entries).toBeGreaterThan(3)
    expect(logged).toBe(entries)
    const all = texts.join("\n")
    const ungrouped = all.replaceAll(" ", "")
    // The user name is no secret where a program prints its own credentials.
    const forms = [...formsOf(secret), ...responsesIn(met.received), challenge]
    expect(met.received).toContain("AUTH ")
    expect(forms.filter((form) => all.includes(form) || ungrouped.includes(form))).toEqual([])
  })

/** One mechanism for each way in which a secret is in its lines: all of it in one or in two, hashed, proven, as a token. */
const kinds = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "X-OWN"]

/** Where the lines of any mechanism could come to light: one place for each way there. */
const places = [
  "says goodbye and repeats the line",
  "breaks the protocol and repeats the line",
  "repeats the second response",
  "explains itself with what it was told",
  "repeats the lines in a later refusal"
]

for (const mechanism of Object.keys(credentials)) {
  const isChosen = (what: string): boolean => kinds.includes(mechanism) || places.includes(what)
  describe(`neither the secret of ${mechanism} nor a line of its exchange is printed when the server`, () => {
    for (const [what, answers] of Object.entries(servers)) {
      if (isChosen(what)) it.live(what, () => hidesSecrets(mechanism, answering(mechanism, answers)))
    }
    for (const [what, then] of Object.entries(later)) {
      if (isChosen(what)) it.live(what, () => hidesSecrets(mechanism, repeating(mechanism, then)))
    }
  })
}

for (const mechanism of scramMechanisms) {
  describe(`neither the password of ${mechanism} nor a line of its exchange is printed when the server`, () => {
    for (const [what, signature] of [
      ["proves itself", undefined],
      ["does not prove itself", base64("x".repeat(32))]
    ] as const) {
      it.live(what, () => {
        const server = scramServer({ mechanism, password: secret, signature }, () =>
          script(
            SmtpTest.branch({ "*": reply("501 cancelled") }, reply("235 welcome")),
            SmtpTest.repeat(SmtpTest.branch({ NOOP: reply("250 ok"), QUIT: reply("221 bye") }))
          )
        )
        return hidesSecrets(mechanism, script(greeting, hello(mechanism), server.script))
      })
    }
  })
}

describe("a secret that cannot be used", () => {
  for (const [what, value] of [
    ["a line break", `${secret}\r\n`],
    ["a NUL", `${secret}\0`],
    ["too many octets", secret.repeat(100)]
  ] as const) {
    it.live(`is not printed in the error that says so: ${what}`, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(
          () => script(greeting, hello("PLAIN XOAUTH2"), says("QUIT"), reply("221 bye")),
          {},
          (options) =>
            Effect.gen(function* () {
              const session = yield* SmtpSession.make({ ...options, tls: "none", allowInsecureAuth: true })
              const asPassword = SmtpAuth.password({ username, password: Redacted.make(value) })
              const asToken = SmtpAuth.oauth2({ username, token: Redacted.make(value) })
              return [
                yield* Effect.exit(session.authenticate(asPassword)),
                yield* Effect.exit(session.authenticate(asToken))
              ]
            })
        )
        const exits = met.result._tag === "Right" ? met.result.right : []
        expect(exits.map(Exit.isFailure)[0]).toBe(true)
        const all = exits.flatMap(printExit).join("\n")
        expect(formsOf(secret).filter((form) => all.includes(form))).toEqual([])
      })
    )
  }
})

describe("the private key and its passphrase", () => {
  it.live("are not printed in the error of TLS options that cannot be used", () =>
    Effect.gen(function* () {
      const client = yield* Certificates.makeSelfSigned()
      const key = `-----BEGIN PRIVATE KEY-----\n${base64(secret)}\n-----END PRIVATE KEY-----\n`
      const tlsOptions = {
        cert: client.certificate,
        key: Redacted.make(key),
        passphrase: Redacted.make(secret)
      }
      const met = yield* overTcp(
        () => SmtpTest.silence,
        {},
        (options) =>
          Effect.map(Effect.exit(SmtpSession.make({ ...options, tls: "implicit", tlsOptions })), printExit)
      )
      const texts = met.result._tag === "Right" ? met.result.right : []
      const all = [...texts, ...print(tlsOptions)].join("\n")
      expect(all).toContain("TlsError")
      expect(formsOf(secret).filter((form) => all.includes(form))).toEqual([])
    })
  )
})
