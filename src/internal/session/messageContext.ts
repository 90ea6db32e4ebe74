/** What a session is to its messages, and what that lets them do: the plan, and what may leave behind a message. */
import type * as Effect from "effect/Effect"
import type { Framing } from "../../protocol/Content.js"
import type { ContentFacts, Plan } from "../../protocol/Plan.js"
import * as Plans from "../../protocol/Plan.js"
import type { Disconnection, HeloError, InvalidArgument } from "../../SmtpError.js"
import { ContentError, NotSupported } from "../../SmtpError.js"
import type { AnyFiber } from "../effect/runtime.js"
import type { Prepared } from "../content/model.js"
import type { SessionSettings } from "../options/session.js"
import type { Attributes } from "../telemetry/tracing.js"
import type { Driver, Failure, Turn } from "./driver.js"
import type { ToldEarly } from "./logUnknown.js"
import type { Request } from "./request.js"

export interface MessageContext {
  readonly driver: Driver
  readonly dialect: "smtp" | "lmtp"
  readonly settings: Pick<
    SessionSettings,
    "pipelining" | "chunking" | "resetBetween" | "eagerWithin" | "window"
  >
  readonly verifiedTls: () => boolean
  /** Whether EHLO or HELO was accepted. */
  readonly greeted: () => boolean
  /** Says EHLO, or HELO, in the turn that has begun. */
  readonly greet: (turn: Turn) => Effect.Effect<void, HeloError | Disconnection>
  /** Whether mail would go in clear though the program has asked for TLS. */
  readonly unprotected: () => boolean
  /** Whether a transaction by hand excludes messages of this fiber. */
  readonly isExcluded: (fiber: AnyFiber) => boolean
  readonly state: SendState
  /** What spans say of the session. */
  readonly attributes: () => Attributes
}

/** What the session has shown so far, which tells how much may be under way at once. */
export interface SendState {
  /** The server has given its verdict on a message of this session. */
  proven: boolean
  /** The server has accepted a chunk: it does not read BDAT as commands, as a proxy that passes CHUNKING on may. */
  takesBdat: boolean
  /** The endpoint hangs up on too many commands: RSET is to be spared. */
  restrained: boolean
  /** Of a session with `chunking: "eager"`. */
  readonly toldEarly: ToldEarly | undefined
}

/** What a message needs a fiber for. It goes on once that is answered. */
export type Demand =
  /** EHLO, in the message's turn; then `greeted`. */
  | { readonly _tag: "Greet" }
  /** A look at the stream; then `inspected` or `contentFailed`. */
  | { readonly _tag: "Inspect" }
  /** The content of the transaction, by `put`; then `contentSent` or `contentFailed`. */
  | { readonly _tag: "Send"; readonly require7bit: boolean }

/** The program asked for what cannot be done. Nothing was sent. */
export interface NotAllowed {
  readonly _tag: "NotAllowed"
  readonly error: InvalidArgument
}

/** The most bytes of content that leave in one write with their commands. */
export const wholeLength = 262_144

export const inMidContent: Failure = {
  _tag: "Abandoned",
  reason: "a message was abandoned in the middle of its content"
}

export const planFor = (
  { dialect, driver, settings, state, verifiedTls }: MessageContext,
  { envelope, policy }: Request,
  facts: ContentFacts
): ReturnType<typeof Plans.plan> => {
  const { chunking, eagerWithin, pipelining } = settings
  return Plans.plan(envelope, facts, {
    capabilities: driver.dialogue.capabilities(),
    dialect,
    verifiedTls: verifiedTls(),
    mails: driver.dialogue.mails(),
    isAwake: state.proven && state.takesBdat && !state.restrained && driver.silentFor() <= eagerWithin,
    now: driver.now(),
    pipelining,
    chunking,
    recipients: policy
  })
}

/** Why a message that has had a transaction may have no other. */
export const whyNoFurther = (
  { driver: { dialogue } }: MessageContext,
  content: Prepared<unknown, unknown> | undefined
): ContentError | NotSupported | undefined => {
  if (content?._tag === "Stream" && !content.replayable) {
    const detail = "it can be run only once, and the server takes fewer recipients at a time"
    return new ContentError({ reason: "UsedTwice", detail })
  }
  const { mailMax } = dialogue.capabilities().limits
  return mailMax === undefined || dialogue.mails() < mailMax
    ? undefined
    : new NotSupported({ extension: "LIMITS", reason: Plans.mailMaxReached(mailMax) })
}

/**
 * Whether the next message may follow in the same write. RFC 2033 section 4.2 forbids it for LMTP. The first message
 * of a session goes alone, to see what the server does.
 */
export const mayBeFollowed = (
  { dialect, driver, settings, state }: MessageContext,
  { ahead }: Plan
): boolean =>
  dialect === "smtp" &&
  driver.dialogue.capabilities().pipelining &&
  state.proven &&
  !state.restrained &&
  (settings.pipelining === "overlap" || ahead === "content")

/**
 * Whether the server may read a chunk as commands, because it has accepted none yet: no whole line of the content may
 * leave.
 */
export const mustProveBdat = ({ state }: MessageContext, framing: Framing): boolean =>
  framing === "bdat" && !state.takesBdat

/** Whether a chunk waits for the reply to the one before: behind the first, and without PIPELINING (RFC 2920). */
export const areChunksAlone = (session: MessageContext, framing: Framing): boolean =>
  mustProveBdat(session, framing) ||
  (framing === "bdat" && !session.driver.dialogue.capabilities().pipelining)

/** What a transaction before this one may have left behind is reset; behind BDAT it must be (RFC 3030). */
export const beginTransaction = ({ driver, settings, state }: MessageContext): void => {
  if (driver.dialogue.head() === undefined) state.toldEarly?.clear()
  else if (settings.resetBetween || settings.chunking !== "off") driver.reset()
}
