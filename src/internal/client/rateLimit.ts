/** The rate limit, as the messages of a client ask for it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { ClientUnavailable, InvalidArgument } from "../../SmtpError.js"
import type { RateLimitError, Service } from "../../SmtpRateLimit.js"

/** Reserves a place within the limit in milliseconds, which may be infinite; succeeds with how long to wait for it. */
export type ReserveRate = (
  recipients: number,
  limitMillis: number
) => Effect.Effect<number, ClientUnavailable | InvalidArgument>

export const make =
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
