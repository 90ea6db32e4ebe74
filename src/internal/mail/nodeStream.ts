/**
 * Streams of Effect as Readables of Node, and the reverse, for nodemailer's composer. Both directions are pulled, and
 * interruption ends both.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { finished, Readable } from "node:stream"

const close = (readable: Readable): Effect.Effect<void> =>
  Effect.async((resume) => {
    finished(readable.destroy(), () => {
      resume(Effect.void)
    })
  })

/**
 * A Readable of the scope, which runs the stream from its first read on. It cannot carry typed errors: if the stream
 * fails, `onFailure` gets the cause, and the Readable ends with a plain Error.
 */
export const toReadable = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  onFailure: (cause: Cause.Cause<E>) => void
): Effect.Effect<Readable, never, R | Scope.Scope> =>
  Effect.acquireRelease(
    stream.pipe(
      Stream.catchAllCause((cause) => {
        onFailure(cause)
        return Stream.die(new Error("The stream of an attachment failed"))
      }),
      Stream.toAsyncIterableEffect,
      // The fiber of the stream gets the runtime flags of this place, and must be interruptible.
      Effect.interruptible,
      Effect.map((iterable) => Readable.from(iterable, { objectMode: false }))
    ),
    close
  )

/** The bytes of a Readable, which is made anew for each run. `onError` types what it fails with. */
export const fromReadable = <E>(
  make: () => Readable,
  onError: (error: unknown) => Effect.Effect<never, E>
): Stream.Stream<Uint8Array, E> => {
  const iterable: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => {
      const readable = make()
      // An error while nobody reads would end the process.
      readable.on("error", () => undefined)
      const iterator: AsyncIterator<Uint8Array> = readable[Symbol.asyncIterator]()
      return {
        next: () => iterator.next(),
        // The iterator's own `return` would wait for the read under way.
        return: () => {
          readable.destroy()
          return Promise.resolve({ done: true, value: undefined })
        }
      }
    }
  }
  return Stream.catchAll(
    Stream.fromAsyncIterable(iterable, (error) => ({ error })),
    ({ error }) => Stream.fromEffect(onError(error))
  )
}
