/** Reads a submission: all that a program can get wrong in it is found here, and what it gave is copied. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid, invalidChoice, invalidRecord, isInvalid } from "../../protocol/Invalid.js"
import type { RecipientParameters } from "../../protocol/Parameters.js"
import { mailParameters, recipientParameters } from "../../protocol/ParameterLine.js"
import type { Envelope, RecipientInput, RecipientsPolicy } from "../../protocol/Plan.js"
import * as Plans from "../../protocol/Plan.js"
import type { Keyed, Submission } from "../../SmtpSubmission.js"
import { describeCause } from "../effect/cause.js"
import { duration } from "../options/fields.js"

/** A submission that was read and copied. */
export interface Request {
  readonly envelope: Envelope
  readonly recipients: ReadonlyArray<string>
  readonly policy: RecipientsPolicy
  readonly maxSplits: number
  readonly inspectionLimit: number
  readonly timeout: Duration.Duration | undefined
  /** The limit of the whole send, where `timeout` is what is left of it. */
  readonly limitMillis?: number
}

const recipientOf = (
  recipient: string | RecipientInput,
  common: RecipientParameters,
  position: number
): RecipientInput | Invalid => {
  if (typeof recipient === "string") return { ...common, address: recipient }
  const field = `to[${position}]`
  if (!Predicate.isObject(recipient)) return invalid(field, "is neither an address nor an object with one")
  if (!Predicate.isString(recipient.address)) return invalid(`${field}.address`, "is no string")
  const own = recipientParameters.read(recipient, field)
  return isInvalid(own) ? own : { ...common, ...own, address: recipient.address }
}

const isSeveral = (to: Submission["to"]): to is ReadonlyArray<string | RecipientInput> => Array.isArray(to)

const severalOf = (to: Submission["to"]): ReadonlyArray<string | RecipientInput> =>
  isSeveral(to) ? to : Predicate.isNullable(to) ? [] : [to]

const recipientsOf = (
  to: Submission["to"],
  common: RecipientParameters
): ReadonlyArray<RecipientInput> | Invalid => {
  if (Predicate.isNullable(to)) return invalid("to", "is missing: name at least one recipient")
  const recipients: Array<RecipientInput> = []
  // By the iterator, which leaves out no hole.
  for (const given of severalOf(to)) {
    const recipient = recipientOf(given, common, recipients.length)
    if (isInvalid(recipient)) return recipient
    recipients.push(recipient)
  }
  return recipients
}

const addressOf = (recipient: unknown): string => {
  const address = Predicate.hasProperty(recipient, "address") ? recipient.address : recipient
  return typeof address === "string" ? address : ""
}

/** The recipients as the program wrote them, were it anything: what is no address is empty. */
export const addressesOf = <E, R>(submission: Submission<E, R> | undefined): ReadonlyArray<string> => {
  try {
    return Predicate.isObject(submission) ? Array.from(severalOf(submission.to), addressOf) : []
  } catch {
    return []
  }
}

/** An outcome for each recipient; one for nobody where none is known, since no receipt is empty. */
export const outcomesOf = <A>(
  recipients: ReadonlyArray<string>,
  outcomeOf: (recipient: string, position: number) => A
): NonEmptyReadonlyArray<A> => {
  const outcomes: [A, ...Array<A>] = [outcomeOf(recipients[0] ?? "", 0)]
  for (let position = 1; position < recipients.length; position++) {
    outcomes.push(outcomeOf(recipients[position] ?? "", position))
  }
  return outcomes
}

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
  const problem = duration.problemOf(timeout, "timeout")
  if (problem !== undefined) return problem
  const read = Duration.decode(timeout)
  return Duration.isFinite(read) ? read : undefined
}

/** The same for some of the recipients, by their places. */
export const restricted = (request: Request, positions: ReadonlyArray<number>): Request => {
  const { envelope, recipients } = request
  if (positions.length === recipients.length) return request
  const places = new Map(positions.map((position, place) => [position, place]))
  return {
    ...request,
    envelope: {
      ...envelope,
      recipients: envelope.recipients.flatMap((recipient) => {
        const left = recipient.positions.flatMap((position) => places.get(position) ?? [])
        return left.length === 0 ? [] : [{ ...recipient, positions: left }]
      })
    },
    recipients: positions.map((position) => recipients[position] ?? "")
  }
}

const readFields = <E, R>(submission: Submission<E, R>): Request | Invalid => {
  if (!Predicate.isObject(submission)) return invalid("submission", "is no object")
  const parameters =
    submission.parameters === undefined ? {} : mailParameters.read(submission.parameters, "parameters")
  if (isInvalid(parameters)) return parameters
  const common =
    submission.recipientParameters === undefined
      ? {}
      : recipientParameters.read(submission.recipientParameters, "recipientParameters")
  if (isInvalid(common)) return common
  if (!Predicate.isString(submission.from)) {
    return invalid("from", 'is no string; give "" for the null reverse-path')
  }
  const to = recipientsOf(submission.to, common)
  if (isInvalid(to)) return to
  const envelope = Plans.readEnvelope(submission.from, to, parameters)
  if (isInvalid(envelope)) return envelope
  const choice = firstInvalidChoice(submission)
  if (choice !== undefined) return choice
  const { advanced = {} } = submission
  const notAnObject = invalidRecord("advanced", advanced)
  if (notAnObject !== undefined) return notAnObject
  const maxSplits = wholeNumber(advanced.maxSplits, 100, "advanced.maxSplits")
  if (isInvalid(maxSplits)) return maxSplits
  const inspectionLimit = wholeNumber(advanced.inspectionLimit, 1_048_576, "advanced.inspectionLimit")
  if (isInvalid(inspectionLimit)) return inspectionLimit
  const timeout = readTimeout(submission.timeout)
  if (isInvalid(timeout)) return timeout
  const { onOutcome } = submission
  if (onOutcome !== undefined && !Predicate.isFunction(onOutcome)) {
    return invalid("onOutcome", "is no function")
  }
  return {
    envelope,
    recipients: to.map(({ address }) => address),
    policy: submission.recipients ?? "any",
    maxSplits,
    inspectionLimit,
    timeout
  }
}

/** Total: no type has seen what plain JavaScript hands over, and a property may throw when it is read. */
export const read = <E, R>(submission: Submission<E, R>): Request | Invalid => {
  try {
    return readFields(submission)
  } catch (defect) {
    return invalid("submission", `cannot be read: ${describeCause(defect)}`)
  }
}

/** The submission of an item of a stream, which plain JavaScript may have left without one. */
export const submissionOf = <K, E, R>(keyed: Keyed<K, E, R>): Keyed<K, E, R>["submission"] =>
  Predicate.isObject(keyed) ? keyed.submission : keyed

/** The key of an item of a stream; of what is no such item, the item itself. */
export const keyOf = <K, E, R>(keyed: Keyed<K, E, R>): K => (Predicate.isObject(keyed) ? keyed.key : keyed)
