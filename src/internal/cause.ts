/**
 * One sentence for an unknown cause. Only errors and strings speak for themselves; anything else might print a
 * program's data.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category accessors
 */
export const describeCause = (cause: unknown): string => {
  if (typeof cause === "string") return cause
  if (cause instanceof AggregateError && cause.message === "") {
    return cause.errors.map(describeCause).join("; ")
  }
  if (cause instanceof Error) return cause.message === "" ? cause.name : cause.message
  return "unknown cause"
}
