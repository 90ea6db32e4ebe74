/**
 * What raw messages and signatures have in common: they look at content of any kind before it is sent, and hold its
 * header section in memory.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as Encoding from "../../protocol/Content.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import { replayable } from "../../SmtpContent.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"
import { isOctets, notContent } from "../content/model.js"

const encode = (text: string): Effect.Effect<Uint8Array, InvalidArgument> =>
  /\p{Surrogate}/u.test(text)
    ? Effect.fail(
        new InvalidArgument({
          field: "content",
          reason: "holds half of a surrogate pair, which UTF-8 cannot express; give bytes instead"
        })
      )
    : Effect.succeed(new TextEncoder().encode(text))

const isStream = (content: object): boolean => Predicate.hasProperty(content, Stream.StreamTypeId)

/** The bytes of content in memory, or the stream of any other. */
export const sourceOf = <E, R>(
  content: Content<E, R>
): Effect.Effect<Uint8Array | Streamed<E, R>, InvalidArgument> => {
  if (typeof content === "string") return encode(content)
  if (isOctets(content)) return Effect.succeed(content)
  if (!Predicate.isObject(content)) return Effect.fail(notContent())
  if (!("_tag" in content))
    return isStream(content) ? Effect.succeed(replayable(content)) : Effect.fail(notContent())
  if (content._tag === "Bytes") return Effect.succeed(content.octets)
  if (content._tag === "Text") return encode(content.text)
  return isStream(content.stream) ? Effect.succeed(content) : Effect.fail(notContent())
}

/** The stream of content that may be run only once, unless it has been run. */
export const claimed = <E, R>({
  claim,
  stream
}: Streamed<E, R>): Stream.Stream<Uint8Array, E | ContentError, R> =>
  Stream.suspend((): Stream.Stream<Uint8Array, E | ContentError, R> => {
    if (claim()) return stream
    const detail = "it is a stream that can be run only once, and a second run was needed"
    return Stream.fail(new ContentError({ reason: "UsedTwice", detail }))
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
