import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { AddressInfo } from "node:net"
import * as Tls from "node:tls"
import * as Certificates from "./certificates.js"

const portOf = (address: AddressInfo | string | null): number =>
  typeof address === "object" && address !== null ? address.port : 0

/** "secure", or the code of the error that the client's verification ends in. */
const handshake = (server: Certificates.Certificate, client: Tls.ConnectionOptions): Effect.Effect<string> =>
  Effect.async<string>((resume) => {
    const listener = Tls.createServer({ cert: server.certificate, key: server.key })
    const finish = (outcome: string): void => {
      listener.close()
      resume(Effect.succeed(outcome))
    }
    listener.on("tlsClientError", () => undefined)
    listener.on("secureConnection", (socket) => socket.on("error", () => undefined))
    listener.listen(0, "127.0.0.1", () => {
      const socket = Tls.connect({ host: "127.0.0.1", port: portOf(listener.address()), ...client })
      socket.on("secureConnect", () => {
        finish("secure")
        socket.destroy()
      })
      socket.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? error.message))
    })
  })

describe("certificates", () => {
  it.scopedLive("is trusted for its names by who trusts the authority", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      expect(yield* handshake(made, { ca: made.ca })).toBe("secure")
      expect(yield* handshake(made, { ca: made.ca, servername: "localhost" })).toBe("secure")
    })
  )

  it.scopedLive("is not trusted under another authority of the same name", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const other = yield* Certificates.makeAuthority()
      expect(yield* handshake(made, { ca: other.certificate })).not.toBe("secure")
    })
  )

  it.scopedLive("can be expired, not yet valid, self-signed or for another name", () =>
    Effect.gen(function* () {
      const expired = yield* Certificates.makeCertificates({ validity: Certificates.expired() })
      expect(yield* handshake(expired, { ca: expired.ca })).toBe("CERT_HAS_EXPIRED")
      const early = yield* Certificates.makeCertificates({ validity: Certificates.notYetValid() })
      expect(yield* handshake(early, { ca: early.ca })).toBe("CERT_NOT_YET_VALID")
      const selfSigned = yield* Certificates.makeSelfSigned()
      expect(yield* handshake(selfSigned, {})).toBe("DEPTH_ZERO_SELF_SIGNED_CERT")
      const onlyLocalhost = yield* Certificates.makeCertificates({ names: ["localhost"] })
      expect(yield* handshake(onlyLocalhost, { ca: onlyLocalhost.ca })).toBe("ERR_TLS_CERT_ALTNAME_INVALID")
    })
  )

  it.scopedLive("can be a client's", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const client = yield* Certificates.makeCertificate(made.authority, {
        usage: "client",
        names: [],
        commonName: "ann"
      })
      const subject = yield* Effect.async<string>((resume) => {
        const listener = Tls.createServer(
          { cert: made.certificate, key: made.key, ca: made.ca, requestCert: true, rejectUnauthorized: true },
          (socket) => {
            resume(Effect.succeed(String(socket.getPeerCertificate().subject.CN)))
            socket.destroy()
            listener.close()
          }
        )
        listener.listen(0, "127.0.0.1", () => {
          const socket = Tls.connect({
            host: "127.0.0.1",
            port: portOf(listener.address()),
            ca: made.ca,
            cert: client.certificate,
            key: client.key
          })
          socket.on("error", () => undefined)
        })
      })
      expect(subject).toBe("ann")
    })
  )
})
