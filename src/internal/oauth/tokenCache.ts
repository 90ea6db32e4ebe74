/**
 * An access token that many fibers share: kept until shortly before it expires, and obtained by one fiber at a time
 * for all who wait. It knows nothing of HTTP.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { TokenRequest } from "../../SmtpAuth.js"

/** A token and its times, in milliseconds since 1970. */
export interface Held {
  readonly token: Redacted.Redacted
  /** From when on a new one is asked for. */
  readonly staleAt: number
  /** From when on nobody accepts it. */
  readonly expiresAt: number
}

export interface Options<E> {
  /** Run by one fiber at a time. Whoever waits for it may be interrupted; it goes on. */
  readonly obtain: Effect.Effect<Held, E>
  /** Whether what went wrong may pass: the old token then serves as long as it holds. */
  readonly mayPass: (error: E) => boolean
  /** What those get who wait when the scope closes, or ask afterwards. */
  readonly closed: () => E
}

export const make = <E>({
  closed,
  mayPass,
  obtain
}: Options<E>): Effect.Effect<
  (request?: TokenRequest) => Effect.Effect<Redacted.Redacted, E>,
  never,
  Scope.Scope
> =>
  Effect.map(Effect.scope, (scope) => {
    let held: Held | undefined
    let running: Deferred.Deferred<Held, E> | undefined

    const settle = (waiting: Deferred.Deferred<Held, E>, exit: Exit.Exit<Held, E>): Effect.Effect<boolean> =>
      Effect.suspend(() => {
        running = undefined
        if (Exit.isSuccess(exit)) held = exit.value
        return Exit.isInterrupted(exit) ? Deferred.fail(waiting, closed()) : Deferred.done(waiting, exit)
      })

    // The fiber belongs to the scope, and not to whoever happens to be first: its interruption is not the others'.
    const start = Effect.uninterruptible(
      Effect.gen(function* () {
        const waiting = yield* Deferred.make<Held, E>()
        running = waiting
        yield* Effect.forkIn(
          Effect.flatMap(Effect.exit(Effect.interruptible(obtain)), (exit) => settle(waiting, exit)),
          scope
        )
        return waiting
      })
    )

    const shared = Effect.flatMap(
      Effect.suspend(() => (running === undefined ? start : Effect.succeed(running))),
      Deferred.await
    )

    const inTheMeantime = (error: E): Effect.Effect<Held, E> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        held !== undefined && now < held.expiresAt && mayPass(error)
          ? Effect.succeed(held)
          : Effect.fail(error)
      )

    return (request = { refresh: false }) =>
      Clock.currentTimeMillis.pipe(
        Effect.flatMap((now) => {
          if (held !== undefined && now < held.staleAt && !isRefused(held, request))
            return Effect.succeed(held)
          return request.refresh ? shared : Effect.catchAll(shared, inTheMeantime)
        }),
        Effect.map(({ token }) => token)
      )
  })

/** Without a word of which one was refused, the one at hand has to be taken for it. */
const isRefused = ({ token }: Held, { refresh, refused }: TokenRequest): boolean =>
  refresh && (refused === undefined || Redacted.value(refused) === Redacted.value(token))
