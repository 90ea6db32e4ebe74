/**
 * The servers of SmtpTest behind real listeners, TCP on loopback or UNIX sockets, with implicit TLS or STARTTLS, for
 * programs that run with their real transport. If you need no sockets, SmtpTest alone is faster and follows Effect's
 * Clock.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Listening, Options } from "./internal/node/listen.js"
import * as internal from "./internal/node/listen.js"
import * as SmtpTest from "./SmtpTest.js"

export type { Handshake, Listening, Options } from "./internal/node/listen.js"

/**
 * The listener that `layer` and `layerScript` provide; the server itself is in `SmtpTest.SmtpTest` or
 * `SmtpTest.ScriptedServer`.
 *
 * @since 0.1.0
 * @category tags
 */
export class NodeSmtpTest extends Context.Tag("effect-smtplib/NodeSmtpTest")<NodeSmtpTest, Service>() {}

/**
 * A listener without its server.
 *
 * @since 0.1.0
 * @category models
 */
export type Service = Omit<Listening<unknown>, "server">

/**
 * What the server announces and refuses, and where it listens. Without `tls`, and with `mode: "implicit"`, the default
 * capabilities do not include STARTTLS.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions extends Omit<SmtpTest.ServerOptions, "capacity" | "upgrade">, Options {}

/**
 * Runs scripts behind a listener, the next one for each connection, until the scope closes. A port or path that is not
 * available is a defect.
 *
 * With `mode: "implicit"` a connection whose handshake fails uses no script. The step `SmtpTest.upgrade` is the server's
 * side of STARTTLS. Within TLS, `SmtpTest.reset` closes the connection without TLS's close_notify instead of resetting
 * it.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 * import * as NodeSmtpTest from "effect-smtplib/NodeSmtpTest"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const { port, server } = yield* NodeSmtpTest.listen(
 *     SmtpTest.script(
 *       SmtpTest.reply("220 mx.test ESMTP"),
 *       SmtpTest.expect("EHLO client.test"),
 *       SmtpTest.reply("250 mx.test"),
 *       SmtpTest.expect("QUIT"),
 *       SmtpTest.reply("221 bye"),
 *       SmtpTest.expectEnd
 *     )
 *   )
 *   const options: SmtpSession.Options = { host: "127.0.0.1", port, tls: "none", clientName: "client.test" }
 *   yield* server.verify(Effect.scoped(SmtpSession.make(options)))
 * }).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const listen = (
  scripts: SmtpTest.Scripts,
  options: Options = {}
): Effect.Effect<Listening<SmtpTest.Scripted>, never, Scope.Scope> =>
  internal.listen((upgrade) => SmtpTest.scripted(scripts, { upgrade }), options)

/**
 * Runs a server that captures messages behind a listener, until the scope closes. A port or path that is not available is
 * a defect.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeSmtp, SmtpSession } from "effect-smtplib"
 * import * as NodeSmtpTest from "effect-smtplib/NodeSmtpTest"
 *
 * declare const cert: string
 * declare const key: string
 *
 * export const test = Effect.gen(function* () {
 *   const { port, server } = yield* NodeSmtpTest.server({ tls: { cert, key } })
 *   const smtp = yield* SmtpSession.make({ host: "localhost", port, tlsOptions: { ca: cert } })
 *   yield* smtp.send({ from: "a@x.test", to: "b@y.test", content: "Subject: hi\r\n\r\nhello\r\n" })
 *   return yield* server.messages
 * }).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const server = (
  options: ServerOptions = {}
): Effect.Effect<Listening<SmtpTest.Service>, never, Scope.Scope> => {
  const offersStartTls = options.tls !== undefined && options.mode !== "implicit"
  const capabilities =
    options.capabilities ??
    SmtpTest.defaultCapabilities.filter((capability) => offersStartTls || capability !== "STARTTLS")
  return internal.listen((upgrade) => SmtpTest.server({ ...options, capabilities, upgrade }), options)
}

/**
 * Provides the listener of a capturing server, and the server itself.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeSmtpTest from "effect-smtplib/NodeSmtpTest"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const { port } = yield* NodeSmtpTest.NodeSmtpTest
 *   // ... run the program under test against the port, then:
 *   const { messages } = yield* SmtpTest.SmtpTest
 *   return { port, messages: yield* messages }
 * }).pipe(Effect.provide(NodeSmtpTest.layer()))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: ServerOptions): Layer.Layer<NodeSmtpTest | SmtpTest.SmtpTest> =>
  Layer.unwrapScoped(
    Effect.map(server(options), (listening) =>
      Layer.merge(Layer.succeed(NodeSmtpTest, listening), Layer.succeed(SmtpTest.SmtpTest, listening.server))
    )
  )

/**
 * Provides the listener of a scripted server, and the server itself.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerScript = (
  scripts: SmtpTest.Scripts,
  options?: Options
): Layer.Layer<NodeSmtpTest | SmtpTest.ScriptedServer> =>
  Layer.unwrapScoped(
    Effect.map(listen(scripts, options), (listening) =>
      Layer.merge(
        Layer.succeed(NodeSmtpTest, listening),
        Layer.succeed(SmtpTest.ScriptedServer, listening.server)
      )
    )
  )
