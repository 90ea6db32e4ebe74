/**
 * Dials over node:net: the addresses of a host are tried in turn, the next one when the one before has failed or is
 * slow (RFC 8305 section 5), and the first to answer wins. Times follow Effect's Clock.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { lookup } from "node:dns"
import * as Net from "node:net"
import { ConnectError } from "../../SmtpError.js"
import type { DialOptions, Endpoint, Service, TcpEndpoint } from "../../SmtpSocket.js"
import { withOwnLimit } from "../effect/bestEffort.js"
import { onClose } from "../effect/scope.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import { formatEndpoint } from "../transport/connection.js"
import { destroySocket, fromNodeSocket } from "./connection.js"

/** Finds the addresses of a host name. */
export type Resolve = (host: string) => Effect.Effect<ReadonlyArray<string>, unknown>

/** The system's resolver, in the system's order. It cannot be cancelled, so interruption leaves it running. */
export const systemResolve: Resolve = (host) =>
  Effect.async((resume) => {
    lookup(host, { all: true }, (error, addresses) =>
      resume(error === null ? Effect.succeed(addresses.map(({ address }) => address)) : Effect.fail(error))
    )
  })

export const makeSocketService = (resolve: Resolve = systemResolve): Service =>
  withOwnLimit({
    dial: (endpoint, options) =>
      Effect.map(dialSocket(endpoint, options, resolve), (socket) => fromNodeSocket(socket))
  })

/** The connected socket, paused. It is destroyed when the scope closes. */
export const dialSocket = (
  endpoint: Endpoint,
  options: DialOptions,
  resolve: Resolve
): Effect.Effect<Net.Socket, ConnectError, Scope.Scope> =>
  Effect.gen(function* () {
    const attempts: Array<Net.Socket> = []
    const destroyAllBut = (winner: Net.Socket | undefined) =>
      Effect.sync(() => {
        for (const attempt of attempts) if (attempt !== winner) destroySocket(attempt)
      })
    yield* onClose(destroyAllBut(undefined))
    const name = formatEndpoint(endpoint)
    const socket = yield* withTimeLimit(
      targetsOf(endpoint, options, resolve).pipe(
        Effect.flatMap((targets) => connectFirst(targets, attempts)),
        Effect.mapError((cause) => new ConnectError({ endpoint: name, reason: "Unreachable", cause }))
      ),
      options.timeout,
      () => new ConnectError({ endpoint: name, reason: "Timeout" })
    )
    yield* destroyAllBut(socket)
    return socket
  })

const targetsOf = (
  endpoint: Endpoint,
  options: DialOptions,
  resolve: Resolve
): Effect.Effect<ReadonlyArray<Net.SocketConnectOpts>, unknown> => {
  if (endpoint._tag === "Unix") return Effect.succeed([{ path: endpoint.path }])
  const { host, localAddress, localPort, port } = endpoint
  return Effect.flatMap(Net.isIP(host) === 0 ? resolve(host) : Effect.succeed([host]), (addresses) => {
    const usable = usableAddresses(endpoint, options, addresses)
    if (usable.length > 0) {
      return Effect.succeed(usable.map((address) => ({ host: address, port, localAddress, localPort })))
    }
    const why =
      addresses.length === 0
        ? `${host} has no address`
        : `none of the addresses ${addresses.join(", ")} may be dialled`
    return Effect.fail(new Error(why))
  })
}

// The owner of a name can list thousands of addresses, and each refusal begins the next attempt.
const mostTargets = 16

const usableAddresses = (
  endpoint: TcpEndpoint,
  options: DialOptions,
  addresses: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const localFamily = Net.isIP(endpoint.localAddress ?? "")
  const usable = addresses.filter(
    (address) =>
      (localFamily === 0 || Net.isIP(address) === localFamily) && options.except?.includes(address) !== true
  )
  return alternateFamilies(usable).slice(0, mostTargets)
}

/** The first address keeps its place, then the families alternate (RFC 8305 section 4). */
const alternateFamilies = (addresses: ReadonlyArray<string>): ReadonlyArray<string> => {
  const firstFamily = Net.isIP(addresses[0] ?? "")
  const first = addresses.filter((address) => Net.isIP(address) === firstFamily)
  const second = addresses.filter((address) => Net.isIP(address) !== firstFamily)
  return first
    .flatMap((address, index) => [address, ...second.slice(index, index + 1)])
    .concat(second.slice(first.length))
}

const connectFirst = (
  targets: ReadonlyArray<Net.SocketConnectOpts>,
  attempts: Array<Net.Socket>
): Effect.Effect<Net.Socket, unknown> =>
  Effect.suspend(() => {
    const causes: Array<unknown> = []
    const connectFrom = (index: number): Effect.Effect<Net.Socket, unknown> => {
      const target = targets[index]
      if (target === undefined) return Effect.fail(causes)
      const attempt = Effect.tapError(connect(target, attempts), (cause) =>
        Effect.sync(() => causes.push(cause))
      )
      if (index === targets.length - 1) return attempt
      return Effect.flatMap(Deferred.make<undefined>(), (failed) => {
        const failedOrSlow = Effect.race(Deferred.await(failed), Effect.sleep(attemptDelay))
        return Effect.race(
          Effect.tapError(attempt, () => Deferred.succeed(failed, undefined)),
          Effect.zipRight(failedOrSlow, connectFrom(index + 1))
        )
      })
    }
    return Effect.mapError(connectFrom(0), () =>
      causes.length === 1 ? causes[0] : new AggregateError(causes, "")
    )
  })

/** RFC 8305 section 5: the recommended Connection Attempt Delay. */
const attemptDelay = "250 millis"

const connect = (
  target: Net.SocketConnectOpts,
  attempts: Array<Net.Socket>
): Effect.Effect<Net.Socket, unknown> =>
  Effect.async((resume) => {
    const socket = new Net.Socket({ allowHalfOpen: true })
    attempts.push(socket)
    const onError = (cause: unknown) => resume(Effect.fail(cause))
    // Never removed: until the connection listens, an error would be uncaught.
    socket.on("error", onError)
    socket.setNoDelay(true)
    try {
      socket.connect(target, () => resume(Effect.succeed(socket)))
    } catch (cause) {
      onError(cause)
    }
    return Effect.sync(() => destroySocket(socket))
  })
