/**
 * A Socket of @effect/platform as a Connection, with guards for what such a Socket does not do by itself: it never stops
 * reading, and a write before it is open or after its end would wait forever.
 */
import type * as Socket from "@effect/platform/Socket"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { ConnectError } from "../../SmtpError.js"
import type { Connection, Endpoint, FromSocketOptions } from "../../SmtpSocket.js"
import { forkScope } from "../effect/scope.js"
import { withTimeLimit } from "../effect/timeLimit.js"
import * as Wakeup from "../effect/wakeup.js"
import { ConnectionLost, formatEndpoint } from "./connection.js"

/** What was received, and how it ended. */
class Inbox {
  private chunks: Array<Uint8Array> = []
  private bytes = 0
  private end: { readonly cause: unknown } | undefined

  constructor(
    private readonly limit: number,
    private readonly wakeup: Wakeup.Wakeup
  ) {}

  readonly pull: Connection["pull"] = Effect.suspend(() => Wakeup.until(this.wakeup, () => this.look()))

  readonly size = (): number => this.bytes

  readonly receive = (received: Uint8Array): void => {
    if (this.end !== undefined || received.length === 0) return
    if (this.bytes + received.length > this.limit) {
      this.finish(new Error(`the peer sent more than ${this.limit} bytes that were not read`))
      return
    }
    this.chunks.push(received)
    this.bytes += received.length
    this.wakeup.wake()
  }

  /** The first call counts; `undefined` is the end of the stream. */
  finish(cause: unknown): void {
    this.end ??= { cause }
    this.wakeup.wake()
  }

  /** Drops what is left. */
  discard(cause: unknown): void {
    this.chunks = []
    this.bytes = 0
    this.end = { cause }
    this.wakeup.wake()
  }

  /** Why nothing more can be written, once that is so. */
  finished(): unknown {
    if (this.end === undefined) return undefined
    return this.end.cause ?? new Error("the peer has closed the connection")
  }

  private look(): Effect.Effect<Uint8Array | undefined, ConnectionLost> | undefined {
    const next = this.chunks.shift()
    if (next !== undefined) {
      this.bytes -= next.length
      return Effect.succeed(next)
    }
    if (this.end === undefined) return undefined
    const { cause } = this.end
    return cause === undefined
      ? Effect.succeed(undefined)
      : Effect.fail(new ConnectionLost({ operation: "read", cause }))
  }
}

/** Runs the socket in a scope of its own and waits until it is open. */
export const fromSocket = (
  socket: Socket.Socket,
  endpoint: Endpoint,
  options: FromSocketOptions
): Effect.Effect<Connection, ConnectError, Scope.Scope> =>
  Effect.gen(function* () {
    // Loaded here, so that a program without such a socket does not pay for it.
    const { CloseEvent } = yield* Effect.promise(() => import("@effect/platform/Socket"))
    const scope = yield* forkScope(yield* Effect.scope)
    const wakeup = Wakeup.make()
    const inbox = new Inbox(options.maxBuffered ?? 1024 * 1024, wakeup)
    let running = true
    const opened = yield* Deferred.make<undefined, unknown>()
    yield* socket.run(inbox.receive, { onOpen: Deferred.succeed(opened, undefined) }).pipe(
      Effect.onExit((exit) => {
        const cause = causeOf(exit)
        running = false
        inbox.finish(cause)
        return Deferred.fail(opened, cause ?? new Error("the connection was closed at once"))
      }),
      Effect.forkIn(scope)
    )
    const send = yield* Scope.extend(socket.writer, scope)
    yield* awaitOpen(opened, endpoint, options).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))

    // A send that starts when the socket no longer runs never ends: the socket's own end is waited for, too.
    const start = (what: Uint8Array | Socket.CloseEvent) =>
      Effect.suspend(() => {
        const sending: Sending = { exit: undefined }
        return send(what).pipe(
          Effect.onExit((exit) => {
            sending.exit = exit
            return Effect.sync(wakeup.wake)
          }),
          Effect.forkIn(scope),
          Effect.as(sending)
        )
      })
    const closeNow = Effect.flatMap(start(new CloseEvent()), (sending) =>
      Wakeup.until(wakeup, () => (sending.exit === undefined && running ? undefined : Effect.void))
    )
    return {
      pull: inbox.pull,
      write: (bytes) =>
        Effect.suspend(() => {
          if (inbox.finished() !== undefined) return failWrite(inbox.finished())
          const joined = join(bytes)
          if (joined.length === 0) return Effect.void
          return Effect.flatMap(start(joined), (sending) =>
            Wakeup.until(wakeup, () => resultOf(sending, inbox))
          )
        }),
      buffered: inbox.size,
      destroy: Effect.suspend(() => {
        inbox.discard(new Error("the connection was destroyed on this side"))
        return Effect.zipRight(closeNow, Scope.close(scope, Exit.void))
      }),
      addresses: {
        remoteAddress: undefined,
        remotePort: undefined,
        localAddress: undefined,
        localPort: undefined
      }
    }
  })

/** A write in flight, or its result. */
interface Sending {
  exit: Exit.Exit<void, Socket.SocketError> | undefined
}

const resultOf = (sending: Sending, inbox: Inbox): Effect.Effect<void, ConnectionLost> | undefined => {
  if (sending.exit !== undefined && Exit.isSuccess(sending.exit)) return Effect.void
  if (inbox.finished() !== undefined) return failWrite(inbox.finished())
  return sending.exit === undefined ? undefined : failWrite(causeOf(sending.exit))
}

const failWrite = (cause: unknown) => Effect.fail(new ConnectionLost({ operation: "write", cause }))

const awaitOpen = (
  opened: Deferred.Deferred<undefined, unknown>,
  endpoint: Endpoint,
  options: FromSocketOptions
): Effect.Effect<undefined, ConnectError> =>
  withTimeLimit(
    Effect.mapError(
      Deferred.await(opened),
      (cause) => new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Unreachable", cause })
    ),
    options.timeout,
    () => new ConnectError({ endpoint: formatEndpoint(endpoint), reason: "Timeout" })
  )

/** `undefined` for the end of the stream; a WebSocket's 1000 is one too. */
const causeOf = (exit: Exit.Exit<unknown, Socket.SocketError>): unknown => {
  if (Exit.isSuccess(exit)) return undefined
  if (exit.cause._tag !== "Fail") return new Error("the socket has stopped")
  const { error } = exit.cause
  return error.reason === "Close" && error.code === 1000 ? undefined : unwrap(error)
}

/** The operating system's error says more than the socket's. */
const unwrap = (error: Socket.SocketError): unknown => (error.cause instanceof Error ? error.cause : error)

/** One array for one write, copied, since the socket may keep it beyond an interruption. */
const join = (arrays: ReadonlyArray<Uint8Array>): Uint8Array => {
  const joined = new Uint8Array(arrays.reduce((length, array) => length + array.length, 0))
  let offset = 0
  for (const array of arrays) {
    joined.set(array, offset)
    offset += array.length
  }
  return joined
}
