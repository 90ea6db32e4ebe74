import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { makeWriter, shapeOf, stuff } from "./content.js"
import type { Envelope, Offer, SeenEnvelope } from "./sink/receiver.js"
import { makeReceiver } from "./sink/receiver.js"
import type { Verdict } from "./sink/verifier.js"
import { makeVerifier } from "./sink/verifier.js"

const shape = shapeOf(1024)
const write = makeWriter(shape)
const clear: Offer = { startTls: false, plain: undefined }

const one: Envelope = { sender: "a@b.test", recipients: ["c@d.test"] }

interface Seen extends SeenEnvelope {
  readonly verdict: Verdict
}

/** A receiver, and what it has seen. */
const begin = (offer = clear, expected = one) => {
  const seen: Array<Seen> = []
  const receiver = makeReceiver(offer, expected, makeVerifier(shape), (verdict, envelope) => {
    seen.push({ verdict, ...envelope })
  })
  const say = (...octets: ReadonlyArray<string | Buffer>): string =>
    receiver.read(Buffer.concat(octets.map((part) => (typeof part === "string" ? Buffer.from(part) : part))))
  return { receiver, seen, say }
}

const envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
const asData = (message: Buffer): Buffer => Buffer.concat([stuff(message), Buffer.from(".\r\n")])
const intact = (number: number): Seen => ({
  verdict: { _tag: "Intact", number },
  recipients: 1,
  strange: undefined
})

