/**
 * An HTTP service that sends mail: a typed API of @effect/platform on Node, which depends on SmtpClient and answers with
 * what became of the message.
 *
 *   npx tsx examples/http.ts          starts everything, asks itself three times, and ends
 *   npx tsx examples/http.ts 8080     serves on that port until Ctrl-C; try
 *     curl -s localhost:8080/messages -H 'content-type: application/json' \
 *       -d '{"to":"ann@example.net","subject":"Hello","text":"Hello, Ann."}'
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type { SmtpReceipt } from "effect-smtplib"
import { NodeSmtp, SmtpAuth, SmtpClient, SmtpError, SmtpReply } from "effect-smtplib"
import * as MailMessage from "effect-smtplib/MailMessage"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import process from "node:process"
import { run, UsageError } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

// -- the API

const Message = Schema.Struct({
  to: Schema.NonEmptyString,
  subject: Schema.String,
  text: Schema.String
})

/** The server has the message. */
const Accepted = Schema.Struct({
  outcome: Schema.Literal("accepted"),
  queueId: Schema.optional(Schema.String)
})

/** The server may have the message: whoever sends it again may deliver it twice. */
const InDoubt = Schema.Struct({ outcome: Schema.Literal("unknown"), detail: Schema.String })

class BadMessage extends Schema.TaggedError<BadMessage>()("BadMessage", { detail: Schema.String }) {}
class Refused extends Schema.TaggedError<Refused>()("Refused", { detail: Schema.String }) {}
class TryLater extends Schema.TaggedError<TryLater>()("TryLater", { detail: Schema.String }) {}

const send = HttpApiEndpoint.post("send", "/messages")
  .setPayload(Message)
  .addSuccess(Accepted)
  .addSuccess(InDoubt, { status: 202 })
  .addError(BadMessage, { status: 400 })
  .addError(Refused, { status: 422 })
  .addError(TryLater, { status: 503 })

/** For whoever watches the service: whether mail could be sent now. */
const health = HttpApiEndpoint.get("health", "/health")
  .addSuccess(HttpApiSchema.NoContent)
  .addError(TryLater, { status: 503 })

const api = HttpApi.make("mail").add(HttpApiGroup.make("messages", { topLevel: true }).add(send).add(health))

// -- what it does

/** The outcome of the only recipient, in the words of HTTP. */
const answer = (
  outcome: SmtpReceipt.Outcome | undefined
): Effect.Effect<typeof Accepted.Type | typeof InDoubt.Type, BadMessage | Refused | TryLater> => {
  switch (outcome?._tag) {
    case "Accepted":
      return Effect.succeed({ outcome: "accepted", queueId: outcome.queueId })
    case "Unknown":
      return Effect.succeed({ outcome: "unknown", detail: outcome.cause.message })
    case "Refused": {
      const detail = SmtpReply.format(outcome.reply)
      return Effect.fail(outcome.permanent ? new Refused({ detail }) : new TryLater({ detail }))
    }
    case "NotSent": {
      const detail = outcome.cause.message
      return Effect.fail(
        SmtpError.isTransient(outcome.cause) ? new TryLater({ detail }) : new Refused({ detail })
      )
    }
    case undefined:
      return Effect.fail(new BadMessage({ detail: "there is no recipient" }))
  }
}

const handlers = HttpApiBuilder.group(api, "messages", (group) =>
  Effect.gen(function* () {
    const client = yield* SmtpClient.SmtpClient
    return group
      .handle("send", ({ payload: { subject, text, to } }) =>
        MailMessage.compose({ from: "app@example.com", to, subject, text }).pipe(
          // No longer than whoever asks is willing to wait; what has left by then is not called unsent.
          Effect.flatMap((submission) => client.deliver({ ...submission, timeout: "20 seconds" })),
          Effect.mapError((error) => new BadMessage({ detail: error.message })),
          Effect.flatMap(({ outcomes }) => answer(outcomes[0]))
        )
      )
      .handle("health", () =>
        client.check.pipe(
          // A check may be cut off from outside, as no send may.
          Effect.timeout("5 seconds"),
          Effect.mapError(({ message }) => new TryLater({ detail: message }))
        )
      )
  })
)

// -- where it runs. In a real program: SmtpClient.layerConfig(SmtpClient.config("SMTP"))

const client = Layer.unwrapScoped(
  Effect.map(
    startServer({
      username: "app",
      password: "secret",
      unknown: ["nobody@example.org"],
      greylisted: ["new@example.org"]
    }),
    ({ ca, host, port }) =>
      SmtpClient.layer({
        host,
        port,
        tlsOptions: { ca },
        auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") }),
        maxWaiting: 1000
      })
  )
).pipe(Layer.provide(NodeSmtp.layer))

const serving = (port: number) =>
  HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.api(api)),
    Layer.provide(handlers),
    Layer.provide(client),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port }))
  )

const ask = Effect.gen(function* () {
  const server = yield* HttpServer.HttpServer
  const baseUrl = server.address._tag === "TcpAddress" ? `http://127.0.0.1:${server.address.port}` : ""
  const http = yield* HttpApiClient.make(api, { baseUrl })
  yield* http.health()
  for (const to of ["ann@example.net", "new@example.org", "nobody@example.org", "not an address"]) {
    const result = yield* Effect.either(http.send({ payload: { to, subject: "Hello", text: "Hello.\n" } }))
    const said = result._tag === "Right" ? result.right : result.left
    Print.line(`${to}: ${JSON.stringify(said)}`)
  }
})

const serve = (port: string) =>
  /^\d{1,5}$/.test(port) && Number(port) <= 65_535
    ? Layer.launch(Layer.tap(serving(Number(port)), () => Effect.log(`serving on port ${port}`)))
    : new UsageError({ message: `${JSON.stringify(port)} is no port: a number from 1 to 65535` })

const [port] = process.argv.slice(2)

run(
  Effect.scoped(
    port === undefined ? ask.pipe(Effect.provide([serving(0), FetchHttpClient.layer])) : serve(port)
  )
)
