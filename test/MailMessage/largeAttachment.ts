/**
 * How much memory a large attachment takes on its way from a stream through composition, through a signature if
 * asked for, and through a session to the wire: it may not depend on the attachment's size.
 *
 *   node --expose-gc --import tsx test/MailMessage/largeAttachment.ts [MiB] [--sign]
 *
 * 1024 MiB by default. The server is another process, so that its memory is not counted. The last line of the output
 * is "constant", or what was wrong.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { generateKeyPairSync } from "node:crypto"
import { argv, execPath, exit, memoryUsage } from "node:process"
import { fileURLToPath } from "node:url"
import * as Dkim from "../../src/Dkim.js"
import * as MailMessage from "../../src/MailMessage.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"

const mebibyte = 1_048_576
const size = Number(argv[2] ?? 1024) * mebibyte
const signs = argv.includes("--sign")

// What the live heap, and the process as a whole, may grow by, whatever the size.
const heapBound = 32 * mebibyte
const residentBound = 128 * mebibyte

const startSink = Effect.acquireRelease(
  Effect.sync(() =>
    spawn(execPath, ["--import", "tsx", fileURLToPath(new URL("./sink.ts", import.meta.url))], {
      stdio: ["ignore", "pipe", "inherit"]
    })
  ),
  (child) => Effect.sync(() => child.kill("SIGKILL"))
).pipe(
  Effect.flatMap((child) =>
    Effect.async<number>((resume) => {
      child.stdout.once("data", (line: Buffer) => {
        resume(Effect.succeed(Number(line.toString())))
      })
    })
  )
)

interface Use {
  readonly heap: number
  readonly resident: number
}

const measure = (): Use => {
  // The memory of arrays is given back behind the collection that found them dead: the second waits for the first.
  globalThis.gc?.()
  globalThis.gc?.()
  const { arrayBuffers, heapUsed, rss } = memoryUsage()
  return { heap: heapUsed + arrayBuffers, resident: rss }
}

const shown = (octets: number): string => `${(octets / mebibyte).toFixed(1)} MiB`

// Each piece is made when it is asked for, as those of a file are.
const pieces = (length: number): Stream.Stream<Uint8Array> =>
  Stream.range(1, length / 65_536).pipe(
    Stream.rechunk(1),
    Stream.map((number) => new Uint8Array(65_536).fill(number))
  )

const key = Dkim.key({
  domain: "example.com",
  selector: "test",
  privateKey: Redacted.make(
    generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString()
  )
})

const sendOne = (smtp: SmtpSession.Service, length: number) =>
  Effect.gen(function* () {
    const message = yield* MailMessage.make({
      from: "app@example.com",
      to: "ann@example.net",
      text: "See below.\n"
    })
    const attachments = [MailMessage.streamed(pieces(length), { filename: "large.bin" })]
    const submission = yield* MailMessage.submission(message, { attachments })
    const receipt = yield* smtp.send(
      signs ? yield* Dkim.sign(submission, { keys: [yield* key] }) : submission
    )
    const [outcome] = receipt.outcomes
    return outcome._tag === "Accepted" ? Number(outcome.reply.text.split(" ")[0]) : 0
  })

/** The octets of base64 with its line ends, which the server has to have got at least. */
const leastOctets = (length: number): number => Math.ceil(length / 3) * 4 + Math.floor(length / 57) * 2

const program = Effect.gen(function* () {
  const port = yield* startSink
  const smtp = yield* SmtpSession.make({ host: "127.0.0.1", port, tls: "none" })
  yield* sendOne(smtp, 4 * mebibyte)
  const before = measure()
  const peak = { heap: 0, resident: 0 }
  const sampling = Effect.sync(() => {
    const now = measure()
    peak.heap = Math.max(peak.heap, now.heap - before.heap)
    peak.resident = Math.max(peak.resident, now.resident - before.resident)
  })
  yield* Effect.forkScoped(Effect.forever(Effect.zipRight(Effect.sleep("200 millis"), sampling)))
  const [time, octets] = yield* Effect.timed(sendOne(smtp, size))
  yield* sampling
  const seconds = Duration.toSeconds(time)
  console.log(
    `${shown(size)} in ${seconds.toFixed(1)} s (${shown(size / seconds)}/s): ` +
      `live heap and buffers +${shown(peak.heap)}, resident +${shown(peak.resident)} at most`
  )
  if (octets < leastOctets(size)) return `the server got ${octets} octets only`
  if (peak.heap > heapBound) return `the heap grew by more than ${shown(heapBound)}`
  return peak.resident > residentBound ? `the process grew by more than ${shown(residentBound)}` : "constant"
}).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))

Effect.runPromise(program).then(
  (verdict) => {
    console.log(verdict)
    exit(verdict === "constant" ? 0 : 1)
  },
  (error: unknown) => {
    console.error(error)
    exit(1)
  }
)