describe("the sink's receiver", () => {
  it("takes content behind DATA, and undoes what was done to its dots", () => {
    const { say, seen } = begin()
    expect(say(envelope, "DATA\r\n")).toBe("250 OK\r\n250 OK\r\n354 go on\r\n")
    expect(say(asData(write(42)))).toBe("250 OK\r\n")
    expect(seen).toEqual([intact(42)])
  })

  it("takes content and the next envelope from one write", () => {
    const { say, seen } = begin()
    say(envelope, "DATA\r\n")
    const replies = say(asData(write(0)), "RSET\r\n", envelope, "DATA\r\n")
    expect(replies).toBe(`${"250 OK\r\n".repeat(4)}354 go on\r\n`)
    say(asData(write(1)))
    expect(seen).toEqual([intact(0), intact(1)])
  })

  it("takes chunks, several in a row and empty ones among them", () => {
    const { say, seen } = begin()
    const message = write(9)
    const chunks = ["BDAT 100\r\n", message.subarray(0, 100), "BDAT 924\r\n", message.subarray(100)]
    expect(say(envelope, ...chunks, "BDAT 0 LAST\r\n")).toBe("250 OK\r\n".repeat(5))
    expect(seen).toEqual([intact(9)])
  })

  it("reads a chunk that it refuses to its end, so that nothing of it is taken for a command", () => {
    const { say, seen } = begin()
    const refused = say("BDAT 6 LAST\r\nNOOP\r\n", "NOOP\r\n")
    expect(refused).toBe("503 out of order\r\n250 OK\r\n")
    expect(seen).toEqual([])
  })

  it("comes to the same end however the octets are split", () => {
    const [first, second] = [write(0), write(1)]
    const dialogue = Buffer.concat([
      Buffer.from(`EHLO x\r\n${envelope}DATA\r\n`),
      asData(first),
      Buffer.from(`RSET\r\n${envelope}BDAT 1000\r\n`),
      second.subarray(0, 1000),
      Buffer.from("BDAT 24 LAST\r\n"),
      second.subarray(1000),
      Buffer.from("QUIT\r\n")
    ])
    const whole = begin()
    const expected = whole.say(dialogue)
    const places = FastCheck.array(FastCheck.integer({ min: 0, max: dialogue.length }), { maxLength: 40 })
    FastCheck.assert(
      FastCheck.property(places, (cuts) => {
        const { receiver, say, seen } = begin()
        const ends = [0, ...cuts.sort((left, right) => left - right), dialogue.length]
        const replies = ends.slice(1).map((end, index) => say(dialogue.subarray(ends[index], end)))
        expect(replies.join("")).toBe(expected)
        expect(seen).toEqual([intact(0), intact(1)])
        expect(receiver.next()).toBe("Close")
      })
    )
  })

  it("comes to the same end octet by octet", () => {
    const { say, seen } = begin()
    for (const octet of Buffer.concat([Buffer.from(`${envelope}DATA\r\n`), asData(write(5))])) {
      say(Buffer.of(octet))
    }
    expect(seen).toEqual([intact(5)])
  })

  it.each([
    ["an octet is another", (octets: Buffer) => octets.fill("!", 500, 501)],
    [
      "an octet is missing",
      (octets: Buffer) => Buffer.concat([octets.subarray(0, 500), octets.subarray(501)])
    ],
    ["there is one too many", (octets: Buffer) => Buffer.concat([octets, Buffer.from("\r\n")])],
    ["the end is missing", (octets: Buffer) => octets.subarray(0, 600)],
    ["its number is none", (octets: Buffer) => octets.fill("x", 12, 13)]
  ])("tells content that is altered: %s", (_, alter) => {
    const { say, seen } = begin()
    const altered = alter(write(3))
    say(envelope, `BDAT ${altered.length} LAST\r\n`, altered)
    expect(seen.map(({ verdict }) => verdict._tag)).toEqual(["Altered"])
    say(envelope, "DATA\r\n")
    say(asData(write(4)))
    expect(seen[1]).toEqual(intact(4))
  })

  it("tells content whose dots were not doubled", () => {
    const { say, seen } = begin()
    say(envelope, "DATA\r\n")
    say(write(3), ".\r\n")
    expect(seen.map(({ verdict }) => verdict._tag)).toEqual(["Altered"])
  })

  it("counts recipients anew for each message", () => {
    const { say, seen } = begin()
    const two = `${envelope}RCPT TO:<e@f.test>\r\n`
    say(two, "BDAT 1024 LAST\r\n", write(0), envelope, "BDAT 1024 LAST\r\n", write(1))
    expect(seen.map(({ recipients }) => recipients)).toEqual([2, 1])
  })

  it.each([
    ["another sender", "MAIL FROM:<x@b.test>\r\nRCPT TO:<c@d.test>\r\n", "MAIL FROM:<x@b.test>"],
    [
      "a sender that only begins so",
      "MAIL FROM:<a@b.test>x\r\nRCPT TO:<c@d.test>\r\n",
      "MAIL FROM:<a@b.test>x"
    ],
    ["no sender", "MAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\n", "MAIL FROM:<>"],
    ["another recipient", "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.tes>\r\n", "RCPT TO:<c@d.tes>"],
    [
      "a space that RFC 5321 forbids",
      "MAIL FROM: <a@b.test>\r\nRCPT TO:<c@d.test>\r\n",
      "MAIL FROM: <a@b.test>"
    ]
  ])("tells an envelope that is another: %s", (_, commands, strange) => {
    const { say, seen } = begin()
    say(commands, "BDAT 1024 LAST\r\n", write(0), envelope, "BDAT 1024 LAST\r\n", write(1))
    expect(seen).toEqual([{ ...intact(0), strange }, intact(1)])
  })

  it("tells recipients in another order, or twice the same", () => {
    const expected = { sender: "a@b.test", recipients: ["c@d.test", "e@f.test"] }
    const { say, seen } = begin(clear, expected)
    const [first, second] = ["RCPT TO:<c@d.test>\r\n", "RCPT TO:<e@f.test>\r\n"]
    for (const [number, to] of [first + second, second + first, first + first].entries()) {
      say("MAIL FROM:<a@b.test>\r\n", to, "BDAT 1024 LAST\r\n", write(number))
    }
    expect(seen.map(({ strange }) => strange)).toEqual([
      undefined,
      "RCPT TO:<e@f.test>",
      "RCPT TO:<c@d.test>"
    ])
  })

  it("takes parameters behind a path, and commands in any case", () => {
    const { say, seen } = begin()
    say("mail FROM:<a@b.test> SIZE=1024 BODY=8BITMIME\r\nrcpt TO:<c@d.test> NOTIFY=NEVER\r\n")
    say("BDAT 1024 LAST\r\n", write(0))
    expect(seen).toEqual([intact(0)])
  })

  it("refuses mail before TLS, and before AUTH", () => {
    const before = begin({ startTls: true, plain: undefined })
    const refused = "530 first STARTTLS, then AUTH\r\n503 out of order\r\n503 out of order\r\n"
    expect(before.say(envelope, "DATA\r\n")).toBe(refused)
    const after = begin({ startTls: false, plain: "AGEAYg==" })
    expect(after.say(envelope, "DATA\r\n")).toBe(refused)
    expect(after.say("AUTH PLAIN AGEAYw==\r\n", envelope, "DATA\r\n")).toBe(`535 who?\r\n${refused}`)
    after.say("AUTH PLAIN AGEAYg==\r\n")
    expect(after.say(envelope, "BDAT 1024 LAST\r\n", write(7))).toBe("250 OK\r\n".repeat(3))
    expect([before.seen, after.seen]).toEqual([[], [intact(7)]])
  })

  it("refuses what is out of order", () => {
    const { say } = begin()
    expect(say("DATA\r\n")).toBe("503 out of order\r\n")
    expect(say("RCPT TO:<c@d.test>\r\n")).toBe("503 out of order\r\n")
    expect(say("MAIL FROM:<>\r\nMAIL FROM:<>\r\n")).toBe("250 OK\r\n503 out of order\r\n")
    expect(say("STARTTLS\r\n")).toBe("503 out of order\r\n")
    expect(say("WHAT\r\n")).toBe("500 what?\r\n")
  })

  it("offers STARTTLS in clear and AUTH PLAIN behind it", () => {
    const before = begin({ startTls: true, plain: undefined })
    expect(before.say("EHLO x\r\n")).toMatch(/250-STARTTLS\r\n250 CHUNKING\r\n$/)
    expect(before.say("STARTTLS\r\n")).toBe("220 go on\r\n")
    expect(before.receiver.next()).toBe("Secure")
    const after = begin({ startTls: false, plain: "AGEAYg==" })
    expect(after.say("EHLO x\r\n")).toMatch(/250-AUTH PLAIN\r\n250 CHUNKING\r\n$/)
    expect(after.say("AUTH PLAIN AGEAYg==\r\n")).toBe("235 welcome\r\n")
    expect(after.say("AUTH PLAIN\r\n")).toBe("334 \r\n")
    expect(after.say("AGEAYw==\r\n")).toBe("535 who?\r\n")
  })

  it("is midway while something is begun and not ended", () => {
    const { receiver, say } = begin()
    say("MAIL FR")
    expect(receiver.isMidway()).toBe(true)
    say("OM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
    expect(receiver.isMidway()).toBe(false)
    say("X")
    expect(receiver.isMidway()).toBe(true)
    say("\r\n.\r\n")
    expect(receiver.isMidway()).toBe(false)
    say(envelope, "BDAT 10\r\n")
    expect(receiver.isMidway()).toBe(true)
  })
})
