/**
 * A program of a user, for package.test.ts: composes a message, stores it and reads it back, and sends it over a
 * session, a client, a session on a socket of @effect/platform, and a mailer to the port of its argument. Prints the
 * outcomes.
 */
import * as Socket from "@effect/platform/Socket"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { NodeSmtp, SmtpClient, SmtpSession, SmtpSocket } from "effect-smtplib"
import * as Mailer from "effect-smtplib/Mailer"
import * as MailMessage from "effect-smtplib/MailMessage"
import * as MailMessageSchema from "effect-smtplib/MailMessageSchema"
import { connect } from "node:net"

const options = { host: "127.0.0.1", port: Number(process.argv[2]), tls: "none" } as const
const Json = Schema.parseJson(MailMessageSchema.MailMessage)

const openStreams = Effect.sync(() => {
  const socket = connect({ host: options.host, port: options.port })
  return {
    readable: new ReadableStream<Uint8Array>({
      start: (controller) => {
        socket.on("data", (chunk) => controller.enqueue(chunk))
        socket.on("end", () => controller.close())
        socket.on("error", (error) => controller.error(error))
      },
      cancel: () => void socket.removeAllListeners("end").destroy()
    }),
    writable: new WritableStream<Uint8Array>({
      write: (chunk) => new Promise<void>((resolve) => socket.write(chunk, () => resolve())),
      close: () => void socket.end()
    })
  }
})

const fromPlatform = Layer.succeed(SmtpSocket.SmtpSocket, {
  dial: (endpoint, dialOptions) =>
    Effect.flatMap(Socket.fromTransformStream(openStreams), (socket) =>
      SmtpSocket.fromSocket(socket, endpoint, dialOptions)
    )
})

const program = Effect.gen(function* () {
  const message = yield* MailMessage.make({
    from: "app@example.com",
    to: "ann@example.net",
    subject: "Grüße",
    text: "Hello.\n"
  })
  const restored = yield* Effect.flatMap(Schema.encode(Json)(message), Schema.decode(Json))
  const zeros = MailMessage.streamed(Stream.make(new Uint8Array(100_000)), { filename: "zeros.bin" })
  const session = yield* SmtpSession.make(options)
  const first = yield* session.deliver(yield* MailMessage.submission(restored, { attachments: [zeros] }))
  const client = yield* SmtpClient.make(options)
  const second = yield* client.deliver(yield* MailMessage.submission(restored))
  const bridged = yield* Effect.provide(SmtpSession.make(options), fromPlatform)
  const third = yield* bridged.deliver(yield* MailMessage.submission(restored))
  const mail = Mailer.send({ from: "app@example.com", to: "ann@example.net", text: "Hello.\n" })
  const fourth = yield* Effect.provide(mail, NodeSmtp.layerMailer(options))
  const outcomes = [first, second, third].flatMap((receipt) =>
    receipt.outcomes.map((outcome) => outcome._tag)
  )
  return [...outcomes, fourth._tag]
}).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))

console.log((await Effect.runPromise(program)).join(" "))
