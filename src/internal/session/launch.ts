/**
 * Content in memory on its way through a session without a fiber: one is begun only if the message asks for what a
 * fiber alone can do.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type { InvalidArgument } from "../../SmtpError.js"
import type { Receipt } from "./account.js"
import type { PreparedBytes } from "../content/content.js"
import type { Port } from "./deliver.js"
import { reportUnheard, serve } from "./deliver.js"
import { warnOf } from "./logUnknown.js"
import * as Messages from "./message.js"
import * as Meter from "../telemetry/meter.js"
import type { Request } from "./request.js"

/** Whoever waits for a message that was launched. */
export interface Waiting {
  /** Runs what a fiber has to do. */
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>
  /** The message has come to its end; not called once it was given up. */
  readonly ended: (exit: Exit.Exit<Receipt, InvalidArgument>) => void
  /** What became of a message that was given up. */
  readonly unheard: (receipt: Receipt) => void
}

/** Sends a message; what is returned gives it up. */
export const launch = (
  port: Port,
  request: Request,
  content: PreparedBytes,
  { ended, fork, unheard }: Waiting
): (() => void) => {
  const report = reportUnheard(port, request)
  let fiber: Fiber.RuntimeFiber<Receipt, InvalidArgument> | undefined
  let isGivenUp = false

  const message = Messages.make(port, request, (receipt, unsettled) => {
    report(receipt, unsettled)
    unheard(receipt)
  })

  const settled = (receipt: Receipt): Receipt => {
    Meter.settled(receipt)
    if (receipt.unknown.length > 0) fork(warnOf(request, content, receipt))
    return receipt
  }

  message.listen((demand) => {
    if (demand._tag === "Settled") {
      ended(Exit.succeed(settled(demand.receipt)))
    } else if (demand._tag === "Refused") {
      ended(Exit.fail(demand.error))
    } else {
      fiber = fork(Effect.map(serve<never, never>(port, request, content, message, demand), settled))
      fiber.addObserver((exit) => {
        // Should it be interrupted before it has begun to guard the message, nobody else gives that up.
        if (Exit.isInterrupted(exit)) message.abandon()
        if (!isGivenUp) ended(exit)
      })
    }
  })
  message.begin(content)

  return () => {
    isGivenUp = true
    message.abandon()
    fiber?.unsafeInterruptAsFork(FiberId.none)
  }
}
