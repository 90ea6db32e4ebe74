/**
 * Clients against servers in memory: one server for each relay, reached by its host name.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import type { InvalidArgument } from "../../src/SmtpError.js"
import { ConnectError } from "../../src/SmtpError.js"
import type { Service as SocketService } from "../../src/SmtpSocket.js"
import { formatEndpoint, SmtpSocket } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"

const options: SmtpClient.Options = {
  host: "mx.test",
  tls: "none",
  clientName: "client.test",
  retry: "off"
}

export interface Reachable {
  readonly socket: SocketService
}

/** Sockets by host name; whoever is dialled at another name is not there. */
export const network = (servers: Readonly<Record<string, Reachable>>): Layer.Layer<SmtpTest.Transport> =>
  Layer.mergeAll(
    Layer.succeed(SmtpSocket, {
      dial: (endpoint, dialOptions) => {
        const host = endpoint._tag === "Tcp" ? endpoint.host : endpoint.path
        return (
          servers[host]?.socket.dial(endpoint, dialOptions) ??
          Effect.fail(new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Unreachable" }))
        )
      }
    }),
    SmtpTest.layerTls,
    CapabilityCache.layerNone
  )

/** A client in the scope of the test. */
export const makeClient = (
  servers: Readonly<Record<string, Reachable>>,
  own: SmtpClient.Options = {}
): Effect.Effect<SmtpClient.Service, InvalidArgument, Scope.Scope> =>
  Effect.flatMap(Layer.build(network(servers)), (context) =>
    Effect.provide(SmtpClient.make({ ...options, ...own }), context)
  )

/** A socket that refuses as long as it is told to. */
export const switchable = (server: Reachable) => {
  const state = { isDown: false, dials: 0 }
  const socket: SocketService = {
    dial: (endpoint, dialOptions) =>
      Effect.suspend(() => {
        state.dials += 1
        return state.isDown
          ? Effect.fail(new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Unreachable" }))
          : server.socket.dial(endpoint, dialOptions)
      })
  }
  return { state, socket }
}

const turn: Effect.Effect<void> = Effect.async((resume) => {
  setImmediate(() => {
    resume(Effect.void)
  })
})

/** Lets time pass, step by step, until the fiber has ended: streams need turns of the event loop in between. */
export const joinInTime = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  step: Duration.DurationInput
): Effect.Effect<A, E> =>
  Effect.suspend(() =>
    fiber.unsafePoll() === null
      ? Effect.zipRight(Effect.zipRight(TestClock.adjust(step), turn), joinInTime(fiber, step))
      : Fiber.join(fiber)
  )

export const texts = (messages: ReadonlyArray<SmtpTest.Message>): ReadonlyArray<string> =>
  messages.map(({ source }) => source)
