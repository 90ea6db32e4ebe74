/**
 * The servers of SmtpTest behind real listeners: TCP on loopback and UNIX sockets, TLS from the first octet or at
 * STARTTLS, for programs that are to run with their real transport. Without need of sockets SmtpTest alone is
 * faster, and keeps time by Effect's Clock. They are instruments, not mail servers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Handshake, Listening, Options } from "./internal/node/listen.js"
import * as internal from "./internal/node/listen.js"
import * as SmtpTest from "./SmtpTest.js"

export type {
  /**
   * A TLS handshake that succeeded, as the server saw it.
   *
   * @since 0.1.0
   * @category models
   */
  Handshake,
  /**
   * A listener: where it is, the server behind it, and the handshakes that it has seen. The `socket` and `layer` of
   * that server still dial in memory.
   *
   * @since 0.1.0
   * @category models
   */
  Listening,
  /**
   * Where to listen, and with which certificate.
   *
   * @since 0.1.0
   * @category models
   */
  Options
}

/**
 * The listener as a service, for programs that get it from `layer` or `layerScript`; the server itself is in
 * `SmtpTest.SmtpTest` or `SmtpTest.ScriptedServer`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { SmtpSession } from "effect-smtplib"
 * import * as NodeSmtpTest from "effect-smtplib/NodeSmtpTest"
 *
 * const session = Effect.gen(function* () {
 *   const { port } = yield* NodeSmtpTest.NodeSmtpTest
 *   return yield* SmtpSession.make({ host: "127.0.0.1", port, tls: "none" })
 * })
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class NodeSmtpTest extends Context.Tag("effect-smtplib/NodeSmtpTest")<NodeSmtpTest, Service>() {}

/**
 * A listener, whatever server is behind it.
 *
 * @since 0.1.0
 * @category models
 */
export type Service = Omit<Listening<unknown>, "server">

/**
 * What the server announces and refuses, and where it listens. Unless `tls` is given, and with `mode: "implicit"`,
 * the default capabilities are without STARTTLS.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions extends Omit<SmtpTest.ServerOptions, "capacity" | "upgrade">, Options {}

/**
 * Runs scripts behind a listener: the next script for each connection, as long as the scope is open. With
 * `mode: "implicit"` a connection whose handshake fails uses up no script; a script's `SmtpTest.upgrade` is the
 * server's side of STARTTLS. Within TLS `SmtpTest.reset` closes the connection without TLS's goodbye instead of
 * resetting it. A port or path that cannot be listened on is a defect.
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

const capabilitiesOf = ({ capabilities, mode, tls }: ServerOptions): ReadonlyArray<string> => {
  if (capabilities !== undefined) return capabilities
  return tls === undefined || mode === "implicit"
    ? SmtpTest.defaultCapabilities.filter((capability) => capability !== "STARTTLS")
    : SmtpTest.defaultCapabilities
}

/**
 * The server that captures messages behind a listener, as long as the scope is open. A port or path that cannot be
 * listened on is a defect.
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
): Effect.Effect<Listening<SmtpTest.Service>, never, Scope.Scope> =>
  internal.listen(
    (upgrade) => SmtpTest.server({ ...options, capabilities: capabilitiesOf(options), upgrade }),
    options
  )

/**
 * The listener of a capturing server, and the server itself.
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
 * The listener of a scripted server, and the server itself.
 *
 * @example
 * ```ts
 * import * as NodeSmtpTest from "effect-smtplib/NodeSmtpTest"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const layer = NodeSmtpTest.layerScript(
 *   SmtpTest.script(SmtpTest.reply("554 no service here"), SmtpTest.expectEnd)
 * )
 * ```
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
