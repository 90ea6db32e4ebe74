/**
 * What content costs without a socket, in CPU time, the best of several rounds: the encoder in MB/s for content of
 * several kinds, and a message of 1 KiB from what a program gives to what is written.
 *
 *   npx tsx test/bench/encoder.ts
 */
import * as Content from "effect-smtplib/internal/content/content"
import type { PrepareOptions } from "effect-smtplib/internal/content/model"
import * as Encoding from "effect-smtplib/protocol/Content"
import * as Duration from "effect/Duration"
import { cpuUsage, stdout } from "node:process"

const blockLength = 65_536
const line = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ+/abcdefghijkl"
const lines = (count: number, end = "\r\n") => `${line}${end}`.repeat(count)
const dotted = `.${line.slice(1)}\r\n`

const kinds: Readonly<Record<string, string | Buffer>> = {
  "lines of 76, CRLF": lines(1),
  "lines of 76, LF": lines(1, "\n"),
  "a dot in 1 line of 20": dotted + lines(19),
  "a dot in every line": dotted,
  "prose, short lines":
    "Hello Ann,\r\n\r\nhere is what you have asked for.\r\nOne, two and three.\r\n\r\nYours\r\n",
  "UTF-8": "Grüße aus Köln, schöne Ämter und größere Übel.\r\n",
  "lines of 5,000": `${"x".repeat(5_000)}\r\n`,
  "every octet but NUL": Buffer.from(Array.from({ length: 4_096 }, (_, index) => ((index * 167) % 255) + 1)),
  "nothing but CRLF": "\r\n",
  "nothing but LF": "\n",
  "nothing but dot and LF": ".\n"
}

const cpuMicros = (): number => {
  const { system, user } = cpuUsage()
  return system + user
}

const best = (rounds: number, run: () => void): number => {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const before = cpuMicros()
    run()
    least = Math.min(least, cpuMicros() - before)
  }
  return least
}

/** As a stream is encoded: block after block, each into the same memory. */
const encoderRate = (framing: Encoding.Framing, block: Uint8Array): number => {
  const memory = Buffer.alloc(3 * blockLength)
  const blocks = 200
  const micros = best(8, () => {
    const encoder = Encoding.makeEncoder(framing, Encoding.defaultOptions, (length) =>
      memory.subarray(0, length)
    )
    for (let index = 0; index < blocks; index++) encoder.push(block)
  })
  return (blocks * blockLength) / micros
}

const options: PrepareOptions = {
  lineEnds: "convert",
  longLines: "send",
  allowNul: false,
  allowEmpty: false,
  binary: false,
  stallTimeout: Duration.minutes(2)
}

const microsOf = (content: string | Uint8Array): number => {
  const messages = 20_000
  const micros = best(8, () => {
    for (let index = 0; index < messages; index++) {
      const prepared = Content.prepareBytes(content, options)
      if (prepared._tag === "Bytes") Content.whole(prepared, "data", 262_144)
    }
  })
  return micros / messages
}

stdout.write(`${"encoder, MB/s".padEnd(26)}    DATA    BDAT\n`)
for (const [kind, part] of Object.entries(kinds)) {
  const block = Buffer.alloc(blockLength, part)
  const rates = (["data", "bdat"] as const).map((framing) =>
    encoderRate(framing, block).toFixed(0).padStart(8)
  )
  stdout.write(`${kind.padEnd(26)}${rates.join("")}\n`)
}

const message = `Subject: hello\r\nFrom: a@x.test\r\n\r\n${lines(13)}`
const small: Readonly<Record<string, string | Uint8Array>> = {
  string: message,
  octets: new TextEncoder().encode(message),
  "string, a dot at a line": message.replace("\r\na", "\r\n."),
  "string, LF": message.replaceAll("\r\n", "\n"),
  "string beyond ASCII": message.replaceAll("Z", "ü")
}
stdout.write(`\n${"a message of 1 KiB".padEnd(26)}      microseconds\n`)
for (const [kind, content] of Object.entries(small)) {
  stdout.write(`${kind.padEnd(26)}${microsOf(content).toFixed(2).padStart(18)}\n`)
}
