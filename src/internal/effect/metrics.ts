/** Metrics that are updated without an effect. The parts of Effect's metrics that Effect 4 drops are used here alone. */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"

export type Tags = Readonly<Record<string, string>>

/** Looked up once, an update costs an addition. */
export type Update = (value: number) => void

const registry = Metric.globalMetricRegistry

export const counter = (name: string, description: string, tags: Tags): Update => {
  const key = MetricKey.taggedWithLabels(
    MetricKey.counter(name, { description, incremental: true }),
    labelsOf(tags)
  )
  const hook = registry.get(key)
  return (value) => hook.update(value)
}

/** To be made once: histograms of one name are the same only with the same object. */
export const boundaries: (values: Iterable<number>) => MetricBoundaries.MetricBoundaries =
  MetricBoundaries.fromIterable

/** Of seconds; Effect's OpenTelemetry bridge reads the unit from the tag. */
export const histogram = (
  name: string,
  description: string,
  boundaries: MetricBoundaries.MetricBoundaries,
  tags: Tags
): Update => {
  const key = MetricKey.histogram(name, boundaries, description)
  const hook = registry.get(MetricKey.taggedWithLabels(key, labelsOf({ ...tags, unit: "s" })))
  return (value) => hook.update(value)
}

/** A share of a gauge, which shows the sum of all shares. */
export const gaugeShare = (name: string, description: string, tags: Tags): Update => {
  const hook = registry.get(
    MetricKey.taggedWithLabels(MetricKey.gauge(name, { description }), labelsOf(tags))
  )
  let last = 0
  return (value) => {
    if (value !== last) hook.modify(value - last)
    last = value
  }
}

const labelsOf = (tags: Tags): ReadonlyArray<MetricLabel.MetricLabel> =>
  Object.entries(tags).map(([name, value]) => MetricLabel.make(name, value))
