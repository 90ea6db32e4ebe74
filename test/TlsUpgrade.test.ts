import { describe, expect, it, vi } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { createHash, randomBytes, X509Certificate } from "node:crypto"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { makePair } from "../src/internal/testing/memoryConnection.js"
import { makeFork } from "../src/internal/effect/runtime.js"
import { fromConnection } from "../src/internal/node/duplex.js"
import * as NodeSmtp from "../src/NodeSmtp.js"
import type { Connection } from "../src/SmtpSocket.js"
import { ConnectionLost, SmtpSocket } from "../src/SmtpSocket.js"
import type { TlsOptions, UpgradeOptions } from "../src/TlsUpgrade.js"
import { layerNone, TlsUpgrade } from "../src/TlsUpgrade.js"
import {
  expired,
  makeAuthority,
  makeCertificate,
  makeCertificates,
  makeSelfSigned
} from "./servers/certificates.js"
import { bytes, eventually, listen, listenTls, openHandles, pullText } from "./support/loopback.js"

const dial = (port: number) =>
  Effect.flatMap(SmtpSocket, (socket) =>
    socket.dial({ _tag: "Tcp", host: "127.0.0.1", port }, { timeout: Duration.seconds(10) })
  )

const upgrade = (connection: Connection, tls: TlsOptions, options?: Partial<UpgradeOptions>) =>
  Effect.flatMap(TlsUpgrade, (service) =>
    service.upgrade(connection, {
      host: "localhost",
      port: 465,
      timeout: Duration.seconds(10),
      tls,
      ...options
    })
  )

const secure = (port: number, tls: TlsOptions, options?: Partial<UpgradeOptions>) =>
  Effect.flatMap(dial(port), (connection) => upgrade(connection, tls, { port, ...options }))

const served = ({ certificate, key }: { readonly certificate: string; readonly key: string }) => ({
  cert: certificate,
  key
})

const greet = (socket: Tls.TLSSocket) => {
  socket.write("220 ready\r\n")
}

/** Which sockets of this process are destroyed from now on, in order, each once. */
const socketsDestroyed = Effect.acquireRelease(
  Effect.sync(() => vi.spyOn(Net.Socket.prototype, "destroy")),
  (spy) => Effect.sync(() => spy.mockRestore())
).pipe(
  Effect.map(
    (spy) => () =>
      [...new Set(spy.mock.contexts)].map((socket) => (socket instanceof Tls.TLSSocket ? "TLS" : "TCP"))
  )
)

/** The server's view of both channel bindings. */
const bindingsOf = (socket: Tls.TLSSocket) => ({
  exporter: socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0)).toString("hex"),
  finished: socket.getFinished()?.toString("hex"),
  peerFinished: socket.getPeerFinished()?.toString("hex")
})

const hex = (octets: Uint8Array | undefined) =>
  octets === undefined ? undefined : Buffer.from(octets).toString("hex")

