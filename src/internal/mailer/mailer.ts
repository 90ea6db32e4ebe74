/** The service behind Mailer: composes a message, and hands it to the client or to what takes its place. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as SmtpClient from "../../SmtpClient.js"
import type { ContentError } from "../../SmtpError.js"
import { InvalidArgument } from "../../SmtpError.js"
import { make as makeReceipt, notSent } from "../../SmtpReceipt.js"
import { describeCause } from "../effect/cause.js"
import type { Submission } from "../../SmtpSubmission.js"
import type { AnyAttachment, PartContext, PartError } from "../mail/model.js"
import { isObject } from "../mail/refuse.js"
import { failureOf } from "../session/receipt.js"
import { compose, detailsOf, intended, nothingKnown, skipped } from "./compose.js"
import type {
  Body,
  Composed,
  Details,
  Keyed,
  KeyedResult,
  Receipt,
  Result,
  SendOptions,
  Service,
  Skipped
} from "./model.js"
import { screen } from "./recipients.js"
import type { Settings } from "./settings.js"
import { give } from "./sink.js"

/** A hook of the program. A defect of it is logged, and affects no message. */
const guarded = (name: string, hook: () => Effect.Effect<void> | undefined): Effect.Effect<void> =>
  Effect.suspend(() => hook() ?? Effect.void).pipe(
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause)
        ? Effect.void
        : Effect.logError(
            `The hook ${name} of the mailer ended in a defect: ${describeCause(Cause.squash(cause))}`
          )
    )
  )

const receiptOf = (receipt: SmtpClient.Receipt, details: Details): Receipt => ({
  _tag: "Receipt",
  ...receipt,
  envelope: details.envelope,
  header: details.header,
  suppressed: details.suppressed,
  redirectedFrom: details.redirectedFrom
})

/** A batch knows no recipient of a message that could not be composed. */
const named = (receipt: SmtpClient.Receipt, { envelope: { to } }: Details): SmtpClient.Receipt => {
  const [only] = receipt.notSent
  const [first, ...others] = to
  if (only?.recipient !== "" || first === undefined) return receipt
  const outcome = (recipient: string) => notSent(recipient, only.cause)
  return makeReceipt([outcome(first), ...others.map(outcome)])
}

const describeResult = (result: Result): string => {
  const { envelope, redirectedFrom, suppressed } = result
  const parts = [
    redirectedFrom.length === 0
      ? ""
      : `redirected from ${redirectedFrom.join(", ")} to ${envelope.to.join(", ")}`,
    suppressed.length === 0 ? "" : `not sent to ${suppressed.map(({ recipient }) => recipient).join(", ")}`,
    result._tag === "Skipped" && result.path !== undefined ? `written to ${result.path}` : "",
    result._tag === "Skipped" && result.reason === "DryRun"
      ? `not sent to ${envelope.to.join(", ")}: dry run`
      : ""
  ]
  const message = result.header === undefined ? "A message" : `Message ${result.header.messageId}`
  return `${message}: ${parts.filter((part) => part !== "").join("; ") || "sent"}`
}

/** Carries a result past the client in a batch: the message is not for it. */
class NotForTheClient {
  readonly _tag = "NotForTheClient"
  constructor(readonly result: Skipped) {}
}

/** The key of a message in a batch, and what is known of it once it is composed. */
class Entry<K> {
  details: Details = nothingKnown
  constructor(readonly key: K) {}
}

const conclude = <A extends Result>(result: A, { after, isSafe }: Settings): Effect.Effect<A> =>
  guarded("after", () => after?.(result)).pipe(
    Effect.zipRight(isSafe ? Effect.logInfo(describeResult(result)) : Effect.void),
    Effect.as(result)
  )

/** Gives the message to what takes the place of the client, if anything does. */
const skip = <E, R>(
  composed: Composed<E, R> | Skipped,
  settings: Settings
): Effect.Effect<Composed<E, R> | Skipped, InvalidArgument | ContentError | E, R> => {
  if (composed._tag === "Skipped") return Effect.succeed(composed)
  const { sink } = settings
  const before = guarded("before", () => settings.before?.(composed))
  return sink === undefined
    ? Effect.as(before, composed)
    : Effect.zipRight(before, give(sink, composed.submission.content, composed))
}

