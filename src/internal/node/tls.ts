/**
 * TLS over node:tls, for our own sockets and, through a Duplex, for any other Connection. Certificates are checked by
 * RFC 9525; sessions are resumed for the same endpoint, name and options only.
 */
import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"
import { domainToASCII } from "node:url"
import { TlsError } from "../../SmtpError.js"
import type { Connection } from "../../SmtpSocket.js"
import type {
  ChannelBinding,
  SecuredConnection,
  Service,
  TlsInfo,
  TlsOptions,
  UpgradeOptions
} from "../../TlsUpgrade.js"
import * as BoundedMap from "../cache/boundedMap.js"
import * as Elapsed from "../effect/elapsed.js"
import type { Fork } from "../effect/runtime.js"
import { makeFork } from "../effect/runtime.js"
import { onClose } from "../effect/scope.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import { withoutZone } from "../options/host.js"
import { ConnectionLost, formatEndpoint } from "../transport/connection.js"
import { markFailedResumption } from "../transport/resumption.js"
import type { NodeConnection } from "./connection.js"
import { destroyFirst, destroySocket, fromNodeSocket, takeSocket } from "./connection.js"
import { fromConnection } from "./duplex.js"
import type { TlsContexts } from "./tlsContext.js"
import { makeTlsContexts, mergeTlsOptions } from "./tlsContext.js"

interface HandshakePlan {
  readonly endpoint: string
  /** The name or address that the certificate must be valid for. */
  readonly name: string
  readonly verify: boolean
  readonly context: Tls.SecureContext
  readonly sessionKey: string
}

/** A session to resume, and the certificate of its first handshake, which is not sent again. */
interface ResumableSession {
  readonly session: Buffer
  readonly certificate: TlsInfo["certificate"]
}

/** What one handshake has to do with sessions. */
interface Resumption {
  readonly offered: ResumableSession | undefined
  readonly keep: (session: ResumableSession) => void
  readonly forget: () => void
  /** No session is offered to the endpoint for a while. */
  readonly pause: () => void
}

const pauseMillis = 600_000

/** Contexts and resumable sessions live as long as the service. */
export const makeTlsService = (layerOptions: TlsOptions): Effect.Effect<Service> =>
  Effect.sync(() => {
    const contexts = makeTlsContexts(64)
    const resumptionOf = makeResumptions()
    return {
      upgrade: (connection, options) =>
        Effect.gen(function* () {
          yield* onClose(connection.destroy)
          const plan = yield* planOf(contexts, layerOptions, options)
          const resumption = resumptionOf(plan, yield* Effect.clock)
          const secured = yield* withTimeLimit(
            handshake(connection, plan, resumption, yield* makeFork()),
            options.timeout,
            () => new TlsError({ endpoint: plan.endpoint, reason: "Timeout" })
          ).pipe(Effect.tapError((error) => Effect.sync(() => blameResumption(error, resumption))))
          yield* onClose(secured.destroy)
          return secured
        }).pipe(Effect.onError(() => connection.destroy))
    }
  })

const makeResumptions = (): ((plan: HandshakePlan, clock: Clock) => Resumption) => {
  const sessions = BoundedMap.make<string, ResumableSession>(1000)
  const pausedUntil = BoundedMap.make<string, number>(1000)
  return ({ endpoint, sessionKey }, clock) => ({
    offered:
      (pausedUntil.get(endpoint) ?? -Infinity) > Elapsed.millis(clock) ? undefined : sessions.get(sessionKey),
    keep: (session) => sessions.set(sessionKey, session),
    forget: () => sessions.remove(sessionKey),
    pause: () => pausedUntil.set(endpoint, Elapsed.millis(clock) + pauseMillis)
  })
}

/** Some servers answer a session that they do not know by an alert, or hang up, instead of a full handshake. */
const blameResumption = (error: TlsError, { forget, offered, pause }: Resumption): void => {
  forget()
  if (offered === undefined || error.reason === "Certificate") return
  pause()
  if (error.reason !== "Timeout") markFailedResumption(error)
}

