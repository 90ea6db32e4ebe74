/**
 * emailjs: its SMTPConnection, command by command. It composes messages by itself and has no way to take a finished
 * one but this; it does not double dots, and puts a line end before the last dot, so that both are done here,
 * beforehand, for the content to come whole.
 */
import { SMTPConnection } from "emailjs"
import { readFileSync } from "node:fs"
import { makeWriter, stuff } from "../content.js"
import type { Job } from "../job.js"
import { clientName, host, recipientsOf, sender, shapeOfJob } from "../job.js"
import type { Connect, Open } from "./driver.js"
import { fromConnections } from "./driver.js"

type Callback = (error: Error | null | undefined) => void

const step = (begin: (callback: Callback) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    begin((error) => (error === null || error === undefined ? resolve() : reject(error)))
  })

/** Makes the octets that it is to write; it takes strings. */
const makeText = (job: Job): ((message: number) => string) => {
  const write = makeWriter(shapeOfJob(job), stuff)
  return (message) => write(message).toString("latin1").slice(0, -2)
}

const securityOf = (job: Job) =>
  job.ca === ""
    ? { tls: false }
    : { tls: { ca: readFileSync(job.ca) }, user: job.user, password: job.password }

const connect: Connect = async (job) => {
  const text = makeText(job)
  const recipients = recipientsOf(job).map((to) => `<${to}>`)
  const smtp = new SMTPConnection({
    host,
    port: job.port,
    domain: clientName,
    timeout: 60_000,
    ...securityOf(job)
  })
  await step((callback) => smtp.connect(callback))
  await step((callback) => (job.ca === "" ? smtp.ehlo_or_helo_if_needed(callback) : smtp.login(callback)))
  return {
    deliver: async (message) => {
      await step((callback) => smtp.mail(callback, `<${sender}>`))
      for (const to of recipients) await step((callback) => smtp.rcpt(callback, to))
      await step((callback) => smtp.data(callback))
      smtp.message(text(message))
      await step((callback) => smtp.data_end(callback))
    },
    close: () => {
      smtp.quit()
      return Promise.resolve()
    }
  }
}

/** Waits for each reply, as its queue of messages does. */
export const open: Open = fromConnections(connect)