/** Plain JavaScript and rows of a queue hold any value, whatever the types say. */
const recipientsIn = <E, R>({ to }: Submission<E, R>, settings: Settings) =>
  Effect.suspend(() => {
    const all: ReadonlyArray<unknown> = Array.isArray(to) ? to : [to]
    const isReadable = all.every((one) => typeof one === "string" || (isObject(one) && one !== null))
    return isReadable
      ? screen(to, settings)
      : Effect.fail(new InvalidArgument({ field: "to", reason: "is no recipient, and no list of them" }))
  })

type SendAll = (client: SmtpClient.Service, settings: Settings) => Service["sendAll"]

const sendAllThrough: SendAll =
  (client, settings) =>
  <K, Text extends Body, Html extends Body, A extends AnyAttachment, E2, R2>(
    messages: Stream.Stream<Keyed<K, Text, Html, A>, E2, R2>,
    options?: SmtpClient.SendAllOptions
  ) => {
    type E = PartError<Text | Html | A>
    type R = PartContext<Text | Html | A>
    const entries = Stream.map(messages, ({ key, message, options = {} }) => {
      const entry = new Entry(key)
      const submission = compose(message, options, settings).pipe(
        Effect.tapError(() =>
          Effect.map(intended(message, options, settings), (details) => {
            entry.details = details
          })
        ),
        Effect.flatMap((composed) => skip(composed, settings)),
        Effect.flatMap((ready): Effect.Effect<Submission<E | ContentError, R>, NotForTheClient> => {
          if (ready._tag === "Skipped") return Effect.fail(new NotForTheClient(ready))
          entry.details = ready
          return Effect.succeed(ready.submission)
        })
      )
      return { key: entry, submission }
    })
    const sent = client.sendAll<Entry<K>, E | ContentError | InvalidArgument | NotForTheClient, R, E2, R2>(
      entries,
      { ...options, retry: options?.retry ?? settings.retry }
    )
    return Stream.unwrap(sent).pipe(
      Stream.mapEffect(({ error, key: { details, key }, receipt }): Effect.Effect<KeyedResult<K, E>> =>
        error instanceof NotForTheClient
          ? Effect.map(conclude(error.result, settings), (result) => ({ key, result, error: undefined }))
          : Effect.map(conclude(receiptOf(named(receipt, details), details), settings), (result) => ({
              key,
              result,
              error
            }))
      )
    )
  }

export const makeService = (client: SmtpClient.Service, settings: Settings): Service => {
  const transmit = <E, R>(
    composed: Composed<E, R> | Skipped,
    { retry = settings.retry }: Pick<SendOptions, "retry">
  ): Effect.Effect<Result, InvalidArgument | ContentError | E, R> =>
    Effect.flatMap(
      skip(composed, settings),
      (ready): Effect.Effect<Result, InvalidArgument | ContentError | E, R> =>
        ready._tag === "Skipped"
          ? conclude(ready, settings)
          : Effect.flatMap(client.deliver(ready.submission, { retry }), (receipt) =>
              conclude(receiptOf(receipt, ready), settings)
            )
    )

  const deliver: Service["deliver"] = (message, { retry, ...options } = {}) =>
    Effect.flatMap(compose(message, options, settings), (composed) => transmit(composed, { retry }))

  return {
    deliver,
    send: (message, options = {}) =>
      Effect.flatMap(deliver(message, options), (result) => {
        const policy = options.recipients ?? settings.submission.recipients ?? "any"
        const error =
          result._tag === "Skipped"
            ? undefined
            : failureOf<SmtpClient.NotSentCause>(result.envelope.from, result, policy)
        return error === undefined ? Effect.succeed(result) : Effect.fail(error)
      }),
    sendAll: sendAllThrough(client, settings),
    compose: (message, options = {}) => compose(message, options, settings),
    submit: (submission, options = {}) =>
      Effect.flatMap(recipientsIn(submission, settings), (screened) => {
        const details = detailsOf(submission.from, screened, undefined)
        return transmit(
          screened.to.length === 0
            ? skipped("Suppressed", details)
            : { _tag: "Composed", submission: { ...submission, to: screened.to }, ...details },
          options
        )
      })
  }
}
