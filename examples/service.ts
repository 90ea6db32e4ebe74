/**
 * A service that sends mail, and depends on a session as a layer. The service knows nothing of hosts, TLS and
 * passwords; the program says those once, at its end, where layers meet.
 *
 *   npx tsx examples/service.ts
 */
import type { SmtpError } from "effect-smtplib"
import { NodeSmtp, SmtpAuth, SmtpReply, SmtpSession } from "effect-smtplib"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

/** What has become of a notice, in the words of the business. */
type Notice = "Delivered" | "TryLater" | "BadAddress" | "AskTheServersLog"

class Notices extends Context.Tag("Notices")<
  Notices,
  { readonly welcome: (address: string) => Effect.Effect<Notice, SmtpError.InvalidArgument> }
>() {}

const noticesLive = Layer.effect(
  Notices,
  Effect.gen(function* () {
    const smtp = yield* SmtpSession.SmtpSession
    return {
      welcome: (address) =>
        Effect.gen(function* () {
          const receipt = yield* smtp.deliver({
            from: "app@example.com",
            to: address,
            content: `From: app@example.com\r\nTo: ${address}\r\nSubject: Welcome\r\n\r\nGood to have you.\r\n`,
            timeout: "30 seconds"
          })
          const [outcome] = receipt.outcomes
          switch (outcome._tag) {
            case "Accepted":
              return "Delivered"
            case "Refused":
              Print.line(`${address}: ${SmtpReply.format(outcome.reply)}`)
              return outcome.permanent ? "BadAddress" : "TryLater"
            // The message may have arrived: whoever sends it again may deliver it twice.
            case "Unknown":
              return "AskTheServersLog"
            case "NotSent":
              return "TryLater"
          }
        })
    }
  })
)

// In a real program: host and credentials from Config, with SmtpSession.layerConfig.
const sessionLive = Layer.unwrapScoped(
  Effect.map(
    startServer({ username: "app", password: "secret", unknown: ["nobody@example.org"] }),
    ({ ca, host, port }) =>
      SmtpSession.layer({
        host,
        port,
        tlsOptions: { ca },
        auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
      })
  )
)

const main = Effect.gen(function* () {
  const notices = yield* Notices
  for (const address of ["ann@example.net", "nobody@example.org"]) {
    Print.line(`${address}: ${yield* notices.welcome(address)}`)
  }
})

// A session is one connection, for as long as the layer lives: it is never dialled again.
run(Effect.provide(main, noticesLive.pipe(Layer.provide(sessionLive), Layer.provide(NodeSmtp.layer))))
