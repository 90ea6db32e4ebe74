/**
 * Reads a submission: all that a program can get wrong in it is found here, and what it gave is copied.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Invalid } from "../protocol/Invalid.js"
import { invalid, invalidChoice, isInvalid } from "../protocol/Invalid.js"
import type { MailParameters, RecipientParameters } from "../protocol/Parameters.js"
import { parseMail, parseRecipient } from "../protocol/Parameters.js"
import type { Envelope, RecipientInput, RecipientsPolicy } from "../protocol/Plan.js"
import * as Plans from "../protocol/Plan.js"
import type { Submission } from "../SmtpSubmission.js"

/**
 * A submission that was read and copied.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly envelope: Envelope
  readonly recipients: ReadonlyArray<string>
  readonly policy: RecipientsPolicy
  readonly maxSplits: number
  readonly inspectionLimit: number
  readonly timeout: Duration.Duration | undefined
}

const mailParametersOf = (parameters: Submission["parameters"]): MailParameters | Invalid =>
  parameters === undefined ? {} : isList(parameters) ? parseMail(parameters, "parameters") : { ...parameters }

const noParameters: RecipientParameters = {}

const recipientOf = (recipient: string | RecipientInput, common: RecipientParameters): RecipientInput => {
  if (typeof recipient !== "string") return { ...common, ...recipient }
  return common === noParameters ? { address: recipient } : { ...common, address: recipient }
}

const recipientParametersOf = (
  parameters: Submission["recipientParameters"]
): RecipientParameters | Invalid =>
  parameters === undefined
    ? noParameters
    : isList(parameters)
      ? parseRecipient(parameters, "recipientParameters")
      : { ...parameters }

const isList = (value: object): value is ReadonlyArray<string> => Array.isArray(value)

const isSeveral = (to: Submission["to"]): to is ReadonlyArray<string | RecipientInput> => Array.isArray(to)

/**
 * The recipients as the program wrote them.
 *
 * @since 0.1.0
 * @category accessors
 */
export const addressesOf = <E, R>({ to }: Submission<E, R>): ReadonlyArray<string> =>
  (isSeveral(to) ? to : [to]).map((recipient) =>
    typeof recipient === "string" ? recipient : recipient.address
  )

const wholeNumber = (value: number | undefined, fallback: number, field: string): number | Invalid => {
  if (value === undefined) return fallback
  return Number.isInteger(value) && value >= 0 ? value : invalid(field, "is not a whole number from zero")
}

const firstInvalidChoice = ({
  lineEnds,
  longLines,
  recipients
}: Submission<unknown, unknown>): Invalid | undefined =>
  invalidChoice("recipients", recipients, ["any", "all"]) ??
  invalidChoice("lineEnds", lineEnds, ["convert", "refuse"]) ??
  invalidChoice("longLines", longLines, ["send", "refuse"])

const readTimeout = (
  timeout: Duration.DurationInput | undefined
): Duration.Duration | undefined | Invalid => {
  if (timeout === undefined) return undefined
  const read = Duration.decodeUnknown(timeout)
  if (Option.isNone(read)) return invalid("timeout", `is not a duration, such as "30 seconds"`)
  return Duration.isFinite(read.value) ? read.value : undefined
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const read = <E, R>(submission: Submission<E, R>): Request | Invalid => {
  const parameters = mailParametersOf(submission.parameters)
  if (isInvalid(parameters)) return parameters
  const common = recipientParametersOf(submission.recipientParameters)
  if (isInvalid(common)) return common
  const to = (isSeveral(submission.to) ? submission.to : [submission.to]).map((recipient) =>
    recipientOf(recipient, common)
  )
  const envelope = Plans.readEnvelope(submission.from, to, parameters)
  if (isInvalid(envelope)) return envelope
  const choice = firstInvalidChoice(submission)
  if (choice !== undefined) return choice
  const maxSplits = wholeNumber(submission.maxSplits, 100, "maxSplits")
  if (isInvalid(maxSplits)) return maxSplits
  const inspectionLimit = wholeNumber(submission.inspectionLimit, 1_048_576, "inspectionLimit")
  if (isInvalid(inspectionLimit)) return inspectionLimit
  const timeout = readTimeout(submission.timeout)
  if (isInvalid(timeout)) return timeout
  return {
    envelope,
    recipients: to.map(({ address }) => address),
    policy: submission.recipients ?? "any",
    maxSplits,
    inspectionLimit,
    timeout
  }
}
