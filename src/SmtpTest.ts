/**
 * SMTP servers for tests, in memory: a scripted server that compares every byte of the client, and a server that
 * captures messages. Both are SmtpSocket services that follow Effect's Clock, so that they work with TestClock.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as capturing from "./internal/testing/capturingServer.js"
import type {
  Script,
  Scripted,
  ScriptedOptions,
  Scripts,
  ServerOptions,
  Service,
  Transport
} from "./internal/testing/model.js"
import * as pretended from "./internal/testing/pretendedTls.js"
import { makeScripted } from "./internal/testing/scriptedServer.js"
import { drain, readCount } from "./internal/testing/recordedConnection.js"
import * as steps from "./internal/testing/steps.js"
import type { Mailer, Options as MailerOptions } from "./Mailer.js"
import type { Options as SmtpClientOptions, SmtpClient } from "./SmtpClient.js"
import type { InvalidArgument } from "./SmtpError.js"
import type { TlsUpgrade } from "./TlsUpgrade.js"

export type {
  Attachment,
  ConnectionRecord,
  Content,
  Credentials,
  Handler,
  Mailbox,
  Message,
  ParsedMessage,
  Path,
  ReplyOptions,
  Script,
  Scripted,
  ScriptedOptions,
  Scripts,
  ServerConnection,
  ServerOptions,
  ServerUpgrade,
  Service,
  Transport
} from "./internal/testing/model.js"
export { InboxError } from "./internal/testing/inboxError.js"
export { ScriptFailure } from "./internal/testing/scriptFailure.js"

/**
 * The scripted server that `layerScript` provides.
 *
 * @since 0.1.0
 * @category tags
 */
export class ScriptedServer extends Context.Tag("effect-smtplib/SmtpTest/ScriptedServer")<
  ScriptedServer,
  Scripted
>() {}

/**
 * Joins steps to one script. After the last one the server reads and records until the client leaves, unless the script
 * has closed the connection or stopped reading.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(
 *   SmtpTest.reply("220 mx.test ESMTP"),
 *   SmtpTest.expect("EHLO client.test"),
 *   SmtpTest.reply("250-mx.test", "250 PIPELINING"),
 *   SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
 *   SmtpTest.reply("250 ok"),
 *   SmtpTest.reply("250 ok"),
 *   SmtpTest.reply("354 go"),
 *   SmtpTest.expectContent("Subject: hi\r\n\r\nhello\r\n"),
 *   SmtpTest.reply("250 2.0.0 queued as 42"),
 *   SmtpTest.expect("QUIT"),
 *   SmtpTest.reply("221 bye"),
 *   SmtpTest.expectEnd
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const script = (...pieces: ReadonlyArray<Script>): Script => ({
  dial: pieces[0]?.dial ?? "Accepts",
  steps: pieces.flatMap((piece) => piece.steps)
})

/**
 * Refuses the connection: the dial fails with ConnectError, `Unreachable`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refused: Script = { dial: "Refuses", steps: [] }

/**
 * Does not answer the dial, which fails with ConnectError, `Timeout`, after its time limit.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unanswered: Script = { dial: "Hangs", steps: [] }

/**
 * Sends a reply. A string is a line without its CRLF; bytes are sent as they are. Consecutive replies leave in one
 * write, unless you set `separate` or `split`.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const capabilities = SmtpTest.reply("250-mx.test", "250-PIPELINING", "250 SIZE 1000")
 * export const late = SmtpTest.reply("250 ok", { delay: "30 seconds" })
 * export const slow = SmtpTest.reply("250 ok", { split: "byteByByte" })
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const reply = steps.reply

/**
 * Sends unsolicited bytes exactly as given, in their own write. A string gets no CRLF.
 *
 * @since 0.1.0
 * @category server
 */
export const inject = steps.inject

/**
 * Waits, by Effect's Clock, without reading.
 *
 * @since 0.1.0
 * @category server
 */
export const delay = (duration: Duration.DurationInput): Script =>
  steps.step(`delay ${steps.formatDuration(duration)}`, () => Effect.sleep(duration))

/**
 * Sends nothing more, and reads until the client leaves.
 *
 * @since 0.1.0
 * @category server
 */
export const silence: Script = steps.step("silence", drain)

/**
 * Stops reading: once the buffers are full, the client's writes wait. Later steps can still send and close.
 *
 * @since 0.1.0
 * @category server
 */
export const stopReading: Script = steps.step("stopReading", (connection) => connection.stopReading)

/**
 * Ends the server's stream and goes on reading.
 *
 * @since 0.1.0
 * @category server
 */