const breakMethod = (name: "exportKeyingMaterial" | "getCipher") =>
  Effect.acquireRelease(
    Effect.sync(() =>
      vi.spyOn(Tls.TLSSocket.prototype, name).mockImplementation(() => {
        throw new Error("not implemented")
      })
    ),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

describe("TlsUpgrade over NodeSmtp", () => {
  it.scopedLive("secures a connection and tells what the handshake came to", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port, sockets } = yield* listenTls(served(certificates), greet)
      const connection = yield* secure(port, { ca: certificates.ca })
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
      expect(connection.addresses).toMatchObject({ remoteAddress: "127.0.0.1", remotePort: port })
      expect(connection.tls).toMatchObject({
        protocol: "TLSv1.3",
        servername: "localhost",
        verified: true,
        resumed: false
      })
      expect(connection.tls.cipher).toMatch(/^TLS_/)
      expect(connection.tls.certificate?.subject).toBe("CN=localhost")
      expect(connection.tls.certificate?.validTo.getTime()).toBeGreaterThan(Date.now())
      expect(connection.tls.certificate?.fingerprint256).toBe(
        new X509Certificate(certificates.certificate).fingerprint256
      )
      expect(sockets[0]).toMatchObject({ servername: "localhost" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("reads PEM whose line ends are written out, or blanks", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const client = yield* makeSelfSigned()
      const { port } = yield* listenTls(served(certificates), greet)
      for (const lineEnd of ["\\n", "\\r\\n", " "]) {
        const written = (pem: string): string => pem.replaceAll("\n", lineEnd)
        const connection = yield* secure(port, {
          ca: written(certificates.ca),
          cert: written(client.certificate),
          key: Redacted.make(written(client.key))
        })
        expect(connection.tls.verified).toBe(true)
      }
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("carries octets both ways and then the end of the stream", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), (socket) => {
        socket.once("data", (octets: Buffer) => socket.end(octets))
      })
      const connection = yield* secure(port, { ca: certificates.ca })
      yield* connection.write([bytes("EHLO "), bytes("client\r\n")])
      expect(yield* pullText(connection)).toBe("EHLO client\r\n")
      expect(yield* connection.pull).toBeUndefined()
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("secures a connection that has spoken in clear, as STARTTLS does", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listen((socket) => {
        socket.write("220 ready\r\n")
        socket.once("data", () => {
          socket.write("220 go ahead\r\n")
          const secured = new Tls.TLSSocket(socket, { isServer: true, ...served(certificates) })
          secured.on("error", () => undefined)
          secured.once("data", (octets: Buffer) => secured.write(octets))
        })
      })
      const connection = yield* dial(port)
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
      yield* connection.write([bytes("STARTTLS\r\n")])
      expect(yield* pullText(connection)).toBe("220 go ahead\r\n")
      expect(connection.buffered()).toBe(0)
      const secured = yield* upgrade(connection, { ca: certificates.ca })
      yield* secured.write([bytes("EHLO client\r\n")])
      expect(yield* pullText(secured)).toBe("EHLO client\r\n")
      expect(yield* Effect.flip(connection.pull)).toMatchObject({ operation: "read" })
      expect(yield* Effect.flip(connection.write([bytes("x")]))).toMatchObject({ operation: "write" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("gives no channel binding where the runtime cannot export keying material", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), greet)
      yield* breakMethod("exportKeyingMaterial")
      const connection = yield* secure(port, { ca: certificates.ca })
      expect(connection.tls).toMatchObject({ protocol: "TLSv1.3", channelBinding: undefined })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("fails with TlsError if a listener of the handshake throws", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), greet)
      yield* breakMethod("getCipher")
      const error = yield* Effect.flip(secure(port, { ca: certificates.ca }))
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("gives tls-exporter on TLS 1.3, the same as the server's (RFC 9266)", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port, sockets } = yield* listenTls(served(certificates), greet)
      const connection = yield* secure(port, { ca: certificates.ca })
      yield* connection.pull
      const server = sockets[0]
      expect(connection.tls.channelBinding?.type).toBe("tls-exporter")
      expect(hex(connection.tls.channelBinding?.data)).toBe(
        server === undefined ? undefined : bindingsOf(server).exporter
      )
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("gives the first Finished as tls-unique on TLS 1.2 (RFC 5929 section 3.1)", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port, sockets } = yield* listenTls({ ...served(certificates), maxVersion: "TLSv1.2" }, greet)
      const tls = { ca: certificates.ca }
      const first = yield* secure(port, tls)
      yield* first.pull
      const second = yield* secure(port, tls)
      yield* second.pull
      const views = sockets.map(bindingsOf)
      expect(first.tls).toMatchObject({ protocol: "TLSv1.2", resumed: false })
      expect(second.tls).toMatchObject({ protocol: "TLSv1.2", resumed: true })
      expect(first.tls.channelBinding?.type).toBe("tls-unique")
      expect(hex(first.tls.channelBinding?.data)).toBe(views[0]?.peerFinished)
      expect(hex(second.tls.channelBinding?.data)).toBe(views[1]?.finished)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("resumes the session of the same endpoint and options", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port, sockets } = yield* listenTls(served(certificates), greet)
      const first = yield* secure(port, { ca: certificates.ca })
      yield* first.pull
      const second = yield* secure(port, { ca: certificates.ca })
      expect(yield* pullText(second)).toBe("220 ready\r\n")
      expect(second.tls).toMatchObject({ resumed: true, verified: true })
      expect(second.tls.certificate?.subject).toBe("CN=localhost")
      expect(hex(second.tls.channelBinding?.data)).toBe(sockets[1] && bindingsOf(sockets[1]).exporter)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("never resumes an unverified session where the certificate has to be verified", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), greet)
      const unverified = yield* secure(port, { verify: false })
      yield* unverified.pull
      const again = yield* secure(port, { verify: false })
      expect(again.tls).toMatchObject({ resumed: true, verified: false })
      expect(yield* Effect.flip(secure(port, {}))).toMatchObject({ reason: "Certificate" })
      const other = yield* secure(port, { ca: certificates.ca })
      expect(other.tls).toMatchObject({ resumed: false, verified: true })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("never resumes an unverified session for a name that its certificate is not valid for", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["elsewhere.test"] })
      const { port } = yield* listenTls(served(certificates), greet)
      const unverified = yield* secure(port, { ca: certificates.ca, verify: false })
      yield* unverified.pull
      // Its authority is trusted, so that nothing but the name is wrong.
      const outcome = yield* Effect.match(secure(port, { ca: certificates.ca }), {
        onFailure: ({ reason }) => reason,
        onSuccess: ({ tls }) => (tls.resumed ? "resumed" : "verified")
      })
      expect(outcome).toBe("Certificate")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  for (const [reason, meet] of [
    ["Disconnected", (socket: Net.Socket) => socket.resetAndDestroy()],
    ["Timeout", (socket: Net.Socket) => socket.resume()]
  ] as const) {
    it.scopedLive(`begins anew after a handshake that failed: ${reason}`, () =>
      Effect.gen(function* () {
        const certificates = yield* makeCertificates()
        const secureContext = Tls.createSecureContext(served(certificates))
        let accepted = 0
        const { port } = yield* listen((socket) => {
          accepted++
          if (accepted === 3) {
            socket.once("data", () => meet(socket))
            return
          }
          const secured = new Tls.TLSSocket(socket, { isServer: true, secureContext })
          secured.on("error", () => undefined)
          greet(secured)
        })
        const resumed: Array<boolean> = []
        const handshake = (options?: Partial<UpgradeOptions>) =>
          Effect.gen(function* () {
            const connection = yield* secure(port, { ca: certificates.ca }, options)
            yield* connection.pull
            resumed.push(connection.tls.resumed)
          })
        yield* handshake()
        yield* handshake()
        const failing = handshake(reason === "Timeout" ? { timeout: Duration.millis(50) } : {})
        expect(yield* Effect.flip(failing)).toMatchObject({ reason })
        yield* handshake()
        expect(resumed).toEqual([false, true, false])
      }).pipe(Effect.provide(NodeSmtp.layerTransport))
    )
  }

  it.scopedLive("never resumes a session under another name", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), greet)
      const first = yield* secure(port, { ca: certificates.ca })
      yield* first.pull
      const error = yield* Effect.flip(secure(port, { ca: certificates.ca, servername: "elsewhere.test" }))
      expect(error.reason).toBe("Certificate")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("presents the client certificate", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const client = yield* makeCertificate(certificates.authority, { names: ["app"], usage: "client" })
      const { port, sockets } = yield* listenTls(
        { ...served(certificates), ca: certificates.ca, requestCert: true },
        greet
      )
      const connection = yield* secure(port, {
        ca: certificates.ca,
        cert: client.certificate,
        key: Redacted.make(client.key)
      })
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
      expect(sockets[0]?.authorized).toBe(true)
      expect(sockets[0]?.getPeerX509Certificate()?.subject).toBe("CN=app")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("shows a client certificate that TLS 1.3 refuses late as a lost connection", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(
        { ...served(certificates), ca: certificates.ca, requestCert: true, rejectUnauthorized: true },
        greet
      )
      const connection = yield* secure(port, { ca: certificates.ca })
      expect(yield* Effect.flip(connection.pull)).toMatchObject({
        _tag: "ConnectionLost",
        operation: "read"
      })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("takes the layer's options, outranked by the session's", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const other = yield* makeAuthority()
      const { port } = yield* listenTls(served(certificates), greet)
      const layer = NodeSmtp.layerTransportWith({ tls: { ca: certificates.ca } })
      yield* Effect.gen(function* () {
        const connection = yield* secure(port, {})
        expect(connection.tls.verified).toBe(true)
        expect(yield* Effect.flip(secure(port, { ca: other.certificate }))).toMatchObject({
          reason: "Certificate"
        })
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("echoes 16 MiB without changing an octet", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), (socket) => socket.pipe(socket))
      const connection = yield* secure(port, { ca: certificates.ca })
      const octets = new Uint8Array(randomBytes(16 * 1024 * 1024))
      const writing = yield* Effect.fork(connection.write([octets.subarray(0, 1000), octets.subarray(1000)]))
      const received = createHash("sha256")
      let total = 0
      while (total < octets.length) {
        const pulled = yield* connection.pull
        if (pulled === undefined) break
        received.update(pulled)
        total += pulled.length
      }
      yield* Fiber.join(writing)
      expect(received.digest("hex")).toBe(createHash("sha256").update(octets).digest("hex"))
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("does not read from a flooding server while nobody pulls", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const chunk = Buffer.alloc(64 * 1024)
      let taken = 0
      const { port } = yield* listenTls(served(certificates), (socket) => {
        const flood = () => {
          taken += chunk.length
          socket.write(chunk, (error) => {
            if (error === null || error === undefined) flood()
          })
        }
        flood()
      })
      const connection = yield* secure(port, { ca: certificates.ca })
      let seen = -1
      while (seen !== taken) {
        seen = taken
        yield* Effect.sleep("100 millis")
      }
      expect(connection.buffered()).toBeLessThan(256 * 1024)
      expect(taken).toBeLessThan(64 * 1024 * 1024)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("gives the server's last words behind a write that failed", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port, sockets } = yield* listenTls(served(certificates), (socket) => socket.write("220\r\n"))
      const connection = yield* secure(port, { ca: certificates.ca })
      expect(yield* pullText(connection)).toBe("220\r\n")
      sockets[0]?.write("421 bye\r\n", () => sockets[0]?.destroy())
      yield* eventually(() => sockets[0]?.closed === true)
      let failed = false
      while (!failed) {
        failed = Exit.isFailure(yield* Effect.exit(connection.write([bytes("NOOP\r\n")])))
        yield* Effect.yieldNow()
      }
      expect(yield* pullText(connection)).toBe("421 bye\r\n")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("closes the connection with its scope, and leaves no handle", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls(served(certificates), greet)
      const before = openHandles()
      const scope = yield* Scope.make()
      const connection = yield* Scope.extend(secure(port, { ca: certificates.ca }), scope)
      yield* connection.pull
      yield* Scope.close(scope, Exit.void)
      yield* eventually(() => openHandles() <= before)
      expect(yield* Effect.flip(connection.pull)).toMatchObject({ operation: "read" })
      expect(yield* Effect.flip(connection.write([bytes("x")]))).toMatchObject({ operation: "write" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )
})

describe("The name that the certificate has to be valid for (RFC 9525)", () => {
  it.scopedLive("is not another one", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["elsewhere.test"] })
      const { port } = yield* listenTls(served(certificates), greet)
      const before = openHandles()
      const error = yield* Effect.flip(secure(port, { ca: certificates.ca }))
      expect(error).toMatchObject({
        _tag: "TlsError",
        reason: "Certificate",
        endpoint: `localhost:${port}`
      })
      expect(error.message).toContain("elsewhere.test")
      yield* eventually(() => openHandles() <= before)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("is the servername, when the options give one", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["elsewhere.test"] })
      const { port, sockets } = yield* listenTls(served(certificates), greet)
      const connection = yield* secure(port, { ca: certificates.ca, servername: "elsewhere.test" })
      yield* connection.pull
      expect(connection.tls.servername).toBe("elsewhere.test")
      expect(sockets[0]).toMatchObject({ servername: "elsewhere.test" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("is the address when an address is dialled, which a certificate for localhost is not", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["localhost"] })
      const { port } = yield* listenTls(served(certificates), greet)
      const error = yield* Effect.flip(secure(port, { ca: certificates.ca }, { host: "127.0.0.1" }))
      expect(error).toMatchObject({ reason: "Certificate", endpoint: `127.0.0.1:${port}` })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("may be an address, which is never sent in SNI (RFC 6066 section 3)", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["127.0.0.1"] })
      const { port, sockets } = yield* listenTls(served(certificates), greet)
      const connection = yield* secure(port, { ca: certificates.ca }, { host: "127.0.0.1" })
      yield* connection.pull
      expect(connection.tls.servername).toBe("127.0.0.1")
      expect(sockets[0]).toMatchObject({ servername: false })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("is looked for among the subjectAltNames, not in the common name", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: [], commonName: "localhost" })
      const { port } = yield* listenTls(served(certificates), greet)
      const error = yield* Effect.flip(secure(port, { ca: certificates.ca }))
      expect(error.reason).toBe("Certificate")
      expect(error.message).toContain("subjectAltName")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("has no dot at its end and is in A-labels", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["xn--bcher-kva.test"] })
      const { port } = yield* listenTls(served(certificates), greet)
      const connection = yield* secure(port, { ca: certificates.ca }, { host: "bücher.test." })
      expect(connection.tls.servername).toBe("xn--bcher-kva.test")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )
})

describe("A handshake that fails", () => {
  const refused = (
    certificate: { readonly certificate: string; readonly key: string },
    tls: TlsOptions,
    reason: string
  ) =>
    Effect.gen(function* () {
      const { port } = yield* listenTls(served(certificate), greet)
      const before = openHandles()
      const error = yield* Effect.flip(secure(port, tls))
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Certificate" })
      expect(error.message).toContain(reason)
      yield* eventually(() => openHandles() <= before)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))

  it.scopedLive("tells of an expired certificate", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ validity: expired() })
      yield* refused(certificates, { ca: certificates.ca }, "expired")
    })
  )

  it.scopedLive("tells of a self-signed certificate", () =>
    Effect.flatMap(makeSelfSigned(), (certificate) => refused(certificate, {}, "self-signed"))
  )

  it.scopedLive("tells of an authority that is not trusted", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const other = yield* makeAuthority({ commonName: "another authority" })
      yield* refused(certificates, { ca: [other.certificate] }, "unable to")
    })
  )

  it.scopedLive("does not fail for the certificate under verify: false, and says so", () =>
    Effect.gen(function* () {
      const { port } = yield* listenTls(served(yield* makeSelfSigned()), greet)
      const connection = yield* secure(port, { verify: false })
      expect(yield* pullText(connection)).toBe("220 ready\r\n")
      expect(connection.tls.verified).toBe(false)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("tells of a server that does not speak TLS", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 plain text\r\n"))
      const before = openHandles()
      expect(yield* Effect.flip(secure(port, {}))).toMatchObject({ reason: "Handshake" })
      yield* eventually(() => openHandles() <= before)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("does not hang on plaintext that was received before it began", () =>
    Effect.gen(function* () {
      const { port } = yield* listen((socket) => socket.write("220 plain text\r\n"))
      const connection = yield* dial(port)
      yield* eventually(() => connection.buffered() > 0)
      expect(yield* Effect.flip(upgrade(connection, {}))).toMatchObject({ reason: "Handshake" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("tells of a server that closes, resets or has gone", () =>
    Effect.gen(function* () {
      const ending = yield* listen((socket) => socket.end())
      expect(yield* Effect.flip(secure(ending.port, {}))).toMatchObject({ reason: "Disconnected" })
      const resetting = yield* listen((socket) => socket.once("data", () => socket.resetAndDestroy()))
      expect(yield* Effect.flip(secure(resetting.port, {}))).toMatchObject({ reason: "Disconnected" })
      const silent = yield* listen(() => undefined)
      const connection = yield* dial(silent.port)
      yield* connection.destroy
      expect(yield* Effect.flip(upgrade(connection, {}))).toMatchObject({ reason: "Disconnected" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("tells of a version below the lowest that is accepted", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { port } = yield* listenTls({ ...served(certificates), maxVersion: "TLSv1.2" }, greet)
      const error = yield* Effect.flip(secure(port, { ca: certificates.ca, minVersion: "TLSv1.3" }))
      expect(error.reason).toBe("Handshake")
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("ends at its time limit, and leaves no handle", () =>
    Effect.gen(function* () {
      const { port } = yield* listen(() => undefined)
      const before = openHandles()
      const error = yield* Effect.flip(secure(port, {}, { timeout: Duration.millis(20) }))
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Timeout", endpoint: `localhost:${port}` })
      // The server's half is the one that stays.
      yield* eventually(() => openHandles() <= before + 1)
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  it.scopedLive("leaves nothing open when it is interrupted", () =>
    Effect.gen(function* () {
      const { port, sockets } = yield* listen((socket) => socket.resume())
      const connection = yield* dial(port)
      const upgrading = yield* Effect.fork(Effect.scoped(upgrade(connection, {})))
      yield* eventually(() => sockets[0] !== undefined && sockets[0].bytesRead > 0)
      yield* Fiber.interrupt(upgrading)
      yield* eventually(() => sockets[0]?.readableEnded === true || sockets[0]?.destroyed === true)
      expect(yield* Effect.flip(connection.pull)).toMatchObject({ operation: "read" })
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )

  for (const [what, end] of [
    ["the connection below is destroyed", (connection: Connection) => connection.destroy],
    [
      "it is interrupted",
      (_connection: Connection, upgrading: Fiber.RuntimeFiber<unknown, unknown>) => Fiber.interrupt(upgrading)
    ]
  ] as const) {
    it.scopedLive(`is destroyed from above when ${what}`, () =>
      Effect.gen(function* () {
        const { port, sockets } = yield* listen((socket) => socket.resume())
        const connection = yield* dial(port)
        const upgrading = yield* Effect.fork(Effect.scoped(Effect.flip(upgrade(connection, {}))))
        yield* eventually(() => sockets[0] !== undefined && sockets[0].bytesRead > 0)
        const destroyed = yield* socketsDestroyed
        yield* end(connection, upgrading)
        yield* Fiber.await(upgrading)
        yield* eventually(() => sockets[0]?.readableEnded === true || sockets[0]?.destroyed === true)
        expect(destroyed().slice(0, 2)).toEqual(["TLS", "TCP"])
      }).pipe(Effect.provide(NodeSmtp.layerTransport))
    )
  }

  it.scopedLive("tells of options that cannot be used, instead of throwing", () =>
    Effect.gen(function* () {
      const { port } = yield* listen(() => undefined)
      const leaf = yield* makeSelfSigned()
      const other = yield* makeSelfSigned()
      const broken = leaf.certificate.replace(/\n..../, "\nAAAA")
      const unusable: ReadonlyArray<TlsOptions> = [
        { ca: "garbage" },
        { ca: [] },
        { ca: broken },
        { ca: bytes("garbage") },
        { cert: "garbage", key: Redacted.make("garbage") },
        { cert: leaf.certificate },
        { key: Redacted.make(leaf.key) },
        { cert: leaf.certificate, key: Redacted.make(other.key) }
      ]
      for (const tls of unusable) {
        expect(yield* Effect.flip(secure(port, tls))).toMatchObject({
          _tag: "TlsError",
          reason: "Configuration"
        })
      }
    }).pipe(Effect.provide(NodeSmtp.layerTransport))
  )
})

/** A TLS server on the server's end of a pair in memory, which echoes. */
const echoOver = (connection: Connection, options: Tls.TLSSocketOptions) =>
  Effect.map(makeFork(), (fork) => {
    const duplex = fromConnection(connection, fork, () => undefined)
    duplex.on("error", () => undefined)
    const socket = new Tls.TLSSocket(duplex, { isServer: true, ...options })
    socket.on("error", () => undefined)
    socket.pipe(socket)
    return socket
  })

describe("TlsUpgrade over a connection of another transport", () => {
  it.scopedLive("secures it, both ways", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { client, server } = yield* makePair({ capacity: 1000 })
      yield* echoOver(server, served(certificates))
      const connection = yield* upgrade(client, { ca: certificates.ca })
      expect(connection.tls).toMatchObject({ protocol: "TLSv1.3", verified: true })
      const octets = new Uint8Array(randomBytes(1024 * 1024))
      const writing = yield* Effect.fork(connection.write([octets]))
      const received: Array<Uint8Array> = []
      let total = 0
      while (total < octets.length) {
        const pulled = yield* connection.pull
        if (pulled === undefined) break
        received.push(pulled)
        total += pulled.length
      }
      yield* Fiber.join(writing)
      expect(Buffer.concat(received).equals(octets)).toBe(true)
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scopedLive("checks the certificate", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates({ names: ["elsewhere.test"] })
      const { client, server } = yield* makePair()
      yield* echoOver(server, served(certificates))
      expect(yield* Effect.flip(upgrade(client, { ca: certificates.ca }))).toMatchObject({
        reason: "Certificate"
      })
      expect(yield* Effect.flip(client.pull)).toMatchObject({ operation: "read" })
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scopedLive("shows the end and the loss of the connection below", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const one = yield* makePair()
      const ended = yield* echoOver(one.server, served(certificates))
      const connection = yield* upgrade(one.client, { ca: certificates.ca })
      ended.end()
      yield* Effect.fork(one.server.end)
      expect(yield* connection.pull).toBeUndefined()

      const two = yield* makePair()
      yield* echoOver(two.server, served(certificates))
      const lost = yield* upgrade(two.client, { ca: certificates.ca })
      yield* two.server.reset
      expect(yield* Effect.flip(lost.pull)).toMatchObject({ _tag: "ConnectionLost" })
      expect(yield* Effect.flip(lost.write([bytes("x")]))).toMatchObject({ operation: "write" })
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scopedLive("fails what is written behind a write that failed below, and reads on", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { client, server } = yield* makePair()
      const socket = yield* echoOver(server, served(certificates))
      let broken = false
      const write: Connection["write"] = (octets) =>
        Effect.suspend(() =>
          broken
            ? Effect.fail(new ConnectionLost({ operation: "write", cause: new Error("EPIPE") }))
            : client.write(octets)
        )
      const connection = yield* upgrade({ ...client, write }, { ca: certificates.ca })
      yield* connection.write([bytes("EHLO\r\n")])
      expect(yield* pullText(connection)).toBe("EHLO\r\n")
      broken = true
      expect(yield* Effect.flip(connection.write([bytes("NOOP\r\n")]))).toMatchObject({
        _tag: "ConnectionLost",
        operation: "write"
      })
      socket.write("421 bye\r\n")
      expect(yield* pullText(connection)).toBe("421 bye\r\n")
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scopedLive("destroys it with the scope", () =>
    Effect.gen(function* () {
      const certificates = yield* makeCertificates()
      const { client, server } = yield* makePair()
      yield* echoOver(server, served(certificates))
      yield* Effect.scoped(upgrade(client, { ca: certificates.ca }))
      expect(yield* Effect.flip(client.pull)).toMatchObject({ operation: "read" })
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scopedLive("tells of a peer that ends or resets in the handshake", () =>
    Effect.gen(function* () {
      const one = yield* makePair()
      yield* one.server.end
      expect(yield* Effect.flip(upgrade(one.client, {}))).toMatchObject({ reason: "Disconnected" })
      const two = yield* makePair()
      yield* two.server.reset
      expect(yield* Effect.flip(upgrade(two.client, {}))).toMatchObject({ reason: "Disconnected" })
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scoped("ends a stalled handshake at its time limit, by the Clock", () =>
    Effect.gen(function* () {
      const { client } = yield* makePair()
      const upgrading = yield* Effect.fork(
        Effect.flip(upgrade(client, {}, { timeout: Duration.seconds(30) }))
      )
      yield* TestClock.adjust("29 seconds")
      expect(yield* Fiber.poll(upgrading)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(upgrading)).toMatchObject({ _tag: "TlsError", reason: "Timeout" })
      expect(yield* Effect.flip(client.pull)).toMatchObject({ operation: "read" })
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )

  it.scoped("ends a stalled handshake at its time limit even where it cannot be interrupted", () =>
    Effect.gen(function* () {
      const { client } = yield* makePair()
      const upgrading = yield* Effect.fork(
        Effect.uninterruptible(Effect.flip(upgrade(client, {}, { timeout: Duration.seconds(30) })))
      )
      yield* TestClock.adjust("30 seconds")
      expect(yield* Fiber.join(upgrading)).toMatchObject({ reason: "Timeout" })
    }).pipe(Effect.provide(NodeSmtp.layerTls))
  )
})

describe("TlsUpgrade.layerNone", () => {
  it.scoped("fails every upgrade, destroys the connection and says what to provide", () =>
    Effect.gen(function* () {
      const { client } = yield* makePair()
      const error = yield* Effect.flip(upgrade(client, {}))
      expect(error).toMatchObject({ reason: "Configuration", endpoint: "localhost:465" })
      expect(error.message).toContain("NodeSmtp.layer")
      expect(yield* Effect.flip(client.pull)).toMatchObject({ operation: "read" })
    }).pipe(Effect.provide(layerNone))
  )
})
