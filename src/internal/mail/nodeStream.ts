/**
 * Streams of Effect as Readables of Node, and the reverse, for nodemailer's composer. Both are read on demand, and both
 * end with the scope in which they were made.
 */
import type * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"

/** Destroys a Readable, and waits until it has released what it holds. */
const close = (readable: Readable): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (readable.closed) {
      resume(Effect.void)
      return
    }
    readable.once("close", () => {
      resume(Effect.void)
    })
    readable.destroy()
  })

/**
 * A Readable that runs the stream from its first read on. A Readable carries no typed errors: a failure of the stream
 * destroys it with a plain Error, and `onFailure` gets the cause before that.
 */
export const toReadable = <E, R>(
  stream: Stream.Stream<Uint8Array, E, R>,
  onFailure: (cause: Cause.Cause<E>) => void
): Effect.Effect<Readable, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    let isRead = false
    let wake = (): void => undefined
    const untilRead = Effect.async<void>((resume) => {
      wake = () => {
        resume(Effect.void)
      }
      if (isRead) wake()
    })
    const readable = yield* Effect.acquireRelease(
      Effect.sync(
        () =>
          new Readable({
            read: () => {
              isRead = true
              wake()
            }
          })
      ),
      close
    )
    const push = (bytes: Uint8Array): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (bytes.length === 0) return Effect.void
        isRead = false
        return readable.push(bytes) ? Effect.void : untilRead
      })
    yield* untilRead.pipe(
      Effect.zipRight(
        Stream.runForEachChunk(stream, (chunk) => Effect.forEach(chunk, push, { discard: true }))
      ),
      Effect.matchCause({
        onFailure: (cause) => {
          onFailure(cause)
          readable.destroy(new Error("The stream of an attachment failed"))
        },
        onSuccess: () => {
          readable.push(null)
        }
      }),
      // The scope may be opened where interruption is off, and has to end a stream that waits for something.
      Effect.interruptible,
      Effect.forkScoped
    )
    return readable
  })

/** The bytes of a Readable, which is made anew for each run. `onError` types what it fails with. */
export const fromReadable = <E>(
  make: () => Readable,
  onError: (error: unknown) => Effect.Effect<never, E>
): Stream.Stream<Uint8Array, E> =>
  Stream.fromPull(
    Effect.map(Effect.acquireRelease(Effect.sync(make), close), (readable) => {
      let wake = (): void => undefined
      let failure: { readonly error: unknown } | undefined
      // The listener stays: an error that nobody listens to would end the process.
      readable.on("error", (error) => {
        failure ??= { error }
        wake()
      })
      for (const event of ["readable", "end", "close"]) {
        readable.on(event, () => {
          wake()
        })
      }
      return Effect.async<Chunk.Chunk<Uint8Array>, Option.Option<E>>((resume) => {
        const settle = (result: Effect.Effect<Chunk.Chunk<Uint8Array>, Option.Option<E>>): void => {
          wake = () => undefined
          resume(result)
        }
        wake = () => {
          const bytes: unknown = failure === undefined ? readable.read() : null
          if (bytes instanceof Uint8Array) settle(Effect.succeed(Chunk.of(bytes)))
          else if (failure !== undefined) settle(Effect.mapError(onError(failure.error), Option.some))
          else if (readable.readableEnded) settle(Effect.fail(Option.none()))
          else if (readable.destroyed)
            settle(Effect.die(new Error("A Readable was destroyed before its end")))
        }
        wake()
      })
    })
  )