export const halfClose: Script = steps.step("halfClose", (connection) => connection.halfClose)

/**
 * Closes the connection after what was written.
 *
 * @since 0.1.0
 * @category server
 */
export const close: Script = steps.step("close", (connection) => connection.close)

/**
 * Resets the connection, like a server that crashes.
 *
 * @since 0.1.0
 * @category server
 */
export const reset: Script = steps.step("reset", (connection) => connection.reset)

/**
 * Performs the server's side of the TLS handshake, after the 220 to STARTTLS or at the start. Bytes that the client
 * wrote in clear after STARTTLS fail the script (RFC 3207 section 4).
 *
 * @since 0.1.0
 * @category server
 */
export const upgrade: Script = steps.step("upgrade", (connection) => connection.upgrade)

/**
 * Reads one command line and compares it, without its CRLF, with a string or a pattern. Bytes are compared exactly, as
 * many as given, with any line ends among them.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const hello = SmtpTest.expect("EHLO client.test")
 * export const anySize = SmtpTest.expect(/^MAIL FROM:<a@x\.test> SIZE=\d+$/)
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expect = steps.expect

/**
 * Reads several command lines in order, before the server answers.
 *
 * @since 0.1.0
 * @category client
 */
export const expectGroup = (...lines: ReadonlyArray<string | RegExp | Uint8Array>): Script =>
  script(...lines.map(expect))

/**
 * Reads the content after DATA, up to CRLF `.` CRLF, and compares it, without dot-stuffing and with its last CRLF, with
 * the argument if there is one. The content is in `contents` of the connection's record.
 *
 * @since 0.1.0
 * @category client
 */
export const expectContent = steps.expectContent

/**
 * Reads a number of bytes, such as a chunk after BDAT. To compare them, use `expect` with bytes.
 *
 * @since 0.1.0
 * @category client
 */
export const expectOctets = (count: number): Script =>
  steps.step(`expectOctets ${count}`, (connection) =>
    Effect.asVoid(readCount(connection, count, `${count} bytes`))
  )

/**
 * Fails if the client has sent bytes or sends some within the duration. The client may leave.
 *
 * @since 0.1.0
 * @category client
 */
export const expectNothing = steps.expectNothing

/**
 * Waits for the client to end or lose the connection, without sending anything before.
 *
 * @since 0.1.0
 * @category client
 */
export const expectEnd = steps.expectEnd

/**
 * Repeats a script a number of times. Without a number, repeats it whenever the client sends something, until the
 * client leaves or the server stops reading.
 *
 * @since 0.1.0
 * @category combinators
 */
export const repeat = steps.repeat

