/**
 * Mail providers as data: host, port, TLS, documented limits, and the meaning of known replies. A profile can be spread into
 * the options of a client or session, and `SMTP_PROVIDER` names one for `SmtpClient.config`.
 *
 * Each fact has its source and the date in src/internal/providers/profiles.ts. Providers change: options that you give
 * override the profile.
 *
 * @since 0.1.0
 */
import type { Profile, Reading } from "./internal/providers/model.js"
import * as Profiles from "./internal/providers/profiles.js"
import type { Reply } from "./SmtpReply.js"
import { formatEnhancedCode } from "./SmtpReply.js"

export type { Limits, Profile, Reading } from "./internal/providers/model.js"

/**
 * Finds what a reply of the provider means. `undefined` if the profile does not know the reply.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { SmtpClient, SmtpProvider } from "effect-smtplib"
 *
 * const check = SmtpClient.SmtpClient.pipe(
 *   Effect.flatMap((client) => client.check),
 *   Effect.catchTag("AuthenticationError", ({ message, reply }) => {
 *     const reading = reply && SmtpProvider.explain(SmtpProvider.gmail, reply)
 *     return Effect.logError(reading?.sentence ?? message)
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category readings
 */
export const explain = (
  profile: Profile,
  reply: Pick<Reply, "code" | "enhancedCode" | "text">
): Reading | undefined => {
  const enhanced = reply.enhancedCode === undefined ? undefined : formatEnhancedCode(reply.enhancedCode)
  const said = reply.text.toLowerCase()
  return profile.readings.find(
    ({ code, enhancedCode, text = "" }) =>
      code === reply.code &&
      (enhancedCode === undefined || enhancedCode === enhanced) &&
      said.includes(text.toLowerCase())
  )
}

/**
 * Finds a profile by the name of its export in this module, in any letter case, as in `SMTP_PROVIDER`. Amazon SES is
 * `ses:eu-west-1`, with the region.
 *
 * @since 0.1.0
 * @category profiles
 */
export const fromName: (name: string) => Profile | undefined = Profiles.fromName

/**
 * Amazon SES in a region: `email-smtp.REGION.amazonaws.com`. Give the region's SMTP credentials, not the access key.
 *
 * @example
 * ```ts
 * import type { SmtpAuth } from "effect-smtplib"
 * import { NodeSmtp, SmtpProvider } from "effect-smtplib"
 *
 * declare const auth: SmtpAuth.Credentials
 *
 * const live = NodeSmtp.layerClient({ ...SmtpProvider.ses("eu-west-1"), auth })
 * ```
 *
 * @since 0.1.0
 * @category profiles
 */
export const ses = Profiles.ses

/**
 * Gmail and Google Workspace: `smtp.gmail.com`. Give an app password or an OAuth 2.0 token, and the full address as the user
 * name.
 *
 * @example
 * ```ts
 * import type { SmtpAuth } from "effect-smtplib"
 * import { SmtpClient, SmtpProvider } from "effect-smtplib"
 *
 * declare const auth: SmtpAuth.Credentials
 *
 * const client = SmtpClient.make({ ...SmtpProvider.gmail, auth })
 * ```
 *
 * @since 0.1.0
 * @category profiles
 */
export const gmail = Profiles.gmail

/**
 * Microsoft 365: `smtp.office365.com`, at most three sessions. Give an OAuth 2.0 token. SMTP AUTH is off in new tenants until an
 * administrator switches it on.
 *
 * @since 0.1.0
 * @category profiles
 */
export const microsoft365 = Profiles.microsoft365

/**
 * SendGrid: `smtp.sendgrid.net`. The user name is `apikey`, the password an API key.
 *
 * @since 0.1.0
 * @category profiles
 */
export const sendgrid = Profiles.sendgrid

/**
 * Mailgun in the US region: `smtp.mailgun.org`. Give the SMTP credentials of the sending domain.
 *
 * @since 0.1.0
 * @category profiles
 */
export const mailgun = Profiles.mailgun

/**
 * Mailgun in the EU region: `smtp.eu.mailgun.org`.
 *
 * @since 0.1.0
 * @category profiles
 */
export const mailgunEu = Profiles.mailgunEu

/**
 * Postmark, transactional stream: `smtp.postmarkapp.com`. The server's API token is both user name and password.
 *
 * @since 0.1.0
 * @category profiles
 */
export const postmark = Profiles.postmark

/**
 * Mailtrap, transactional stream: `live.smtp.mailtrap.io`. The user name is `api`, the password an API token.
 *
 * @since 0.1.0
 * @category profiles
 */
export const mailtrap = Profiles.mailtrap

/**
 * The sandbox of Mailtrap, which delivers nothing: `sandbox.smtp.mailtrap.io`. Give the sandbox's own credentials.
 *
 * @since 0.1.0
 * @category profiles
 */
export const mailtrapSandbox = Profiles.mailtrapSandbox

/**
 * Brevo: `smtp-relay.brevo.com`. The password is an SMTP key, not an API key.
 *
 * @since 0.1.0
 * @category profiles
 */
export const brevo = Profiles.brevo

/**
 * Resend: `smtp.resend.com`. The user name is `resend`, the password an API key.
 *
 * @since 0.1.0
 * @category profiles
 */
export const resend = Profiles.resend

/**
 * Fastmail: `smtp.fastmail.com`. Requires an app password.
 *
 * @since 0.1.0
 * @category profiles
 */
export const fastmail = Profiles.fastmail

/**
 * iCloud Mail: `smtp.mail.me.com`. Requires an app-specific password.
 *
 * @since 0.1.0
 * @category profiles
 */
export const icloud = Profiles.icloud

/**
 * Zoho Mail, personal accounts in the US: `smtp.zoho.com`. For others override `host`, e.g. with `smtppro.zoho.com` or
 * `smtp.zoho.eu`.
 *
 * @since 0.1.0
 * @category profiles
 */
export const zoho = Profiles.zoho

/**
 * Yandex Mail: `smtp.yandex.ru`.
 *
 * @since 0.1.0
 * @category profiles
 */
export const yandex = Profiles.yandex

/**
 * Proton Mail Bridge on this machine, port 1025; Bridge shows the port that it has chosen. Its certificate is self-signed:
 * export it, and give it as `tlsOptions.ca`.
 *
 * @since 0.1.0
 * @category profiles
 */
export const protonBridge = Profiles.protonBridge

/**
 * Mailpit on this machine, port 1025 without TLS. Delivers nothing.
 *
 * @since 0.1.0
 * @category profiles
 */
export const mailpit = Profiles.mailpit

/**
 * MailDev on this machine, port 1025 without TLS. Delivers nothing.
 *
 * @since 0.1.0
 * @category profiles
 */
export const maildev = Profiles.maildev
