/**
 * The sink's sockets: one listener for each measurement, so that nothing left behind by one peer reaches the next.
 */
import type { AddressInfo, Server, Socket } from "node:net"
import { createServer } from "node:net"
import type { SecureContext } from "node:tls"
import { createSecureContext, TLSSocket } from "node:tls"
import type { Shape } from "../content.js"
import { makeDelay } from "./delay.js"
import type { Offer, Receiver } from "./receiver.js"
import { greeting, makeReceiver } from "./receiver.js"
import type { Account, Expectation, Tally } from "./tally.js"
import { makeTally } from "./tally.js"
import type { Trips } from "./trips.js"
import { makeTrips } from "./trips.js"
import { makeVerifier } from "./verifier.js"

/** With it STARTTLS is offered, and AUTH PLAIN behind it. */
export interface Security {
  readonly certificate: string
  readonly key: string
  readonly user: string
  readonly password: string
}

export interface SinkOptions {
  readonly shape: Shape
  readonly expectation: Expectation
  /** Round-trip delay in milliseconds. */
  readonly delay: number
  readonly security: Security | undefined
}

export interface Sink {
  readonly port: number
  /** Ends every connection and gives the account. */
  readonly close: () => Promise<Account>
}

interface Context {
  readonly options: SinkOptions
  readonly tally: Tally
  readonly secureContext: SecureContext | undefined
}

const plainResponse = ({ password, user }: Security): string =>
  Buffer.from(`\0${user}\0${password}`).toString("base64")

const offerOf = ({ security }: SinkOptions, secured: boolean): Offer => ({
  startTls: security !== undefined && !secured,
  plain: security !== undefined && secured ? plainResponse(security) : undefined
})

/** A full handshake is one round trip under TLS 1.3; under TLS 1.2 it is two, and one when a session is resumed. */
const handshakeTrips = (socket: TLSSocket): number =>
  socket.getProtocol() === "TLSv1.3" || socket.isSessionReused() ? 1 : 2

const secure = (socket: Socket, context: Context, trips: Trips): void => {
  const { secureContext } = context
  if (secureContext === undefined) return
  const secured = new TLSSocket(socket, { isServer: true, secureContext })
  secured.once("secure", () => trips.add(handshakeTrips(secured)))
  secured.on("error", () => socket.destroy())
  converse(secured, context, trips, true)
}

const converse = (socket: Socket, context: Context, trips: Trips, secured: boolean): void => {
  const { options, tally } = context
  const verifier = makeVerifier(options.shape)
  const receiver: Receiver = makeReceiver(
    offerOf(options, secured),
    options.expectation,
    verifier,
    tally.message
  )

  const finish = (): void => {
    const next = receiver.next()
    if (next === "Close") socket.end()
    if (next !== "Secure") return
    socket.removeAllListeners("data")
    secure(socket, context, trips)
  }

  const respond = makeDelay(options.delay, ({ text, trip }) => {
    socket.write(text, "latin1")
    trips.left(trip)
    if (receiver.next() !== "Read") finish()
  })

  socket.on("data", (octets: Buffer) => {
    const trip = trips.read(receiver.isMidway())
    const text = receiver.read(octets)
    if (text !== "") respond({ text, trip })
    else if (receiver.next() === "Close") socket.destroy()
  })
  if (!secured) respond({ text: greeting, trip: 1 })
}

const accept = (socket: Socket, context: Context): void => {
  context.tally.connected()
  socket.setNoDelay(true)
  // A peer that goes away in the middle shows by what is missing.
  socket.on("error", () => socket.destroy())
  converse(socket, context, makeTrips(context.tally.trips), false)
}

const portOf = (address: AddressInfo | string | null): number =>
  address === null || typeof address === "string" ? 0 : address.port

const listen = (server: Server): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => resolve(portOf(server.address())))
  })

/** Listens on a free port of 127.0.0.1 for one measurement. */
export const openSink = async (options: SinkOptions): Promise<Sink> => {
  const tally = makeTally(options.expectation)
  const { security } = options
  const secureContext =
    security === undefined
      ? undefined
      : createSecureContext({ cert: security.certificate, key: security.key })
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.once("close", () => open.delete(socket))
    accept(socket, { options, tally, secureContext })
  })
  const port = await listen(server)
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve(tally.account()))
        for (const socket of open) socket.destroy()
      })
  }
}
