/** One sentence for an unknown cause. Only errors and strings are shown: anything else might hold a program's data. */

// "8F10:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/record.c:350:" and a line feed
const openSsl = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):.*$/s

const withoutOpenSslFrame = (message: string): string => openSsl.exec(message)?.[1] ?? message

export const describeCause = (cause: unknown): string => {
  if (typeof cause === "string") return cause
  if (cause instanceof AggregateError && cause.message === "") {
    return cause.errors.map(describeCause).join("; ")
  }
  if (cause instanceof Error) return cause.message === "" ? cause.name : withoutOpenSslFrame(cause.message)
  return "unknown cause"
}
