/**
 * Turns "one connection that sends one message at a time" into a peer: the connections share the messages, and each
 * takes the next one when it is free.
 */
import type { Job } from "../job.js"

/** A connection that is ready to send. */
export interface Connection {
  /** Sends the message of a number; done when the server has accepted it. */
  readonly deliver: (message: number) => Promise<void>
  readonly close: () => Promise<void>
}

/** A peer, with its connections open unless each message has one of its own. */
export interface Client {
  /** Sends the messages of numbers from `first`, `count` of them. */
  readonly send: (first: number, count: number) => Promise<void>
  readonly close: () => Promise<void>
}

export type Connect = (job: Job) => Promise<Connection>
export type Open = (job: Job) => Promise<Client>

const once = (job: Job, connect: Connect): Client => ({
  send: async (first, count) => {
    for (let message = first; message < first + count; message++) {
      const connection = await connect(job)
      await connection.deliver(message)
      await connection.close()
    }
  },
  close: () => Promise.resolve()
})

/** As many connections as the job says, or one for each message. */
export const fromConnections =
  (connect: Connect): Open =>
  async (job) => {
    if (job.fresh) return once(job, connect)
    const connections = await Promise.all(Array.from({ length: job.connections }, () => connect(job)))
    return {
      send: async (first, count) => {
        let next = first
        const work = async ({ deliver }: Connection): Promise<void> => {
          while (next < first + count) await deliver(next++)
        }
        await Promise.all(connections.map(work))
      },
      close: async () => {
        await Promise.all(connections.map(({ close }) => close()))
      }
    }
  }
