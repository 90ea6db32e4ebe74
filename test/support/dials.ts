/**
 * Counts the connections that a transport is asked for, and those of them whose scope is still open.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { SmtpSocket } from "../../src/SmtpSocket.js"

export interface Dials {
  readonly count: number
  readonly open: number
  /** The most that were open at the same time. */
  readonly openAtOnce: number
}

/** The transport with a socket that counts; `addressOf` is what its nth connection says of the other end. */
export const counting = <R>(
  transport: Context.Context<R | SmtpSocket>,
  addressOf?: (index: number) => string
): { readonly dials: () => Dials; readonly transport: Context.Context<R | SmtpSocket> } => {
  const dials = { count: 0, open: 0, openAtOnce: 0 }
  const opened = (): void => {
    dials.count++
    dials.open++
    dials.openAtOnce = Math.max(dials.openAtOnce, dials.open)
  }
  const inner = Context.get(transport, SmtpSocket)
  const socket = SmtpSocket.of({
    dial: (endpoint, options) =>
      Effect.gen(function* () {
        yield* Effect.acquireRelease(Effect.sync(opened), () => Effect.sync(() => dials.open--))
        const connection = yield* inner.dial(endpoint, options)
        const addresses = { ...connection.addresses, remoteAddress: addressOf?.(dials.count) }
        return addressOf === undefined ? connection : { ...connection, addresses }
      })
  })
  return { dials: () => ({ ...dials }), transport: Context.add(transport, SmtpSocket, socket) }
}
