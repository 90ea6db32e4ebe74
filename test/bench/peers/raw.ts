/**
 * What the socket allows: octets that are made beforehand, written by hand, with nothing of a client around them but
 * the count of replies. The modes are the ways in which SMTP lets a message leave.
 *
 * - `lock-step`: each command waits for its reply
 * - `grouped`: MAIL, RCPT and DATA in one write, then the content (RFC 2920)
 * - `overlapped`: the content, RSET and the next MAIL, RCPT and DATA in one write
 * - `chunked`: MAIL, RCPT and BDAT LAST in one write (RFC 3030), one message at a time
 * - `window`: the same, with 32 messages in flight
 */
import type { Socket } from "node:net"
import { connect as dial } from "node:net"
import { blockCount, makeSource, makeWriter, stuff } from "../content.js"
import type { Job } from "../job.js"
import { clientName, host, recipientsOf, sender, shapeOfJob } from "../job.js"
import type { Client, Connect, Open } from "./driver.js"
import { fromConnections } from "./driver.js"

/** Messages in flight in the mode `window`. */
const windowSize = 32

interface Wire {
  readonly write: (octets: Buffer | string) => void
  /** When as many further replies have come, none of them a refusal. */
  readonly replies: (count: number) => Promise<void>
  /** When the socket takes more. */
  readonly drained: () => Promise<void>
  /** QUIT, without waiting for its reply. */
  readonly quit: () => Promise<void>
}

interface Waiting {
  readonly done: () => void
  readonly failed: (error: Error) => void
}

const lineFeed = 10
const four = 52

/** The replies in some octets: those are lines whose fourth character is a space. A refusal is an error. */
const makeCounter = (): ((octets: Buffer) => number) => {
  let column = 0
  return (octets) => {
    let count = 0
    for (const octet of octets) {
      if (column === 0 && octet >= four) throw new Error(`refused: ${octets.toString("latin1")}`)
      if (column === 3 && octet === 32) count++
      column = octet === lineFeed ? 0 : column + 1
    }
    return count
  }
}

const makeWire = (socket: Socket): Wire => {
  const countReplies = makeCounter()
  let owed = 0
  let waiting: Waiting | undefined

  const fail = (error: Error): void => {
    waiting?.failed(error)
    socket.destroy()
  }
  socket.on("error", fail)
  socket.on("close", () => fail(new Error("the sink has closed the connection")))
  socket.on("data", (octets: Buffer) => {
    owed -= countReplies(octets)
    if (owed <= 0) waiting?.done()
  })

  return {
    write: (octets) => {
      socket.write(octets)
    },
    replies: (count) =>
      new Promise((done, failed) => {
        owed += count
        waiting = { done, failed }
        if (owed <= 0) done()
      }),
    drained: () =>
      new Promise((resolve) => {
        if (socket.writableNeedDrain) socket.once("drain", resolve)
        else resolve()
      }),
    quit: () => {
      socket.removeAllListeners("close")
      socket.end("QUIT\r\n")
      return Promise.resolve()
    }
  }
}

const openWire = async (job: Job): Promise<Wire> => {
  const socket = dial({ port: job.port, host, noDelay: true })
  const wire = makeWire(socket)
  await wire.replies(1)
  wire.write(`EHLO ${clientName}\r\n`)
  await wire.replies(1)
  return wire
}

const mailOf = `MAIL FROM:<${sender}>\r\n`
const rcptsOf = (job: Job): ReadonlyArray<string> => recipientsOf(job).map((to) => `RCPT TO:<${to}>\r\n`)
const end = ".\r\n"

/** Makes the octets of a message as they are between DATA and the end of the dot. */
const makeData = (job: Job): ((message: number) => Buffer) => makeWriter(shapeOfJob(job), stuff, end)

const lockStep: Connect = async (job) => {
  const { quit, replies, write } = await openWire(job)
  const data = makeData(job)
  const commands = [mailOf, ...rcptsOf(job), "DATA\r\n"]
  return {
    deliver: async (message) => {
      for (const command of commands) {
        write(command)
        await replies(1)
      }
      write(data(message))
      await replies(1)
    },
    close: quit
  }
}

const grouped: Connect = async (job) => {
  const { quit, replies, write } = await openWire(job)
  const data = makeData(job)
  const envelope = [mailOf, ...rcptsOf(job), "DATA\r\n"].join("")
  return {
    deliver: async (message) => {
      write(envelope)
      await replies(job.recipients + 2)
      write(data(message))
      await replies(1)
    },
    close: quit
  }
}

