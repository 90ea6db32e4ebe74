/**
 * What keeps the process alive: a count by kind of the sockets, listeners and requests of the network, before and
 * after. Timers and the test runner's own channels are not counted.
 */
import * as Effect from "effect/Effect"

export type Resources = Readonly<Record<string, number>>

const counted = /^(TCP|TLS|Pipe|UDP|GetAddrInfo|GetNameInfo|QueryReqWrap|Write|Shutdown)/

/** The counts of now, by the kinds of `process.getActiveResourcesInfo`. */
export const openResources: Effect.Effect<Resources> = Effect.sync(() => {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    if (counted.test(kind)) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
})

/** What is open beyond what was; empty when nothing was left behind. */
export const leftOpen = (before: Resources, after: Resources): Resources =>
  Object.fromEntries(
    Object.entries(after)
      .map(([kind, count]) => [kind, count - (before[kind] ?? 0)] as const)
      .filter(([, extra]) => extra > 0)
  )

const turn: Effect.Effect<void> = Effect.async((resume) => {
  setImmediate(() => {
    resume(Effect.void)
  })
})

// A destroyed handle is closed in the turns of the event loop that follow; what needs more than these is a leak.
const turns = 50

/** What the effect leaves open, seen after the event loop has had its turns to close what was destroyed. */
export const resourcesLeftBy = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Resources, E, R> =>
  Effect.gen(function* () {
    const before = yield* openResources
    yield* effect
    for (let count = 0; count < turns; count++) {
      if (Object.keys(leftOpen(before, yield* openResources)).length === 0) return {}
      yield* turn
    }
    return leftOpen(before, yield* openResources)
  })
