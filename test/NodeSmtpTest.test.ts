import { describe, expect, it, vi } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Tls from "node:tls"
import { fromNodeSocket, takeSocket } from "../src/internal/node/connection.js"
import * as NodeSmtp from "../src/NodeSmtp.js"
import type { Service as Listening } from "../src/NodeSmtpTest.js"
import * as NodeSmtpTest from "../src/NodeSmtpTest.js"
import { listen } from "../src/NodeSmtpTest.js"
import * as SmtpSession from "../src/SmtpSession.js"
import type { Connection } from "../src/SmtpSocket.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import * as SmtpTest from "../src/SmtpTest.js"
import * as Certificates from "./servers/certificates.js"
import { leftOpen, openResources, resourcesLeftBy } from "./support/resources.js"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const dial = (server: Listening) =>
  Effect.flatMap(SmtpSocket, (socket) => socket.dial(server.endpoint, { timeout: Duration.seconds(5) })).pipe(
    Effect.provide(NodeSmtp.layerSocket)
  )

const send = (client: Connection, text: string) => client.write([encoder.encode(text)])

const receiveUntil = (client: Connection, end: string): Effect.Effect<string, unknown> =>
  Effect.gen(function* () {
    let replies = ""
    while (!replies.endsWith(end)) {
      const octets = yield* client.pull
      if (octets === undefined) return `${replies}(end)`
      replies += decoder.decode(octets)
    }
    return replies
  })

const connectTls = (client: Connection | undefined, server: Listening, ca: string) =>
  Effect.async<Connection, Error>((resume) => {
    const socket = client === undefined ? undefined : takeSocket(client)
    const where = socket === undefined ? { host: "127.0.0.1", port: server.port } : { socket }
    const secured = Tls.connect({ ...where, servername: "localhost", ca })
    secured.once("error", (error: Error) => {
      resume(Effect.fail(error))
    })
    secured.once("secureConnect", () => {
      resume(Effect.succeed(fromNodeSocket(secured)))
    })
  })

const secureClient = (client: Connection | undefined, server: Listening, ca: string) =>
  Effect.acquireRelease(connectTls(client, server, ca), (secured) => secured.destroy)

describe("a handshake on a runtime that cannot export keying material", () => {
  it.scopedLive("has no exporter", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const listening = yield* NodeSmtpTest.server({ tls: { cert: made.certificate, key: made.key } })
      yield* Effect.acquireRelease(
        Effect.sync(() =>
          vi.spyOn(Tls.TLSSocket.prototype, "exportKeyingMaterial").mockImplementation(() => {
            throw new Error("not implemented")
          })
        ),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      yield* SmtpSession.make({ host: "localhost", port: listening.port, tlsOptions: { ca: made.ca } })
      expect(yield* listening.handshakes).toMatchObject([{ protocol: "TLSv1.3", exporter: undefined }])
    }).pipe(Effect.provide(NodeSmtp.layer))
  )
})

describe("a script over TCP", () => {
  it.scopedLive("runs as over memory", () =>
    Effect.gen(function* () {
      const listening = yield* listen(
        SmtpTest.script(
          SmtpTest.reply("220 mx.test ESMTP"),
          SmtpTest.expectGroup("EHLO c", "QUIT"),
          SmtpTest.reply("250 mx.test", { split: "byteByByte" }),
          SmtpTest.reply("221 bye"),
          SmtpTest.expectEnd
        )
      )
      const client = yield* dial(listening)
      expect(yield* receiveUntil(client, "\r\n")).toBe("220 mx.test ESMTP\r\n")
      yield* send(client, "EHLO c\r\nQUIT\r\n")
      expect(yield* receiveUntil(client, "bye\r\n")).toBe("250 mx.test\r\n221 bye\r\n")
      yield* client.destroy
      yield* listening.server.done
      expect(yield* listening.server.receivedText).toBe("EHLO c\r\nQUIT\r\n")
    })
  )

  it.scopedLive("runs over a UNIX socket", () =>
    Effect.gen(function* () {
      const directory = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "smtp-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const listening = yield* listen(SmtpTest.reply("220 lmtp"), { path: join(directory, "lmtp") })
      expect(yield* receiveUntil(yield* dial(listening), "\r\n")).toBe("220 lmtp\r\n")
    })
  )

  it.scopedLive("reports a mismatch", () =>
    Effect.gen(function* () {
      const listening = yield* listen(SmtpTest.expect("EHLO c"))
      const client = yield* dial(listening)
      yield* send(client, "HELO c\r\n")
      expect(yield* Effect.flip(listening.server.done)).toMatchObject({ received: "HELO c" })
    })
  )

  it.scopedLive("sends pieces separately when they pause", () =>
    Effect.gen(function* () {
      const listening = yield* listen(SmtpTest.reply("250 ok", { split: [2], pause: "20 millis" }))
      const client = yield* dial(listening)
      expect(decoder.decode(yield* client.pull)).toBe("25")
    })
  )

  // More than the system and Node take in without a reader.
  const writeALot = (client: Connection) => client.write([new Uint8Array(48_000_000)])

  it.scopedLive("stops the client's writes when it stops reading", () =>
    Effect.gen(function* () {
      const listening = yield* listen(SmtpTest.stopReading)
      const client = yield* dial(listening)
      const outcome = yield* Effect.timeoutOption(writeALot(client), "500 millis")
      expect(outcome._tag).toBe("None")
      expect((yield* listening.server.received).length).toBe(0)
    })
  )

  it.scopedLive("reads the client's writes while it is silent", () =>
    Effect.gen(function* () {
      const listening = yield* listen(SmtpTest.silence)
      const client = yield* dial(listening)
      yield* writeALot(client)
      yield* client.destroy
      yield* listening.server.done
      expect((yield* listening.server.received).length).toBeGreaterThan(40_000_000)
    })
  )

  it.scopedLive("ends its stream and goes on reading", () =>
    Effect.gen(function* () {
      const listening = yield* listen(
        SmtpTest.script(SmtpTest.reply("221 bye"), SmtpTest.halfClose, SmtpTest.expect("NOOP"))
      )
      const client = yield* dial(listening)
      expect(yield* receiveUntil(client, "never")).toBe("221 bye\r\n(end)")
      yield* send(client, "NOOP\r\n")
      yield* listening.server.done
    })
  )

  it.scopedLive("resets the connection", () =>
    Effect.gen(function* () {
      const listening = yield* listen(SmtpTest.script(SmtpTest.expect("NOOP"), SmtpTest.reset))
      const client = yield* dial(listening)
      yield* send(client, "NOOP\r\n")
      const lost = yield* Effect.flip(client.pull)
      expect(lost.cause).toMatchObject({ code: "ECONNRESET" })
    })
  )

  it.scopedLive("runs a script for each connection", () =>
    Effect.gen(function* () {
      const listening = yield* listen((index) => SmtpTest.reply(`220 ${index}`))
      const replies = yield* Effect.forEach([0, 1, 2], () =>
        Effect.flatMap(dial(listening), (client) => receiveUntil(client, "\r\n"))
      )
      expect(replies).toEqual(["220 0\r\n", "220 1\r\n", "220 2\r\n"])
    })
  )
})

