/** A capability cache of the program as a session asks it: a method that fails to answer in time has no answer. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Service } from "../../CapabilityCache.js"
import { hasOwnLimit, makeBestEffort } from "../effect/bestEffort.js"

const longest = Duration.seconds(2)

const warning =
  "The capability cache does not work. Until it does, nothing is remembered, and sessions do not notice when an endpoint no longer offers STARTTLS."

// Sessions share the state of a cache, so that the log has one line for all of them.
const limited = new WeakMap<Service, Service>()

/** Caches of this library have a limit of their own, or need none. */
export const bestEffortCache = (cache: Service): Service => {
  if (hasOwnLimit(cache)) return cache
  const made = limited.get(cache) ?? makeLimited(cache)
  limited.set(cache, made)
  return made
}

const makeLimited = (cache: Service): Service => {
  const bestEffort = makeBestEffort(longest, warning)
  const ask = <A>(question: () => Effect.Effect<A>, otherwise: A): Effect.Effect<A> =>
    bestEffort(Effect.suspend(question), otherwise)
  return {
    get: (key) => ask(() => cache.get(key), undefined),
    put: (key, lines) => ask(() => cache.put(key, lines), undefined),
    pin: (endpoint) => ask(() => cache.pin(endpoint), undefined),
    pinned: (endpoint) => ask(() => cache.pinned(endpoint), false),
    bind: (endpoint) => ask(() => cache.bind(endpoint), undefined),
    bound: (endpoint) => ask(() => cache.bound(endpoint), false),
    loseInput: (endpoint) => ask(() => cache.loseInput(endpoint), undefined),
    losesInput: (endpoint) => ask(() => cache.losesInput(endpoint), false),
    restrain: (endpoint) => ask(() => cache.restrain(endpoint), undefined),
    restrained: (endpoint) => ask(() => cache.restrained(endpoint), false)
  }
}
