/** Servers that do not get along with a TLS session that the client offers to resume. */
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import * as Net from "node:net"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as NodeSmtpTest from "../../src/NodeSmtpTest.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import { SmtpSocket } from "../../src/SmtpSocket.js"
import { TlsUpgrade } from "../../src/TlsUpgrade.js"
import { makeCertificates } from "../servers/certificates.js"
import { listen } from "../support/loopback.js"

const preSharedKey = 41
const sessionTicket = 35

/** Whether a ClientHello offers a session: of TLS 1.3 (RFC 8446 section 4.2.11), or by a ticket (RFC 5077). */
const offersSession = (record: Buffer): boolean => {
  // Record header 5, handshake header 4, version 2, random 32.
  let at = 43
  at += 1 + record.readUInt8(at)
  at += 2 + record.readUInt16BE(at)
  at += 1 + record.readUInt8(at)
  const end = at + 2 + record.readUInt16BE(at)
  at += 2
  while (at < end) {
    const type = record.readUInt16BE(at)
    const length = record.readUInt16BE(at + 2)
    if (type === preSharedKey || (type === sessionTicket && length > 0)) return true
    at += 4 + length
  }
  return false
}

const isClientHello = (octets: Buffer): boolean => octets[0] === 22 && octets[1] === 3 && octets[5] === 1

const handshakeFailure = Buffer.from([21, 3, 3, 0, 2, 2, 40])

/** Application data that no key decrypts. */
const garbage = Buffer.concat([Buffer.from([23, 3, 3, 0, 64]), Buffer.alloc(64, 1)])

const endings = {
  alert: (socket: Net.Socket) => socket.end(handshakeFailure),
  "hang-up": (socket: Net.Socket) => socket.end(),
  reset: (socket: Net.Socket) => socket.resetAndDestroy()
}

/** Passes everything on to the server, but for a ClientHello with a session. */
const trapBefore = (port: number, end: (socket: Net.Socket) => void) =>
  Effect.gen(function* () {
    const seen = { connections: 0, trapped: 0 }
    const listening = yield* listen((socket) => {
      seen.connections++
      const server = Net.connect(port, "127.0.0.1")
      server.on("error", () => undefined)
      server.pipe(socket)
      socket.on("close", () => server.destroy())
      socket.on("end", () => server.end())
      socket.on("data", (octets: Buffer) => {
        if (isClientHello(octets) && offersSession(octets)) {
          seen.trapped++
          server.unpipe(socket)
          server.destroy()
          end(socket)
        } else server.write(octets)
      })
    })
    return { port: listening.port, seen }
  })

/** Resumes, and breaks TLS off behind the client's part of the handshake. */
const breakBehindHandshake = (port: number, end: (socket: Net.Socket) => void) =>
  Effect.gen(function* () {
    const seen = { connections: 0, broken: 0 }
    const listening = yield* listen((socket) => {
      seen.connections++
      const server = Net.connect(port, "127.0.0.1")
      server.on("error", () => undefined)
      server.pipe(socket)
      let isResuming = false
      let isBroken = false
      socket.on("close", () => server.destroy())
      socket.on("end", () => server.end())
      socket.on("data", (octets: Buffer) => {
        if (isBroken) return
        if (isResuming) {
          isBroken = true
          seen.broken++
          server.unpipe(socket)
          server.destroy()
          end(socket)
          return
        }
        isResuming = isClientHello(octets) && offersSession(octets)
        server.write(octets)
      })
    })
    return { port: listening.port, seen }
  })

const content = "Subject: hi\r\n\r\nhello\r\n"

