import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as MetricKeyType from "effect/MetricKeyType"
import * as MetricState from "effect/MetricState"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { collector, told } from "../support/tracing.js"
import { ask, content, goodbye, message, opened, outcomes, submission, withSession } from "./oneSession.js"

const { expectContent, expectGroup, reply, script } = SmtpTest

const group = expectGroup(/^MAIL FROM:<a@x.test>/, "RCPT TO:<b@y.test>", "DATA")

const accepted = script(
  group,
  reply("250 ok"),
  reply("250 ok"),
  reply("354 go"),
  content(message, "250 2.0.0 queued as A1B2C3D4")
)

describe("spans, where somebody traces", () => {
  it.effect("are one for the send and one for each command, from its line to its reply", () =>
    Effect.gen(function* () {
      const seen = collector()
      yield* withSession(script(opened("PIPELINING"), accepted, ask("NOOP", "250 ok"), goodbye), (smtp) =>
        Effect.withTracer(Effect.zipRight(smtp.send(submission), smtp.noop), seen.tracer)
      )
      expect(told(seen)).toEqual([
        "SMTP send well",
        "SMTP MAIL in SMTP send 250 well",
        "SMTP RCPT in SMTP send 250 well",
        "SMTP DATA in SMTP send 250 well",
        "SMTP NOOP 250 well"
      ])
      expect(Object.fromEntries(seen.spans[0]?.attributes ?? [])).toMatchObject({
        "network.protocol.name": "smtp",
        "server.address": "mx.test",
        "server.port": 25,
        "smtp.recipients": 1,
        "smtp.recipients.accepted": 1,
        "smtp.queue_id": "A1B2C3D4",
        "smtp.message.octets": message.length
      })
    })
  )

  it.effect("are one for each message of a stream", () =>
    Effect.gen(function* () {
      const seen = collector()
      const pieces = script(opened("PIPELINING"), accepted, accepted, goodbye)
      yield* withSession(pieces, (smtp) =>
        smtp
          .sendAll(Stream.make({ key: 1, submission }, { key: 2, submission }))
          .pipe(Effect.flatMap(Stream.runDrain), Effect.withSpan("mailing"), Effect.withTracer(seen.tracer))
      )
      const commands = ["MAIL", "RCPT", "DATA"].map((verb) => `SMTP ${verb} in SMTP send 250 well`)
      expect([...told(seen)].sort()).toEqual(
        [
          "mailing well",
          "SMTP send in mailing well",
          "SMTP send in mailing well",
          ...commands,
          ...commands
        ].sort()
      )
    })
  )

  it.effect("of what was refused, and of what no reply came to, say so", () =>
    Effect.gen(function* () {
      const seen = collector()
      const pieces = script(
        opened("PIPELINING"),
        group,
        reply("250 ok"),
        reply("550 5.1.1 no such user"),
        SmtpTest.close
      )
      yield* withSession(pieces, (smtp) => Effect.withTracer(smtp.deliver(submission), seen.tracer))
      expect(told(seen)).toEqual([
        "SMTP send well",
        "SMTP MAIL in SMTP send 250 well",
        "SMTP RCPT in SMTP send 550 well",
        "SMTP DATA in SMTP send badly"
      ])
      expect(seen.spans[2]?.attributes.get("smtp.reply.enhanced_code")).toBe("5.1.1")
    })
  )

  it.effect("cost no mail when the tracer throws", () =>
    Effect.gen(function* () {
      const seen = collector()
      const tracer = Tracer.make({
        ...seen.tracer,
        span: (...given) => {
          const [name] = given
          if (name === "SMTP RCPT") throw new Error("the tracer is broken")
          return seen.tracer.span(...given)
        }
      })
      const pieces = script(opened("PIPELINING"), accepted, accepted, goodbye)
      const receipts = yield* withSession(pieces, (smtp) =>
        Effect.withTracer(Effect.all([smtp.send(submission), smtp.send(submission)]), tracer)
      )
      expect(receipts.flatMap(outcomes)).toEqual(Array(2).fill("b@y.test Accepted 250"))
    })
  )

  it.effect("of AUTH are one for each line, and hold nothing of it", () =>
    Effect.gen(function* () {
      const seen = collector()
      const login = script(
        ask("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        ask("YXBw", "334 UGFzc3dvcmQ6"),
        ask("c2VjcmV0", "235 ok")
      )
      yield* withSession(
        script(opened("AUTH LOGIN"), login, goodbye),
        (smtp) =>
          Effect.withTracer(
            smtp.authenticate(SmtpAuth.password({ username: "app", password: Redacted.make("secret") })),
            seen.tracer
          ),
        { allowInsecureAuth: true }
      )
      expect(told(seen)).toEqual(["SMTP AUTH 334 well", "SMTP AUTH 334 well", "SMTP AUTH 235 well"])
      const all = JSON.stringify(seen.spans.map(({ attributes }) => [...attributes]))
      expect(all).not.toMatch(/secret|c2VjcmV0|YXBw/)
    })
  )

  it.effect("are not made where only Effect's own tracer is there", () =>
    withSession(script(opened("PIPELINING"), accepted, goodbye), (smtp) =>
      Effect.gen(function* () {
        let children = 0
        const parent = yield* Effect.makeSpan("parent")
        const counted: Tracer.Span = new Proxy(parent, {
          get: (target, key, receiver) => {
            if (key === "spanId") children++
            const value: unknown = Reflect.get(target, key, receiver)
            return value
          }
        })
        yield* Effect.withParentSpan(smtp.send(submission), counted)
        expect(children).toBe(0)
      })
    )
  )
})

const counterOf = (name: string, tag: string, value: string): Effect.Effect<number> =>
  Effect.map(Metric.snapshot, (pairs) => {
    const pair = [...pairs].find(
      ({ metricKey }) =>
        metricKey.name === name && metricKey.tags.some((label) => label.key === tag && label.value === value)
    )
    return pair !== undefined && MetricState.isCounterState(pair.metricState)
      ? Number(pair.metricState.count)
      : 0
  })

const observationsOf = (phase: string): Effect.Effect<number> =>
  Effect.map(Metric.snapshot, (pairs) => {
    const pair = [...pairs].find(
      ({ metricKey }) =>
        metricKey.name === "smtp.client.reply.duration" &&
        MetricKeyType.isHistogramKey(metricKey.keyType) &&
        metricKey.tags.some(({ value }) => value === phase)
    )
    return pair !== undefined && MetricState.isHistogramState(pair.metricState) ? pair.metricState.count : 0
  })

describe("metrics", () => {
  it.effect("count recipients by outcome, replies by code, and the time of replies by phase", () =>
    Effect.gen(function* () {
      const read = Effect.all({
        accepted: counterOf("smtp.client.recipients", "outcome", "accepted"),
        refused: counterOf("smtp.client.recipients", "outcome", "refused"),
        code: counterOf("smtp.client.replies", "smtp.reply.code", "559"),
        final: observationsOf("final")
      })
      const before = yield* read
      const pieces = script(
        opened("PIPELINING"),
        expectGroup(/^MAIL/, "RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>", "DATA"),
        reply("250 ok"),
        reply("250 ok"),
        reply("559 odd"),
        reply("354 go"),
        expectContent(message),
        reply("250 ok"),
        goodbye
      )
      yield* withSession(pieces, (smtp) => smtp.send({ ...submission, to: ["b@y.test", "c@y.test"] }))
      const after = yield* read
      expect(after.accepted - before.accepted).toBe(1)
      expect(after.refused - before.refused).toBe(1)
      expect(after.code - before.code).toBe(1)
      expect(after.final - before.final).toBe(1)
    })
  )
})

describe("a message in doubt", () => {
  it.effect("is logged as a warning, with its envelope id and its Message-ID, and without addresses", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ annotations, logLevel, message }) => {
        lines.push(
          `${logLevel.label} ${String(message)} ${JSON.stringify([...HashMap.toEntries(annotations)])}`
        )
      })
      const text = "Message-ID:\r\n <one@x.test>\r\nSubject: hi\r\n\r\nhello\r\n"
      const pieces = script(
        opened("PIPELINING", "DSN"),
        expectGroup(/^MAIL/, /^RCPT/, "DATA"),
        reply("250 ok"),
        reply("250 ok"),
        reply("354 go"),
        expectContent(text),
        SmtpTest.close
      )
      yield* withSession(pieces, (smtp) =>
        smtp.deliver({ ...submission, content: text, parameters: { envelopeId: "env-1" } })
      ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      const [line] = lines.filter((each) => each.includes("unknown whether"))
      expect(line).toMatch(/^WARN/)
      expect(line).toContain("<one@x.test>")
      expect(line).toContain("env-1")
      expect(line).not.toContain("b@y.test")
    })
  )
})
