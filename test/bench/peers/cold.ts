/**
 * The start of a script: loads a client, sends one message, prints what that took, and ends. The first argument says
 * which client, the second the port. `effect` loads what every Effect program loads, and sends nothing; `node` loads
 * nothing at all.
 */
import { makeWriter, shapeOf } from "../content.js"
import { clientName, host, sender } from "../job.js"
import { cpuSeconds, peakMemory } from "./usage.js"

const to = "recipient@sink.test"
const content = makeWriter(shapeOf(1024))(0)

type Send = (port: number) => Promise<unknown>

const sendNothing: Send = () => Promise.resolve()

const loadEffect = async (): Promise<Send> => {
  await import("effect/Effect")
  return sendNothing
}

const loadLibrary = async (): Promise<Send> => {
  const Effect = await import("effect/Effect")
  const NodeSmtp = await import("../../../src/NodeSmtp.js")
  const SmtpSession = await import("../../../src/SmtpSession.js")
  return (port) =>
    SmtpSession.make({ host, port, clientName, tls: "none" }).pipe(
      Effect.flatMap((smtp) => smtp.send({ from: sender, to, content })),
      Effect.scoped,
      Effect.provide(NodeSmtp.layer),
      Effect.runPromise
    )
}

const loadBarrel = async (): Promise<Send> => {
  const { Effect } = await import("effect")
  const { NodeSmtp, SmtpSession } = await import("../../../src/index.js")
  return (port) =>
    SmtpSession.make({ host, port, clientName, tls: "none" }).pipe(
      Effect.flatMap((smtp) => smtp.send({ from: sender, to, content })),
      Effect.scoped,
      Effect.provide(NodeSmtp.layer),
      Effect.runPromise
    )
}

const loadNodemailer = async (): Promise<Send> => {
  const { createTransport } = await import("nodemailer")
  return (port) =>
    createTransport({ host, port, name: clientName, ignoreTLS: true }).sendMail({
      envelope: { from: sender, to },
      raw: content
    })
}

const loadEmailjs = async (): Promise<Send> => {
  const { open } = await import("./emailjs.js")
  const { readJob } = await import("../job.js")
  return async (port) => {
    const given = ["--port", String(port), "--octets", "1024", "--recipients", "1", "--connections", "1"]
    const client = await open(readJob(given))
    await client.send(0, 1)
    await client.close()
  }
}

const loads: Record<string, () => Promise<Send>> = {
  node: () => Promise.resolve(sendNothing),
  effect: loadEffect,
  library: loadLibrary,
  barrel: loadBarrel,
  nodemailer: loadNodemailer,
  emailjs: loadEmailjs
}

const [name = "", port = ""] = process.argv.slice(2)
const begin = performance.now()
const load = loads[name]
if (load === undefined) throw new Error(`there is no script ${name}`)
const send = await load()
const loaded = performance.now() - begin
await send(Number(port))
console.log(JSON.stringify({ loaded: loaded / 1000, cpu: cpuSeconds(), peak: peakMemory() }))
