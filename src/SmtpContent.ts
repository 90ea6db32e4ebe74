/**
 * The content of a message: bytes, a string, or a stream. It is the whole message, header section included, as it is to
 * arrive; MailMessage composes one. The encoding for the wire follows RFC 5321 sections 2.3.8 and 4.5.2.
 *
 * @since 0.1.0
 */
import type * as Stream from "effect/Stream"

/**
 * Anything that can be sent as a message. Strings are sent as UTF-8. The errors and requirements of a stream appear in
 * the type of the send; content of bytes or a string is `Content<never, never>`.
 *
 * A bare stream counts as `replayable(stream)`: it is run once for each attempt and for each group of recipients, and
 * must give the same bytes every time.
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
 * Bytes that were copied by `bytes`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Bytes {
  readonly _tag: "Bytes"
  readonly octets: Uint8Array
}

/**
 * A string that is sent as UTF-8.
 *
 * @since 0.1.0
 * @category models
 */
export interface Text {
  readonly _tag: "Text"
  readonly text: string
}

/**
 * A stream, and what is known of it.
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
 * What you know of a stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface StreamOptions {
  /**
   * Bytes that the stream gives, before any conversion of line ends; announced to servers that offer SIZE. A stream that
   * gives more or fewer is not sent, and fails with `ContentError`, reason `Changed`.
   */
  readonly size?: number | undefined
  /**
   * Promises that no byte is over 127, so that a server without 8BITMIME (RFC 6152) can be sent the stream without a look
   * at it first. A broken promise fails with `ContentError`, reason `NotAscii`, before the message is complete.
   */
  readonly content7bit?: boolean | undefined
}

/**
 * Copies the bytes now: later changes of the array do not reach the message. Bytes given directly to a send are copied
 * when the send is called.
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
 * Sends a string as UTF-8. A string with half of a surrogate pair fails with `InvalidArgument` when it is sent.
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
 * Sends a stream that gives the same bytes every time it is run, such as the content of a file. A later run that differs
 * from the first fails with `ContentError`, reason `Changed`, and delivers nothing.
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
 * Sends a stream that can be run only once, such as one over a socket or a Node readable. If a second run is needed (a
 * retry, a server that accepts fewer recipients at a time, the same value sent again), it fails with `ContentError`,
 * reason `UsedTwice`.
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
