/**
 * The TLS handshake over node:tls, for sockets of our own and, through a Duplex, for any other Connection.
 * Certificates are checked as RFC 9525 says; sessions are resumed for the same endpoint, name and options only.
 */
import * as Effect from "effect/Effect"
import type * as Runtime from "effect/Runtime"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"
import { domainToASCII } from "node:url"
import { TlsError } from "../../SmtpError.js"
import type { Connection } from "../../SmtpSocket.js"
import { ConnectionLost, formatEndpoint } from "../transport/connection.js"
import type {
  ChannelBinding,
  SecuredConnection,
  Service,
  TlsInfo,
  TlsOptions,
  UpgradeOptions
} from "../../TlsUpgrade.js"
import * as BoundedMap from "../cache/boundedMap.js"
import type { NodeConnection } from "./connection.js"
import { destroyFirst, destroySocket, fromNodeSocket, takeSocket } from "./connection.js"
import { fromConnection } from "./duplex.js"
import * as NodeTlsContext from "./tlsContext.js"

/** One handshake, with all that was decided before it. */
interface Plan {
  readonly endpoint: string
  /** The name or address that the certificate has to be valid for. */
  readonly name: string
  readonly verify: boolean
  readonly context: Tls.SecureContext
  readonly sessionKey: string
}

/** A session to resume, and the certificate of the handshake it comes from, which is not shown again. */
interface Resumable {
  readonly session: Buffer
  readonly certificate: TlsInfo["certificate"]
}

type Sessions = BoundedMap.BoundedMap<string, Resumable>

/** Contexts and resumable sessions live as long as the service. */
export const makeService = (layerOptions: TlsOptions): Effect.Effect<Service> =>
  Effect.sync(() => {
    const contexts = NodeTlsContext.make(64)
    const sessions: Sessions = BoundedMap.make(1000)
    return {
      upgrade: (connection, options) =>
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() => connection.destroy)
          const plan = yield* planOf(contexts, layerOptions, options)
          const runtime = yield* Effect.runtime()
          const secured = yield* handshakeWithin(connection, plan, sessions, runtime, options)
          yield* Effect.addFinalizer(() => secured.destroy)
          return secured
        }).pipe(Effect.onError(() => connection.destroy))
    }
  })

const planOf = (
  contexts: NodeTlsContext.TlsContexts,
  layerOptions: TlsOptions,
  options: UpgradeOptions
): Effect.Effect<Plan, TlsError> => {
  const tls = NodeTlsContext.merge(layerOptions, options.tls)
  const endpoint = formatEndpoint({ _tag: "Tcp", host: options.host, port: options.port })
  const name = nameOf(tls.servername ?? options.host)
  const verify = tls.verify ?? options.verifyByDefault ?? true
  return contexts.get(tls).pipe(
    Effect.mapError((cause) => new TlsError({ endpoint, reason: "Configuration", cause })),
    Effect.map(({ context, id }) => ({
      endpoint,
      name,
      verify,
      context,
      sessionKey: JSON.stringify([options.host, options.port, name, verify, id])
    }))
  )
}

/** As it stands in certificates and in SNI: A-labels, and no dot at the end (RFC 6066 section 3). */
const nameOf = (host: string): string => {
  const ascii = Net.isIP(host) === 0 ? domainToASCII(host) : host
  return (ascii === "" ? host : ascii).replace(/\.$/, "")
}

const handshakeWithin = (
  connection: Connection,
  plan: Plan,
  sessions: Sessions,
  runtime: Runtime.Runtime<never>,
  options: UpgradeOptions
): Effect.Effect<SecuredConnection, TlsError> =>
  handshake(connection, plan, sessions, runtime).pipe(
    Effect.interruptible,
    Effect.timeoutFail({
      duration: options.timeout,
      onTimeout: () => new TlsError({ endpoint: plan.endpoint, reason: "Timeout" })
    }),
    // It may have been the session that the server could not bear.
    Effect.tapError(() => Effect.sync(() => sessions.remove(plan.sessionKey)))
  )

const handshake = (
  connection: Connection,
  plan: Plan,
  sessions: Sessions,
  runtime: Runtime.Runtime<never>
): Effect.Effect<SecuredConnection, TlsError> =>
  Effect.async((resume) => {
    const fail: Fail = (reason, cause) =>
      resume(Effect.fail(new TlsError({ endpoint: plan.endpoint, reason, cause })))
    let secured: NodeConnection | undefined
    const below = transportOf(connection, runtime, (cause) => {
      if (secured === undefined) fail("Disconnected", cause)
      else secured.failWrites(cause)
    })
    const socket = connectOver(below, plan, sessions.get(plan.sessionKey)?.session, fail)
    if (socket === undefined) return
    destroyFirst(connection, () => destroySocket(socket))
    const certificateOfSession = keepSessions(socket, plan, sessions)
    failWith(socket, fail)
    socket.once("secureConnect", () => {
      const certificate = certificateOfSession()
      secured = fromNodeSocket(socket, { addresses: connection.addresses, onDestroy: () => below.destroy() })
      // The same object, since its socket may be handed over once more: to TLS with a server behind a proxy.
      resume(Effect.succeed(Object.assign(secured, { tls: infoOf(socket, plan, certificate) })))
    })
    return Effect.sync(() => {
      destroySocket(socket)
      below.destroy()
    })
  })

