/**
 * What is composed is read back equal by two parsers that share nothing with what composes: postal-mime and Python's
 * email package. `FUZZ_RUNS` sets the number of messages.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { domainToASCII } from "node:url"
import PostalMime from "postal-mime"
import { composeWhole, compose as composeStream } from "../../src/internal/mail/compose.js"
import * as MailMessage from "../../src/MailMessage.js"
import { suite } from "../servers/availability.js"
import type { Parsed, PythonMail } from "../support/pythonMail.js"
import { startPythonMail } from "../support/pythonMail.js"
import { runsOf } from "../support/runs.js"
import { messages } from "./generate.js"

const runs = runsOf(150)

const collected = <E>(stream: Stream.Stream<Uint8Array, E>): Promise<Uint8Array> =>
  stream.pipe(
    Stream.runCollect,
    Effect.map((chunks) => new Uint8Array(Buffer.concat([...chunks]))),
    Effect.runPromise
  )

const compose = (message: MailMessage.MailMessage) => collected(MailMessage.content(message))

const isGroup = (address: MailMessage.Address): address is MailMessage.Group => "group" in address

/** The domain as A-labels, which is how it travels. */
const ascii = (address: string): string => {
  const at = address.lastIndexOf("@")
  const domain = address.slice(at + 1)
  return `${address.slice(0, at)}@${/^[ -~]*$/.test(domain) ? domain : domainToASCII(domain)}`
}

/** Line ends of text are CRLF on the wire, and LF or CRLF once it was read; the last one is not told apart. */
const lines = (text: string | undefined): string => (text ?? "").replace(/\r\n|\r/g, "\n").replace(/\n$/, "")

/** postal-mime adds line ends at the end of text. */
const trimmed = (text: string | undefined): string => lines(text).replace(/\n+$/, "")

const guessedPattern = /^[a-z]+\/[a-z0-9.+-]+$/

// What vitest calls any.
const guessed: unknown = expect.stringMatching(guessedPattern)

const expectLinesWithin998 = (octets: Uint8Array): void => {
  const text = Buffer.from(octets).toString("latin1")
  expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/)
  expect(text.endsWith("\r\n")).toBe(true)
  expect(Math.max(...text.split("\r\n").map((line) => line.length))).toBeLessThanOrEqual(998)
  expect(text).toMatch(/^[\x01-\x7f]*$/)
}

const attachmentsOf = (message: MailMessage.MailMessage) =>
  message.attachments.map(({ cid, content, contentType, disposition, filename }) => ({
    filename: filename ?? null,
    type: contentType === undefined ? undefined : contentType.split(";")[0],
    cid: cid === undefined ? undefined : `<${cid}>`,
    disposition: disposition ?? (cid === undefined ? "attachment" : "inline"),
    content: Buffer.from(content).toString("hex")
  }))

interface Part {
  readonly filename: string | null
  readonly type: string
  readonly cid: string | undefined
  readonly disposition: string | null
  readonly content: string
}

const isRelated = ({ cid, disposition }: Pick<Part, "cid" | "disposition">): boolean =>
  cid !== undefined && disposition !== "attachment"

/** Related parts stand with the HTML, before the others. */
const sorted = <A extends Pick<Part, "cid" | "disposition">>(parts: ReadonlyArray<A>): ReadonlyArray<A> => [
  ...parts.filter(isRelated),
  ...parts.filter((part) => !isRelated(part))
]

const expectSameParts = (found: ReadonlyArray<Part>, message: MailMessage.MailMessage): void => {
  const wanted = sorted(attachmentsOf(message))
  expect(sorted(found)).toEqual(wanted.map((part) => ({ ...part, type: part.type ?? guessed })))
}

// -- postal-mime

const postalAddresses = (addresses: ReadonlyArray<MailMessage.Address>): ReadonlyArray<unknown> =>
  addresses.map((address) =>
    isGroup(address)
      ? { name: address.group, group: postalAddresses(address.members) }
      : { name: address.name ?? "", address: ascii(address.address) }
  )

const hex = (content: ArrayBuffer | Uint8Array | string): string =>
  typeof content === "string" ? content : Buffer.from(new Uint8Array(content)).toString("hex")

const expectSameByPostalMime = async (
  octets: Uint8Array,
  message: MailMessage.MailMessage
): Promise<void> => {
  const email = await PostalMime.parse(octets, { forceRfc822Attachments: true })
  expect(email.subject ?? "").toBe(message.subject ?? "")
  expect([email.from]).toEqual(postalAddresses(message.from.slice(0, 1)))
  expect([email.sender]).toEqual(postalAddresses(message.sender === undefined ? [] : [message.sender]))
  expect(email.replyTo ?? []).toEqual(postalAddresses(message.replyTo))
  expect(email.to ?? []).toEqual(postalAddresses(message.to))
  expect(email.cc ?? []).toEqual(postalAddresses(message.cc))
  expect(email.bcc).toBeUndefined()
  expect(email.messageId).toBe(message.messageId)
  expect(email.inReplyTo ?? "").toBe(message.inReplyTo.join(" "))
  expect(email.references ?? "").toBe(message.references.join(" "))
  expect(new Date(email.date ?? "").getTime()).toBe(message.date.getTime())
  expect(trimmed(email.text)).toBe(trimmed(message.text))
  expect(trimmed(email.html)).toBe(trimmed(message.html))
  expectSameParts(
    email.attachments.map(({ content, contentId, disposition, filename, mimeType }) => ({
      filename,
      type: mimeType,
      cid: contentId,
      disposition,
      content: hex(content)
    })),
    message
  )
}

