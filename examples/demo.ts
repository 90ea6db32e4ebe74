/**
 * Sends a message and prints all there is to know of it: the dialogue, what became of each recipient, and, where the
 * demo's own server is used, whether every octet arrived as it was sent.
 *
 *   npm run demo
 *   npm run demo -- --help
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { NodeSmtp, SmtpAuth, SmtpSession } from "effect-smtplib"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { argv } from "node:process"
import { fileURLToPath } from "node:url"
import type { Target } from "./support/arguments.js"
import { readArguments, usage, wrong } from "./support/arguments.js"
import { Disappointed, run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

const messageFile = fileURLToPath(new URL("message.eml", import.meta.url))

interface Errand {
  readonly server: SmtpSession.Options
  readonly from: string
  readonly to: ReadonlyArray<string>
  readonly content: Uint8Array
}

/** The part that uses the library: a session, one message, a receipt. */
const deliver = ({ content, from, server, to }: Errand) =>
  Effect.gen(function* () {
    Print.heading("Transcript")
    const smtp = yield* SmtpSession.make({ ...server, transcript: Print.transcript })
    return yield* smtp.deliver({ from, to, content })
  }).pipe(
    Effect.scoped, // says QUIT and closes the connection
    Effect.tap((receipt) => {
      Print.heading("Receipt")
      Print.receipt(receipt)
    })
  )

/** Three recipients, one of whom the server does not know. */
const demonstrate = Effect.gen(function* () {
  const fileSystem = yield* FileSystem.FileSystem
  const content = yield* fileSystem.readFile(messageFile)
  const password = "correct horse battery staple"
  const server = yield* startServer({ username: "app", password, unknown: ["nobody@example.org"] })
  Print.line(`A server of the demo's own listens on ${server.host}, port ${server.port}.`)

  const receipt = yield* deliver({
    server: {
      host: server.host,
      port: server.port,
      tlsOptions: { ca: server.ca },
      auth: SmtpAuth.password({ username: "app", password: Redacted.make(password) })
    },
    from: "app@example.com",
    to: ["ann@example.net", "bob@example.org", "nobody@example.org"],
    content
  })

  Print.heading("Check")
  const tags = receipt.outcomes.map((outcome) => outcome._tag).join(", ")
  if (tags !== "Accepted, Accepted, Refused") {
    return yield* new Disappointed({ message: `Expected Accepted, Accepted, Refused, and not ${tags}` })
  }
  const [received] = server.messages
  if (server.messages.length !== 1 || received === undefined || !Buffer.from(content).equals(received)) {
    return yield* new Disappointed({ message: "The server has not received the octets that were sent" })
  }
  Print.line(`  The server received the ${content.length} octets of examples/message.eml, and no other.`)
})

const readPassword = Config.redacted("SMTP_PASSWORD").pipe(
  Effect.mapError(() => wrong("--url has a user name: give the password in SMTP_PASSWORD"))
)

/** The same with a server of the user's. */
const send = ({ ca, file, from, server, to, username }: Target) =>
  Effect.gen(function* () {
    const fileSystem = yield* FileSystem.FileSystem
    const content = yield* fileSystem.readFile(file ?? messageFile)
    const tlsOptions = ca === undefined ? undefined : { ca: yield* fileSystem.readFile(ca) }
    const auth =
      username === undefined ? undefined : SmtpAuth.password({ username, password: yield* readPassword })
    const receipt = yield* deliver({ server: { ...server, tlsOptions, auth }, from, to, content })
    if (receipt.accepted.length < to.length) {
      return yield* new Disappointed({ message: "Not every recipient was accepted" })
    }
  })

const main = Effect.gen(function* () {
  const args = yield* readArguments(argv.slice(2))
  switch (args._tag) {
    case "Help":
      Print.line(usage)
      return
    case "OwnServer":
      return yield* demonstrate
    case "Target":
      return yield* send(args.target)
  }
})

run(main.pipe(Effect.scoped, Effect.provide(NodeSmtp.layer), Effect.provide(NodeContext.layer)))
