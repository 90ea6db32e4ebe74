/**
 * `sendAll` of a client: a stream of submissions through its sessions. It is loaded only when it is used, since
 * effect/Stream is.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type * as Stream from "effect/Stream"
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { NotSentCause } from "../../SmtpClient.js"
import type { Keyed as KeyedReceipt } from "../../SmtpReceipt.js"
import type { Keyed } from "../../SmtpSubmission.js"
import { invalidArgument } from "../session/failure.js"
import * as Flows from "../sendAll/flow.js"
import type { Fork } from "../effect/runtime.js"
import * as Tracing from "../telemetry/tracing.js"
import type { RetrySettings } from "../options/client.js"
import * as PreparedSubmissions from "./preparedSubmission.js"
import type { ClientParts } from "./send.js"
import { ClientMessage, deliverTraced } from "./send.js"

/** What holds for every message of the stream. */
export interface Terms {
  /** How it is tried again; or what is wrong with the options, which is every message's own error. */
  readonly retry: RetrySettings | Invalid
  readonly timeoutMillis: number | undefined
  /** How many messages may be under way. */
  readonly messages: number
  /** How many octets may be under way before another message begins. */
  readonly octets: number
}

/** Delivers every submission of the stream; see `SmtpClient.Service.sendAll`. */
export const sendAll = <K, E, R, E2, R2>(
  parts: ClientParts,
  submissions: Stream.Stream<Keyed<K, E, R>, E2, R2>,
  terms: Terms
): Stream.Stream<KeyedReceipt<K, E, NotSentCause>, E2, R | R2> =>
  Flows.through<K, E, R, E2, R2, NotSentCause>(submissions, (runtime, scope) =>
    Effect.flatMap(Effect.clock, (clock) =>
      Effect.withFiberRuntime((fiber) =>
        Effect.succeed(
          carrier<E, R>(parts, terms, {
            clock,
            isTraced: Tracing.isTraced(fiber),
            fork: (step) => {
              Runtime.runFork(runtime)(step, { scope })
            },
            forkBeyond: Runtime.runFork(runtime)
          })
        )
      )
    )
  )

interface Surroundings<R> {
  readonly clock: Clock.Clock
  readonly isTraced: boolean
  /** Runs what needs a fiber, until the stream ends. */
  readonly fork: (step: Effect.Effect<void, never, R>) => void
  /** The same, beyond the end of the stream. */
  readonly forkBeyond: Fork
}

// Messages leave by many sessions.
const atOnce = (begin: () => void): void => begin()

const carrier = <E, R>(
  parts: ClientParts,
  { messages, octets, retry, timeoutMillis }: Terms,
  { clock, fork, forkBeyond, isTraced }: Surroundings<R>
): Flows.Carrier<E, R, NotSentCause> => ({
  mostMessages: messages,
  mostOctets: octets,
  together: atOnce,
  afterwards: atOnce,
  begin: (submission, flowing) => {
    if (isInvalid(retry)) {
      flowing.end(Exit.fail(invalidArgument(retry)))
      return undefined
    }
    const prepared = PreparedSubmissions.make(submission)
    if (isInvalid(prepared)) {
      flowing.end(Exit.fail(invalidArgument(prepared)))
      return undefined
    }
    const { content } = prepared
    const message = new ClientMessage(parts, prepared, { retry, timeoutMillis }, clock, forkBeyond)
    flowing.weigh(content._tag === "Bytes" ? content.facts.octets : Flows.expectedLength(submission))
    if (!isTraced) return message.begin(false, fork, flowing.end)
    flowing.fork(deliverTraced(message))
    return undefined
  }
})
