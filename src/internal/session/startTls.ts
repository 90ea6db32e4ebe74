/** STARTTLS (RFC 3207), and the policies that say when it must be, may be, and may not be missing. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Commands from "../../protocol/Command.js"
import { isRefusal } from "../../protocol/Reply.js"
import type { Disconnection } from "../../SmtpError.js"
import { CommandRefused, InvalidArgument, NotSupported, TlsError } from "../../SmtpError.js"
import type { Service, SetupError } from "../../SmtpSession.js"
import { formatEndpoint } from "../../SmtpSocket.js"
import type { TlsInfo } from "../../TlsUpgrade.js"
import { secure } from "./open.js"
import type { Core } from "./core.js"
import { destroyUnlessInOrder } from "./core.js"
import type { Hello } from "./hello.js"
import { introduce } from "./xclient.js"

const tlsError = ({ settings: { endpoint } }: Core, reason: TlsError["reason"]): TlsError =>
  new TlsError({ endpoint: formatEndpoint(endpoint), reason })

const request = (core: Core): Effect.Effect<void, CommandRefused | TlsError | Disconnection> =>
  Effect.flatMap(core.channel.one(Commands.startTls), (reply) =>
    isRefusal(reply)
      ? Effect.fail(new CommandRefused({ command: "STARTTLS", phase: "starttls", reply }))
      : Effect.void
  ).pipe(
    Effect.catchTag("ProtocolError", (error) => {
      const failure = core.exchange.failure()
      const injected = failure?._tag === "Violated" && failure.injection
      return Effect.fail(injected ? tlsError(core, "Injection") : error)
    })
  )

const shakeHands = (core: Core): Effect.Effect<TlsInfo, TlsError> =>
  Effect.gen(function* () {
    const { exchange, memory, options, settings, surroundings } = core
    const connection = exchange.connection()
    // What was received behind the 220 was sent in clear, by whomever.
    if (connection.buffered() > 0) return yield* tlsError(core, "Injection")
    const secured = yield* Scope.extend(secure(surroundings, settings, options, connection), core.scope)
    memory.tls = secured.tls
    memory.greeted = false
    yield* exchange.upgraded(secured)
    exchange.tape.note(`TLS: ${secured.tls.protocol}, ${secured.tls.cipher}`)
    yield* surroundings.cache.pin(settings.endpoint)
    return secured.tls
  }).pipe(
    Effect.tapError((error) =>
      Effect.sync(() => core.exchange.fail({ _tag: "Abandoned", reason: `TLS failed: ${error.message}` }))
    )
  )

export const make = (core: Core, { ehloIfNeeded }: Hello): Service["startTls"] =>
  core.channel.together(
    "commands",
    Effect.gen(function* () {
      const { dialogue } = core.exchange
      if (core.memory.tls !== undefined) {
        return yield* new InvalidArgument({ field: "session", reason: "has TLS already" })
      }
      yield* ehloIfNeeded
      if (!dialogue.capabilities().starttls) {
        const reason = `the server does not offer it; check the port: 587 for STARTTLS, 465 for tls "implicit"`
        return yield* new NotSupported({ extension: "STARTTLS", reason })
      }
      return yield* destroyUnlessInOrder(core, "STARTTLS", Effect.zipRight(request(core), shakeHands(core)))
    })
  )

/** Brings a session to TLS as its policy says, and then tells the server whom it speaks for, if it is to. */
export const byPolicy = (core: Core, service: Service): Effect.Effect<void, SetupError> =>
  Effect.zipRight(toTls(core, service), introduce(core, service))

const toTls = (core: Core, { ehloOrHeloIfNeeded, startTls }: Service): Effect.Effect<void, SetupError> => {
  switch (core.settings.tls) {
    case "none":
    case "implicit":
      return Effect.void
    case "starttls":
      return Effect.catchTag(Effect.asVoid(startTls), "NotSupported", (error) =>
        Effect.zipRight(unlessPinned(core), Effect.fail(error))
      )
    case "opportunistic":
      return Effect.catchTags(Effect.zipRight(ehloOrHeloIfNeeded, Effect.asVoid(startTls)), {
        NotSupported: () => unlessPinned(core),
        CommandRefused: () => unlessPinned(core)
      })
  }
}

// An endpoint that has completed STARTTLS before does not forget how: somebody may be stripping the offer.
const unlessPinned = (core: Core): Effect.Effect<void, TlsError> =>
  Effect.flatMap(core.surroundings.cache.pinned(core.settings.endpoint), (pinned) =>
    pinned ? Effect.fail(tlsError(core, "OfferVanished")) : Effect.void
  )
