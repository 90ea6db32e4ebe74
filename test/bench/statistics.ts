/**
 * The one statistic that the report needs: whatever else this machine does at times leaves it as it is.
 */

/** The middle value, or the mean of the two in the middle; `NaN` of nothing. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
