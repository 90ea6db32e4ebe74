/** SASLprep (RFC 4013) for SCRAM. Its tables are loaded by the first string that is not printable ASCII. */
import * as Effect from "effect/Effect"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid } from "../../protocol/Invalid.js"

/**
 * A user name is a query string, in which unassigned code points are allowed, and a password a stored string, in which they
 * are not (RFC 5802 sections 5.1 and 2.2).
 */
export const saslPrep = (
  field: string,
  value: string,
  kind: "query" | "stored"
): Effect.Effect<string, Invalid> => {
  if (/^[\x20-\x7e]*$/.test(value)) return Effect.succeed(value)
  const refusal = invalid(
    field,
    "holds characters that cannot be prepared for SCRAM (RFC 4013); use others, or leave SCRAM out of mechanisms"
  )
  return Effect.flatMap(
    Effect.promise(() => import("@mongodb-js/saslprep")),
    ({ default: prepare }) =>
      Effect.try({
        try: () => prepare(value, { allowUnassigned: kind === "query" }),
        catch: () => refusal
      })
  ).pipe(
    Effect.filterOrFail(
      (prepared) => prepared !== "",
      () => refusal
    )
  )
}
