/**
 * A program that is told to end in the middle of its work: messages under way finish, messages that wait are not sent,
 * and every message has an outcome.
 *
 *   npx tsx examples/sigterm.ts            ends itself by SIGTERM after 20 messages
 *   npx tsx examples/sigterm.ts patient    waits for Ctrl-C, or until all is sent
 */
import type { SmtpReceipt } from "effect-smtplib"
import { NodeSmtp, SmtpAuth, SmtpClient } from "effect-smtplib"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import process from "node:process"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

const count = 200

type Tag = SmtpReceipt.Outcome["_tag"]

/** What became of each message, by number. */
const ledger = new Map<number, Tag>()

const sendAll = (client: SmtpClient.Service) =>
  Effect.forEach(
    Array.from({ length: count }, (_, number) => number),
    (number) =>
      Effect.map(
        client.deliver({
          from: "app@example.com",
          to: `user${number}@example.net`,
          content: `To: user${number}@example.net\r\nSubject: ${number}\r\n\r\nHello.\r\n`
        }),
        ({ outcomes }) => {
          for (const { _tag } of outcomes) ledger.set(number, _tag)
        }
      ),
    { concurrency: "unbounded", discard: true }
  )

const report = Effect.sync(() => {
  const tags: ReadonlyArray<Tag> = ["Accepted", "Refused", "NotSent", "Unknown"]
  Print.heading("What became of the messages")
  for (const tag of tags) {
    const found = [...ledger.values()].filter((each) => each === tag).length
    if (found > 0) Print.line(`  ${tag.padEnd(8)}  ${found}`)
  }
  Print.line(`  ${ledger.size} of ${count} are accounted for`)
})

const program = Effect.gen(function* () {
  const server = yield* startServer({ username: "app", password: "secret", thinks: 50 })
  const client = yield* SmtpClient.make({
    host: server.host,
    port: server.port,
    tlsOptions: { ca: server.ca },
    auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") }),
    maxSessions: 3,
    shutdownTimeout: "10 seconds"
  })
  // A fiber that does not end with this one: the signal interrupts the program, and not a message in the middle.
  const sending = yield* Effect.forkDaemon(sendAll(client))
  if (!process.argv.includes("patient")) {
    const someAreSent = Effect.repeat(Effect.sleep("10 millis"), { until: () => ledger.size >= 20 })
    const terminate = Effect.sync(() => {
      Print.line("SIGTERM")
      process.kill(process.pid, "SIGTERM")
    })
    yield* Effect.fork(Effect.zipRight(someAreSent, terminate))
  }
  yield* Fiber.join(sending).pipe(
    Effect.onInterrupt(() => Effect.zipRight(client.close, Fiber.await(sending))),
    Effect.ensuring(
      Effect.zipRight(
        report,
        Effect.sync(() => Print.line(`  the server has ${server.messages.length} messages`))
      )
    )
  )
})

run(program.pipe(Effect.scoped, Effect.provide(NodeSmtp.layer)))
