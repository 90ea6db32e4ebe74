/**
 * What the parts of a session share: its connection, its options, and the little that it remembers besides the
 * dialogue.
 */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import type * as Scope from "effect/Scope"
import type { Command } from "../../protocol/Command.js"
import { isRefusal, isSuccess } from "../../protocol/Reply.js"
import type { Options, Replies } from "../../SmtpSession.js"
import type { TlsInfo } from "../../TlsUpgrade.js"
import { defaultClientName } from "./clientName.js"
import type { Greeted, Services } from "./open.js"
import type { Driver } from "./driver.js"
import type { SessionCommands } from "./commands.js"
import * as CommandRunners from "./commands.js"
import type { Experience } from "./message.js"
import type { Settings } from "../options/session.js"
import type { Attributes } from "../telemetry/tracing.js"
import { attributesOf } from "../telemetry/tracing.js"

export interface SessionContext {
  readonly driver: Driver
  readonly commands: SessionCommands
  readonly services: Services
  readonly settings: Settings
  readonly options: Options
  readonly clientName: string
  /** Holds the sockets and the fibers of the driver. */
  readonly scope: Scope.Scope
  readonly state: SessionState
  /** What spans say of the session. */
  readonly attributes: () => Attributes
  /**
   * Whether the envelope is that of another fiber, which said MAIL by hand: what this one adds to it would go to the
   * other's recipients.
   */
  readonly isForeign: Effect.Effect<boolean>
}

export interface SessionState extends Experience {
  tls: TlsInfo | undefined
  /** Whether EHLO or HELO was accepted, since TLS began. */
  greeted: boolean
  /** Stands for the fiber that said MAIL by hand, and those that it has begun since. */
  sender: Sender | undefined
}

/** One envelope that was begun by hand. */
interface Sender {
  /** Whether it is over, or its session is. */
  readonly isDone: () => boolean
}

// The envelopes that a fiber has begun by hand, over all sessions: a reference for each session would stay with the
// fiber, and with all that it begins, when the session is long gone.
const senders = FiberRef.unsafeMake<ReadonlyArray<Sender>>([])

export const make = (
  { driver, restrained, scope, tlsInfo }: Greeted,
  services: Services,
  settings: Settings,
  options: Options
): SessionContext => {
  const state: SessionState = {
    tls: tlsInfo,
    greeted: false,
    sender: undefined,
    proven: false,
    restrained,
    leaving: false
  }

  const beginEnvelope = (): Effect.Effect<void> => {
    const sender: Sender = {
      isDone: () =>
        state.sender !== sender || driver.failure() !== undefined || !driver.dialogue.inTransaction()
    }
    state.sender = sender
    return FiberRef.update(senders, (others) => [...others.filter(({ isDone }) => !isDone()), sender])
  }

  // Whoever said EHLO or QUIT, if in the program's own words: the session has been greeted, or is over.
  const learn = (commands: ReadonlyArray<Command>, replies: ReadonlyArray<Replies>): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (commands.some(({ kind }, index) => kind === "Mail" && isAccepted(replies[index]))) {
        return beginEnvelope()
      }
      const last = commands.at(-1)
      const reply = replies[commands.length - 1]?.[0]
      if (last === undefined || reply === undefined || isRefusal(reply)) return Effect.void
      if (last.kind === "Ehlo" || last.kind === "Helo") state.greeted = true
      return last.kind === "Quit" ? driver.close : Effect.void
    })

  const attributes = (): Attributes =>
    attributesOf(settings.endpoint, driver.connection().addresses, settings.dialect)

  return {
    driver,
    attributes,
    commands: CommandRunners.make(driver, attributes, learn),
    services,
    settings,
    options,
    clientName: settings.clientName ?? defaultClientName(driver.connection().addresses.localAddress),
    scope,
    state,
    isForeign: Effect.map(
      FiberRef.get(senders),
      (own) => driver.dialogue.inTransaction() && state.sender !== undefined && !own.includes(state.sender)
    )
  }
}

const isAccepted = (replies: Replies | undefined): boolean => replies !== undefined && isSuccess(replies[0])