/**
 * Reads one command line and runs the handler whose key begins it, up to a space, a colon or the line's end, in any
 * letter case. The longest such key wins. Without a match `otherwise` runs, or the script fails.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const server = SmtpTest.script(
 *   SmtpTest.reply("220 mx.test ESMTP"),
 *   SmtpTest.repeat(
 *     SmtpTest.branch({
 *       EHLO: SmtpTest.reply("250 mx.test"),
 *       "RCPT TO:<nobody@y.test>": SmtpTest.reply("550 5.1.1 no such user"),
 *       RCPT: SmtpTest.reply("250 ok"),
 *       DATA: SmtpTest.script(SmtpTest.reply("354 go"), SmtpTest.expectContent(), SmtpTest.reply("250 ok")),
 *       QUIT: SmtpTest.script(SmtpTest.reply("221 bye"), SmtpTest.close)
 *     }, SmtpTest.reply("250 ok"))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const branch = steps.branch

/**
 * Runs an effect at this point of the script, without reading meanwhile. If it fails, so does the script.
 *
 * @example
 * ```ts
 * import * as Deferred from "effect/Deferred"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const held = (release: Deferred.Deferred<void>) =>
 *   SmtpTest.script(SmtpTest.effect(Deferred.await(release)), SmtpTest.reply("250 ok"))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const effect = steps.effect

/**
 * Makes a server that runs the scripts, one for each connection, until the scope closes. A script that fails is a defect
 * of the closing scope unless `done` or `verify` has reported it, so that no test passes by accident. A script that is
 * still waiting then has not failed: use `done` to make sure that all have ended.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { SmtpSession } from "effect-smtplib"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const server = yield* SmtpTest.scripted(
 *     SmtpTest.script(SmtpTest.reply("554 no service here"), SmtpTest.expectEnd)
 *   )
 *   const session = SmtpSession.make({ host: "mx.test", tls: "none" }).pipe(Effect.provide(server.layer))
 *   return yield* server.verify(Effect.flip(Effect.scoped(session)))
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const scripted = makeScripted

/**
 * The capturing server that `layer`, `layerClient` and `layerMailer` provide.
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpTest extends Context.Tag("effect-smtplib/SmtpTest")<SmtpTest, Service>() {}

/**
 * The default capabilities of a capturing server.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultCapabilities: ReadonlyArray<string> = capturing.defaultCapabilities

/**
 * Makes a small SMTP or LMTP server that captures the messages it accepts, until the scope closes.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const server = yield* SmtpTest.server({
 *     accept: ({ address }) => (address === "nobody@y.test" ? "550 5.1.1 no such user" : undefined)
 *   })
 *   // ... run a program with server.layer, then:
 *   return yield* server.messages
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const server = capturing.makeCapturing

/**
 * Provides TLS without cryptography: the upgrade changes no bytes and claims to be secure. It lets a program run with
 * its real `tls` and `auth` options against a server in memory. Never use it on a network.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTls: Layer.Layer<TlsUpgrade> = pretended.layerTls

/**
 * Provides a capturing server and its transport. `layerClient` adds a client, and `layerMailer` a mailer.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   // ... run the program under test, then:
 *   const { messages } = yield* SmtpTest.SmtpTest
 *   return yield* messages
 * }).pipe(Effect.provide(SmtpTest.layer({ capabilities: ["PIPELINING"] })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: ServerOptions): Layer.Layer<Transport | SmtpTest> =>
  Layer.unwrapScoped(
    Effect.map(server(options), (service) => Layer.merge(service.layer, Layer.succeed(SmtpTest, service)))
  )

// Loaded with the first layer that needs them: scripts and servers alone need neither.
const clientModule = Effect.promise(() => import("./SmtpClient.js"))
const mailerModule = Effect.promise(() => import("./Mailer.js"))

/**
 * The options of a client in memory. Every host leads to the server of the layer; default `mx.test`.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientOptions = Omit<SmtpClientOptions, "path" | "relays">

/**
 * Provides a client of a capturing server in memory, and the server. The client has the host `mx.test` and the defaults of
 * SmtpClient for everything else; `options` override them. TLS has no cryptography, as in `layerTls`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { SmtpClient } from "effect-smtplib"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const client = yield* SmtpClient.SmtpClient
 *   yield* client.send({ from: "a@x.test", to: "b@y.test", content: "Subject: Hi\r\n\r\nHello.\r\n" })
 *   const inbox = yield* SmtpTest.SmtpTest
 *   const mail = yield* inbox.waitFor(({ subject }) => subject === "Hi", "1 second")
 *   return mail.text
 * }).pipe(Effect.provide(SmtpTest.layerClient()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (
  options?: ClientOptions,
  server?: ServerOptions
): Layer.Layer<SmtpClient | SmtpTest | Transport, InvalidArgument> =>
  Layer.provideMerge(
    Layer.unwrapEffect(Effect.map(clientModule, (client) => client.layer({ host: "mx.test", ...options }))),
    layer(server)
  )

/**
 * Provides a mailer over `layerClient`, the client, and the server. nodemailer must be installed (optional peer).
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Mailer from "effect-smtplib/Mailer"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   yield* Mailer.send({ to: "ann@y.test", subject: "Sign in", html: `<a href="https://x.test/in?a=1&amp;b=2">Sign in</a>` })
 *   const inbox = yield* SmtpTest.SmtpTest
 *   const mail = yield* inbox.waitFor(({ subject }) => subject === "Sign in", "1 second")
 *   return mail.links[0] // "https://x.test/in?a=1&b=2"
 * }).pipe(Effect.provide(SmtpTest.layerMailer({ defaults: { from: "app@x.test" } })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMailer = (
  options?: MailerOptions,
  client?: ClientOptions,
  server?: ServerOptions
): Layer.Layer<Mailer | SmtpClient | SmtpTest | Transport, InvalidArgument> =>
  Layer.provideMerge(
    Layer.unwrapEffect(Effect.map(mailerModule, (mailer) => mailer.layer(options))),
    layerClient(client, server)
  )

/**
 * Provides a scripted server and its transport.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerScript = (
  scripts: Scripts,
  options?: ScriptedOptions
): Layer.Layer<Transport | ScriptedServer> =>
  Layer.unwrapScoped(
    Effect.map(scripted(scripts, options), (service) =>
      Layer.merge(service.layer, Layer.succeed(ScriptedServer, service))
    )
  )
