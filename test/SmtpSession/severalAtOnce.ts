/**
 * What the tests of several messages on their way at once share: letters of one word, the pieces of scripts that take
 * them in, and clients that send many.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { InvalidArgument } from "../../src/SmtpError.js"
import type * as SmtpSession from "../../src/SmtpSession.js"
import type { Submission } from "../../src/SmtpSubmission.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { octets, outcomes } from "./oneSession.js"

/** The content of a letter. */
export const textOf = (word: string): string => `Subject: ${word}\r\n\r\n${word}\r\n`

export const letter = (word: string): Submission => ({
  from: "a@x.test",
  to: `${word}@y.test`,
  content: textOf(word)
})

const envelopeOf = (word: string): ReadonlyArray<string> => [
  "MAIL FROM:<a@x.test>",
  `RCPT TO:<${word}@y.test>`
]

/** The group of a letter that goes by DATA. */
export const group = (word: string): SmtpTest.Script => SmtpTest.expectGroup(...envelopeOf(word), "DATA")

/** The same behind RSET. */
export const resetGroup = (word: string): SmtpTest.Script =>
  SmtpTest.script(SmtpTest.expect("RSET"), group(word))

/** The envelope and the content of a letter that goes by BDAT in one write. */
export const chunked = (word: string): SmtpTest.Script =>
  SmtpTest.script(SmtpTest.expectGroup(...envelopeOf(word)), lastChunk(textOf(word)))

export const resetChunked = (word: string): SmtpTest.Script =>
  SmtpTest.script(SmtpTest.expect("RSET"), chunked(word))

/** One chunk of BDAT with its octets. */
export const chunk = (text: string): SmtpTest.Script =>
  SmtpTest.script(SmtpTest.expect(`BDAT ${octets(text).length}`), SmtpTest.expect(octets(text)))

export const lastChunk = (text: string): SmtpTest.Script =>
  SmtpTest.script(
    SmtpTest.expect(`BDAT ${octets(text).length} LAST`),
    ...(text === "" ? [] : [SmtpTest.expect(octets(text))])
  )

/** Replies of one line each. */
export const replies = (...lines: ReadonlyArray<string>): SmtpTest.Script =>
  SmtpTest.script(...lines.map((line) => SmtpTest.reply(line)))

/** A whole letter by DATA, with nothing before it or behind. */
export const alone = (word: string): SmtpTest.Script =>
  SmtpTest.script(
    group(word),
    replies("250 ok", "250 ok", "354 go"),
    SmtpTest.expectContent(textOf(word)),
    SmtpTest.reply(`250 ${word}`)
  )

/** The one byte with which the first content of a session shows that the server knows BDAT. */
export const provesBdat = (text: string): SmtpTest.Script =>
  SmtpTest.script(
    SmtpTest.expect("BDAT 1"),
    SmtpTest.expect(octets(text.slice(0, 1))),
    SmtpTest.reply("250 go on")
  )

/** A whole letter by BDAT as the first of a session: it waits for the replies to its envelope, and proves BDAT. */
export const chunkedAlone = (word: string): SmtpTest.Script =>
  SmtpTest.script(
    SmtpTest.expectGroup(...envelopeOf(word)),
    replies("250 ok", "250 ok"),
    provesBdat(textOf(word)),
    lastChunk(textOf(word).slice(1)),
    SmtpTest.reply(`250 ${word}`)
  )

/** The same behind another letter by BDAT. */
export const chunkedLater = (word: string): SmtpTest.Script =>
  SmtpTest.script(
    SmtpTest.expectGroup(...envelopeOf(word)),
    replies("250 ok", "250 ok"),
    lastChunk(textOf(word)),
    SmtpTest.reply(`250 ${word}`)
  )

/** Delivers at once, in this order; gives a line for each recipient. */
export const deliverAll = (
  smtp: SmtpSession.Service,
  submissions: ReadonlyArray<Submission>
): Effect.Effect<ReadonlyArray<string>, InvalidArgument> =>
  Effect.gen(function* () {
    const fibers = yield* Effect.forEach(submissions, (submission) => Effect.fork(smtp.deliver(submission)))
    const receipts = yield* Effect.forEach(fibers, Fiber.join)
    return receipts.flatMap(outcomes)
  })

/** What the client wrote, a text for each write. */
export const writes = (server: SmtpTest.Scripted): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(server.connections, (connections) =>
    connections.flatMap(({ chunks }) => chunks.map((written) => new TextDecoder().decode(written)))
  )
