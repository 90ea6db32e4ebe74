/** What a mailer takes and gives, as plain data. Mailer exports these types. */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Stream } from "effect/Stream"
import type { Key, KeyOptions, Options as DkimOptions } from "../../Dkim.js"
import type { Receipt as ClientReceipt, Retry, SendAllOptions, SendError } from "../../SmtpClient.js"
import type { ContentError, InvalidArgument } from "../../SmtpError.js"
import type { Submission } from "../../SmtpSubmission.js"
import type { Envelope } from "../mail/envelope.js"
import type {
  AnyAttachment,
  AttachmentInput,
  ComposeInput,
  MessageFields,
  PartContext,
  PartError
} from "../mail/model.js"
import type { ComposeOptions } from "../mail/submission.js"

/** A text: a string, or an effect that renders it. */
export type Body = string | Effect.Effect<string, unknown, unknown>

/** A message as a program gives it. `from` may come from the defaults. */
export interface Input<
  Text extends Body = string,
  Html extends Body = string,
  A extends AnyAttachment = AttachmentInput
> extends Omit<ComposeInput<A>, "from" | "text" | "html"> {
  readonly from?: ComposeInput["from"] | undefined
  /** Plain text, or an effect that renders it. */
  readonly text?: Text | undefined
  /** HTML, or an effect that renders it. */
  readonly html?: Html | undefined
  /**
   * Adds a link for one-click unsubscription by the option `unsubscribe` of the mailer; a string is the topic that the
   * link names. The message must have one recipient.
   */
  readonly unsubscribe?: boolean | string | undefined
}

/** One-click unsubscription (RFC 8058). Mail programs accept it only under a DKIM signature: set `dkim`, or let the server sign. */
export interface Unsubscribe {
  /** An https URL, to which mail programs POST. The token is added as the query parameter `token`. */
  readonly url: string
  /** Signs the tokens: at least 16 random characters. Of several, the first signs, and all of them verify. */
  readonly secret: Redacted.Redacted | ReadonlyArray<Redacted.Redacted>
  /** An address for mail programs without one-click unsubscription. */
  readonly mailto?: string | undefined
}

/** Who unsubscribes, and from what. */
export interface Subscription {
  readonly address: string
  readonly topic?: string | undefined
}

/** The options of one message. `from` and `to` override the envelope of the message. */
export interface SendOptions extends ComposeOptions {
  /** Overrides that of the client. */
  readonly retry?: Retry | undefined
}

/** A message of `sendAll`, and the key of its result. */
export interface Keyed<
  out K,
  Text extends Body = string,
  Html extends Body = string,
  A extends AnyAttachment = AttachmentInput
> {
  readonly key: K
  readonly message: Input<Text, Html, A>
  readonly options?: ComposeOptions | undefined
}

/** The fields of a message that say from whom and to whom it is, as mail programs show them. */
export type Header = Pick<
  MessageFields,
  "from" | "sender" | "replyTo" | "to" | "cc" | "subject" | "messageId" | "date"
>

/** A recipient that the message was not sent to, by a policy of the mailer. */
export interface Suppressed {
  readonly recipient: string
  /** `"Suppressed"` by the suppression list, `"NotAllowed"` by `allowOnly`. */
  readonly reason: "Suppressed" | "NotAllowed"
}

/** What a mailer says of every message, sent or not. */
export interface Details {
  /** The envelope after all policies: what MAIL and RCPT name. Empty if the message is invalid. */
  readonly envelope: Envelope
  /** `undefined` for a message that the mailer has not composed, or could not. */
  readonly header: Header | undefined
  readonly suppressed: ReadonlyArray<Suppressed>
  /** The original recipients, if `redirectAll` has replaced them. */
  readonly redirectedFrom: ReadonlyArray<string>
}

/** The outcomes of a message that was handed to the client. */
export interface Receipt extends ClientReceipt, Details {
  readonly _tag: "Receipt"
}

/**
 * Nothing was sent, and no server was asked.
 *
 * - `Suppressed`: every recipient is in `suppressed`
 * - `Directory`: the message is in the file `path`
 * - `DryRun`: `content` is what would have been sent
 */
export interface Skipped extends Details {
  readonly _tag: "Skipped"
  readonly reason: "Suppressed" | "Directory" | "DryRun"
  readonly path?: string | undefined
  readonly content?: Uint8Array | undefined
}

/** What became of a message. */
export type Result = Receipt | Skipped

/** The result of one message of `sendAll`. */
export interface KeyedResult<out K, out E = never> {
  readonly key: K
  readonly result: Result
  /** What is wrong with the message itself, or what its parts failed with. Every outcome is then `NotSent`. */
  readonly error: InvalidArgument | ContentError | E | undefined
}

/** A message after all policies, ready for `submit` or for a client. */
export interface Composed<E = never, R = never> extends Details {
  readonly _tag: "Composed"
  readonly submission: Submission<E | ContentError, R>
}

