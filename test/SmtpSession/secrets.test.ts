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
import { clientName, greet, meet } from "./meeting.js"
import { scramServer } from "./scram.js"

const { expect: says, reply, script } = SmtpTest

const username = "app@example.test"
const secret = "correct-horse-battery"
const base64 = (text: string): string => Buffer.from(text).toString("base64")

const password = (mechanism: SmtpAuth.PasswordMechanism) =>
  SmtpAuth.password({ username, password: Redacted.make(secret), mechanisms: [mechanism] })

const token = (mechanism: SmtpAuth.OAuth2Mechanism) =>
  SmtpAuth.oauth2({ username, token: Redacted.make(secret), mechanisms: [mechanism] })

const octets = (text: string) => Redacted.make(new TextEncoder().encode(text))

const credentials: Readonly<Record<string, SmtpAuth.Credentials>> = {
  PLAIN: password("PLAIN"),
  LOGIN: password("LOGIN"),
  "CRAM-MD5": password("CRAM-MD5"),
  "SCRAM-SHA-256": password("SCRAM-SHA-256"),
  XOAUTH2: token("XOAUTH2"),
  OAUTHBEARER: token("OAUTHBEARER"),
  "X-OWN": SmtpAuth.mechanism({
    name: "X-OWN",
    begin: Effect.succeed({ initialResponse: octets(secret), respond: () => Effect.succeed(octets(secret)) })
  })
}

const prompt = reply(`334 ${base64("<1.2@mx.test>")}`)

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
  "repeats the line where no reply may": [(line) => reply(`250 ${line}`)]
}

const hello = (mechanism: string) =>
  script(says(`EHLO ${clientName}`), reply("250-mx.test", `250 AUTH ${mechanism}`))

const answering = (mechanism: string, answers: ReadonlyArray<(line: string) => SmtpTest.Script>) => {
  const rest = [...answers]
  const next = (line: string) => rest.shift()?.(line) ?? reply("501 no more")
  const commands = { NOOP: reply("250 ok"), QUIT: script(reply("221 bye"), SmtpTest.close) }
  return script(greet, hello(mechanism), SmtpTest.repeat(SmtpTest.branch(commands, next)))
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
    .filter(
      (word) => word.length >= 8 && word !== "OAUTHBEARER" && word !== "SCRAM-SHA-256" && word !== "CRAM-MD5"
    )

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
        ...options,
        tls: "none",
        allowInsecureAuth: true,
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
    const met = yield* meet(
      () => server,
      {},
      (options) => printed(options, auth)
    )
    expect(met.result._tag).toBe("Right")
    if (met.result._tag === "Left") return
    const { entries, logged, texts } = met.result.right
    expect(entries).toBeGreaterThan(3)
    expect(logged).toBe(entries)
    const all = texts.join("\n")
    // The user name is no secret where a program prints its own credentials.
    const forms = [...formsOf(secret), ...responsesIn(met.received)]
    expect(met.received).toContain("AUTH ")
    expect(forms.filter((form) => all.includes(form))).toEqual([])
  })

for (const mechanism of Object.keys(credentials)) {
  describe(`neither the secret of ${mechanism} nor a line of its exchange is printed when the server`, () => {
    for (const [what, answers] of Object.entries(servers)) {
      it.live(what, () => hidesSecrets(mechanism, answering(mechanism, answers)))
    }
  })
}

describe("neither the password of SCRAM-SHA-256 nor a line of its exchange is printed when the server", () => {
  for (const [what, signature] of [
    ["proves itself", undefined],
    ["does not prove itself", base64("x".repeat(32))]
  ] as const) {
    it.live(what, () => {
      const server = scramServer({ mechanism: "SCRAM-SHA-256", password: secret, signature }, () =>
        script(
          SmtpTest.branch({ "*": reply("501 cancelled") }, reply("235 welcome")),
          SmtpTest.repeat(SmtpTest.branch({ NOOP: reply("250 ok"), QUIT: reply("221 bye") }))
        )
      )
      return hidesSecrets("SCRAM-SHA-256", script(greet, hello("SCRAM-SHA-256"), server.script))
    })
  }
})

describe("a secret that cannot be used", () => {
  for (const [what, value] of [
    ["a line break", `${secret}\r\n`],
    ["a NUL", `${secret}\0`],
    ["too many octets", secret.repeat(100)]
  ] as const) {
    it.live(`is not printed in the error that says so: ${what}`, () =>
      Effect.gen(function* () {
        const met = yield* meet(
          () => script(greet, hello("PLAIN XOAUTH2"), says("QUIT"), reply("221 bye")),
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
      const met = yield* meet(
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
