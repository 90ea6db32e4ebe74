/**
 * A connected net.Socket (or TLSSocket) as a Connection. The stream stays paused and is read on demand, so that
 * Node buffers no more than its high-water mark; a failed write does not end the reading, since what the peer said
 * before it went is often the reason.
 */
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import type { Addresses, Connection } from "../../SmtpSocket.js"
import { ConnectionLost } from "../transport/connection.js"
import * as Wakeup from "../effect/wakeup.js"
import type { Reader, DirectConnection } from "../transport/directConnection.js"
import { register } from "../transport/directConnection.js"

/** A Connection whose writes can be failed by the transport below it. */
export interface NodeConnection extends Connection {
  /** Fails the writes that wait and all later ones; reading goes on. */
  readonly failWrites: (cause: unknown) => void
}

interface Handover {
  readonly socket: Net.Socket
  /** Ends the use of the connection without closing the socket. */
  readonly detach: () => void
  readonly destroyFirst: (above: () => void) => void
}

/**
 * The socket behind a Connection of ours. Module-private state, because the socket must reach TlsUpgrade and
 * nobody else; it holds nothing alive.
 */
const handovers = new WeakMap<Connection, Handover>()

/**
 * Takes the socket out of one of our connections, which then can only be destroyed; `undefined` for a connection
 * of another transport.
 */
export const takeSocket = (connection: Connection): Net.Socket | undefined => {
  const handover = handovers.get(connection)
  if (handover === undefined) return undefined
  handover.detach()
  return handover.socket
}

/**
 * Says what has been built on the socket of one of our connections: whoever destroys that destroys this before. Below
 * a live TLS socket Node crashes, now and then, when its socket goes first.
 */
export const destroyFirst = (connection: Connection, above: () => void): void => {
  handovers.get(connection)?.destroyFirst(above)
}

/** Destroys a socket in any state; whatever it still has to report is ignored. */
export const destroySocket = (socket: Net.Socket): void => {
  if (!socket.listeners("error").includes(ignore)) socket.on("error", ignore)
  socket.destroy()
}

const ignore = () => undefined

/**
 * Node destroys a socket whose write failed, and with it every octet that the kernel still holds for reading.
 * Here the failure is put to `takes` instead; where that takes it, the socket goes on reading until its end, error or
 * close.
 */
const reportWriteErrors = (socket: Net.Socket, takes: (cause: unknown) => boolean): void => {
  type Callback = (error?: Error | null) => void
  const guarded =
    (callback: Callback): Callback =>
    (error) => {
      if (error === undefined || error === null || !takes(error)) callback(error)
      else callback()
    }
  const write = socket._write.bind(socket)
  const writev = socket._writev?.bind(socket)
  socket._write = (chunk: unknown, encoding, callback) => write(chunk, encoding, guarded(callback))
  if (writev !== undefined) socket._writev = (chunks, callback) => writev(chunks, guarded(callback))
}

const addressesOf = (socket: Net.Socket): Addresses => ({
  remoteAddress: socket.remoteAddress,
  remotePort: socket.remotePort,
  localAddress: socket.localAddress,
  localPort: socket.localPort
})

