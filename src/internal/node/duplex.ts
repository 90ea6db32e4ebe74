/** Any Connection as a Node Duplex, for node:tls to run over. */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Duplex } from "node:stream"
import type { Connection } from "../../SmtpSocket.js"
import type { AnyFiber, Fork } from "../effect/runtime.js"
import { interrupt } from "../effect/runtime.js"

/** A failed write goes to `onWriteFailed` and not to the stream, which it would end with bytes still to be read. */
export const fromConnection = (
  connection: Connection,
  fork: Fork,
  onWriteFailed: (cause: unknown) => void
): Duplex => {
  let isPulling = false
  let pull: AnyFiber | undefined
  const run = <A, E>(effect: Effect.Effect<A, E>, onExit: (exit: Exit.Exit<A, E>) => void): AnyFiber => {
    const fiber = fork(effect)
    fiber.addObserver(onExit)
    return fiber
  }
  const write = (bytes: ReadonlyArray<Uint8Array>, callback: () => void) => {
    run(connection.write(bytes), (exit) => {
      if (Exit.isFailure(exit)) onWriteFailed(Cause.squash(exit.cause))
      callback()
    })
  }
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => {
      if (isPulling) return
      isPulling = true
      pull = run(connection.pull, (exit) => {
        isPulling = false
        if (duplex.destroyed) return
        if (Exit.isSuccess(exit)) duplex.push(exit.value ?? null)
        else duplex.destroy(errorOf(exit.cause))
      })
    },
    write: (chunk: Uint8Array, _encoding, callback) => write([chunk], callback),
    writev: (chunks, callback) =>
      write(
        chunks.map(({ chunk }: { readonly chunk: Uint8Array }) => chunk),
        callback
      ),
    destroy: (error, callback) => {
      if (isPulling && pull !== undefined) interrupt(pull)
      run(connection.destroy, () => callback(error))
    }
  })
  return duplex
}

const errorOf = (cause: Cause.Cause<unknown>): Error => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error : new Error("the connection failed", { cause: error })
}
