/**
 * Sends mail by one call: `mailer.send({ to, subject, text, html, attachments })`. A mailer composes messages, applies
 * defaults and policies, and sends through an SmtpClient. nodemailer composes the MIME structure and must be installed
 * (optional peer).
 *
 * The policies run in this order, whatever the order of the options:
 *
 * 1. `defaults`
 * 2. `redirectAll` or `allowOnly`
 * 3. `suppression`; if no recipient is left, the result is `Skipped`, and nothing is rendered
 * 4. `text` and `html` are rendered, images embedded, plain text made of HTML, and the link of `unsubscribe` added
 * 5. Message-ID and Date
 * 6. DKIM
 * 7. `before`, the client (or `toDirectory`, `dryRun`), `after`
 *
 * `compose` runs steps 1 to 6, and `submit` steps 2, 3 and 7. So a message that waited in a queue is held against the
 * allow-list and the suppression list of the process that delivers it: a staging worker over a copy of production's
 * database mails no customers.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { AnyAttachment, PartContext, PartError } from "./internal/mail/model.js"
import * as Configs from "./internal/mailer/config.js"
import { makeService } from "./internal/mailer/mailer.js"
import type {
  Body,
  Composed,
  ComposeError,
  Environment,
  Input,
  Keyed,
  KeyedResult,
  Options,
  Result,
  SendOptions,
  Service,
  Skipped,
  Subscription,
  Unsubscribe
} from "./internal/mailer/model.js"
import type { ComposeOptions } from "./internal/mail/submission.js"
import { attempt } from "./internal/mail/refuse.js"
import * as Unsubscriptions from "./internal/mailer/unsubscribe.js"
import { readOptions } from "./internal/mailer/settings.js"
import type { SendAllOptions, SendError } from "./SmtpClient.js"
import { SmtpClient } from "./SmtpClient.js"
import type { ContentError, InvalidArgument } from "./SmtpError.js"
import type { Submission } from "./SmtpSubmission.js"

/**
 * @since 0.1.0
 * @category models
 */
export type {
  Body,
  Composed,
  ComposeError,
  Defaults,
  Details,
  DkimSigning,
  Environment,
  Header,
  Input,
  Keyed,
  KeyedResult,
  Options,
  Receipt,
  Result,
  SendOptions,
  Service,
  Skipped,
  Subscription,
  Suppressed,
  Suppression,
  Unsubscribe
} from "./internal/mailer/model.js"

/**
 * The service of a mailer. `layer` and `layerConfig` provide it over an SmtpClient, `NodeSmtp.layerMailer` with everything
 * that it requires.
 *
 * @since 0.1.0
 * @category tags
 */
export class Mailer extends Context.Tag("effect-smtplib/Mailer")<Mailer, Service>() {}

// -- constructors

/**
 * Makes a mailer over the client. Warns in the log if `environment` is set.
 *
 * Fails with `InvalidArgument` if an option is invalid, a DKIM key cannot sign, or html-to-text is required and not
 * installed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidArgument, SmtpClient> =>
  Effect.flatMap(SmtpClient, (client) =>
    Effect.map(readOptions(options), (settings) => makeService(client, settings))
  )

/**
 * Provides a mailer over an SmtpClient.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as Redacted from "effect/Redacted"
 * import { NodeSmtp } from "effect-smtplib"
 * import * as Mailer from "effect-smtplib/Mailer"
 *
 * declare const privateKey: Redacted.Redacted
 *
 * const live = Mailer.layer({
 *   defaults: { from: "The Example App <app@example.com>", replyTo: "support@example.com" },
 *   submission: { timeout: "1 minute" },
 *   dkim: { keys: [{ domain: "example.com", selector: "2026a", privateKey }] }
 * }).pipe(Layer.provide(NodeSmtp.layerClient({ host: "mail.example.com" })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Mailer, InvalidArgument, SmtpClient> =>
  Layer.effect(Mailer, make(options))

/**
 * Provides a mailer from configuration, such as `config` returns. Options in `own` override it, for what text cannot hold.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import { NodeSmtp } from "effect-smtplib"
 * import * as Mailer from "effect-smtplib/Mailer"
 *
 * // MAIL_FROM, MAIL_REPLY_TO, MAIL_REDIRECT_ALL and so on.
 * const live = Mailer.layerConfig(Mailer.config("MAIL")).pipe(Layer.provide(NodeSmtp.layerClientConfig("SMTP")))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>,
  own: Options = {}
): Layer.Layer<Mailer, InvalidArgument | ConfigError, SmtpClient> =>
  Layer.effect(
    Mailer,
    Effect.flatMap(Config.unwrap(options), (read) =>
      make({ ...read, ...own, defaults: { ...read.defaults, ...own.defaults } })
    )
  )

/**
 * Reads the options that can be written as text, under names that begin with the prefix. `config("MAIL")` reads:
 *
 * - `MAIL_FROM` and `MAIL_REPLY_TO`, one address each
 * - `MAIL_ENVELOPE_FROM`, the envelope sender, and `MAIL_TIMEOUT`, such as `1 minute`
 * - `MAIL_REDIRECT_ALL` and `MAIL_ALLOW_ONLY`, addresses separated by commas, `MAIL_DIRECTORY` and `MAIL_DRY_RUN`
 * - `MAIL_DKIM_DOMAIN`, `MAIL_DKIM_SELECTOR` and `MAIL_DKIM_PRIVATE_KEY`, all three or none
 *
 * @since 0.1.0
 * @category config
 */
