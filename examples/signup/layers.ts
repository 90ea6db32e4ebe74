/** The mailers of the service. One option differs between production and staging. */
import type { SmtpClient } from "effect-smtplib"
import { NodeSmtp } from "effect-smtplib"
import * as Mailer from "effect-smtplib/Mailer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

// In a real program: a table that bounces, complaints and the handler of /unsubscribe write to.
const suppressed = new Set(["gone@example.net"])

/** What is the same everywhere. In a real program: secrets from Config. */
export const policies: Mailer.Options = {
  defaults: { from: "The Shop <shop@example.com>", replyTo: "help@example.com" },
  suppression: { isSuppressed: (address) => Effect.succeed(suppressed.has(address)) },
  textFromHtml: true,
  unsubscribe: {
    url: "https://shop.example.com/unsubscribe",
    secret: Redacted.make("at least 16 characters")
  }
}

export const production = (client: SmtpClient.Options) => NodeSmtp.layerMailer(client, policies)

/** Every message goes to the developers. */
export const staging = (client: SmtpClient.Options) =>
  NodeSmtp.layerMailer(client, { ...policies, environment: Mailer.redirectAll("dev@example.com") })

/** Nothing is sent: the messages are files. */
export const development = (directory: string) =>
  NodeSmtp.layerMailer({ host: "localhost" }, { ...policies, environment: Mailer.toDirectory(directory) })
