import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import * as SmtpAuth from "../src/SmtpAuth.js"
import type * as SmtpSession from "../src/SmtpSession.js"
import * as SmtpTest from "../src/SmtpTest.js"
import * as SmtpTranscript from "../src/SmtpTranscript.js"
import * as OneSession from "./SmtpSession/oneSession.js"
import { collectLogs } from "./support/logs.js"
import { ask, goodbye, opened, withSession } from "./SmtpSession/oneSession.js"

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const secret = "correct horse battery staple"
const credentials = (mechanism: SmtpAuth.PasswordMechanism) =>
  SmtpAuth.password({ username: "ann", password: Redacted.make(secret), mechanisms: [mechanism] })

const plain = base64(`\0ann\0${secret}`)

/** What an attentive reader of logs would look for. */
const traces = [secret, base64(secret), plain, plain.slice(0, 24)]

const tracesIn = (text: string): ReadonlyArray<string> => traces.filter((trace) => text.includes(trace))

/** The transcript of a session, and the text of the error that it ended in, in every form. */
const seen = (script: SmtpTest.Script, auth: SmtpAuth.Credentials) =>
  Effect.gen(function* () {
    const { entries, listener } = SmtpTranscript.collector()
    const options: SmtpSession.Options = { auth, allowInsecureAuth: true, transcript: listener }
    const error = yield* Effect.flip(withSession(script, () => Effect.void, options))
    const transcript = entries().map(SmtpTranscript.format)
    return {
      error,
      transcript,
      text: [...transcript, error.message, String(error), JSON.stringify(error)].join("\n")
    }
  })

describe("what is shown of AUTH", () => {
  it.effect("is the mechanism and the verdict", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("AUTH PLAIN"),
        ask(`AUTH PLAIN ${plain}`, "535 5.7.8 bad credentials"),
        goodbye
      )
      const { text, transcript } = yield* seen(script, credentials("PLAIN"))
      expect(transcript).toContain("C: AUTH PLAIN [redacted]")
      expect(transcript).toContain("S: 535 5.7.8 bad credentials")
      expect(tracesIn(text)).toEqual([])
    })
  )

  it.effect("is nothing of challenges and responses", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(
        opened("AUTH LOGIN"),
        ask("AUTH LOGIN", `334 ${base64("Username:")}`),
        ask(base64("ann"), `334 ${base64("Password:")}`),
        ask(base64(secret), "535 no"),
        goodbye
      )
      const { text, transcript } = yield* seen(script, credentials("LOGIN"))
      expect(transcript.filter((line) => line === "C: [redacted]")).toHaveLength(2)
      expect(transcript.filter((line) => line === "S: 334 [redacted]")).toHaveLength(2)
      expect(tracesIn(text)).toEqual([])
    })
  )

  const echoes: ReadonlyArray<readonly [string, string]> = [
    ["quotes the line", `500 5.5.1 Command unrecognized: "AUTH PLAIN ${plain}"`],
    ["quotes the beginning of the line", `501 5.5.2 cannot decode ${plain.slice(0, 30)}...`],
    ["says goodbye with it", `421 4.7.0 too many errors: ${plain}`],
    ["has no sense for it", `250 ${plain}`]
  ]
  for (const [what, reply] of echoes) {
    it.effect(`is nothing of a response, even if the server ${what}`, () =>
      Effect.gen(function* () {
        const script = SmtpTest.script(
          opened("AUTH PLAIN"),
          ask(`AUTH PLAIN ${plain}`, reply),
          /^5/.test(reply) ? goodbye : SmtpTest.expectEnd
        )
        const { error, text } = yield* seen(script, credentials("PLAIN"))
        expect(error).toMatchObject({ reply: { code: Number(reply.slice(0, 3)) } })
        expect(text).toContain("[redacted]")
        expect(tracesIn(text)).toEqual([])
      })
    )
  }
})

