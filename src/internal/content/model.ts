/**
 * What content in memory and content that streams have in common: the options, the sink, and how content fails.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Canonical, ContentViolation, Facts, Framing, EncodingOptions } from "../../protocol/Content.js"
import type { Content, Streamed } from "../../SmtpContent.js"
import { replayable } from "../../SmtpContent.js"
import { ContentError, InvalidArgument } from "../../SmtpError.js"

export interface PrepareOptions extends Pick<
  EncodingOptions,
  "lineEnds" | "longLines" | "allowNul" | "binary"
> {
  readonly allowEmpty: boolean
  /** How long a stream may give nothing while it is asked. Infinity is no limit. */
  readonly stallTimeout: Duration.Duration
}

/** What depends on the server: it may differ from run to run. */
export interface RunOptions {
  /** Binary content goes by "bdat" only. */
  readonly framing: Framing
  /** The server's SIZE limit, in octets of canonical content. */
  readonly maxSize?: number | undefined
  /** The server takes no 8-bit octets. A stream's own promise is checked in any case. */
  readonly require7bit?: boolean | undefined
}

/**
 * Takes octets for the wire, in order; a run waits for it. `last` marks the call that holds the end of the message:
 * under "data" the final dot, under "bdat" the octets of BDAT LAST, which may be none. From this call on the outcome
 * is Unknown. A call ends only once the octets of the calls before it are flushed, so that the memory they came in
 * can be filled again; its own octets may still be on their way.
 */
export type Sink<E, R> = (octets: ReadonlyArray<Uint8Array>, last: boolean) => Effect.Effect<void, E, R>

export type Prepared<E, R> = PreparedBytes | PreparedStream<E, R>

/** Content in memory, about which everything is known. */
export interface PreparedBytes {
  readonly _tag: "Bytes"
  readonly facts: Facts
  readonly content: Canonical
  readonly options: PrepareOptions
}

/**
 * A stream that has given its first octets. It may serve several transactions, one after the other, on one session
 * or on several.
 */
export interface PreparedStream<E, R> {
  readonly _tag: "Stream"
  /** What the program declared, for SIZE; `undefined` if nothing. */
  readonly declaredSize: number | undefined
  /** The program's promise, kept by every run. */
  readonly content7bit: boolean
  /** Whether it can be run more than once. */
  readonly replayable: boolean
  /** Pulls, and holds in memory, until the stream ends or at least `bound` octets are held. */
  readonly peek: (bound: number) => Effect.Effect<Peek, ContentError | E, R>
  readonly run: <E2, R2>(
    options: RunOptions,
    sink: Sink<E2, R2>
  ) => Effect.Effect<Facts, ContentError | E | E2, R | R2>
}

/** What is known of a stream before it is sent: all, if it ended within the bound. */
export interface Peek {
  readonly ended: boolean
  readonly facts: Facts
}

export const encodingOptions = (prepare: PrepareOptions, run: RunOptions): EncodingOptions => ({
  ...prepare,
  maxSize: run.maxSize,
  require7bit: run.require7bit
})

export const empty = (): InvalidArgument =>
  new InvalidArgument({ field: "content", reason: "is empty; set allowEmpty to send an empty message" })

export const notContent = (): InvalidArgument =>
  new InvalidArgument({ field: "content", reason: "is neither bytes nor a string nor a Stream" })

/** Whether it is a Uint8Array, were it that of another realm. */
export const isOctets = (content: unknown): content is Uint8Array =>
  content instanceof Uint8Array || Object.prototype.toString.call(content) === "[object Uint8Array]"

/** What content of any kind holds; `undefined` if it is none. */
export const valueOf = <E, R>(content: Content<E, R>): Uint8Array | string | Streamed<E, R> | undefined => {
  if (typeof content === "string" || isOctets(content)) return content
  if (!Predicate.isObject(content)) return undefined
  if (!("_tag" in content)) return isStream(content) ? replayable(content) : undefined
  switch (content._tag) {
    case "Bytes":
      return isOctets(content.octets) ? content.octets : undefined
    case "Text":
      return Predicate.isString(content.text) ? content.text : undefined
    case "Streamed":
      return isStream(content.stream) && Predicate.isFunction(content.claim) ? content : undefined
    default:
      return undefined
  }
}

// Not `StreamTypeId`: it would load effect/Stream.
const isStream = (value: unknown): boolean => Predicate.hasProperty(value, Symbol.for("effect/Stream"))

export const isStreamed = <E, R>(value: Content<E, R>): value is Streamed<E, R> =>
  // Looking for a property in an array takes long.
  typeof value !== "string" && !isOctets(value) && Predicate.isTagged(value, "Streamed")

export const halfSurrogate = (): InvalidArgument =>
  new InvalidArgument({
    field: "content",
    reason: "holds half of a surrogate pair, which UTF-8 cannot express; give bytes instead"
  })

export const usedTwice = (): ContentError =>
  new ContentError({
    reason: "UsedTwice",
    detail: "it is a stream that can be run only once, and a second run was needed"
  })

/** What the types of a program that has any can hide. */
export const notOctets = (stream = "the stream"): ContentError =>
  new ContentError({
    reason: "Failed",
    detail: `${stream} gave something that is no Uint8Array; use Stream.encodeText for strings`
  })

export const violated = ({ detail, reason }: ContentViolation): ContentError =>
  new ContentError({ reason, detail })

export const changed = (detail: string): ContentError => new ContentError({ reason: "Changed", detail })