// -- Python

const pythonAddresses = (addresses: ReadonlyArray<MailMessage.Address>): ReadonlyArray<unknown> =>
  addresses.map((address) => {
    const members = isGroup(address) ? address.members : [address]
    return [
      isGroup(address) ? address.group : null,
      members.map((member) => [member.name ?? "", ascii(member.address)])
    ]
  })

const bodies = (parsed: Parsed, type: string): string =>
  parsed.parts
    .filter((part) => part.type === type && part.disposition === null)
    .map(({ content }) => Buffer.from(content).toString("utf8"))
    .join("")

const expectSameByPython = (parsed: Parsed, message: MailMessage.MailMessage): void => {
  const field = (name: string): ReadonlyArray<string> =>
    parsed.fields.filter(([other]) => other.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
  expect(parsed.defects).toEqual([])
  expect(parsed.names.filter((name) => /bcc/i.test(name))).toEqual([])
  expect(field("subject")).toEqual(message.subject === undefined ? [] : [message.subject])
  expect(parsed.addresses["from"]).toEqual(pythonAddresses(message.from))
  expect(parsed.addresses["sender"]).toEqual(
    message.sender === undefined ? undefined : pythonAddresses([message.sender])
  )
  expect(parsed.addresses["reply-to"] ?? []).toEqual(pythonAddresses(message.replyTo))
  expect(parsed.addresses["to"] ?? []).toEqual(pythonAddresses(message.to))
  expect(parsed.addresses["cc"] ?? []).toEqual(pythonAddresses(message.cc))
  expect(field("message-id")).toEqual([message.messageId])
  expect(field("references").join("")).toBe(message.references.join(" "))
  expect(parsed.date).toBe(message.date.getTime() / 1000)
  for (const name of new Set(message.headers.map((header) => header.name))) {
    expect(field(name)).toEqual(
      message.headers.filter((header) => header.name === name).map(({ value }) => value)
    )
  }
  expect(lines(bodies(parsed, "text/plain"))).toBe(lines(message.text))
  expect(lines(bodies(parsed, "text/html"))).toBe(lines(message.html))
  expectSameParts(
    parsed.parts
      .filter(({ disposition }) => disposition !== null)
      .map(({ cid, content, disposition, filename, type }) => ({
        filename,
        type,
        cid: cid ?? undefined,
        disposition,
        content: Buffer.from(content).toString("hex")
      })),
    message
  )
}

const check = async (
  given: MailMessage.Input,
  holds: (octets: Uint8Array, message: MailMessage.MailMessage) => Promise<void> | void
): Promise<void> => {
  const message = await Effect.runPromise(MailMessage.make(given))
  await holds(await compose(message), message)
}

describe("a message of any kind", () => {
  it("has CRLF line ends, 7-bit octets, and lines of at most 998", { timeout: 600_000 }, () =>
    FastCheck.assert(
      FastCheck.asyncProperty(messages(), (given) => check(given, expectLinesWithin998)),
      { numRuns: runs }
    )
  )

  it("is the same bytes composed at once as in a stream", { timeout: 600_000 }, () =>
    FastCheck.assert(
      FastCheck.asyncProperty(messages(), async (given) => {
        const message = await Effect.runPromise(MailMessage.make(given))
        const whole = composeWhole(message)
        const streamed = await collected(composeStream(message, { streamed: [] }))
        if (whole !== undefined) expect(Buffer.compare(whole, streamed)).toBe(0)
      }),
      { numRuns: runs }
    )
  )

  it("is read back equal by postal-mime", { timeout: 600_000 }, () =>
    FastCheck.assert(
      FastCheck.asyncProperty(messages({ encodedWords: false }), (given) =>
        check(given, expectSameByPostalMime)
      ),
      { numRuns: runs }
    )
  )
})

suite("a message of any kind, to Python's email package", ["Python"], () => {
  it("is read back equal", { timeout: 600_000 }, async () => {
    const scope = await Effect.runPromise(Scope.make())
    const python: PythonMail = await Effect.runPromise(Scope.extend(startPythonMail, scope))
    await FastCheck.assert(
      FastCheck.asyncProperty(messages(), (given) =>
        check(given, async (octets, message) => {
          expectSameByPython(await python.parse(octets), message)
        })
      ),
      { numRuns: runs }
    ).finally(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  })
})
