import { afterEach, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { makeCertificates } from "../../examples/support/certificates.js"
import { makeWriter, shapeOf } from "./content.js"
import type { Job } from "./job.js"
import { readJob, readMeasured, recipientsOf, sender, toArguments } from "./job.js"
import { open as openNodemailer } from "./peers/nodemailer.js"
import { open as openRaw } from "./peers/raw.js"
import type { Sink, SinkOptions } from "./sink/server.js"
import { openSink } from "./sink/server.js"
import { makeTally } from "./sink/tally.js"

const expectation = {
  warmUp: 2,
  messages: 6,
  sender,
  recipients: recipientsOf({ recipients: 2 }),
  numbered: true
}
const options: SinkOptions = { shape: shapeOf(1024), expectation, delay: 0, security: undefined }

const jobFor = (sink: Sink, mode: string): Job => ({
  mode,
  port: sink.port,
  octets: 1024,
  recipients: 2,
  connections: 1,
  warmUp: 2,
  messages: 6,
  fresh: false,
  streamed: false,
  ca: "",
  user: "",
  password: "",
  template: ""
})

const open: Array<Sink> = []
const begin = async (changes: Partial<SinkOptions> = {}): Promise<Sink> => {
  const sink = await openSink({ ...options, ...changes })
  open.push(sink)
  return sink
}

afterEach(async () => {
  await Promise.all(open.splice(0).map(({ close }) => close()))
})

/** Sends the messages of a job, and gives the sink's account. */
const send = async (sink: Sink, mode: string, changes: Partial<Job> = {}) => {
  const job = { ...jobFor(sink, mode), ...changes }
  const client = await openRaw(job)
  await client.send(0, job.warmUp)
  await client.send(job.warmUp, job.messages)
  await client.close()
  return sink.close()
}

describe("the sink", () => {
  it.each([
    ["lock-step", 5],
    ["grouped", 2],
    ["chunked", 1]
  ])("takes what a bare socket sends, %s, in %i round trips a message", async (mode, trips) => {
    const account = await send(await begin(), mode)
    expect(account).toMatchObject({ messages: 8, problems: [], connections: 1, trips: 6 * trips })
    expect(account.seconds).toBeGreaterThan(0)
  })

  it("counts one round trip a message where content and envelope overlap, and one to begin", async () => {
    const account = await send(await begin(), "overlapped")
    expect(account).toMatchObject({ problems: [], trips: 6 + 1 })
  })

  it("counts one round trip for all messages of a window where there is a delay", async () => {
    const account = await send(await begin({ delay: 5 }), "window")
    expect(account).toMatchObject({ messages: 8, problems: [], trips: 1 })
  })

  it("takes large messages that are poured, as DATA and as BDAT", async () => {
    const shape = shapeOf(262_144)
    for (const mode of ["poured-data", "poured-chunks"]) {
      const account = await send(await begin({ shape }), mode, { octets: 262_144 })
      expect(account).toMatchObject({ messages: 8, problems: [] })
    }
  })

  it("takes messages over several connections", async () => {
    const account = await send(await begin(), "grouped", { connections: 3 })
    expect(account).toMatchObject({ messages: 8, problems: [], connections: 3 })
  })

  it("finds messages that came twice and messages that never came", async () => {
    const sink = await begin()
    const client = await openRaw(jobFor(sink, "grouped"))
    await client.send(0, 3)
    await client.send(2, 1)
    await client.close()
    expect((await sink.close()).problems).toEqual(["message 2 came twice", "4 of 8 messages did not come"])
  })

  it("finds messages of another content than was promised", async () => {
    const sink = await begin({ shape: shapeOf(2048) })
    const account = await send(sink, "chunked")
    const [sent, promised] = [1024, 2048].map((octets) => makeWriter(shapeOf(octets))(0))
    const same = sent?.findIndex((octet, index) => octet !== promised?.[index])
    expect(account.problems).toContain(`message 1 is altered at octet ${same}`)
  })

  it("finds a wrong number of recipients", async () => {
    const account = await send(await begin(), "chunked", { recipients: 1 })
    expect(account.problems).toContain("message 1 has 1 recipients instead of 2")
  })

  it("finds another sender, and another recipient", async () => {
    const strangers = { ...expectation, recipients: ["recipient@sink.test", "other@sink.test"] }
    const account = await send(await begin({ expectation: strangers }), "chunked")
    expect(account.problems[0]).toBe("message 1 has another envelope: RCPT TO:<recipient1@sink.test>")
    const other = { ...expectation, sender: "other@client.test" }
    const second = await send(await begin({ expectation: other }), "chunked")
    expect(second.problems[0]).toBe(`message 1 has another envelope: MAIL FROM:<${sender}>`)
    expect(second.problems).toHaveLength(8)
  })

  it("takes nothing from whoever skips STARTTLS and AUTH", async () => {
    const { certificate, key } = await Effect.runPromise(makeCertificates())
    const security = { certificate, key, user: "u", password: "p" }
    const sink = await begin({ security })
    const client = await openNodemailer(jobFor(sink, "connection"))
    await expect(client.send(0, 8)).rejects.toThrow("530 first STARTTLS, then AUTH")
    await client.close()
    expect((await sink.close()).problems).toEqual(["8 of 8 messages did not come"])
  })
})

describe("the tally", () => {
  const single = { sender, recipients: recipientsOf({ recipients: 1 }), numbered: false }
  const envelope = { recipients: 1, strange: undefined }

  it("counts from the last message of the warm-up to the last of all", () => {
    const tally = makeTally({ ...single, warmUp: 1, messages: 2 })
    const message = (): void => {
      tally.trips(5)
      tally.message({ _tag: "Intact", number: 0 }, envelope)
    }
    message()
    message()
    message()
    tally.trips(100)
    expect(tally.account()).toMatchObject({ messages: 3, counted: 2, problems: [], trips: 10 })
  })

  it("says when there are too many messages", () => {
    const tally = makeTally({ ...single, warmUp: 0, messages: 1 })
    tally.message({ _tag: "Intact", number: 0 }, envelope)
    tally.message({ _tag: "Intact", number: 0 }, envelope)
    expect(tally.account().problems).toEqual(["1 messages too many came"])
  })
})

describe("a job", () => {
  it("reaches a peer by its arguments as it is", () => {
    const job: Job = {
      ...jobFor({ port: 25, close: () => Promise.reject(new Error()) }, "pool"),
      fresh: true
    }
    expect(readJob(toArguments(job))).toEqual(job)
  })

  it("is answered by the last line that the peer prints", () => {
    const figures = { seconds: 1, cpu: 0.5, peak: 3, idle: 2 }
    expect(readMeasured(`a warning\n${JSON.stringify(figures)}\n`)).toEqual(figures)
    expect(() => readMeasured('{"seconds":1}')).toThrow('did not say "cpu"')
    expect(() => readMeasured("nothing")).toThrow(SyntaxError)
  })

  it("is about messages whose content differs", () => {
    const write = makeWriter(shapeOf(1024))
    expect(write(0).equals(write(1))).toBe(false)
  })
})
