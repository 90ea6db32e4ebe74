/**
 * What raw messages and signatures have in common: they look at content of any kind before it is sent, and hold its
 * header section in memory.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Encoding from "../../protocol/Content.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import type { InvalidArgument } from "../../SmtpError.js"
import { ContentError } from "../../SmtpError.js"
import { halfSurrogate, notContent, usedTwice, valueOf } from "./model.js"

/** The bytes of content in memory, or the stream of any other. */
export const sourceOf = <E, R>(
  content: Content<E, R>
): Effect.Effect<Uint8Array | Streamed<E, R>, InvalidArgument> => {
  const value = valueOf(content)
  if (value === undefined) return Effect.fail(notContent())
  if (typeof value !== "string") return Effect.succeed(value)
  return /\p{Surrogate}/u.test(value)
    ? Effect.fail(halfSurrogate())
    : Effect.succeed(new TextEncoder().encode(value))
}

/** The stream of content that may be run only once, unless it has been run. */
export const claimed = <E, R>({
  claim,
  stream
}: Streamed<E, R>): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend((): Stream.Stream<Uint8Array, E | ContentError, R> => {
    return claim() ? stream : Stream.fail(usedTwice())
  })

export const headerLimit = 1_048_576

export const headerTooLong = (): ContentError =>
  new ContentError({ reason: "TooLarge", detail: `its header section has more than ${headerLimit} bytes` })

/** For an encoder that shows the message as servers get it. What may not be sent is left to the send. */
export const lookOptions = (lineEnds: Encoding.EncodingOptions["lineEnds"]): Encoding.EncodingOptions => ({
  ...Encoding.defaultOptions,
  lineEnds,
  allowNul: true
})