export const config: (prefix: string) => Config.Config<Options> = Configs.config

// -- environments

/**
 * Sends every message to these addresses instead of its recipients. To, Cc and the envelope name them only; the original
 * recipients are in the subject, in X-Redirected-From and in `redirectedFrom` of the result.
 *
 * @example
 * ```ts
 * import * as Mailer from "effect-smtplib/Mailer"
 *
 * const staging = Mailer.layer({
 *   defaults: { from: "app@example.com" },
 *   environment: Mailer.redirectAll("dev@example.com")
 * })
 * ```
 *
 * @since 0.1.0
 * @category environments
 */
export const redirectAll = (...to: ReadonlyArray<string>): Environment => ({ _tag: "RedirectAll", to })

/**
 * Sends only to these addresses and domains (`"@example.com"`). Other recipients are in `suppressed` of the result.
 *
 * @example
 * ```ts
 * import * as Mailer from "effect-smtplib/Mailer"
 *
 * const staging = Mailer.layer({ environment: Mailer.allowOnly(["@example.com", "tester@example.org"]) })
 * ```
 *
 * @since 0.1.0
 * @category environments
 */
export const allowOnly = (allowed: ReadonlyArray<string>): Environment => ({ _tag: "AllowOnly", allowed })

/**
 * Writes every message to an .eml file and sends nothing. The result is `Skipped` with the `path` of the file. The directory
 * is created if it is missing. Can be combined with `redirectAll` or `allowOnly` in a list.
 *
 * @since 0.1.0
 * @category environments
 */
export const toDirectory = (path: string): Environment => ({ _tag: "ToDirectory", path })

/**
 * Composes every message and sends nothing. The result is `Skipped` with the `content` that would have been sent. Can be
 * combined with `redirectAll` or `allowOnly` in a list.
 *
 * @since 0.1.0
 * @category environments
 */
export const dryRun: Environment = { _tag: "DryRun" }

// -- unsubscription

/**
 * Makes the link of one-click unsubscription for one recipient, to show it in the text of the message as well. The token in
 * it is signed, not encrypted: the recipient can read the address and the topic.
 *
 * @example
 * ```ts
 * import * as Mailer from "effect-smtplib/Mailer"
 * import * as Effect from "effect/Effect"
 *
 * declare const unsubscribe: Mailer.Unsubscribe
 *
 * const mail = (to: string) =>
 *   Effect.flatMap(Mailer.unsubscribeLink(unsubscribe, { address: to, topic: "news" }), (link) =>
 *     Mailer.send({ to, subject: "News", text: `Unsubscribe: ${link}\n`, unsubscribe: "news" })
 *   )
 * ```
 *
 * @since 0.1.0
 * @category unsubscription
 */
export const unsubscribeLink = (
  options: Unsubscribe,
  subscription: Subscription
): Effect.Effect<string, InvalidArgument> => attempt(() => Unsubscriptions.link(options, subscription))

/**
 * Verifies the token of a POST to the link, and returns who unsubscribes from what. Answer GET with a page that asks, since
 * scanners follow links (RFC 8058 section 3.2). Tokens do not expire: the link of an old message must work.
 *
 * Fails with `InvalidArgument` if none of the secrets has signed the token.
 *
 * @example
 * ```ts
 * import * as Mailer from "effect-smtplib/Mailer"
 * import * as Effect from "effect/Effect"
 * import type * as Redacted from "effect/Redacted"
 *
 * declare const secret: Redacted.Redacted
 * declare const suppress: (address: string, topic: string | undefined) => Effect.Effect<void>
 *
 * // The handler of POST /unsubscribe?token=...
 * const unsubscribe = (token: string) =>
 *   Effect.flatMap(Mailer.verifyUnsubscribe(token, secret), ({ address, topic }) => suppress(address, topic))
 * ```
 *
 * @since 0.1.0
 * @category unsubscription
 */
