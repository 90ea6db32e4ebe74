/** Turns what ended a session, and what a pure module refused, into the errors that users see. */
import type { Phase } from "../../protocol/Command.js"
import type { Invalid } from "../../protocol/Invalid.js"
import type { Unsupported } from "../../protocol/Parameters.js"
import type { Reply } from "../../protocol/Reply.js"
import type { Disconnection, RefusedRecipient } from "../../SmtpError.js"
import {
  InvalidArgument,
  NotSupported,
  ProtocolError,
  ReplyTimeout,
  ServerDisconnected,
  TlsError
} from "../../SmtpError.js"
import type { Endpoint } from "../../SmtpSocket.js"
import type { TlsInfo } from "../../TlsUpgrade.js"
import { formatEndpoint, tlsFailureOf } from "../transport/connection.js"
import { markFailedResumption } from "../transport/resumption.js"
import type { RecentLines } from "./recentLines.js"

/**
 * Why a session ended.
 *
 * - `Disconnected`: the peer's end of stream, reset, or goodbye
 * - `Expired`: no reply, or no progress of a write, within the limit
 * - `Violated`: nothing that the server says can be matched to a command any more
 * - `Abandoned`: this side gave the connection up, because what was on the wire could not be completed
 * - `Unreached`: the server refused an earlier command as one too many and hung up: it has read nothing of this one
 */
export type Failure =
  | { readonly _tag: "Disconnected"; readonly reply: Reply | undefined; readonly cause: unknown }
  /** `isOfSend`: the limit is that of a whole send. */
  | {
      readonly _tag: "Expired"
      readonly phase: Phase
      readonly limitMillis: number
      readonly isOfSend?: boolean
    }
  | {
      readonly _tag: "Violated"
      readonly reason: string
      readonly reply: Reply | undefined
      readonly injection: boolean
    }
  | { readonly _tag: "Abandoned"; readonly reason: string }
  | { readonly _tag: "Unreached" }

/** The error for one command or message of a session that failed. */
export const disconnection = (
  failure: Failure,
  phase: Phase,
  recentLines: RecentLines,
  refused?: ReadonlyArray<RefusedRecipient>
): Disconnection => {
  const common = {
    phase,
    refused: refused?.length === 0 ? undefined : refused,
    transcript: recentLines.tail()
  }
  switch (failure._tag) {
    case "Disconnected":
      return new ServerDisconnected({ ...common, reply: failure.reply, cause: failure.cause })
    case "Expired":
      return new ReplyTimeout({ ...common, limitMillis: failure.limitMillis, ...limitOf(failure, phase) })
    case "Violated":
      return new ProtocolError({ ...common, reason: failure.reason, reply: failure.reply })
    case "Abandoned":
      return new ServerDisconnected({ ...common, cause: failure.reason })
    case "Unreached":
      return new ServerDisconnected({ ...common, cause: "the server closed the session" })
  }
}

/**
 * The error for a session that ended before the server said anything over TLS. On TLS 1.3 it may refuse the client's part
 * of the handshake, e.g. its certificate, when the client is done with it.
 */
export const lostAfterHandshake = <E extends { readonly _tag: string }>(
  error: E,
  failure: Failure | undefined,
  endpoint: Endpoint,
  tls: TlsInfo | undefined
): E | TlsError => {
  if (tls === undefined || failure?._tag !== "Disconnected" || failure.reply !== undefined) return error
  const cause = tlsFailureOf(failure.cause)
  const told =
    cause === undefined
      ? error
      : new TlsError({ endpoint: formatEndpoint(endpoint), reason: "Handshake", cause })
  return tls.resumed ? markFailedResumption(told) : told
}

export const invalidArgument = ({ field, reason }: Invalid): InvalidArgument =>
  new InvalidArgument({ field, reason })

export const notSupported = ({ extension, reason }: Unsupported): NotSupported =>
  new NotSupported({ extension, reason })

export const refusedLocally = (problem: Invalid | Unsupported): InvalidArgument | NotSupported =>
  problem._tag === "Invalid" ? invalidArgument(problem) : notSupported(problem)

/**
 * Mail on a session whose TLS is still to come: `connect` leaves STARTTLS to the program, which may forget it.
 */
export const inClear = (): InvalidArgument =>
  new InvalidArgument({
    field: "tls",
    reason: 'is "starttls", and the session is still in clear: run startTls first, or choose another policy'
  })

/** Two mail transactions at once, which no server takes. */
export const nested = (): InvalidArgument =>
  new InvalidArgument({
    field: "session",
    reason: "is in a transaction that the program drives itself; end that first, or use another session"
  })

/** A command of a transaction while the session belongs to another. */
export const busy = (): InvalidArgument =>
  new InvalidArgument({
    field: "session",
    reason:
      "has a send or a transaction in flight: wait for its end, use the methods of that transaction, or use another session"
  })

const limitOf = (
  { isOfSend, phase }: Extract<Failure, { readonly _tag: "Expired" }>,
  own: Phase
): { readonly isOfSend?: true; readonly limitPhase?: Phase } => {
  if (isOfSend === true) return { isOfSend }
  return phase === own ? {} : { limitPhase: phase }
}