type Fail = (reason: "Handshake" | "Disconnected" | "Certificate" | "Configuration", cause: unknown) => void

/** Once the handshake is over, nobody listens to `fail` any more. */
const failWith = (socket: Tls.TLSSocket, fail: Fail): void => {
  const onError = (cause: unknown) => {
    fail(isCertificateError(socket) ? "Certificate" : isLoss(cause) ? "Disconnected" : "Handshake", cause)
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
 * Keeps every session that the server offers, but none before its certificate was accepted: tickets of TLS 1.3
 * arrive behind the handshake, those of TLS 1.2 in it. To be called for the certificate when it was accepted.
 */
const keepSessions = (
  socket: Tls.TLSSocket,
  plan: Plan,
  sessions: Sessions
): (() => TlsInfo["certificate"]) => {
  const resumed = sessions.get(plan.sessionKey)
  let early: Buffer | undefined
  let accepted: { readonly certificate: TlsInfo["certificate"] } | undefined
  socket.on("session", (session: Buffer) => {
    if (accepted === undefined) early = session
    else sessions.set(plan.sessionKey, { session, ...accepted })
  })
  return () => {
    accepted = { certificate: socket.isSessionReused() ? resumed?.certificate : certificateOf(socket) }
    if (early !== undefined) sessions.set(plan.sessionKey, { session: early, ...accepted })
    return accepted.certificate
  }
}

/** Our own socket, or the connection of another transport as a Duplex. */
const transportOf = (
  connection: Connection,
  runtime: Runtime.Runtime<never>,
  onWriteFailed: (cause: unknown) => void
): Duplex => {
  const below = takeSocket(connection) ?? fromConnection(connection, runtime, onWriteFailed)
  below.on("error", () => undefined)
  return below
}

const connectOver = (
  below: Duplex,
  plan: Plan,
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
      // An address is never sent in SNI (RFC 6066 section 3); the certificate is checked for it all the same.
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

/** RFC 9525 section 6.3: the common name is no name of the server. */
const identityError = (name: string, certificate: Tls.PeerCertificate): Error | undefined =>
  certificate.subjectaltname === undefined
    ? new Error(`the certificate has no subjectAltName, so it is not valid for ${name}`)
    : Tls.checkServerIdentity(name, certificate)

/** Node sets `authorizationError` exactly when it refuses the certificate. */
const isCertificateError = (socket: Tls.TLSSocket): boolean => {
  const error: unknown = socket.authorizationError
  return error !== undefined && error !== null
}

/** Of a socket, by the codes of the system; or of any other Connection. What OpenSSL says has other codes. */
const isLoss = (cause: unknown): boolean =>
  cause instanceof ConnectionLost ||
  (cause instanceof Error && "code" in cause && lossCodes.has(String(cause.code)))

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

const infoOf = (socket: Tls.TLSSocket, plan: Plan, certificate: TlsInfo["certificate"]): TlsInfo => ({
  protocol: socket.getProtocol() ?? "unknown",
  cipher: socket.getCipher().standardName,
  servername: plan.name,
  verified: plan.verify,
  resumed: socket.isSessionReused(),
  certificate,
  channelBinding: channelBindingOf(socket)
})

const certificateOf = (socket: Tls.TLSSocket): TlsInfo["certificate"] => {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return undefined
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    validFrom: new Date(certificate.validFrom),
    validTo: new Date(certificate.validTo),
    fingerprint256: certificate.fingerprint256
  }
}

/** Node gives nothing for an empty name. */
const oneLine = (name: string | undefined): string => (name ?? "").split("\n").join(", ")

const channelBindingOf = (socket: Tls.TLSSocket): ChannelBinding | undefined => {
  if (socket.getProtocol() === "TLSv1.3") {
    const data = socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0))
    return { type: "tls-exporter", data: Uint8Array.from(data) }
  }
  // RFC 5929 section 3.1: the first Finished of the handshake, which is the server's when a session is resumed.
  const first = socket.isSessionReused() ? socket.getPeerFinished() : socket.getFinished()
  return first === undefined ? undefined : { type: "tls-unique", data: Uint8Array.from(first) }
}