const planOf = (
  contexts: TlsContexts,
  layerOptions: TlsOptions,
  options: UpgradeOptions
): Effect.Effect<HandshakePlan, TlsError> => {
  const { host, port, verifyByDefault = true } = options
  const tls = mergeTlsOptions(layerOptions, options.tls)
  const endpoint = formatEndpoint({ _tag: "Tcp", host, port })
  const name = nameOf(tls.servername ?? host)
  const verify = tls.verify ?? verifyByDefault
  return contexts.get(tls).pipe(
    Effect.mapError((cause) => new TlsError({ endpoint, reason: "Configuration", cause })),
    Effect.map(({ context, id }) => ({
      endpoint,
      name,
      verify,
      context,
      sessionKey: JSON.stringify([host, port, name, verify, id])
    }))
  )
}

/** As in certificates and SNI: A-labels, no dot at the end (RFC 6066 section 3), and no zone. */
const nameOf = (host: string): string => {
  if (Net.isIP(host) !== 0) return withoutZone(host)
  const ascii = domainToASCII(host)
  return (ascii === "" ? host : ascii).replace(/\.$/, "")
}

type Fail = (reason: "Handshake" | "Disconnected" | "Certificate" | "Configuration", cause: unknown) => void

const handshake = (
  connection: Connection,
  plan: HandshakePlan,
  resumption: Resumption,
  fork: Fork
): Effect.Effect<SecuredConnection, TlsError> =>
  Effect.async((resume) => {
    const fail: Fail = (reason, cause) =>
      resume(Effect.fail(new TlsError({ endpoint: plan.endpoint, reason, cause })))
    let secured: NodeConnection | undefined
    const below =
      takeSocket(connection) ??
      fromConnection(connection, fork, (cause) => {
        if (secured === undefined) fail("Disconnected", cause)
        else secured.failWrites(cause)
      })
    below.on("error", () => undefined)
    const socket = connectOver(below, plan, resumption.offered?.session, fail)
    if (socket === undefined) return
    destroyFirst(connection, () => destroySocket(socket))
    const acceptCertificate = keepSessions(socket, resumption)
    failUntilSecure(socket, fail)
    socket.once("secureConnect", () => {
      try {
        const tls = infoOf(socket, plan, acceptCertificate())
        if (tls.resumed) {
          // On TLS 1.3 a server may refuse after the handshake.
          const onLoss = () => {
            if (socket.bytesRead === 0) resumption.pause()
          }
          socket.once("end", onLoss)
          socket.once("error", onLoss)
        }
        secured = fromNodeSocket(socket, {
          addresses: connection.addresses,
          onDestroy: () => below.destroy()
        })
        // The same object, since a proxy's TLS hands its socket over once more.
        resume(Effect.succeed(Object.assign(secured, { tls })))
      } catch (cause) {
        fail("Handshake", cause)
        destroySocket(socket)
      }
    })
    return Effect.sync(() => {
      destroySocket(socket)
      below.destroy()
    })
  })

const connectOver = (
  below: Duplex,
  plan: HandshakePlan,
  session: Buffer | undefined,
  fail: Fail
): Tls.TLSSocket | undefined => {
  if (below.destroyed) {
    fail("Disconnected", new Error("the connection is closed"))
    return undefined
  }
  try {
    return Tls.connect({
      socket: below,
      host: plan.name,
      // RFC 6066 section 3: no address in SNI. The certificate is checked for it nevertheless.
      ...(Net.isIP(plan.name) === 0 ? { servername: plan.name } : {}),
      secureContext: plan.context,
      session,
      rejectUnauthorized: plan.verify,
      checkServerIdentity: (_host, certificate) => identityError(plan.name, certificate)
    })
  } catch (cause) {
    fail("Configuration", cause)
    return undefined
  }
}

const failUntilSecure = (socket: Tls.TLSSocket, fail: Fail): void => {
  const onError = (cause: unknown) => {
    fail(
      isCertificateError(socket, cause) ? "Certificate" : isLoss(cause) ? "Disconnected" : "Handshake",
      cause
    )
    destroySocket(socket)
  }
  const onClose = () => fail("Disconnected", new Error("the connection was closed"))
  socket.on("error", onError)
  socket.on("close", onClose)
  socket.once("secureConnect", () => {
    socket.off("error", onError)
    socket.off("close", onClose)
  })
}