describe("a script over TLS", () => {
  it.scopedLive("begins after the handshake when TLS is implicit", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const tls = { cert: made.certificate, key: made.key }
      const listening = yield* listen(
        SmtpTest.script(SmtpTest.reply("220 secret"), SmtpTest.expect("QUIT"), SmtpTest.expectEnd),
        { mode: "implicit", tls }
      )
      const client = yield* secureClient(undefined, listening, made.ca)
      expect(yield* receiveUntil(client, "\r\n")).toBe("220 secret\r\n")
      yield* send(client, "QUIT\r\n")
      yield* client.destroy
      yield* listening.server.done
      expect(yield* listening.handshakes).toMatchObject([{ servername: "localhost", resumed: false }])
    })
  )

  it.scopedLive("upgrades within the dialogue", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const tls = { cert: made.certificate, key: made.key }
      const listening = yield* listen(
        SmtpTest.script(
          SmtpTest.expect("STARTTLS"),
          SmtpTest.reply("220 go"),
          SmtpTest.upgrade,
          SmtpTest.expect("EHLO c"),
          SmtpTest.reply("250 mx.test"),
          SmtpTest.halfClose,
          SmtpTest.expectEnd
        ),
        { tls }
      )
      const plain = yield* dial(listening)
      yield* send(plain, "STARTTLS\r\n")
      expect(yield* receiveUntil(plain, "\r\n")).toBe("220 go\r\n")
      const client = yield* secureClient(plain, listening, made.ca)
      yield* send(client, "EHLO c\r\n")
      expect(yield* receiveUntil(client, "never")).toBe("250 mx.test\r\n(end)")
      yield* client.destroy
      yield* listening.server.done
      expect(yield* listening.server.receivedText).toBe("STARTTLS\r\nEHLO c\r\n")
    })
  )

  it.scopedLive("ends by a reset without close_notify", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const tls = { cert: made.certificate, key: made.key }
      const listening = yield* listen(SmtpTest.script(SmtpTest.reply("220 hi"), SmtpTest.reset), {
        mode: "implicit",
        tls
      })
      const client = yield* secureClient(undefined, listening, made.ca)
      expect(yield* receiveUntil(client, "\r\n")).toBe("220 hi\r\n")
      const end = yield* Effect.either(client.pull)
      expect(end._tag === "Left" || end.right === undefined).toBe(true)
      yield* listening.server.done
    })
  )

  it.scopedLive("fails the script when the client refuses the certificate", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const other = yield* Certificates.makeAuthority()
      const listening = yield* listen(SmtpTest.upgrade, {
        tls: { cert: made.certificate, key: made.key }
      })
      const plain = yield* dial(listening)
      yield* Effect.flip(secureClient(plain, listening, other.certificate))
      yield* plain.destroy
      const failure = yield* Effect.flip(listening.server.done)
      expect(failure).toMatchObject({ reason: "Effect", step: "upgrade" })
      expect(yield* listening.handshakeFailures).toHaveLength(1)
    })
  )
})

