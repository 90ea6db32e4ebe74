/** A time limit that also holds where the caller is uninterruptible, e.g. in acquireRelease. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Elapsed from "./elapsed.js"
import { clockOf, interrupt, makeFork, withFiber } from "./runtime.js"

/** As Effect.timeoutFail, in fewer operations and with a fiber less. */
export const withTimeLimit = <A, E, R, E1>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  onTimeout: () => E1
): Effect.Effect<A, E | E1, R> =>
  Effect.flatMap(makeFork<R>(), (fork) =>
    withFiber((fiber) =>
      Effect.async<A, E | E1>((resume) => {
        let isLate = false
        const limited = fork(Effect.interruptible(effect))
        const stop = Elapsed.after(clockOf(fiber), fork, Duration.toMillis(duration), () => {
          isLate = true
          interrupt(limited)
        })
        limited.addObserver((exit) => {
          stop()
          resume(isLate && Exit.isInterrupted(exit) ? Effect.fail(onTimeout()) : exit)
        })
        return Effect.suspend(() => {
          stop()
          return Fiber.interrupt(limited)
        })
      })
    )
  )