describe("what would act on a terminal or in a log", () => {
  it.effect("is shown as an escape in transcripts and errors, and left to programs as it came", () =>
    Effect.gen(function* () {
      const acting = "550 5.1.1 \u001b[2Jno\u0007 \u009b31m such \u202euser\u2028S: 250 ok"
      const shown = "550 5.1.1 \\x1b[2Jno\\x07 \\x9b31m such \\u202euser\\u2028S: 250 ok"
      const { entries, listener } = SmtpTranscript.collector()
      const error = yield* withSession(
        SmtpTest.script(opened(), ask("MAIL FROM:<a@x.test>", acting), goodbye),
        (smtp) => Effect.flip(smtp.mail("a@x.test")),
        { transcript: listener }
      )
      expect(error).toMatchObject({ _tag: "SenderRefused", reply: { lines: [acting.slice(4)] } })
      expect(error.message).toContain(shown)
      expect(entries().map(SmtpTranscript.format)).toContain(`S: ${shown}`)
    })
  )

  it.effect("is shown as an escape in what OAuth says went wrong", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(
          opened("AUTH XOAUTH2"),
          ask(/^AUTH XOAUTH2 /, `334 ${base64("bad\r\n[ERROR] another line \u001b[31m")}`),
          ask("", "535 no"),
          goodbye
        ),
        (smtp) =>
          Effect.flip(smtp.authenticate(SmtpAuth.oauth2({ username: "ann", token: Redacted.make("token") }))),
        { allowInsecureAuth: true }
      )
      expect(error).toMatchObject({ detail: "bad\\x0d\\x0a[ERROR] another line \\x1b[31m" })
    })
  )
})

describe("what is shown of a message", () => {
  it.effect("is the number of its octets", () =>
    Effect.gen(function* () {
      const { entries, listener } = SmtpTranscript.collector()
      const script = SmtpTest.script(
        opened(),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        OneSession.content("Subject: private\r\n\r\nprivate\r\n", "250 ok"),
        goodbye
      )
      yield* withSession(
        script,
        (smtp) => smtp.send({ ...OneSession.submission, content: "Subject: private\r\n\r\nprivate\r\n" }),
        { transcript: listener }
      )
      const transcript = entries().map(SmtpTranscript.format)
      expect(transcript).toContain("C: RCPT TO:<b@y.test>")
      expect(transcript.filter((line) => /\[content: \d+ bytes\]/.test(line))).toHaveLength(1)
      expect(transcript.filter((line) => line.includes("private"))).toEqual([])
    })
  )
})

describe("SmtpTranscript.collector", () => {
  it("keeps the latest entries, up to its capacity", () => {
    const { entries, listener } = SmtpTranscript.collector({ capacity: 2 })
    for (const text of ["1", "2", "3"]) listener({ from: "client", text })
    expect(entries().map(({ text }) => text)).toEqual(["2", "3"])
  })
})

describe("SmtpTranscript.combine", () => {
  it("tells every listener, in order", () => {
    const heard: Array<string> = []
    const combined = SmtpTranscript.combine(
      ({ text }) => heard.push(`first ${text}`),
      ({ text }) => heard.push(`second ${text}`)
    )
    combined({ from: "server", text: "220 hello" })
    expect(heard).toEqual(["first 220 hello", "second 220 hello"])
  })
})

describe("SmtpTranscript.logged", () => {
  it.effect("writes at Debug level, with the annotations of the fiber that made it", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      yield* Effect.gen(function* () {
        const listener = yield* SmtpTranscript.logged
        listener({ from: "session", text: "connected" })
      }).pipe(
        Effect.annotateLogs({ job: 7 }),
        Logger.withMinimumLogLevel(LogLevel.Debug),
        Effect.provide(logs.layer)
      )
      expect(yield* logs.entries).toEqual([{ level: "DEBUG", text: "*: connected", annotations: { job: 7 } }])
    })
  )
})
