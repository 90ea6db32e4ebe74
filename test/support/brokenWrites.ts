/**
 * A transport whose writes can be made to fail, as a socket's do whose peer no longer takes anything, while what the
 * peer says still comes in.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { ConnectionLost, SmtpSocket } from "../../src/SmtpSocket.js"

export const breakable = <R>(
  transport: Context.Context<R | SmtpSocket>
): { readonly breakWrites: Effect.Effect<void>; readonly transport: Context.Context<R | SmtpSocket> } => {
  let broken = false
  const inner = Context.get(transport, SmtpSocket)
  const lost = Effect.fail(new ConnectionLost({ operation: "write", cause: new Error("write EPIPE") }))
  const socket = SmtpSocket.of({
    dial: (endpoint, options) =>
      Effect.map(inner.dial(endpoint, options), (connection) => ({
        ...connection,
        write: (octets) => Effect.suspend(() => (broken ? lost : connection.write(octets)))
      }))
  })
  return {
    breakWrites: Effect.sync(() => {
      broken = true
    }),
    transport: Context.add(transport, SmtpSocket, socket)
  }
}
