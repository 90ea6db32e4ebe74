/** The rate limit, as the messages of a client ask for it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Invalid } from "../../protocol/Invalid.js"
import { invalid } from "../../protocol/Invalid.js"
import { ClientUnavailable, InvalidArgument } from "../../SmtpError.js"
import type { RateLimitError, Service } from "../../SmtpRateLimit.js"
import { makeMemory, SmtpRateLimit } from "../../SmtpRateLimit.js"
import type { AnyFiber } from "../effect/runtime.js"
import type { ClientSettings } from "../options/client.js"

/** Reserves a place within the limit in milliseconds, which may be infinite; succeeds with how long to wait for it. */
export type ReserveRate = (
  recipients: number,
  limitMillis: number
) => Effect.Effect<number, ClientUnavailable | InvalidArgument>

export interface RateLimit {
  /** Absent: no limit. */
  readonly reserve: ReserveRate | undefined
  /** Whether the program has said so. */
  readonly isChosen: boolean
}

export const make = ({
  rateLimit,
  rateLimitKey
}: ClientSettings): Effect.Effect<RateLimit, InvalidArgument> => {
  const of = (limit: Service): RateLimit => ({ reserve: reserveBy(limit, rateLimitKey), isChosen: true })
  if (rateLimit === "off") return Effect.succeed({ reserve: undefined, isChosen: true })
  if (rateLimit === undefined) {
    return Effect.map(
      Effect.serviceOption(SmtpRateLimit),
      Option.match({ onNone: () => ({ reserve: undefined, isChosen: false }), onSome: of })
    )
  }
  return "reserve" in rateLimit ? Effect.succeed(of(rateLimit)) : Effect.map(makeMemory(rateLimit), of)
}

/** A limit that is provided to the sender, and not to the client, would be ignored. */
export const ignoredBy = ({ isChosen }: RateLimit, sender: AnyFiber): Invalid | undefined =>
  !isChosen && sender.currentContext.unsafeMap.has(SmtpRateLimit.key)
    ? invalid(
        "rateLimit",
        "is not set, and an SmtpRateLimit is provided to the sender alone; provide it to the client, or set rateLimit"
      )
    : undefined

const reserveBy =
  (limit: Service, key: string): ReserveRate =>
  (recipients, limitMillis) =>
    limit
      .reserve({
        key,
        messages: 1,
        recipients,
        ...(limitMillis === Infinity ? {} : { within: Duration.millis(Math.max(0, limitMillis)) })
      })
      .pipe(Effect.mapBoth({ onFailure: unavailable, onSuccess: Duration.toMillis }))

// What never has room is no better later.
const unavailable = (error: RateLimitError): ClientUnavailable | InvalidArgument =>
  error.reason === "OverLimit"
    ? new InvalidArgument({
        field: "to",
        reason: `is more than the rate limit ever lets pass: ${error.message}`
      })
    : new ClientUnavailable({
        reason: error.reason === "Store" ? "RateLimitStore" : "RateLimit",
        cause: error
      })
