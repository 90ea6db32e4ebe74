/** What a client reports: metrics of its sessions under OpenTelemetry's names for connections, and log lines. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { describeCause } from "../effect/cause.js"
import type { Tags } from "../effect/metrics.js"
import { boundaries, counter, gaugeShare, histogram } from "../effect/metrics.js"
import type { Fork } from "../effect/runtime.js"
import type { RelaySettings } from "../options/client.js"
import type { PoolObserver, Retirement } from "./pool.js"
import type { Relay } from "./relays.js"

const prefix = "smtp.client.connection"

const seconds = boundaries([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60])

const metricsOf = (relay: RelaySettings) => {
  const tags: Tags = { "server.address": relay.host, "server.port": String(relay.port) }
  const count = (state: "used" | "idle") =>
    gaugeShare(`${prefix}.count`, "Sessions that are open.", { ...tags, state })
  return {
    used: count("used"),
    idle: count("idle"),
    limit: gaugeShare(`${prefix}.max`, "Sessions that a relay may have at present.", tags),
    opened: counter(`${prefix}.opened`, "Sessions that were opened.", tags),
    failed: counter(`${prefix}.failed`, "Sessions that could not be opened.", tags),
    closed: (reason: Retirement) =>
      counter(`${prefix}.closed`, "Sessions that were closed, by reason.", { ...tags, reason })
  }
}

export const observe = <S, E>(
  relays: ReadonlyMap<Relay<S, E>, RelaySettings>,
  fork: Fork
): PoolObserver<S, E> => {
  const metrics = new Map([...relays].map(([relay, settings]) => [relay, metricsOf(settings)]))
  const waiting = gaugeShare(`${prefix}.pending_requests`, "Messages that wait for a session.", {})
  const waited = histogram(`${prefix}.wait_time`, "Seconds that messages waited for a session.", seconds, {})
  const log = (relay: Relay<S, E>, line: Effect.Effect<void>): void => {
    fork(Effect.annotateLogs(line, annotations(relays.get(relay))))
  }
  return {
    opened: (relay) => {
      metrics.get(relay)?.opened(1)
      log(relay, Effect.logDebug("An SMTP session was opened"))
    },
    openingFailed: (relay, cause, pauseMillis) => {
      metrics.get(relay)?.failed(1)
      const why = describeCause(Cause.squash(cause))
      log(
        relay,
        Effect.logWarning(`No SMTP session could be opened; again in ${Math.round(pauseMillis)} ms: ${why}`)
      )
    },
    retired: (relay, reason) => {
      metrics.get(relay)?.closed(reason)(1)
      log(relay, Effect.annotateLogs(Effect.logDebug("An SMTP session is closed"), "reason", reason))
    },
    counted: (relay, open, idle, limit) => {
      const metric = metrics.get(relay)
      metric?.used(open - idle)
      metric?.idle(idle)
      metric?.limit(limit)
    },
    waited: (millis) => waited(millis / 1000),
    waiting
  }
}

/** How log lines name a relay. */
export const annotations = (relay: RelaySettings | undefined): Record<string, unknown> =>
  relay === undefined ? {} : { "server.address": relay.host, "server.port": relay.port }
