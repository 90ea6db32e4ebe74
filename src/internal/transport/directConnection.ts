/**
 * A Connection by callbacks: bytes come as they are read, and a write says when it is through, so that a reply and what it
 * sets off need no fiber. Our own sockets do this directly, any other Connection through two fibers.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Connection } from "../../SmtpSocket.js"
import * as Wakeup from "../effect/wakeup.js"
import { ConnectionLost } from "./connection.js"

/** Neither function may throw. */
export interface Reader {
  /** May call `stop`, and then hears nothing more. */
  readonly received: (bytes: Uint8Array) => void
  /** The peer's end of stream, or why nothing more can be read. */
  readonly ended: (error: ConnectionLost | undefined) => void
}

type Written = (error: ConnectionLost | undefined) => void

export interface DirectConnection {
  /** Reads, now or later, until the end or `stop`. */
  readonly read: (reader: Reader) => void
  /** Leaves what is not read yet where it is. */
  readonly stop: () => void
  /** Calls `written` once, now or later, when the transport has taken all. One write at a time. */
  readonly write: (bytes: ReadonlyArray<Uint8Array>, written: Written) => void
}

const registered = new WeakMap<Connection, DirectConnection>()

/** Says that a connection can be driven without fibers. */
export const register = (connection: Connection, direct: DirectConnection): void => {
  registered.set(connection, direct)
}

/** The connection by callbacks, silent once the scope has closed. */
export const openDirect = (connection: Connection, scope: Scope.Scope): Effect.Effect<DirectConnection> =>
  Effect.suspend(() => {
    const direct = registered.get(connection)
    if (direct === undefined) return Scope.extend(byFibers(connection), scope)
    return Effect.as(Scope.addFinalizer(scope, Effect.sync(direct.stop)), direct)
  })

const byFibers = (connection: Connection): Effect.Effect<DirectConnection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const asked = Wakeup.make()
    let reader: Reader | undefined
    let writing: { readonly bytes: ReadonlyArray<Uint8Array>; readonly written: Written } | undefined

    const ended = (error: ConnectionLost | undefined): void => {
      const ending = reader
      reader = undefined
      ending?.ended(error)
    }

    const written = (error: ConnectionLost | undefined): void => {
      const ending = writing
      writing = undefined
      ending?.written(error)
    }

    const readNext = Effect.zipRight(
      Wakeup.until(asked, () => (reader === undefined ? undefined : Effect.void)),
      connection.pull
    ).pipe(
      Effect.map((bytes) => (bytes === undefined ? ended(undefined) : reader?.received(bytes))),
      Effect.catchAllCause((cause) => Effect.sync(() => ended(lostBy("read", cause))))
    )

    const writeNext = Wakeup.until(asked, () =>
      writing === undefined ? undefined : connection.write(writing.bytes)
    ).pipe(
      Effect.map(() => written(undefined)),
      Effect.catchAllCause((cause) => Effect.sync(() => written(lostBy("write", cause))))
    )

    // A session that was opened in an uninterruptible region must close all the same.
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(readNext)))
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(writeNext)))
    return {
      read: (next) => {
        reader = next
        asked.wake()
      },
      stop: () => {
        reader = undefined
      },
      write: (bytes, onWritten) => {
        writing = { bytes, written: onWritten }
        asked.wake()
      }
    }
  })

// A transport that dies is lost like one that fails.
const lostBy = (operation: "read" | "write", cause: Cause.Cause<ConnectionLost>): ConnectionLost => {
  const error = Cause.squash(cause)
  return error instanceof ConnectionLost ? error : new ConnectionLost({ operation, cause: error })
}
