/**
 * What can be sent as a message: octets, a string, or a stream. The content is a whole message, header section
 * included, in the octets that are to arrive; composing one is the business of MailMessage. How content is
 * encoded for the wire follows RFC 5321 sections 2.3.8 and 4.5.2.
 *
 * @since 0.1.0
 */
import type * as Stream from "effect/Stream"

/**
 * Anything that can be sent. Strings are sent as UTF-8. What a stream may fail with and needs stays in the type of
 * the send: content of octets or a string is `Content<never, never>`.
 *
 * A bare stream is as good as `replayable(stream)`: it is run once for each attempt and for each group of
 * recipients, and must give the same octets every time.
 *
 * @example
 * ```ts
 * import type * as SmtpContent from "effect-smtplib/SmtpContent"
 *
 * const content: SmtpContent.Content = "Subject: Hello\r\n\r\nHello, Ann.\r\n"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Content<E = never, R = never> =
  Uint8Array | string | Stream.Stream<Uint8Array, E, R> | Bytes | Text | Streamed<E, R>

/**
 * Octets that were copied when they were given.
 *
 * @since 0.1.0
 * @category models
 */
export interface Bytes {
  readonly _tag: "Bytes"
  readonly octets: Uint8Array
}

/**
 * A string, to be sent as UTF-8.
 *
 * @since 0.1.0
 * @category models
 */
export interface Text {
  readonly _tag: "Text"
  readonly text: string
}

/**
 * A stream, and what its giver knows of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Streamed<E, R> {
  readonly _tag: "Streamed"
  readonly stream: Stream.Stream<Uint8Array, E, R>
  readonly size: number | undefined
  readonly content7bit: boolean
  readonly replayable: boolean
  /** Claims a run of the stream; `false` if it may not be run any more. */
  readonly claim: () => boolean
}

/**
 * What the giver of a stream knows of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface StreamOptions {
  /**
   * How many octets the stream gives, before any change of line ends. It is announced to servers that offer SIZE. A
   * stream that gives more or fewer is not sent: it ends in `ContentError` with reason `Changed`.
   */
  readonly size?: number | undefined
  /**
   * The promise that no octet is over 127, so that the message can go to a server without 8BITMIME (RFC 6152) unseen.
   * A broken promise ends in `ContentError` with reason `NotAscii`, before the message is complete.
   */
  readonly content7bit?: boolean | undefined
}

/**
 * A copy of the octets, taken now: later changes of the array do not reach the message. Octets given directly to a
 * send are copied when the send is called.
 *
 * @example
 * ```ts
 * import * as SmtpContent from "effect-smtplib/SmtpContent"
 *
 * const buffer = new TextEncoder().encode("Subject: Hello\r\n\r\nHello, Ann.\r\n")
 * const content = SmtpContent.bytes(buffer)
 * buffer.fill(0) // the content stays as it was
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const bytes = (octets: Uint8Array): Bytes => ({ _tag: "Bytes", octets: new Uint8Array(octets) })

/**
 * A string, sent as UTF-8. A string that UTF-8 cannot express, because it holds half of a surrogate pair, is
 * refused with `InvalidArgument` when it is sent.
 *
 * @example
 * ```ts
 * import * as SmtpContent from "effect-smtplib/SmtpContent"
 *
 * const content = SmtpContent.string("Subject: Hello\r\n\r\nHello, Ann.\r\n")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const string = (text: string): Text => ({ _tag: "Text", text })

/**
 * A stream that gives the same octets every time it is run, such as the content of a file, with what is known of
 * it. A later run that differs from the first ends in `ContentError` with reason `Changed`, and delivers nothing.
 *
 * @example
 * ```ts
 * import * as SmtpContent from "effect-smtplib/SmtpContent"
 * import * as Stream from "effect/Stream"
 *
 * const message = new TextEncoder().encode("Subject: Hello\r\n\r\nHello, Ann.\r\n")
 * const content = SmtpContent.replayable(Stream.make(message), {
 *   size: message.length,
 *   content7bit: true
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const replayable = <E = never, R = never>(
  stream: Stream.Stream<Uint8Array, E, R>,
  options: StreamOptions = {}
): Streamed<E, R> => ({
  _tag: "Streamed",
  stream,
  size: options.size,
  content7bit: options.content7bit ?? false,
  replayable: true,
  claim: () => true
})

/**
 * A stream that can be run only once, such as one over a socket or a Node readable; a second run of those gives no
 * octets and no error. Where a second run is needed, by a retry or because the server takes fewer recipients at a
 * time, or where the same value is sent again, it ends in `ContentError` with reason `UsedTwice`.
 *
 * @example
 * ```ts
 * import * as SmtpContent from "effect-smtplib/SmtpContent"
 * import * as Stream from "effect/Stream"
 *
 * const upload = new Blob(["Subject: Hello\r\n\r\nHello, Ann.\r\n"]).stream()
 * const content = SmtpContent.once(
 *   Stream.fromReadableStream(
 *     () => upload,
 *     (cause) => new Error("The upload broke off", { cause })
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const once = <E = never, R = never>(
  stream: Stream.Stream<Uint8Array, E, R>,
  options: StreamOptions = {}
): Streamed<E, R> => {
  let used = false
  const claim = (): boolean => {
    if (used) return false
    used = true
    return true
  }
  return { ...replayable(stream, options), replayable: false, claim }
}
