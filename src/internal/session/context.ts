/** What the parts of a session share. */
import type * as Scope from "effect/Scope"
import type { Options } from "../../SmtpSession.js"
import type { TlsInfo } from "../../TlsUpgrade.js"
import { defaultClientName } from "./clientName.js"
import type { Greeted, Services } from "./open.js"
import type { Driver } from "./driver.js"
import type { CommandRunner } from "./commands.js"
import { makeCommandRunner } from "./commands.js"
import type { SendState } from "./messageContext.js"
import type { SessionSettings } from "../options/session.js"
import type { Attributes } from "../telemetry/tracing.js"
import { attributesOf } from "../telemetry/tracing.js"

export interface SessionContext {
  readonly driver: Driver
  readonly commands: CommandRunner
  readonly services: Services
  readonly settings: SessionSettings
  readonly options: Options
  readonly clientName: string
  /** Holds the sockets and the fibers of the driver. */
  readonly scope: Scope.Scope
  readonly state: SessionState
  /** What spans say of the session. */
  readonly attributes: () => Attributes
}

/** What a session remembers besides its dialogue. */
export interface SessionState extends SendState {
  tls: TlsInfo | undefined
}

export const makeContext = (
  { driver, restrained, scope, tlsInfo, toldEarly }: Greeted,
  services: Services,
  settings: SessionSettings,
  options: Options
): SessionContext => {
  const attributes = (): Attributes =>
    attributesOf(settings.endpoint, driver.connection().addresses, settings.dialect)
  return {
    driver,
    attributes,
    commands: makeCommandRunner(driver, attributes),
    services,
    settings,
    options,
    clientName: settings.clientName ?? defaultClientName(driver.connection().addresses.localAddress),
    scope,
    state: { tls: tlsInfo, proven: false, takesBdat: false, restrained, toldEarly }
  }
}

/** Whether a message or a transaction has the turn. */
export const isOccupied = ({ driver }: SessionContext): boolean => {
  const holder = driver.turnHolder()
  return holder !== undefined && holder.purpose !== "commands"
}

/** Whether the program has sent MAIL by hand and its transaction is still open. */
export const isTransactionByHand = (session: SessionContext): boolean =>
  session.driver.failure() === undefined && session.driver.dialogue.inTransaction() && !isOccupied(session)

export const isVerified = ({ state }: SessionContext): boolean => state.tls?.verified === true

/** Whether mail would be sent in clear although the options ask for TLS. */
export const isUnprotected = ({ settings, state }: SessionContext): boolean =>
  settings.tls === "starttls" && state.tls === undefined
