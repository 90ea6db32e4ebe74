/**
 * What a program can see of its mail: the trace of one send, which the server refuses for now to one recipient and takes
 * on the second attempt, and a snapshot of the metrics. Nothing has to be switched on: spans go to the tracer of the
 * program, metrics into Effect's registry. Neither has addresses, content or credentials.
 *
 *   npx tsx examples/observe.ts
 */
import { NodeSmtp, SmtpAuth, SmtpClient } from "effect-smtplib"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricState from "effect/MetricState"
import * as Redacted from "effect/Redacted"
import type * as Tracer from "effect/Tracer"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"
import * as Spans from "./support/spans.js"

// -- what is sent

const sendOne = Effect.gen(function* () {
  const server = yield* startServer({ username: "app", password: "secret", greylisted: ["new@example.org"] })
  const client = yield* SmtpClient.make({
    host: server.host,
    port: server.port,
    tlsOptions: { ca: server.ca },
    auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
  })
  yield* client
    .send({
      from: "app@example.com",
      to: ["ann@example.net", "new@example.org"],
      content: "Subject: Hello\r\n\r\nHello.\r\n"
    })
    .pipe(Effect.withSpan("welcome a user"))
})

// -- the trace

/** Of all that a span says of itself, what is worth a look here. */
const shown = [
  "smtp.recipients.accepted",
  "smtp.recipients.refused",
  "smtp.queue_id",
  "smtp.reply.code",
  "smtp.reply.enhanced_code"
]

const describe = (span: Tracer.Span): string => {
  const millis = Spans.millisOf(span)
  const attributes = shown.flatMap((name) => {
    const value = span.attributes.get(name)
    return typeof value === "string" || typeof value === "number" ? [`${name}=${value}`] : []
  })
  return [`${millis === undefined ? "open" : millis.toFixed(1)} ms`.padStart(11), ...attributes].join("  ")
}

const printTree = (spans: Spans.Spans, span: Tracer.Span, depth = 1): void => {
  Print.line(`${"  ".repeat(depth)}${span.name}`.padEnd(28) + describe(span))
  for (const inner of spans.within(span)) printTree(spans, inner, depth + 1)
}

// -- the metrics

const stateOf = (state: MetricState.MetricState.Untyped): string => {
  if (MetricState.isCounterState(state)) return String(state.count)
  if (MetricState.isGaugeState(state)) return String(state.value)
  if (!MetricState.isHistogramState(state)) return ""
  const mean = state.count === 0 ? 0 : (1000 * state.sum) / state.count
  return `${state.count} times, ${mean.toFixed(1)} ms on average, ${(1000 * state.max).toFixed(1)} ms at most`
}

const printMetrics = Effect.map(Metric.snapshot, (pairs) => {
  const lines = pairs
    .filter(({ metricKey: { name } }) => name.startsWith("smtp."))
    .map(({ metricKey: { name, tags }, metricState }) => {
      const labels = tags.filter(({ key }) => !key.startsWith("server.")).map(({ value }) => value)
      return `  ${[name, ...labels].join(" ")}`.padEnd(52) + stateOf(metricState)
    })
  for (const line of lines.sort()) Print.line(line)
})

const program = Effect.gen(function* () {
  const spans = Spans.make()
  // In a real program: Effect.provide(NodeSdk.layer(...)) of @effect/opentelemetry.
  yield* Effect.scoped(sendOne).pipe(Effect.withTracer(spans.tracer))
  Print.heading("Traces: of the send, and of the session that the client opened and closed")
  for (const root of spans.roots()) printTree(spans, root)
  Print.heading("Metrics")
  yield* printMetrics
})

run(program.pipe(Effect.provide(NodeSmtp.layer)))