export const verifyUnsubscribe = (
  token: string,
  secret: Unsubscribe["secret"]
): Effect.Effect<Subscription, InvalidArgument> => attempt(() => Unsubscriptions.verify(token, secret))

// -- accessors

/**
 * Composes a message and sends it: `send` of the Mailer service. Fails if no recipient was accepted; each outcome is in
 * the receipt. The result is `Skipped` if every recipient is suppressed, or the environment sends nothing.
 *
 * The errors and requirements of `text`, `html` and `attachments` are those of the result.
 *
 * @example
 * ```ts
 * import { NodeSmtp } from "effect-smtplib"
 * import * as Mailer from "effect-smtplib/Mailer"
 * import * as Effect from "effect/Effect"
 *
 * const program = Mailer.send({
 *   from: "app@example.com",
 *   to: "Ann <ann@example.net>",
 *   subject: "Welcome",
 *   text: "Good to have you.\n",
 *   attachments: [{ filename: "terms.txt", content: "Be kind.\n" }]
 * }).pipe(Effect.provide(NodeSmtp.layerMailer({ host: "mail.example.com" })))
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const send = <Text extends Body = never, Html extends Body = never, A extends AnyAttachment = never>(
  message: Input<Text, Html, A>,
  options?: SendOptions
): Effect.Effect<Result, SendError | ComposeError<Text | Html | A>, Mailer | PartContext<Text | Html | A>> =>
  Effect.flatMap(Mailer, (mailer) => mailer.send(message, options))

/**
 * Composes a message, sends it and reports one outcome per recipient: `deliver` of the Mailer service. Fails only if the
 * message cannot be composed.
 *
 * @since 0.1.0
 * @category accessors
 */
export const deliver = <
  Text extends Body = never,
  Html extends Body = never,
  A extends AnyAttachment = never
>(
  message: Input<Text, Html, A>,
  options?: SendOptions
): Effect.Effect<Result, ComposeError<Text | Html | A>, Mailer | PartContext<Text | Html | A>> =>
  Effect.flatMap(Mailer, (mailer) => mailer.deliver(message, options))

/**
 * Sends every message of a stream and emits the results as they are known: `sendAll` of the Mailer service. A message that
 * is invalid has an `error` beside its result, and the others go on.
 *
 * @example
 * ```ts
 * import * as Mailer from "effect-smtplib/Mailer"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 *
 * const mailing = Stream.make("ann@example.net", "bob@example.org").pipe(
 *   Stream.map((to) => ({ key: to, message: { to, subject: "News", text: "There are news.\n" } })),
 *   Mailer.sendAll,
 *   Stream.runForEach(({ key, result }) => Effect.log(key, result._tag))
 * )
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const sendAll = <
  K,
  Text extends Body = never,
  Html extends Body = never,
  A extends AnyAttachment = never,
  E2 = never,
  R2 = never
>(
  messages: Stream.Stream<Keyed<K, Text, Html, A>, E2, R2>,
  options?: SendAllOptions
): Stream.Stream<
  KeyedResult<K, PartError<Text | Html | A>>,
  E2,
  R2 | PartContext<Text | Html | A> | Mailer
> => Stream.unwrap(Effect.map(Mailer, (mailer) => mailer.sendAll(messages, options)))

/**
 * Composes a message and sends nothing, for a queue: `compose` of the Mailer service. Give the submission to `submit` later.
 *
 * @since 0.1.0
 * @category accessors
 */
export const compose = <
  Text extends Body = never,
  Html extends Body = never,
  A extends AnyAttachment = never
>(
  message: Input<Text, Html, A>,
  options?: ComposeOptions
): Effect.Effect<
  Composed<PartError<Text | Html | A>, PartContext<Text | Html | A>> | Skipped,
  ComposeError<Text | Html | A>,
  Mailer | PartContext<Text | Html | A>
> => Effect.flatMap(Mailer, (mailer) => mailer.compose(message, options))

/**
 * Delivers a submission that `compose` or `MailMessage.raw` has made, and reports one outcome per recipient: `submit` of the
 * Mailer service. Redirection, allow-list and suppression apply again.
 *
 * @since 0.1.0
 * @category accessors
 */
export const submit = <E = never, R = never>(
  submission: Submission<E, R>,
  options?: Pick<SendOptions, "retry">
): Effect.Effect<Result, InvalidArgument | ContentError | E, Mailer | R> =>
  Effect.flatMap(Mailer, (mailer) => mailer.submit(submission, options))
