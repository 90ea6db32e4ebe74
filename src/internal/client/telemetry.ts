/**
 * What a client tells: metrics of its pool under OpenTelemetry's names for connections, and log lines. The hooks of
 * the metrics are looked up once, so that a message costs a few additions.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import type * as MetricHook from "effect/MetricHook"
import { describeCause } from "../effect/cause.js"
import type { RelaySettings } from "../options/client.js"
import type { Retirement } from "./pool.js"
import type { QueueObserver } from "./queue.js"
import type { Relay } from "./relays.js"

const names = {
  count: "smtp.client.connection.count",
  opened: "smtp.client.connection.opened",
  closed: "smtp.client.connection.closed",
  failed: "smtp.client.connection.failed",
  pending: "smtp.client.connection.pending_requests",
  wait: "smtp.client.connection.wait_time"
} as const

const seconds = MetricBoundaries.fromIterable([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60])

const waitTime = MetricKey.histogram(names.wait, seconds, "Seconds that messages waited for a session.")

const pending = MetricKey.gauge(names.pending, { description: "Messages that wait for a session." })

interface RelayHooks {
  readonly used: (count: number) => void
  readonly idle: (count: number) => void
  readonly opened: MetricHook.MetricHook.Counter<number>
  readonly failed: MetricHook.MetricHook.Counter<number>
  readonly closed: (reason: Retirement) => MetricHook.MetricHook.Counter<number>
}

const registry = Metric.globalMetricRegistry

/** What one of those has who share a gauge: it shows what they have together. */
const shareOf = (gauge: MetricHook.MetricHook.Gauge<number>): ((count: number) => void) => {
  let last = 0
  return (count) => {
    if (count !== last) gauge.modify(count - last)
    last = count
  }
}

const hooksOf = ({ host, port }: RelaySettings): RelayHooks => {
  const count = MetricKey.gauge(names.count, { description: "Sessions that are open." }).pipe(
    MetricKey.tagged("server.address", host),
    MetricKey.tagged("server.port", String(port))
  )
  const counter = (name: string, description: string): MetricKey.MetricKey.Counter<number> =>
    MetricKey.counter(name, { description, incremental: true }).pipe(
      MetricKey.tagged("server.address", host),
      MetricKey.tagged("server.port", String(port))
    )
  const closed = counter(names.closed, "Sessions that were closed, by reason.")
  return {
    used: shareOf(registry.get(MetricKey.tagged(count, "state", "used"))),
    idle: shareOf(registry.get(MetricKey.tagged(count, "state", "idle"))),
    opened: registry.get(counter(names.opened, "Sessions that were opened.")),
    failed: registry.get(counter(names.failed, "Sessions that could not be opened.")),
    closed: (reason) => registry.get(MetricKey.tagged(closed, "reason", reason))
  }
}

/** Tells what happens in the pool; `log` runs a log line without waiting for it. */
export const observe = <S, E>(
  relays: ReadonlyMap<Relay<S, E>, RelaySettings>,
  log: (line: Effect.Effect<void>) => void
): QueueObserver<S, E> => {
  const hooks = new Map([...relays].map(([relay, settings]) => [relay, hooksOf(settings)]))
  const waiting = shareOf(registry.get(pending))
  const wait = registry.get(waitTime)
  const about = (relay: Relay<S, E>, line: Effect.Effect<void>): void =>
    log(Effect.annotateLogs(line, annotations(relays.get(relay))))
  return {
    opened: (relay) => {
      hooks.get(relay)?.opened.update(1)
      about(relay, Effect.logDebug("An SMTP session was opened"))
    },
    openingFailed: (relay, cause, pauseMillis) => {
      hooks.get(relay)?.failed.update(1)
      const why = describeCause(Cause.squash(cause))
      about(relay, Effect.logWarning(`No SMTP session could be opened; again in ${pauseMillis} ms: ${why}`))
    },
    retired: (relay, reason) => {
      hooks.get(relay)?.closed(reason).update(1)
      about(relay, Effect.annotateLogs(Effect.logDebug("An SMTP session is closed"), "reason", reason))
    },
    counted: (relay, open, idle) => {
      const hook = hooks.get(relay)
      hook?.used(open - idle)
      hook?.idle(idle)
    },
    waited: (millis) => wait.update(millis / 1000),
    waiting
  }
}

/** How log lines name a relay. */
export const annotations = (relay: RelaySettings | undefined): Record<string, unknown> =>
  relay === undefined ? {} : { "server.address": relay.host, "server.port": relay.port }
