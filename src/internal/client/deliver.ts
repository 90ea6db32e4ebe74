/** Reads submissions, and delivers them in the fiber of the caller. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Receipt } from "../../SmtpClient.js"
import type { Content } from "../../SmtpContent.js"
import type { InvalidArgument } from "../../SmtpError.js"
import type { SetupError } from "../../SmtpSession.js"
import type { Submission } from "../../SmtpSubmission.js"
import { isStreamed } from "../content/model.js"
import { inCallersFiber } from "../effect/callersFiber.js"
import type { AnyFiber, Fork } from "../effect/runtime.js"
import { clockOf, withFork } from "../effect/runtime.js"
import type { RelaySettings, RetrySettings } from "../options/client.js"
import type { Preparation } from "../session/deliver.js"
import { prepare as prepareContent } from "../session/deliver.js"
import { invalidArgument } from "../session/failure.js"
import type { Request } from "../session/request.js"
import { read as readRequest } from "../session/request.js"
import type { OpenSession as Session } from "../session/session.js"
import * as Tracing from "../telemetry/tracing.js"
import type { SessionQueue } from "./queue.js"
import type { RateLimit } from "./rateLimit.js"
import { ignoredBy } from "./rateLimit.js"
import type { Relay } from "./relays.js"
import { ClientMessage } from "./send.js"

/** What the messages of a client share. */
export interface ClientParts {
  readonly queue: SessionQueue<Session, SetupError>
  readonly relays: ReadonlyMap<Relay<Session, SetupError>, RelaySettings>
  readonly rateLimit: RateLimit
  /** Hooks that are running: closing the client waits for them. */
  readonly hooks: Set<AnyFiber>
}

export interface SendSettings {
  readonly retry: RetrySettings
  readonly timeoutMillis: number | undefined
}

/** Around a message. */
export interface SendContext {
  readonly clock: Clock.Clock
  /** Runs what goes on when the caller has gone. */
  readonly fork: Fork
  /** The fiber that traces the message, if one does. */
  readonly tracedBy: AnyFiber | undefined
}

/** A submission that was read and copied, so that every attempt sends the same. */
export interface PreparedSubmission<E, R> {
  readonly request: Request
  readonly onOutcome: Submission["onOutcome"]
  readonly content: Preparation<E, R>
  /** Whether the content can be run no more. */
  readonly isUsedUp: () => boolean
}

export const prepare = <E, R>(submission: Submission<E, R>): PreparedSubmission<E, R> | Invalid => {
  const request = readRequest(submission)
  if (isInvalid(request)) return request
  const { content } = submission
  let isUsedUp = false
  const watched: Content<E, R> =
    !isStreamed(content) || content.replayable
      ? content
      : {
          ...content,
          claim: () => {
            isUsedUp = true
            return content.claim()
          }
        }
  return {
    request,
    onOutcome: submission.onOutcome,
    // A session knows how long a stream may pause.
    content: prepareContent(Duration.infinity, request, { ...submission, content: watched }),
    isUsedUp: () => isUsedUp
  }
}

/** What becomes of an interrupted message is told to its hook. */
export const deliver = <E, R, E2 = never>(
  parts: ClientParts,
  submission: PreparedSubmission<E, R>,
  settings: SendSettings,
  conclude?: (receipt: Receipt) => Effect.Effect<Receipt, E2>
): Effect.Effect<Receipt, InvalidArgument | E | E2, R> =>
  withFork((fork) =>
    Tracing.ofSend("SmtpClient send", nowhere, submission.request.recipients.length, (fiber) => {
      const ignored = ignoredBy(parts.rateLimit, fiber)
      if (ignored !== undefined) return Effect.fail(invalidArgument(ignored))
      const tracedBy = Tracing.isTraced(fiber) ? fiber : undefined
      const context: SendContext = { clock: clockOf(fiber), fork, tracedBy }
      const message = new ClientMessage(parts, submission, settings, context)
      const delivered = inCallersFiber<Receipt, InvalidArgument | E, R>((run, done) =>
        message.begin(run, done)
      )
      return conclude === undefined ? delivered : Effect.flatMap(delivered, conclude)
    })
  )

// Which relay an attempt goes to is said by its own span.
const nowhere = (): Tracing.Attributes => ({})