/**
 * Keeps every session that the server offers, once its certificate was accepted: tickets of TLS 1.3 arrive after the
 * handshake, those of TLS 1.2 during it. Call the result when the certificate was accepted; it returns the certificate.
 */
const keepSessions = (
  socket: Tls.TLSSocket,
  { keep, offered }: Resumption
): (() => TlsInfo["certificate"]) => {
  let early: Buffer | undefined
  let accepted: { readonly certificate: TlsInfo["certificate"] } | undefined
  socket.on("session", (session: Buffer) => {
    if (accepted === undefined) early = session
    else keep({ session, ...accepted })
  })
  return () => {
    accepted = { certificate: socket.isSessionReused() ? offered?.certificate : certificateOf(socket) }
    if (early !== undefined) keep({ session: early, ...accepted })
    return accepted.certificate
  }
}

/** RFC 9525 section 6.3: the common name is not a name of the server. */
const identityError = (name: string, certificate: Tls.PeerCertificate): Error | undefined => {
  try {
    return certificate.subjectaltname === undefined
      ? new Error(`the certificate has no subjectAltName, so it is not valid for ${name}`)
      : Tls.checkServerIdentity(name, certificate)
  } catch (cause) {
    // An exception in a listener would end the process.
    return new Error(`the certificate cannot be checked for ${name}`, { cause })
  }
}

/** Node sets `authorizationError` exactly when it refuses the certificate; Deno does so for a wrong name only. */
const isCertificateError = (socket: Tls.TLSSocket, cause: unknown): boolean => {
  const error: unknown = socket.authorizationError
  if (error !== undefined && error !== null) return true
  return cause instanceof Error && "code" in cause && certificateCode.test(String(cause.code))
}

const certificateCode = /^(?!ERR_SSL_)(?:.*CERT|UNABLE_TO_VERIFY)/

const isLoss = (cause: unknown): boolean =>
  cause instanceof ConnectionLost ||
  (cause instanceof Error && "code" in cause && lossCodes.has(String(cause.code)))

/** Codes of the system. Those of OpenSSL differ. */
const lossCodes: ReadonlySet<string> = new Set([
  "ECONNABORTED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETRESET",
  "ENETUNREACH",
  "EPIPE",
  "ETIMEDOUT"
])

const infoOf = (
  socket: Tls.TLSSocket,
  { name, verify }: HandshakePlan,
  certificate: TlsInfo["certificate"]
): TlsInfo => ({
  protocol: socket.getProtocol() ?? "unknown",
  cipher: socket.getCipher().standardName,
  servername: name,
  verified: verify,
  resumed: socket.isSessionReused(),
  certificate,
  channelBinding: channelBindingOf(socket)
})

const certificateOf = (socket: Tls.TLSSocket): TlsInfo["certificate"] => {
  const certificate = socket.getPeerX509Certificate()
  return (
    certificate && {
      subject: oneLine(certificate.subject),
      issuer: oneLine(certificate.issuer),
      validFrom: new Date(certificate.validFrom),
      validTo: new Date(certificate.validTo),
      fingerprint256: certificate.fingerprint256
    }
  )
}

/** Node returns undefined for an empty name. */
const oneLine = (name: string | undefined): string => (name ?? "").split("\n").join(", ")

const channelBindingOf = (socket: Tls.TLSSocket): ChannelBinding | undefined => {
  if (socket.getProtocol() === "TLSv1.3") {
    const data = exporterOf(socket)
    return data && { type: "tls-exporter", data }
  }
  // RFC 5929 section 3.1: the first Finished message, which is the server's when a session is resumed.
  const first = socket.isSessionReused() ? socket.getPeerFinished() : socket.getFinished()
  return first && { type: "tls-unique", data: Uint8Array.from(first) }
}

/** RFC 9266 section 4.1; `undefined` where the runtime does not implement it, such as Deno. */
export const exporterOf = (socket: Tls.TLSSocket): Uint8Array | undefined => {
  try {
    return Uint8Array.from(socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0)))
  } catch {
    return undefined
  }
}
