/**
 * A Connection for whoever is driven by what happens on it: octets come by callback, and a write says when it is
 * through, so that a reply and what it sets off need no fiber. Our own sockets do this directly, and any other
 * Connection through two fibers.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Connection } from "../../SmtpSocket.js"
import { ConnectionLost } from "./connection.js"
import * as Wakeup from "../effect/wakeup.js"

/** Hears what is read. Neither function may throw. */
export interface Reader {
  /** May call `stop`, and then hears nothing more. */
  readonly received: (octets: Uint8Array) => void
  /** The peer's end of stream, or why nothing more can be read. */
  readonly ended: (error: ConnectionLost | undefined) => void
}

export interface DirectConnection {
  /** Reads, now or later, until the end or `stop`. */
  readonly read: (reader: Reader) => void
  /** Leaves what is not read yet where it is. */
  readonly stop: () => void
  /** Writes; `written` is called once, now or later, when the transport has taken all. One write at a time. */
  readonly write: (
    octets: ReadonlyArray<Uint8Array>,
    written: (error: ConnectionLost | undefined) => void
  ) => void
}

/** The connections that need no fibers. It holds nothing alive. */
const direct = new WeakMap<Connection, DirectConnection>()

/** Says that a connection can be driven without fibers. */
export const register = (connection: Connection, driven: DirectConnection): void => {
  direct.set(connection, driven)
}

/** The connection by callbacks, silent once the scope has closed. */
export const open = (connection: Connection): Effect.Effect<DirectConnection, never, Scope.Scope> =>
  Effect.suspend(() => {
    const found = direct.get(connection)
    return found === undefined
      ? byFibers(connection)
      : Effect.as(
          Effect.addFinalizer(() => Effect.sync(found.stop)),
          found
        )
  })

const byFibers = (connection: Connection): Effect.Effect<DirectConnection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const asked = Wakeup.make()
    let reader: Reader | undefined
    let writing: { readonly octets: ReadonlyArray<Uint8Array>; readonly written: Written } | undefined

    const end = (error: ConnectionLost | undefined): void => {
      const ending = reader
      reader = undefined
      ending?.ended(error)
    }

    const reading = Effect.zipRight(
      Wakeup.until(asked, () => (reader === undefined ? undefined : Effect.void)),
      connection.pull
    ).pipe(
      Effect.map((octets) => (octets === undefined ? end(undefined) : reader?.received(octets))),
      Effect.catchAllCause((cause) => Effect.sync(() => end(lostBy("read", cause)))),
      Effect.forever
    )

    const wrote = (error: ConnectionLost | undefined): void => {
      const ending = writing
      writing = undefined
      ending?.written(error)
    }

    const writer = Wakeup.until(asked, () =>
      writing === undefined ? undefined : connection.write(writing.octets)
    ).pipe(
      Effect.map(() => wrote(undefined)),
      Effect.catchAllCause((cause) => Effect.sync(() => wrote(lostBy("write", cause)))),
      Effect.forever
    )

    // Whoever opens a session in an uninterruptible region must be able to close it.
    yield* Effect.forkScoped(Effect.interruptible(reading))
    yield* Effect.forkScoped(Effect.interruptible(writer))
    return {
      read: (next) => {
        reader = next
        asked.wake()
      },
      stop: () => {
        reader = undefined
      },
      write: (octets, written) => {
        writing = { octets, written }
        asked.wake()
      }
    }
  })

type Written = Parameters<DirectConnection["write"]>[1]

// A transport that dies is lost like one that fails.
const lostBy = (operation: "read" | "write", cause: Cause.Cause<ConnectionLost>): ConnectionLost => {
  const error = Cause.squash(cause)
  return error instanceof ConnectionLost ? error : new ConnectionLost({ operation, cause: error })
}
