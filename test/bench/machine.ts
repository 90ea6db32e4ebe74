/**
 * Names the machine and the peers, so that figures can be told apart from those of another.
 */
import { arch, cpus, platform, totalmem } from "node:os"
import type { Peer } from "./peers/catalogue.js"

/** Processors, memory, operating system, and Node. */
export const machine = (): string => {
  const processors = cpus()
  const memory = Math.round(totalmem() / 1024 ** 3)
  const model = processors[0]?.model.trim() ?? "unknown processor"
  return `${processors.length} × ${model}, ${memory} GiB, ${platform()} ${arch()}, Node ${process.version}`
}

/** The versions of the other clients, and who is not installed. */
export const versions = (peers: ReadonlyArray<Peer>): string => {
  const clients = peers.filter(({ kind }) => kind === "Client")
  const known = new Map(clients.map((peer) => [peer.product, peer.absence ?? peer.version]))
  return [...known].map(([product, version]) => `${product} ${version}`.trim()).join(", ")
}
