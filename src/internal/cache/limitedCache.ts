/**
 * A capability cache that a program has plugged in, as a session asks it: what it says in time, or nothing.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Service } from "../../CapabilityCache.js"
import * as Forgiving from "../effect/bestEffort.js"
import { hasOwnLimit } from "../effect/ownLimit.js"

const longest = Duration.seconds(2)

const warning =
  "The capability cache does not work: nothing is remembered, and a vanished offer of STARTTLS goes unnoticed, until it does"

// Sessions share what is known of a cache: whether the log has been told.
const limited = new WeakMap<Service, Service>()

/** Caches of this library have a limit of their own, or need none. */
export const limit = (cache: Service): Service => {
  if (hasOwnLimit(cache)) return cache
  const known = limited.get(cache)
  if (known !== undefined) return known
  const made = make(cache)
  limited.set(cache, made)
  return made
}

const make = (cache: Service): Service => {
  const forgiving = Forgiving.make(longest, warning)
  const ask = <A>(question: () => Effect.Effect<A>, otherwise: A): Effect.Effect<A> =>
    forgiving(Effect.suspend(question), otherwise)
  return {
    get: (key) => ask(() => cache.get(key), undefined),
    put: (key, lines) => ask(() => cache.put(key, lines), undefined),
    pin: (endpoint) => ask(() => cache.pin(endpoint), undefined),
    pinned: (endpoint) => ask(() => cache.pinned(endpoint), false),
    restrain: (endpoint) => ask(() => cache.restrain(endpoint), undefined),
    restrained: (endpoint) => ask(() => cache.restrained(endpoint), false)
  }
}
