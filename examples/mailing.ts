/**
 * A mailing from a CSV file: as many messages at once as the client's sessions take, a progress bar, a journal by which
 * a run that was cut off goes on where it ended, and a report.
 *
 *   npx tsx examples/mailing.ts                        examples/readers.csv, to a server of its own
 *   npx tsx examples/mailing.ts FILE JOURNAL           the same for your list, with a journal that stays
 *   SMTP_HOST=... npx tsx examples/mailing.ts FILE JOURNAL   to a server of yours (SMTP_USERNAME, SMTP_PASSWORD..., or SMTP_URL)
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import type { SmtpReceipt } from "effect-smtplib"
import { NodeSmtp, SmtpAuth, SmtpClient } from "effect-smtplib"
import * as MailMessage from "effect-smtplib/MailMessage"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as Csv from "./support/csv.js"
import type { Step } from "./support/journal.js"
import * as Journals from "./support/journal.js"
import { run, UsageError } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

interface Reader {
  readonly address: string
  readonly name: string
}

const readers = (path: string) =>
  Effect.map(FileSystem.FileSystem, (files) =>
    files.stream(path).pipe(
      Stream.decodeText(),
      Stream.splitLines,
      Stream.drop(1),
      Stream.filter((line) => line.trim() !== ""),
      Stream.map((line): Reader => {
        const [address = "", name = ""] = Csv.fields(line)
        return { address, name }
      })
    )
  )

/** Message-ID and Date are made here, once: every attempt sends the same octets. */
const compose = ({ address, name }: Reader) =>
  MailMessage.make({
    from: { name: "The News", address: "news@example.com" },
    to: { address, name },
    subject: "What is new",
    text: `Dear ${name},\n\nall is well.\n`
  }).pipe(Effect.flatMap((message) => MailMessage.submission(message)))

const stepOf = (outcome: SmtpReceipt.Outcome | undefined): Step => {
  switch (outcome?._tag) {
    case "Accepted":
      return "accepted"
    case "Unknown":
      return "unknown"
    case "Refused":
      return outcome.permanent ? "refused" : "later"
    case "NotSent":
    case undefined:
      return "later"
  }
}

/** Whoever was begun and never ended may have the message: it is not sent again. */
const isOpen = (step: Step | undefined): boolean => step === undefined || step === "later"

const bar = (done: number, all: number): string => {
  const filled = all === 0 ? 30 : Math.round((30 * done) / all)
  return `[${"#".repeat(filled)}${".".repeat(30 - filled)}] ${done}/${all}`
}

/** On a terminal one line that grows, elsewhere nothing: the report says it all. */
const progress = (done: number, all: number): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.stderr.isTTY) process.stderr.write(`\r${bar(done, all)}${done === all ? "\n" : ""}`)
  })

const report = (steps: ReadonlyMap<string, Step>) =>
  Effect.sync(() => {
    Print.heading("Report")
    const words: Readonly<Record<Step, string>> = {
      accepted: "accepted",
      refused: "refused for good",
      later: "not yet: run again later",
      unknown: "unknown: ask the server's log before sending again",
      begun: "unknown: a run was cut off here"
    }
    for (const step of ["accepted", "refused", "later", "unknown", "begun"] as const) {
      const found = [...steps].filter(([, each]) => each === step).map(([address]) => address)
      if (found.length === 0) continue
      const names = step === "accepted" ? "" : `: ${found.slice(0, 5).join(", ")}`
      Print.line(`  ${String(found.length).padStart(5)}  ${words[step]}${names}`)
    }
  })

const mailing = (csv: string, journalPath: string) =>
  Effect.gen(function* () {
    const client = yield* SmtpClient.SmtpClient
    const journal = yield* Journals.open(journalPath)
    const all = yield* Effect.map(
      readers(csv),
      Stream.filter(({ address }) => isOpen(journal.steps.get(address)))
    )
    const total = yield* Stream.runCount(all)
    Print.line(`${total} to be sent`)
    let done = 0
    const submissions = all.pipe(
      Stream.mapEffect((reader) =>
        compose(reader).pipe(
          Effect.zipLeft(journal.write(reader.address, "begun")),
          Effect.map((submission) => ({ key: reader.address, submission })),
          // A bad address is its own affair, and never the mailing's.
          Effect.catchTag("InvalidArgument", () =>
            Effect.as(journal.write(reader.address, "refused"), undefined)
          )
        )
      ),
      Stream.tap((submission) => (submission === undefined ? progress(++done, total) : Effect.void)),
      Stream.filter((submission) => submission !== undefined)
    )
    const receipts = yield* client.sendAll(submissions)
    yield* Stream.runForEach(receipts, ({ key, receipt }) =>
      Effect.zipRight(journal.write(key, stepOf(receipt.outcomes[0])), progress(++done, total))
    ).pipe(Effect.ensuring(report(journal.steps)))
  })

const ownServer = Layer.unwrapScoped(
  Effect.map(
    startServer({
      username: "app",
      password: "secret",
      unknown: ["nobody@example.org"],
      greylisted: ["new@example.org"]
    }),
    ({ ca, host, port }) =>
      SmtpClient.layer({
        host,
        port,
        tlsOptions: { ca },
        auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
      })
  )
)

/** Whoever has said anything of a server means that one. */
const isConfigured = Object.keys(process.env).some((name) => name.startsWith("SMTP_"))

const configured = SmtpClient.layerConfig(SmtpClient.config("SMTP")).pipe(
  Layer.mapError((error) => new UsageError({ message: Cause.pretty(Cause.fail(error)) }))
)

const client: Layer.Layer<SmtpClient.SmtpClient, Error> = Layer.provide(
  isConfigured ? configured : ownServer,
  NodeSmtp.layer
)

const program = Effect.gen(function* () {
  const [csv = fileURLToPath(new URL("./readers.csv", import.meta.url)), journal] = process.argv.slice(2)
  const files = yield* FileSystem.FileSystem
  const folder = journal === undefined ? yield* files.makeTempDirectoryScoped() : undefined
  yield* mailing(csv, journal ?? `${folder ?? "."}/journal`)
})

run(program.pipe(Effect.scoped, Effect.provide([client, NodeFileSystem.layer])))
