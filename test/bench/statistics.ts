/**
 * The few statistics that the report needs.
 */

/** The middle value, or the mean of the two in the middle; `NaN` of nothing. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** How far the values lie apart, as a part of their median: 0 for one value. */
export const spread = (values: ReadonlyArray<number>): number =>
  values.length === 0 ? Number.NaN : (Math.max(...values) - Math.min(...values)) / median(values)
