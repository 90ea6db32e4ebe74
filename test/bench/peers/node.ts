/**
 * The process of a peer that runs on Node: opens it, sends the warm-up, measures the rest, and prints the figures.
 * Only the peer's own module is loaded.
 */
import type { Measured } from "../job.js"
import { readJob } from "../job.js"
import type { Open } from "./driver.js"
import { cpuSeconds, peakMemory } from "./usage.js"

const peers: Record<string, () => Promise<{ readonly open: Open }>> = {
  library: () => import("./library.js"),
  nodemailer: () => import("./nodemailer.js"),
  emailjs: () => import("./emailjs.js"),
  raw: () => import("./raw.js")
}

const run = async (name: string, args: ReadonlyArray<string>): Promise<Measured> => {
  const job = readJob(args)
  const peer = await peers[name]?.()
  if (peer === undefined) throw new Error(`there is no peer ${name}`)
  const client = await peer.open(job)
  const idle = peakMemory()
  await client.send(0, job.warmUp)
  const cpu = cpuSeconds()
  const begin = performance.now()
  await client.send(job.warmUp, job.messages)
  const seconds = (performance.now() - begin) / 1000
  const measured = { seconds, cpu: cpuSeconds() - cpu, peak: peakMemory(), idle }
  await client.close()
  return measured
}

const [name = "", ...args] = process.argv.slice(2)
console.log(JSON.stringify(await run(name, args)))
