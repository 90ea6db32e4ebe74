/** Who gets a message: the recipients of the program, after redirection, allow-list and suppression list. */
import * as Effect from "effect/Effect"
import { isInvalid } from "../../protocol/Invalid.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import type { Recipient, Submission } from "../../SmtpSubmission.js"
import type { ComposeInput, HeaderField, HeadersInput } from "../mail/model.js"
import { accept, refusal } from "../mail/refuse.js"
import type { Details, Suppressed, Suppression } from "./model.js"
import type { Settings } from "./settings.js"

type Recipients = ReadonlyArray<string | Recipient>

export const addressOf = (recipient: string | Recipient): string =>
  typeof recipient === "string" ? recipient : recipient.address

const isList = (to: Submission["to"]): to is Recipients => Array.isArray(to)

export const recipientsOf = (to: Submission["to"]): Recipients => (isList(to) ? to : [to])

/** Recipients after all policies, and what became of the others. */
export interface Screened extends Pick<Details, "suppressed" | "redirectedFrom"> {
  readonly to: Recipients
}

const identityOf = (address: string): string => {
  const mailbox = Mailboxes.parseForwardPath(address, "to")
  return isInvalid(mailbox) ? address : Mailboxes.identity(mailbox)
}

/** An address, or a domain with an @ before it. Throws if it is neither. */
export const allowance = (entry: string, field: string): ((address: string) => boolean) => {
  if (typeof entry !== "string") throw refusal(field, "is not a string")
  const isDomain = entry.startsWith("@")
  const wanted = accept(Mailboxes.parse(isDomain ? `postmaster${entry}` : entry, field))
  if (!isDomain) return (address) => identityOf(address) === Mailboxes.identity(wanted)
  const domain = wanted.asciiDomain.toLowerCase()
  return (address) => {
    const mailbox = Mailboxes.parseForwardPath(address, "to")
    return !isInvalid(mailbox) && mailbox.asciiDomain.toLowerCase() === domain
  }
}

// Lookups of one message that may run at once.
const lookups = 10

const suppressedOf = (
  to: Recipients,
  suppression: Suppression | undefined
): Effect.Effect<ReadonlySet<string | Recipient>> =>
  suppression === undefined
    ? Effect.succeed(new Set())
    : Effect.map(
        Effect.filter(to, (recipient) => suppression.isSuppressed(addressOf(recipient)), {
          concurrency: lookups
        }),
        (found) => new Set(found)
      )

/** Redirection, then the allow-list, then the suppression list. Invalid recipients are left to whoever sends. */
export const screen = (to: Submission["to"], settings: Settings): Effect.Effect<Screened> => {
  const { isAllowed, redirectTo, suppression } = settings
  const given = recipientsOf(to)
  const redirected: Recipients = redirectTo ?? given
  const allowed = redirected.filter((recipient) => isAllowed(addressOf(recipient)))
  const notAllowed = redirected.filter((recipient) => !allowed.includes(recipient))
  const because =
    (reason: Suppressed["reason"]) =>
    (recipient: string | Recipient): Suppressed => ({ recipient: addressOf(recipient), reason })
  return Effect.map(suppressedOf(allowed, suppression), (suppressed) => ({
    to: allowed.filter((recipient) => !suppressed.has(recipient)),
    suppressed: [...notAllowed.map(because("NotAllowed")), ...[...suppressed].map(because("Suppressed"))],
    redirectedFrom: redirectTo === undefined ? [] : given.map(addressOf)
  }))
}

const isFields = (headers: HeadersInput): headers is ReadonlyArray<HeaderField> => Array.isArray(headers)

export const fieldsOf = (headers: HeadersInput | undefined): ReadonlyArray<HeaderField> => {
  if (headers === undefined) return []
  if (isFields(headers)) return headers
  return Object.entries(headers).flatMap(([name, values]) =>
    (typeof values === "string" ? [values] : values).map((value) => ({ name, value }))
  )
}

// More addresses would push the subject itself out of sight.
const shown = 3

const inSubject = (addresses: ReadonlyArray<string>): string => {
  const more = addresses.length - shown
  return `[${addresses.slice(0, shown).join(", ")}${more > 0 ? ` and ${more} more` : ""}]`
}

/** The message to the recipients it is redirected to: no reply to it can reach the original ones in To and Cc. */
export const redirectedMessage = <I extends Omit<ComposeInput, "attachments">>(
  message: I,
  original: ReadonlyArray<string>,
  redirectTo: ReadonlyArray<string>
): I => {
  const { resent, subject } = message
  const replaced = { to: redirectTo, cc: undefined, bcc: undefined }
  return {
    ...message,
    ...replaced,
    ...(resent === undefined ? {} : { resent: { ...resent, ...replaced } }),
    subject: [inSubject(original), ...(subject === undefined ? [] : [subject])].join(" "),
    headers: [...fieldsOf(message.headers), { name: "X-Redirected-From", value: original.join(", ") }]
  }
}
