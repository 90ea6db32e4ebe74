/** An access token shared by many fibers: cached until shortly before it expires, and obtained once for all waiters. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { TokenRequest } from "../../SmtpAuth.js"

/** Times are milliseconds since 1970. */
export interface CachedToken {
  readonly token: Redacted.Redacted
  /** When to obtain the next one. */
  readonly staleAt: number
  readonly expiresAt: number
}

export interface TokenCacheOptions<E> {
  /** Runs in one fiber at a time. */
  readonly obtain: Effect.Effect<CachedToken, E>
  /** After a transient error the cached token serves until it expires. */
  readonly isTransient: (error: E) => boolean
  /** The error once the scope has closed. */
  readonly closed: () => E
}

export const makeTokenCache = <E>({
  closed,
  isTransient,
  obtain
}: TokenCacheOptions<E>): Effect.Effect<
  (request?: TokenRequest) => Effect.Effect<Redacted.Redacted, E>,
  never,
  Scope.Scope
> =>
  Effect.map(Effect.scope, (scope) => {
    let cached: CachedToken | undefined
    let running: Deferred.Deferred<CachedToken, E> | undefined

    const settle = (waiting: Deferred.Deferred<CachedToken, E>, exit: Exit.Exit<CachedToken, E>) =>
      Effect.suspend(() => {
        running = undefined
        if (Exit.isSuccess(exit)) cached = exit.value
        return Exit.isInterrupted(exit) ? Deferred.fail(waiting, closed()) : Deferred.done(waiting, exit)
      })

    // The fiber belongs to the scope: interrupting a caller must not fail the other callers.
    const start = Effect.uninterruptible(
      Effect.gen(function* () {
        const waiting = yield* Deferred.make<CachedToken, E>()
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

    const cachedAfter = (error: E): Effect.Effect<CachedToken, E> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        cached !== undefined && now < cached.expiresAt && isTransient(error)
          ? Effect.succeed(cached)
          : Effect.fail(error)
      )

    return (request = { refresh: false }) =>
      Clock.currentTimeMillis.pipe(
        Effect.flatMap((now) => {
          if (cached !== undefined && now < cached.staleAt && !isRefused(cached, request)) {
            return Effect.succeed(cached)
          }
          return request.refresh ? shared : Effect.catchAll(shared, cachedAfter)
        }),
        Effect.map(({ token }) => token)
      )
  })

/** A refresh that names no refused token means the cached one. */
const isRefused = ({ token }: CachedToken, { refresh, refused }: TokenRequest): boolean =>
  refresh && (refused === undefined || Redacted.value(refused) === Redacted.value(token))
