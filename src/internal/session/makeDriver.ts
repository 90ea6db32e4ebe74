/** Makes a driver with what it needs of the runtime: fibers, clock and timers. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Connection } from "../../SmtpSocket.js"
import * as Elapsed from "../effect/elapsed.js"
import { makeFork } from "../effect/runtime.js"
import { openDirect } from "../transport/directConnection.js"
import type { DriverOptions, DriverRuntime, Owner } from "./driver.js"
import { Driver } from "./driver.js"

/**
 * Begins to read: the dialogue waits for the greeting, which goes to `greeter`. The fibers end with the scope; the
 * connection is the caller's to acquire, and is destroyed here when the session fails.
 */
export const makeDriver = (
  connection: Connection,
  greeter: Owner,
  options: DriverOptions
): Effect.Effect<Driver, never, Scope.Scope> =>
  Effect.gen(function* () {
    const fork = yield* makeFork()
    const clock = yield* Effect.clock
    const scope = yield* Effect.scope
    let stopTimer = (): void => undefined
    const runtime: DriverRuntime = {
      openDirect: (opened) => openDirect(opened, scope),
      fork: (effect) => {
        fork(effect)
      },
      now: () => clock.unsafeCurrentTimeMillis(),
      elapsed: () => Elapsed.millis(clock),
      after: (millis, wake) => {
        stopTimer = Elapsed.after(clock, fork, millis, wake)
        return stopTimer
      }
    }
    const driver = new Driver(connection, yield* runtime.openDirect(connection), greeter, options, runtime)
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => stopTimer())
    )
    driver.begin()
    return driver
  })
