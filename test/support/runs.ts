import { env } from "node:process"

/** How often a random test is tried: as often as FUZZ_RUNS says, which is for long searches, or the usual number. */
export const runsOf = (usual: number): number => {
  const runs = Number(env["FUZZ_RUNS"] ?? usual)
  if (!Number.isInteger(runs) || runs < 0) throw new Error("FUZZ_RUNS is not a whole number")
  return runs
}
