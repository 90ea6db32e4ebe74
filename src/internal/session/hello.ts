/**
 * EHLO, HELO and LHLO: who says which, and when one stands in for the other (RFC 5321 section 4.1.1.1, RFC 2033
 * section 4.1).
 */
import * as Effect from "effect/Effect"
import * as Commands from "../../protocol/Command.js"
import { isRefusal } from "../../protocol/Reply.js"
import { HeloError, InvalidArgument } from "../../SmtpError.js"
import type { Service } from "../../SmtpSession.js"
import type { SessionContext } from "./context.js"

export interface Hello {
  readonly methods: Pick<Service, "ehlo" | "helo" | "lhlo" | "ehloOrHeloIfNeeded">
  /** EHLO if nothing was said yet, for what HELO could not grant. */
  readonly ehloIfNeeded: Service["ehloOrHeloIfNeeded"]
}

// RFC 5321 section 3.2: HELO is for servers that do not know EHLO, not for those that refuse this client.
const isUnknownEhlo = (code: number): boolean => [500, 501, 502, 504, 550].includes(code)

export const make = (session: SessionContext): Hello => {
  const { commands, clientName, state, settings } = session
  const { dialect, endpoint } = settings
  const { cache } = session.services

  const sayEhlo: Service["ehlo"] = Effect.gen(function* () {
    const verb = dialect === "lmtp" ? "LHLO" : "EHLO"
    const reply = yield* commands.one(Commands.ehlo(clientName, verb))
    if (isRefusal(reply)) return yield* new HeloError({ command: verb, reply })
    const security = state.tls === undefined ? "clear" : "tls"
    yield* cache.put({ endpoint, dialect, security }, reply.lines)
    return reply
  })

  const sayHelo: Service["ehlo"] = Effect.gen(function* () {
    const reply = yield* commands.one(Commands.helo(clientName))
    return isRefusal(reply) ? yield* new HeloError({ command: "HELO", reply }) : reply
  })

  const mayFallBack: Effect.Effect<boolean> = Effect.suspend(() => {
    const onlyEhloGrants = settings.tls === "starttls" || session.options.auth !== undefined
    if (dialect === "lmtp" || onlyEhloGrants || state.tls !== undefined) return Effect.succeed(false)
    return Effect.map(cache.pinned(endpoint), (pinned) => !pinned)
  })

  const greet: Service["ehloOrHeloIfNeeded"] = Effect.catchTag(Effect.asVoid(sayEhlo), "HeloError", (error) =>
    Effect.flatMap(mayFallBack, (allowed) =>
      allowed && isUnknownEhlo(error.reply.code) ? Effect.asVoid(sayHelo) : Effect.fail(error)
    )
  )

  // Asked again once the session is this fiber's: another may have said it in the meantime.
  const unlessGreeted = <E>(use: Effect.Effect<void, E>): Effect.Effect<void, E> =>
    Effect.suspend(() => (state.greeted ? Effect.void : use))

  const wrongDialect = (command: string, needed: string): InvalidArgument =>
    new InvalidArgument({ field: "dialect", reason: `is ${dialect}, and ${command} belongs to ${needed}` })

  const ifNeeded = (use: Service["ehloOrHeloIfNeeded"]): Service["ehloOrHeloIfNeeded"] =>
    unlessGreeted(commands.together("commands", unlessGreeted(use)))

  const methods: Hello["methods"] = {
    ehlo: sayEhlo,
    helo: dialect === "lmtp" ? Effect.suspend(() => Effect.fail(wrongDialect("HELO", "smtp"))) : sayHelo,
    lhlo: dialect === "smtp" ? Effect.suspend(() => Effect.fail(wrongDialect("LHLO", "lmtp"))) : sayEhlo,
    ehloOrHeloIfNeeded: ifNeeded(greet)
  }
  return { methods, ehloIfNeeded: ifNeeded(Effect.asVoid(sayEhlo)) }
}