const message = { from: "a@x.test", to: "b@y.test", content }

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  for (const tls of ["implicit", "starttls"] as const) {
    describe(`a server that ends a ClientHello with a session, ${tls}, ${version}`, () => {
      const trapped = (ending: keyof typeof endings) =>
        Effect.gen(function* () {
          const made = yield* makeCertificates()
          const { port, server } = yield* NodeSmtpTest.server({
            mode: tls,
            tls: { cert: made.certificate, key: made.key, maxVersion: version }
          })
          const trap = yield* trapBefore(port, endings[ending])
          const options = {
            host: "localhost",
            port: trap.port,
            tls,
            tlsOptions: { ca: made.ca }
          } satisfies SmtpSession.Options
          return { options, server, seen: trap.seen }
        })

      for (const ending of ["alert", "hang-up", "reset"] as const) {
        it.scopedLive(`costs one connection and no attempt of a message: ${ending}`, () =>
          Effect.gen(function* () {
            const { options, seen, server } = yield* trapped(ending)
            const client = yield* SmtpClient.make({
              ...options,
              maxMessages: 1,
              maxSessions: 1,
              retry: "off"
            })
            for (let count = 0; count < 5; count++) {
              expect((yield* client.send(message)).outcomes).toMatchObject([{ _tag: "Accepted" }])
            }
            expect((yield* server.messages).length).toBe(5)
            expect(seen).toEqual({ connections: 6, trapped: 1 })
          }).pipe(Effect.provide(NodeSmtp.layer))
        )
      }

      it.scopedLive("costs a session one connection", () =>
        Effect.gen(function* () {
          const { options, seen } = yield* trapped("alert")
          const open = Effect.scoped(
            Effect.flatMap(SmtpSession.make(options), (session) => Effect.zipRight(session.noop, session.tls))
          )
          expect(yield* open).toMatchObject({ protocol: version, resumed: false })
          expect(yield* open).toMatchObject({ protocol: version, resumed: false })
          expect(seen).toEqual({ connections: 3, trapped: 1 })
        }).pipe(Effect.provide(NodeSmtp.layer))
      )
    })
  }
}

for (const mode of ["implicit", "starttls"] as const) {
  describe(`a server that breaks a resumed session off behind the handshake, ${mode}`, () => {
    it.scopedLive.each([
      ["a broken record", (socket: Net.Socket) => socket.end(garbage)],
      ["hang-up", endings["hang-up"]],
      ["reset", endings.reset]
    ] as const)("costs one connection and no attempt of a message: %s", ([, end]) =>
      Effect.gen(function* () {
        const made = yield* makeCertificates()
        const { port } = yield* NodeSmtpTest.server({
          mode,
          tls: { cert: made.certificate, key: made.key }
        })
        const breaking = yield* breakBehindHandshake(port, end)
        const client = yield* SmtpClient.make({
          host: "localhost",
          port: breaking.port,
          tls: mode,
          tlsOptions: { ca: made.ca },
          maxMessages: 1,
          maxSessions: 1,
          retry: "off"
        })
        for (let count = 0; count < 4; count++) {
          expect((yield* client.send(message)).outcomes).toMatchObject([{ _tag: "Accepted" }])
        }
        expect(breaking.seen).toEqual({ connections: 5, broken: 1 })
      }).pipe(Effect.provide(NodeSmtp.layer))
    )
  })
}

describe("resumption at an endpoint that refused it", () => {
  it.scoped("pauses for 10 minutes, whatever the options, and not elsewhere", () =>
    Effect.gen(function* () {
      const made = yield* makeCertificates()
      const { port } = yield* NodeSmtpTest.server({
        mode: "implicit",
        tls: { cert: made.certificate, key: made.key }
      })
      const trap = yield* trapBefore(port, endings.alert)
      const resumes = (at: number, minVersion: "TLSv1.2" | "TLSv1.3" = "TLSv1.2") =>
        Effect.gen(function* () {
          const timeout = Duration.seconds(10)
          const socket = yield* SmtpSocket
          const tls = yield* TlsUpgrade
          const dialled = yield* socket.dial({ _tag: "Tcp", host: "127.0.0.1", port: at }, { timeout })
          const secured = yield* tls.upgrade(dialled, {
            host: "localhost",
            port: at,
            timeout,
            tls: { ca: made.ca, minVersion }
          })
          yield* secured.pull
          return secured.tls.resumed
        }).pipe(Effect.scoped)
      expect(yield* resumes(trap.port)).toBe(false)
      expect(yield* resumes(trap.port, "TLSv1.3")).toBe(false)
      expect(yield* resumes(port)).toBe(false)
      expect(yield* Effect.flip(resumes(trap.port))).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
      expect(yield* resumes(trap.port)).toBe(false)
      expect(yield* resumes(trap.port, "TLSv1.3")).toBe(false)
      expect(yield* resumes(port)).toBe(true)
      yield* TestClock.adjust("599 seconds")
      expect(yield* resumes(trap.port)).toBe(false)
      yield* TestClock.adjust("1 second")
      expect(yield* Effect.flip(resumes(trap.port))).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
      expect(trap.seen.trapped).toBe(2)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )
})
