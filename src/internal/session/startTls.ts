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
import type { SessionContext } from "./context.js"
import { destroyUnlessInOrder } from "./context.js"
import type { Hello } from "./hello.js"
import { introduce } from "./xclient.js"

const tlsError = ({ settings: { endpoint } }: SessionContext, reason: TlsError["reason"]): TlsError =>
  new TlsError({ endpoint: formatEndpoint(endpoint), reason })

const request = (session: SessionContext): Effect.Effect<void, CommandRefused | TlsError | Disconnection> =>
  Effect.flatMap(session.commands.one(Commands.startTls), (reply) =>
    isRefusal(reply)
      ? Effect.fail(new CommandRefused({ command: "STARTTLS", phase: "starttls", reply }))
      : Effect.void
  ).pipe(
    Effect.catchTag("ProtocolError", (error) => {
      const failure = session.driver.failure()
      const injected = failure?._tag === "Violated" && failure.injection
      return Effect.fail(injected ? tlsError(session, "Injection") : error)
    })
  )

const shakeHands = (session: SessionContext): Effect.Effect<TlsInfo, TlsError> =>
  Effect.gen(function* () {
    const { driver, state, options, settings, services } = session
    const connection = driver.connection()
    // What was received behind the 220 was sent in clear, by whomever.
    if (connection.buffered() > 0) return yield* tlsError(session, "Injection")
    const secured = yield* Scope.extend(secure(services, settings, options, connection), session.scope)
    state.tls = secured.tls
    state.greeted = false
    yield* driver.upgraded(secured)
    driver.recentLines.note(`TLS: ${secured.tls.protocol}, ${secured.tls.cipher}`)
    yield* services.cache.pin(settings.endpoint)
    return secured.tls
  }).pipe(
    Effect.tapError((error) =>
      Effect.sync(() => session.driver.fail({ _tag: "Abandoned", reason: `TLS failed: ${error.message}` }))
    )
  )

export const make = (session: SessionContext, { ehloIfNeeded }: Hello): Service["startTls"] =>
  session.commands.together(
    "commands",
    Effect.gen(function* () {
      const { dialogue } = session.driver
      if (session.state.tls !== undefined) {
        return yield* new InvalidArgument({ field: "session", reason: "has TLS already" })
      }
      yield* ehloIfNeeded
      if (!dialogue.capabilities().starttls) {
        const reason = `the server does not offer it; check the port: 587 for STARTTLS, 465 for tls "implicit"`
        return yield* new NotSupported({ extension: "STARTTLS", reason })
      }
      return yield* destroyUnlessInOrder(
        session,
        "STARTTLS",
        Effect.zipRight(request(session), shakeHands(session))
      )
    })
  )

/** Brings a session to TLS as its policy says, and then tells the server whom it speaks for, if it is to. */
export const byPolicy = (session: SessionContext, service: Service): Effect.Effect<void, SetupError> =>
  Effect.zipRight(toTls(session, service), introduce(session, service))

const toTls = (
  session: SessionContext,
  { ehloOrHeloIfNeeded, startTls }: Service
): Effect.Effect<void, SetupError> => {
  switch (session.settings.tls) {
    case "none":
    case "implicit":
      return Effect.void
    case "starttls":
      return Effect.catchTag(Effect.asVoid(startTls), "NotSupported", (error) =>
        Effect.zipRight(unlessPinned(session), Effect.fail(error))
      )
    case "opportunistic":
      return Effect.catchTags(Effect.zipRight(ehloOrHeloIfNeeded, Effect.asVoid(startTls)), {
        NotSupported: () => unlessPinned(session),
        CommandRefused: () => unlessPinned(session)
      })
  }
}

// An endpoint that has completed STARTTLS before does not forget how: somebody may be stripping the offer.
const unlessPinned = (session: SessionContext): Effect.Effect<void, TlsError> =>
  Effect.flatMap(session.services.cache.pinned(session.settings.endpoint), (pinned) =>
    pinned ? Effect.fail(tlsError(session, "OfferVanished")) : Effect.void
  )
