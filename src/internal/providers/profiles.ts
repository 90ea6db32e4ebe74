/**
 * The profiles. The source of each fact stands before it: a page of the provider unless another is named, as it was when
 * last looked up, on 2026-12-01. What no source backs is left out.
 */
import type { Profile } from "./model.js"

export const gmail = {
  // Host, ports, TLS: https://developers.google.com/workspace/gmail/imap/imap-smtp (2026-12-01)
  host: "smtp.gmail.com",
  port: 465,
  tls: "implicit",
  limits: {
    // The same page. Per day it has 500 messages for personal accounts, 2,000 for paid ones.
    recipientsPerMessage: 100
  },
  readings: [
    {
      // https://github.com/PHPMailer/PHPMailer/issues/1708 (2026-12-01)
      code: 534,
      enhancedCode: "5.7.9",
      text: "application-specific password",
      meaning: "AuthFailed",
      sentence:
        "Gmail requires an app password for this account: create one at https://myaccount.google.com/apppasswords and use it instead of the account's password."
    },
    {
      // https://github.com/PHPMailer/PHPMailer/issues/1708 (2026-12-01)
      code: 535,
      enhancedCode: "5.7.8",
      meaning: "AuthFailed",
      sentence:
        "Gmail refused the user name or the password. Use the full address, and an app password or an OAuth 2.0 token: the account's own password is not accepted."
    },
    {
      // https://emailwarmup.com/blog/email-errors/how-to-fix-550-5-4-5-gmail-daily-sending-limit-exceeded (2026-12-01)
      code: 550,
      enhancedCode: "5.4.5",
      meaning: "QuotaExceeded",
      sentence:
        "The Gmail account has reached its daily sending limit. Sending works again within 24 hours; send less, or use a provider for bulk mail."
    }
  ]
} satisfies Profile

export const microsoft365 = {
  // https://technet.microsoft.com/en-us/library/dn554323(v=exchg.150).aspx (2026-12-01)
  host: "smtp.office365.com",
  port: 587,
  tls: "starttls",
  // Connections, rate and recipients:
  // https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements (2026-12-01)
  maxSessions: 3,
  limits: { sessions: 3, messagesPerMinute: 30, recipientsPerDay: 10_000 },
  readings: [
    {
      // The same page.
      code: 432,
      enhancedCode: "4.3.2",
      text: "concurrent connection",
      meaning: "Throttled",
      sentence:
        "Microsoft 365 allows three connections for a mailbox at the same time. Set `maxSessions` to 3 or less, over all processes that use this mailbox."
    },
    {
      // https://github.com/simonrob/email-oauth2-proxy/issues/193 (2026-12-01)
      code: 535,
      enhancedCode: "5.7.139",
      text: "SmtpClientAuthentication is disabled",
      meaning: "AuthDisabled",
      sentence:
        "SMTP AUTH is switched off for the tenant or the mailbox. An administrator can switch it on: https://aka.ms/smtp_auth_disabled."
    },
    {
      // https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements (2026-12-01)
      code: 554,
      enhancedCode: "5.2.2",
      text: "mailbox full",
      meaning: "QuotaExceeded",
      sentence:
        "The mailbox that sends is full, since sent messages are kept in it. Empty its Sent Items folder, or set a retention policy."
    }
  ]
} satisfies Profile

export const ses = (region: string) =>
  ({
    // https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html (2026-12-01); the pattern of the names:
    // https://github.com/nodemailer/nodemailer/blob/master/lib/well-known/services.json (2026-12-01)
    host: `email-smtp.${region}.amazonaws.com`,
    port: 587,
    tls: "starttls",
    // https://docs.aws.amazon.com/ses/latest/dg/quotas.html (2026-12-01)
    limits: { recipientsPerMessage: 50, messageBytes: 40_000_000 },
    readings: [
      {
        // https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html (2026-12-01)
        code: 454,
        text: "Maximum sending rate exceeded",
        meaning: "Throttled",
        sentence:
          "Amazon SES accepts fewer messages a second from this account. Set `rateLimit` to the account's sending rate, or ask for a higher one."
      },
      {
        // The same page.
        code: 454,
        text: "Daily message quota exceeded",
        meaning: "QuotaExceeded",
        sentence:
          "The Amazon SES account has reached its quota for 24 hours. Wait, or ask for a higher quota. An account in the sandbox may send 200 messages a day."
      },
      {
        // https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html (2026-12-01)
        code: 554,
        text: "Email address is not verified",
        meaning: "SenderRefused",
        sentence:
          "Amazon SES has not verified the sender in this region, or, in the sandbox, a recipient. Verify the address or its domain in the region's console."
      }
    ]
  }) satisfies Profile

export const sendgrid = {
  // https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api (2026-12-01)
  host: "smtp.sendgrid.net",
  port: 587,
  tls: "starttls",
  limits: {},
  readings: [
    {
      // https://experienceleague.adobe.com/docs/commerce-knowledge-base/kb/troubleshooting/miscellaneous/emails-not-being-sent-sendgrid-credits-exceeded.html (2026-12-01)
      code: 451,
      text: "Maximum credits exceeded",
      meaning: "QuotaExceeded",
      sentence:
        "The SendGrid account has used the messages of its plan. Wait until they are renewed, or choose a larger plan."
    }
  ]
} satisfies Profile

