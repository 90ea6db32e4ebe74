/**
 * What this process has used of CPU and memory.
 */
import { readFileSync } from "node:fs"

/** CPU seconds of all its threads, user and system. */
export const cpuSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1_000_000
}

/** The peak of resident memory in a Linux status file, in octets. */
export const peakIn = (status: string): number | undefined => {
  const kibibytes = /^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
}

/**
 * Octets of resident memory, at most so far. Linux counts in `maxRSS` what the parent held when it started this
 * process; its status file does not.
 */
export const peakMemory = (): number => {
  const inherited = process.resourceUsage().maxRSS * 1024
  try {
    return peakIn(readFileSync("/proc/self/status", "utf8")) ?? inherited
  } catch {
    return inherited
  }
}
