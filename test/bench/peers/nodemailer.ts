/**
 * nodemailer: `pool` is its pooled transport, with as many connections as the job says, no limit of messages per
 * connection and always enough messages waiting; `connection` its bare SMTPConnection. Both are given the whole message
 * as it is, in the ways that its documentation names for that.
 */
import { readFileSync } from "node:fs"
import { Readable } from "node:stream"
import { createTransport } from "nodemailer"
import SmtpConnection from "nodemailer/lib/smtp-connection"
import { makeSource, makeWriter } from "../content.js"
import type { Job } from "../job.js"
import { clientName, host, recipientsOf, sender, shapeOfJob } from "../job.js"
import type { Connect, Open } from "./driver.js"
import { fromConnections } from "./driver.js"

/** Messages that wait for each connection of the pool, so that none is ever idle. */
const waitingEach = 4

const makeContent = (job: Job): ((message: number) => Buffer | Readable) => {
  if (!job.streamed) return makeWriter(shapeOfJob(job))
  const source = makeSource(shapeOfJob(job))
  return (message) => Readable.from(source(message), { objectMode: false })
}

const connectionOptions = (job: Job) => ({
  host,
  port: job.port,
  name: clientName,
  ...(job.ca === "" ? { ignoreTLS: true } : { requireTLS: true, tls: { ca: readFileSync(job.ca) } })
})

const connect: Connect = async (job) => {
  const content = makeContent(job)
  const envelope = { from: sender, to: [...recipientsOf(job)] }
  const connection = new SmtpConnection(connectionOptions(job))
  await new Promise<void>((resolve, reject) => {
    connection.once("error", reject)
    connection.connect(() => resolve())
  })
  if (job.ca !== "") {
    await new Promise<void>((resolve, reject) => {
      const credentials = { user: job.user, pass: job.password }
      connection.login({ credentials }, (error) => (error === null ? resolve() : reject(error)))
    })
  }
  return {
    deliver: (message) =>
      new Promise((resolve, reject) => {
        // The connection writes its own findings into the envelope that it is given.
        connection.send({ ...envelope }, content(message), (error) =>
          error === null ? resolve() : reject(error)
        )
      }),
    close: () => {
      connection.quit()
      return Promise.resolve()
    }
  }
}

const pool: Open = (job) => {
  const content = makeContent(job)
  const envelope = { from: sender, to: [...recipientsOf(job)] }
  const transport = createTransport({
    ...connectionOptions(job),
    pool: true,
    maxConnections: job.connections,
    maxMessages: Infinity,
    ...(job.ca === "" ? {} : { auth: { user: job.user, pass: job.password } })
  })
  return Promise.resolve({
    send: async (first, count) => {
      let next = first
      const work = async (): Promise<void> => {
        while (next < first + count) await transport.sendMail({ envelope, raw: content(next++) })
      }
      await Promise.all(Array.from({ length: job.connections * waitingEach }, work))
    },
    close: () => {
      transport.close()
      return Promise.resolve()
    }
  })
}

const modes: Record<string, Open> = { pool, connection: fromConnections(connect) }

export const open: Open = (job) => {
  const mode = modes[job.mode]
  return mode === undefined ? Promise.reject(new Error(`there is no mode ${job.mode}`)) : mode(job)
}