export const fromNodeSocket = (
  socket: Net.Socket,
  options?: {
    readonly addresses?: Addresses | undefined
    /** What lies below the socket and is destroyed with it. */
    readonly onDestroy?: (() => void) | undefined
  }
): NodeConnection => {
  const reading = Wakeup.make()
  const writing = Wakeup.make()
  /** Why this connection, whatever its socket does, is over. An error is only made for whoever asks: most never are. */
  let unusable: string | undefined
  let destroyAbove: () => void = () => undefined
  let closed = false
  let lost: unknown = socket.errored ?? undefined
  let writeFailed: unknown

  const wakeAll = () => {
    onReadable()
    writing.wake()
  }
  const failWrites = (cause: unknown) => {
    writeFailed ??= cause
    writing.wake()
  }
  const onReadable = () => {
    readDirectly()
    reading.wake()
  }
  const onError = (cause: unknown) => {
    lost ??= cause
    wakeAll()
  }
  const onClose = () => {
    closed = true
    wakeAll()
  }

  reportWriteErrors(socket, (cause) => {
    // The next owner of the socket has its own way with it.
    if (socket.destroyed || unusable !== undefined) return false
    failWrites(cause)
    return true
  })
  socket.on("readable", onReadable)
  socket.on("end", onReadable)
  socket.on("error", onError)
  socket.on("close", onClose)

  /** Octets, the end of the stream, why nothing more can be read, or `undefined`: nothing yet. */
  const look = (): Uint8Array | "End" | ConnectionLost | undefined => {
    if (unusable !== undefined) return lostIn("read", new Error(unusable))
    const octets: unknown = socket.read()
    if (octets instanceof Uint8Array) return octets
    if (socket.readableEnded) return "End"
    return lost === undefined && !closed && !socket.closed
      ? undefined
      : lostIn("read", lost ?? new Error("the connection is closed"))
  }

  const lookForOctets = (): Effect.Effect<Uint8Array | undefined, ConnectionLost> | undefined => {
    const found = look()
    if (found === undefined) return undefined
    if (found === "End") return Effect.succeed(undefined)
    return found instanceof Uint8Array ? Effect.succeed(found) : Effect.fail(found)
  }

  let reader: Reader | undefined

  const readDirectly = (): void => {
    while (reader !== undefined) {
      const found = look()
      if (found === undefined) return
      const hearing = reader
      if (found instanceof Uint8Array) {
        hearing.received(found)
      } else {
        reader = undefined
        hearing.ended(found === "End" ? undefined : found)
      }
    }
  }

  const writeFailure = (): ConnectionLost | undefined => {
    if (unusable !== undefined) return lostIn("write", new Error(unusable))
    const cause = writeFailed ?? lost
    if (cause !== undefined) return lostIn("write", cause)
    return closed || socket.destroyed || socket.writableEnded
      ? lostIn("write", new Error("the connection is closed for writing"))
      : undefined
  }

  /** Whether the write is through, failed, or neither yet. */
  type Progress = () => "Through" | ConnectionLost | undefined

  const begin = (octets: ReadonlyArray<Uint8Array>): Progress => {
    const failure = writeFailure()
    if (failure !== undefined) return () => failure
    let flushed = false
    writeAll(socket, octets, (error) => {
      if (error === undefined || error === null) flushed = writeFailed === undefined
      else failWrites(error)
      writing.wake()
    })
    if (socket.writableLength === 0) return () => writeFailure() ?? "Through"
    return () => (flushed ? "Through" : writeFailure())
  }

  const write = (octets: ReadonlyArray<Uint8Array>): Effect.Effect<void, ConnectionLost> =>
    Effect.suspend(() => {
      const progress = begin(octets)
      return Wakeup.until(writing, () => {
        const outcome = progress()
        if (outcome === undefined) return undefined
        return outcome === "Through" ? Effect.void : Effect.fail(outcome)
      })
    })

  const writeDirectly: DirectConnection["write"] = (octets, written) => {
    const progress = begin(octets)
    const attempt = (): void => {
      const outcome = progress()
      if (outcome === undefined) writing.listen(attempt)
      else written(outcome === "Through" ? undefined : outcome)
    }
    attempt()
  }

  const destroy = Effect.sync(() => {
    unusable ??= "the connection was destroyed on this side"
    destroyAbove()
    destroySocket(socket)
    options?.onDestroy?.()
    wakeAll()
  })

  const connection: NodeConnection = {
    pull: Wakeup.until(reading, lookForOctets),
    write,
    buffered: () => (unusable === undefined ? socket.readableLength : 0),
    destroy,
    addresses: options?.addresses ?? addressesOf(socket),
    failWrites
  }
  register(connection, {
    read: (next) => {
      reader = next
      readDirectly()
    },
    stop: () => {
      reader = undefined
    },
    write: writeDirectly
  })
  handovers.set(connection, {
    socket,
    detach: () => {
      unusable ??= "the connection was handed to TLS"
      socket.off("readable", onReadable)
      socket.off("end", onReadable)
      wakeAll()
    },
    destroyFirst: (above) => {
      destroyAbove = above
    }
  })
  return connection
}

const lostIn = (operation: "read" | "write", cause: unknown): ConnectionLost =>
  new ConnectionLost({ operation, cause })

/** One call of the operating system for all arrays, as far as it takes them. */
const writeAll = (
  socket: Net.Socket,
  octets: ReadonlyArray<Uint8Array>,
  onFlush: (error?: Error | null) => void
): void => {
  const [only] = octets
  if (octets.length === 1 && only !== undefined && only.length > 0) {
    socket.write(only, onFlush)
    return
  }
  const arrays = octets.filter((array) => array.length > 0)
  const last = arrays.pop()
  if (last === undefined) return
  socket.cork()
  for (const array of arrays) socket.write(array)
  socket.write(last, onFlush)
  socket.uncork()
}