/** What replaces production in a safe environment. Make one with `redirectAll`, `allowOnly`, `toDirectory` or `dryRun`. */
export type Environment =
  | { readonly _tag: "RedirectAll"; readonly to: ReadonlyArray<string> }
  | { readonly _tag: "AllowOnly"; readonly allowed: ReadonlyArray<string> }
  | { readonly _tag: "ToDirectory"; readonly path: string }
  | { readonly _tag: "DryRun" }

/** Says which recipients must not get mail: they have unsubscribed, complained or bounced. */
export interface Suppression {
  /** A defect keeps the message from being sent. */
  readonly isSuppressed: (address: string) => Effect.Effect<boolean>
}

/** Values for messages that give none of their own. Header fields and list fields are merged by name. */
export interface Defaults extends Pick<ComposeInput, "sender" | "replyTo" | "headers" | "list" | "priority"> {
  readonly from?: ComposeInput["from"] | undefined
}

/** The keys that sign every message. Keys given as text are read once, when the mailer is made. */
export interface DkimSigning extends Omit<DkimOptions, "keys"> {
  readonly keys: ReadonlyArray<Key | KeyOptions>
}

/** The policies of a mailer. */
export interface Options {
  readonly defaults?: Defaults | undefined
  /** Defaults for the options of every message: envelope sender, DSN parameters, `timeout`, `retry`. */
  readonly submission?: Omit<SendOptions, "to"> | undefined
  /** For staging and development. A warning at start names it. Default: production. */
  readonly environment?: Environment | ReadonlyArray<Environment> | undefined
  readonly suppression?: Suppression | undefined
  /**
   * Makes the plain text of messages that have only HTML: `true` by the package html-to-text, which must be installed
   * (optional peer), or by a function. Default false.
   */
  readonly textFromHtml?: boolean | ((html: string) => string) | undefined
  /** Attaches images that `<img src>` holds as `data:` URLs, which many mail programs do not show. Default true. */
  readonly embedImages?: boolean | undefined
  readonly dkim?: DkimSigning | undefined
  readonly unsubscribe?: Unsubscribe | undefined
  /** Runs before a message is handed to the client, the directory or the dry run. */
  readonly before?: ((message: Composed<unknown, unknown>) => Effect.Effect<void>) | undefined
  /** Runs with the result of each message, also if `send` then fails. */
  readonly after?: ((result: Result) => Effect.Effect<void>) | undefined
}

/** What `send` and `deliver` fail with before anything is sent. */
export type ComposeError<Part> = InvalidArgument | ContentError | PartError<Part>

export interface Service {
  /**
   * Composes a message and sends it. Fails if no recipient was accepted, like `send` of a client. The result is `Skipped` if
   * every recipient is suppressed, or the environment sends nothing.
   */
  readonly send: <Text extends Body = never, Html extends Body = never, A extends AnyAttachment = never>(
    message: Input<Text, Html, A>,
    options?: SendOptions
  ) => Effect.Effect<Result, SendError | ComposeError<Text | Html | A>, PartContext<Text | Html | A>>
  /** Composes a message, sends it and reports one outcome per recipient. Fails only if the message cannot be composed. */
  readonly deliver: <Text extends Body = never, Html extends Body = never, A extends AnyAttachment = never>(
    message: Input<Text, Html, A>,
    options?: SendOptions
  ) => Effect.Effect<Result, ComposeError<Text | Html | A>, PartContext<Text | Html | A>>
  /**
   * Sends every message of a stream and emits the results as they are known. A message that is invalid has an `error` beside
   * its result, and the others go on. Backpressure and concurrency are those of `sendAll` of a client.
   */
  readonly sendAll: <
    K,
    Text extends Body = never,
    Html extends Body = never,
    A extends AnyAttachment = never,
    E2 = never,
    R2 = never
  >(
    messages: Stream<Keyed<K, Text, Html, A>, E2, R2>,
    options?: SendAllOptions
  ) => Stream<KeyedResult<K, PartError<Text | Html | A>>, E2, R2 | PartContext<Text | Html | A>>
  /** Applies all policies and sends nothing, for a queue: give the submission to `submit` later. */
  readonly compose: <Text extends Body = never, Html extends Body = never, A extends AnyAttachment = never>(
    message: Input<Text, Html, A>,
    options?: ComposeOptions
  ) => Effect.Effect<
    Composed<PartError<Text | Html | A>, PartContext<Text | Html | A>> | Skipped,
    ComposeError<Text | Html | A>,
    PartContext<Text | Html | A>
  >
  /**
   * Delivers a submission from `compose`, a queue or `MailMessage.raw`, and reports one outcome per recipient. Redirects its
   * envelope and applies allow-list and suppression to it, again if it comes from `compose`; its content stays as it is.
   */
  readonly submit: <E = never, R = never>(
    submission: Submission<E, R>,
    options?: Pick<SendOptions, "retry">
  ) => Effect.Effect<Result, InvalidArgument | ContentError | E, R>
}
