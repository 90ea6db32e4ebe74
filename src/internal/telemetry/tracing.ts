/**
 * Spans under OpenTelemetry's names: one for each send, in a client and on a session, and one for each command, from its
 * line to its reply. Nothing is made without a tracer. Spans hold neither credentials nor content nor addresses.
 */
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { AnyFiber } from "../effect/runtime.js"
import { withFiber } from "../effect/runtime.js"
import type { Command } from "../../protocol/Command.js"
import type { Reply } from "../../protocol/Reply.js"
import { formatEnhancedCode } from "../../protocol/Reply.js"
import type { Receipt } from "../../SmtpReceipt.js"
import type { Addresses, Endpoint } from "../../SmtpSocket.js"

/** Makes the spans of one owner's commands. */
export interface CommandTrace {
  readonly sent: (command: Command) => void
  readonly replied: (command: Command, reply: Reply, more: boolean) => void
  /** No reply comes any more. */
  readonly failed: (reason: string) => void
}

/** What every span of a session says. */
export type Attributes = Readonly<Record<string, string | number>>

export const attributesOf = (
  endpoint: Endpoint,
  { remoteAddress, remotePort }: Addresses,
  dialect: "smtp" | "lmtp"
): Attributes => ({
  "network.protocol.name": dialect,
  ...(endpoint._tag === "Tcp"
    ? { "server.address": endpoint.host, "server.port": endpoint.port }
    : { "server.address": endpoint.path }),
  ...(remoteAddress === undefined ? {} : { "network.peer.address": remoteAddress }),
  ...(remotePort === undefined ? {} : { "network.peer.port": remotePort })
})

const nativeTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Whether somebody sees the spans of a fiber: Effect's own tracer keeps them to itself. */
export const isTraced = (fiber: AnyFiber): boolean =>
  fiber.currentTracer !== nativeTracer && fiber.getFiberRef(FiberRef.currentTracerEnabled)

/** The trace of commands that this fiber submits; `undefined` where nobody traces. */
export const commandsOf = (
  fiber: AnyFiber,
  attributes: () => Attributes,
  now: () => number
): CommandTrace | undefined =>
  isTraced(fiber) ? new CommandSpans(fiber.currentTracer, fiber.currentSpan, attributes(), now) : undefined

class CommandSpans implements CommandTrace {
  private readonly open: Array<Tracer.Span> = []
  private isBroken = false

  constructor(
    private readonly tracer: Tracer.Tracer,
    private readonly parent: Tracer.AnySpan | undefined,
    private readonly attributes: Attributes,
    private readonly now: () => number
  ) {}

  sent({ verb }: Command): void {
    this.attempt(() => {
      const parent = Option.fromNullable(this.parent)
      const span = this.tracer.span(`SMTP ${verb}`, parent, Context.empty(), [], this.time(), "client")
      for (const [name, value] of Object.entries(this.attributes)) span.attribute(name, value)
      span.attribute("smtp.command", verb)
      this.open.push(span)
    })
  }

  replied({ kind }: Command, { code, enhancedCode }: Reply, more: boolean): void {
    this.attempt(() => {
      const [span] = this.open
      if (span === undefined) return
      span.attribute("smtp.reply.code", code)
      if (enhancedCode !== undefined) {
        span.attribute("smtp.reply.enhanced_code", formatEnhancedCode(enhancedCode))
      }
      // DATA lasts until the verdict on the content.
      const goesOn = (kind === "Data" && code === 354) || more
      if (goesOn) return
      // A refused recipient is an outcome, and no error of the send.
      const isError = code >= 400 && kind !== "Rcpt"
      this.end(isError ? Exit.fail(`the server answered ${code}`) : Exit.void)
    })
  }

  failed(reason: string): void {
    this.attempt(() => {
      while (this.open.length > 0) this.end(Exit.fail(reason))
    })
  }

  private time(): bigint {
    return BigInt(Math.round(this.now() * 1_000_000))
  }

  private end(exit: Exit.Exit<unknown, unknown>): void {
    this.open.shift()?.end(this.time(), exit)
  }

  /** A tracer that throws is not called again: mail is worth more than its spans. */
  private attempt(tell: () => void): void {
    if (this.isBroken) return
    try {
      tell()
    } catch {
      this.isBroken = true
    }
  }
}

/** Puts a send into a span, if somebody traces. That of a client holds those of its attempts, and the waits between. */
export const ofSend = <A, E, R>(
  name: "SMTP send" | "SmtpClient send",
  attributes: () => Attributes,
  recipients: number,
  send: (fiber: AnyFiber) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  withFiber((outer) =>
    isTraced(outer)
      ? Effect.withSpan(withFiber(send), name, {
          kind: "client",
          attributes: { ...attributes(), "smtp.recipients": recipients }
        })
      : send(outer)
  )

/** Adds what became of the recipients to the span of `ofSend`. */
export const tellReceipt = (fiber: AnyFiber, receipt: Receipt): void => {
  const span = fiber.currentSpan
  if (!isTraced(fiber) || span?._tag !== "Span") return
  span.attribute("smtp.recipients.accepted", receipt.accepted.length)
  span.attribute("smtp.recipients.refused", receipt.refused.length)
  span.attribute("smtp.recipients.not_sent", receipt.notSent.length)
  span.attribute("smtp.recipients.unknown", receipt.unknown.length)
  const [first] = receipt.accepted
  if (first?.queueId !== undefined) span.attribute("smtp.queue_id", first.queueId)
  if (receipt.content !== undefined) span.attribute("smtp.message.octets", receipt.content.octets)
}
