/** Makes a driver with what it needs of the runtime: fibers, clock and timers. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Connection } from "../../SmtpSocket.js"
import * as Elapsed from "../effect/elapsed.js"
import { interrupt, makeFork } from "../effect/runtime.js"
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
    let timer: ReturnType<typeof fork> | undefined
    const runtime: DriverRuntime = {
      openDirect: (opened) => Scope.extend(openDirect(opened), scope),
      fork: (effect) => {
        fork(effect)
      },
      now: () => clock.unsafeCurrentTimeMillis(),
      elapsed: () => Elapsed.millis(clock),
      after: (millis, wake) => {
        // A session that was opened in an uninterruptible region must close all the same.
        const sleeping = fork(Effect.interruptible(Effect.map(clock.sleep(Duration.millis(millis)), wake)))
        timer = sleeping
        return () => interrupt(sleeping)
      }
    }
    const driver = new Driver(connection, yield* runtime.openDirect(connection), greeter, options, runtime)
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => (timer === undefined ? Effect.void : Fiber.interrupt(timer)))
    )
    driver.begin()
    return driver
  })