export const mailgun = {
  // Host of the US region: https://github.com/nodemailer/nodemailer/blob/master/lib/well-known/services.json (2026-12-01);
  // ports and TLS: https://kb.umbhost.net/email-smtp/sending-email-via-mailgun-smtp/ (2026-12-01)
  host: "smtp.mailgun.org",
  port: 587,
  tls: "starttls",
  limits: {},
  readings: []
} satisfies Profile

export const mailgunEu = {
  ...mailgun,
  // https://smtptester.org/guides/mailgun-smtp-test/ (2026-12-01)
  host: "smtp.eu.mailgun.org"
} satisfies Profile

export const postmark = {
  // https://postmarkapp.com/support/article/811-what-are-the-smtp-details-api-tokens-i-should-be-using (2026-12-01)
  host: "smtp.postmarkapp.com",
  port: 587,
  tls: "starttls",
  limits: {},
  readings: []
} satisfies Profile

export const mailtrap = {
  // https://mailtrap.io/smtp-service/ (2026-12-01)
  host: "live.smtp.mailtrap.io",
  port: 587,
  tls: "starttls",
  limits: {},
  readings: []
} satisfies Profile

export const mailtrapSandbox = {
  // Everything: https://mailtrap.io/fake-smtp-server.md (2026-12-01)
  host: "sandbox.smtp.mailtrap.io",
  port: 2525,
  tls: "starttls",
  mechanisms: ["PLAIN", "LOGIN", "CRAM-MD5"],
  limits: {},
  readings: []
} satisfies Profile

export const brevo = {
  // Host: https://github.com/nodemailer/nodemailer/blob/master/lib/well-known/services.json (2026-12-01);
  // port and TLS: https://developers.brevo.com/docs/smtp-integration (2026-12-01). It documents no TLS for its other ports.
  host: "smtp-relay.brevo.com",
  port: 465,
  tls: "implicit",
  limits: {},
  readings: []
} satisfies Profile

export const resend = {
  // https://resend.com/docs/send-with-smtp (2026-12-01)
  host: "smtp.resend.com",
  port: 465,
  tls: "implicit",
  limits: {},
  readings: []
} satisfies Profile

export const fastmail = {
  // Everything: https://www.fastmail.com/help/technical/servernamesandports.html (2026-12-01)
  host: "smtp.fastmail.com",
  port: 465,
  tls: "implicit",
  mechanisms: ["PLAIN"],
  limits: {},
  readings: []
} satisfies Profile

export const icloud = {
  // https://developer.nylas.com/docs/cookbook/email/icloud-mail-api.md, which cites
  // https://support.apple.com/en-us/102525 (2026-12-01)
  host: "smtp.mail.me.com",
  port: 587,
  tls: "starttls",
  limits: {},
  readings: []
} satisfies Profile

export const zoho = {
  // https://wiki.stretchpowered.com/books/zoho/page/how-to-configure-email-server-with-zoho-smtp-settings (2026-12-01)
  host: "smtp.zoho.com",
  port: 465,
  tls: "implicit",
  limits: {},
  readings: []
} satisfies Profile

export const yandex = {
  // https://github.com/nodemailer/nodemailer/blob/master/lib/well-known/services.json (2026-12-01)
  host: "smtp.yandex.ru",
  port: 465,
  tls: "implicit",
  // https://yandex.com/support/mail/web/letter/create/send-many-letters.html (2026-12-01)
  limits: { recipientsPerMessage: 35, recipientsPerDay: 500 },
  readings: []
} satisfies Profile

export const protonBridge = {
  // https://xenocept.com/docs/email-setup/proton.html (2026-12-01)
  host: "127.0.0.1",
  port: 1025,
  tls: "starttls",
  limits: {},
  readings: []
} satisfies Profile

export const mailpit = {
  // https://github.com/axllent/mailpit, as in https://github.com/naivesystems/mailpit (2026-12-01)
  host: "127.0.0.1",
  port: 1025,
  tls: "none",
  limits: {},
  readings: []
} satisfies Profile

export const maildev = {
  // https://github.com/maildev/maildev/blob/master/README.md (2026-12-01)
  host: "127.0.0.1",
  port: 1025,
  tls: "none",
  limits: {},
  readings: []
} satisfies Profile

/** By the names that configuration has for them. */
const profiles: Readonly<Record<string, Profile>> = {
  gmail,
  microsoft365,
  sendgrid,
  mailgun,
  mailgunEu,
  postmark,
  mailtrap,
  mailtrapSandbox,
  brevo,
  resend,
  fastmail,
  icloud,
  zoho,
  yandex,
  protonBridge,
  mailpit,
  maildev
}

const byLowerCase = new Map(Object.entries(profiles).map(([name, profile]) => [name.toLowerCase(), profile]))

/** Every name, for errors. */
export const names: ReadonlyArray<string> = [...Object.keys(profiles), "ses:REGION"]

export const fromName = (name: string): Profile | undefined => {
  const [, region] = /^ses:([a-z0-9-]+)$/i.exec(name) ?? []
  return region === undefined ? byLowerCase.get(name.toLowerCase()) : ses(region.toLowerCase())
}