const pouredData: Connect = async (job) => {
  const { drained, quit, replies, write } = await openWire(job)
  const source = makeSource(shapeOfJob(job), stuff)
  const envelope = [mailOf, ...rcptsOf(job), "DATA\r\n"].join("")
  return {
    deliver: async (message) => {
      write(envelope)
      await replies(job.recipients + 2)
      for (const block of source(message)) {
        write(block)
        await drained()
      }
      write(end)
      await replies(1)
    },
    close: quit
  }
}

/** Chunks of one block each, in one go. */
const pouredChunks: Connect = async (job) => {
  const { drained, quit, replies, write } = await openWire(job)
  const shape = shapeOfJob(job)
  const source = makeSource(shape)
  const envelope = [mailOf, ...rcptsOf(job)].join("")
  return {
    deliver: async (message) => {
      write(envelope)
      let index = 0
      for (const block of source(message)) {
        index++
        write(`BDAT ${block.length}${index === blockCount(shape) ? " LAST" : ""}\r\n`)
        write(block)
        await drained()
      }
      await replies(job.recipients + 1 + blockCount(shape))
    },
    close: quit
  }
}

/** Makes a whole transaction for one write. */
const makeChunked = (job: Job): ((message: number) => Buffer) => {
  const shape = shapeOfJob(job)
  const write = makeWriter(shape)
  const envelope = Buffer.from([mailOf, ...rcptsOf(job), `BDAT ${shape.octets} LAST\r\n`].join(""))
  return (message) => Buffer.concat([envelope, write(message)])
}

const chunked: Connect = async (job) => {
  const { quit, replies, write } = await openWire(job)
  const make = makeChunked(job)
  return {
    deliver: async (message) => {
      write(make(message))
      await replies(job.recipients + 2)
    },
    close: quit
  }
}

/** A peer whose messages depend on each other: each connection takes an equal share of them. */
const inShares =
  (connect: (job: Job) => Promise<Client>): Open =>
  async (job) => {
    const clients = await Promise.all(Array.from({ length: job.connections }, () => connect(job)))
    return {
      send: async (first, count) => {
        const share = Math.ceil(count / clients.length)
        await Promise.all(
          clients.map(({ send }, index) => {
            const begin = Math.min(index * share, count)
            return send(first + begin, Math.min(share, count - begin))
          })
        )
      },
      close: async () => {
        await Promise.all(clients.map(({ close }) => close()))
      }
    }
  }

const overlapped = inShares(async (job) => {
  const { quit, replies, write } = await openWire(job)
  const data = makeData(job)
  const envelope = Buffer.from([mailOf, ...rcptsOf(job), "DATA\r\n"].join(""))
  const next = Buffer.concat([Buffer.from("RSET\r\n"), envelope])
  return {
    send: async (first, count) => {
      if (count === 0) return
      write(envelope)
      await replies(job.recipients + 2)
      for (let message = first; message < first + count - 1; message++) {
        write(Buffer.concat([data(message), next]))
        await replies(job.recipients + 4)
      }
      write(data(first + count - 1))
      await replies(1)
    },
    close: quit
  }
})

const windowed = inShares(async (job) => {
  const socket = dial({ port: job.port, host, noDelay: true })
  const make = makeChunked(job)
  const countReplies = makeCounter()
  const each = job.recipients + 2
  let owed = 0
  let next = 0
  let last = 0
  let pump = (): void => undefined

  const fill = (): void => {
    const batch: Array<Buffer> = []
    while (next < last && owed <= (windowSize - 1) * each) {
      batch.push(make(next++))
      owed += each
    }
    if (batch.length > 0) socket.write(Buffer.concat(batch))
  }
  socket.on("data", (octets: Buffer) => {
    owed -= countReplies(octets)
    pump()
  })
  const until = (begin: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      socket.once("error", reject)
      pump = () => {
        fill()
        if (owed === 0 && next === last) resolve()
      }
      begin()
    })

  await until(() => {
    owed = 1
  })
  await until(() => {
    owed = 1
    socket.write(`EHLO ${clientName}\r\n`)
  })
  return {
    send: (first, count) =>
      until(() => {
        next = first
        last = first + count
        pump()
      }),
    close: () => {
      socket.end("QUIT\r\n")
      return Promise.resolve()
    }
  }
})

const modes: Record<string, Open> = {
  "lock-step": fromConnections(lockStep),
  grouped: fromConnections(grouped),
  overlapped,
  chunked: fromConnections(chunked),
  window: windowed,
  "poured-data": fromConnections(pouredData),
  "poured-chunks": fromConnections(pouredChunks)
}

export const open: Open = (job) => {
  const mode = modes[job.mode]
  return mode === undefined ? Promise.reject(new Error(`there is no mode ${job.mode}`)) : mode(job)
}
