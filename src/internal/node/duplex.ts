/**
 * A Connection of any transport as a Node Duplex, for node:tls to run over. Its effects run on the runtime of
 * whoever makes it.
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { Duplex } from "node:stream"
import type { Connection } from "../../SmtpSocket.js"

/**
 * A failed write is told to `onWriteFailed` and not to the stream, which it would end together with what is still
 * to be read.
 */
export const fromConnection = (
  connection: Connection,
  runtime: Runtime.Runtime<never>,
  onWriteFailed: (cause: unknown) => void
): Duplex => {
  const run = <A, E>(effect: Effect.Effect<A, E>, onExit: (exit: Exit.Exit<A, E>) => void) =>
    Runtime.runCallback(runtime, effect, { onExit })
  let pulling = false
  let cancelPull: () => void = () => undefined

  const onPulled = (exit: Exit.Exit<Uint8Array | undefined, unknown>) => {
    pulling = false
    if (duplex.destroyed) return
    if (Exit.isSuccess(exit)) duplex.push(exit.value ?? null)
    else duplex.destroy(asError(exit.cause))
  }
  const write = (octets: ReadonlyArray<Uint8Array>, callback: () => void) => {
    run(connection.write(octets), (exit) => {
      if (Exit.isFailure(exit)) onWriteFailed(Cause.squash(exit.cause))
      callback()
    })
  }

  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => {
      if (pulling) return
      pulling = true
      cancelPull = run(connection.pull, onPulled)
    },
    write: (chunk: Uint8Array, _encoding, callback) => write([chunk], callback),
    writev: (chunks, callback) =>
      write(
        chunks.map(({ chunk }: { readonly chunk: Uint8Array }) => chunk),
        callback
      ),
    destroy: (error, callback) => {
      if (pulling) cancelPull()
      run(connection.destroy, () => callback(error))
    }
  })
  return duplex
}

const asError = (cause: Cause.Cause<unknown>): Error => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error : new Error("the connection failed", { cause: error })
}