const submission = { from: "a@x.test", to: "b@y.test", content: "Subject: hi\r\n\r\nhello\r\n" }

const sendOnce = (options: SmtpSession.Options) =>
  Effect.flatMap(SmtpSession.make({ host: "127.0.0.1", clientName: "client.test", ...options }), (smtp) =>
    smtp.send(submission)
  ).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))

describe("the server that captures", () => {
  it.scopedLive("captures messages over TCP, in clear without a certificate", () =>
    Effect.gen(function* () {
      const { port, server } = yield* NodeSmtpTest.server()
      yield* sendOnce({ port, tls: "opportunistic" })
      const messages = yield* server.messages
      expect(messages.map(({ source }) => source)).toEqual([submission.content])
      expect(yield* server.transcript).not.toContain("STARTTLS")
    })
  )

  it.scopedLive("captures messages after STARTTLS", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const { handshakes, port, server } = yield* NodeSmtpTest.server({
        tls: { cert: made.certificate, key: made.key }
      })
      yield* sendOnce({ host: "localhost", port, tlsOptions: { ca: made.ca } })
      expect(yield* server.messages).toHaveLength(1)
      expect(yield* handshakes).toMatchObject([{ servername: "localhost" }])
    })
  )

  it.scopedLive("captures messages over implicit TLS, without offering STARTTLS", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const { port, server } = yield* NodeSmtpTest.server({
        mode: "implicit",
        tls: { cert: made.certificate, key: made.key }
      })
      yield* sendOnce({ host: "localhost", port, tls: "implicit", tlsOptions: { ca: made.ca } })
      expect(yield* server.messages).toHaveLength(1)
      expect(yield* server.transcript).not.toContain("STARTTLS")
    })
  )

  it.scopedLive("announces the given capabilities", () =>
    Effect.gen(function* () {
      const { port, server } = yield* NodeSmtpTest.server({ capabilities: ["SIZE 12"] })
      const error = yield* Effect.flip(sendOnce({ port, tls: "none" }))
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "SIZE" })
      expect(yield* server.messages).toEqual([])
    })
  )
})

describe("layers", () => {
  it.live("provide the listener and the capturing server", () =>
    Effect.gen(function* () {
      const { port } = yield* NodeSmtpTest.NodeSmtpTest
      yield* sendOnce({ port, tls: "none" })
      const { messages } = yield* SmtpTest.SmtpTest
      expect((yield* messages).map(({ recipients }) => recipients.map(({ address }) => address))).toEqual([
        ["b@y.test"]
      ])
    }).pipe(Effect.provide(NodeSmtpTest.layer()))
  )

  it.live("provide the listener and the scripted server", () =>
    Effect.gen(function* () {
      const { endpoint, port } = yield* NodeSmtpTest.NodeSmtpTest
      expect(endpoint).toEqual({ _tag: "Tcp", host: "127.0.0.1", port })
      const error = yield* Effect.flip(sendOnce({ port, tls: "none" }))
      expect(error).toMatchObject({ _tag: "ConnectError", reply: { code: 554 } })
      const { done } = yield* SmtpTest.ScriptedServer
      yield* done
    }).pipe(
      Effect.provide(
        NodeSmtpTest.layerScript(
          SmtpTest.script(
            SmtpTest.reply("554 no service here"),
            SmtpTest.expect("QUIT"),
            SmtpTest.reply("221 bye"),
            SmtpTest.expectEnd
          )
        )
      )
    )
  )
})

describe("resources", () => {
  it.scopedLive("are released with the scope, in any state of the script", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const tls = { cert: made.certificate, key: made.key }
      const use = Effect.gen(function* () {
        const silent = yield* listen(SmtpTest.silence)
        yield* send(yield* dial(silent), "hello")
        const stalled = yield* listen(SmtpTest.stopReading)
        yield* send(yield* dial(stalled), "hello")
        const secured = yield* listen(SmtpTest.reply("220 hi"), { mode: "implicit", tls })
        yield* receiveUntil(yield* secureClient(undefined, secured, made.ca), "\r\n")
      })
      expect(yield* resourcesLeftBy(Effect.scoped(use))).toEqual({})
    })
  )

  it.scopedLive("are released after a reset that follows the server's end of stream", () =>
    Effect.gen(function* () {
      const use = Effect.gen(function* () {
        const listening = yield* listen(SmtpTest.script(SmtpTest.halfClose, SmtpTest.reset))
        yield* Effect.either((yield* dial(listening)).pull)
        yield* listening.server.done
      })
      expect(yield* resourcesLeftBy(Effect.scoped(use))).toEqual({})
    })
  )

  it.scopedLive("that remain open are counted", () =>
    Effect.gen(function* () {
      const before = yield* openResources
      const listening = yield* listen(SmtpTest.silence)
      yield* dial(listening)
      expect(leftOpen(before, yield* openResources)).toMatchObject({ TCPServerWrap: 1 })
      expect(Object.values(leftOpen(before, yield* openResources)).length).toBeGreaterThan(1)
    })
  )
})
