/**
 * A connected net.Socket (or TLSSocket) as a Connection. The stream stays paused and is read on demand, so that Node
 * buffers no more than its high-water mark. A failed write does not end the reading: what the peer sent before it left
 * is often the reason.
 */
import * as Effect from "effect/Effect"
import type * as Net from "node:net"
import type { Addresses, Connection } from "../../SmtpSocket.js"
import * as Wakeup from "../effect/wakeup.js"
import { ConnectionLost } from "../transport/connection.js"
import type { DirectConnection, Reader } from "../transport/directConnection.js"
import { register } from "../transport/directConnection.js"

export interface NodeConnection extends Connection {
  /** Fails pending and later writes; reading goes on. */
  readonly failWrites: (cause: unknown) => void
}

/** The sockets behind our connections, for TlsUpgrade alone. Weak, so that it keeps nothing alive. */
const socketsInUse = new WeakMap<Connection, SocketInUse>()

/**
 * Takes the socket out of one of our connections, which then can only be destroyed; `undefined` for a connection of
 * another transport.
 */
export const takeSocket = (connection: Connection): Net.Socket | undefined => {
  const inUse = socketsInUse.get(connection)
  inUse?.detach()
  return inUse?.socket
}

/**
 * Registers what is built on the socket of one of our connections and must be destroyed before it. Node sometimes
 * crashes if the socket below a live TLS socket is destroyed first.
 */
export const destroyFirst = (connection: Connection, above: () => void): void => {
  const inUse = socketsInUse.get(connection)
  if (inUse !== undefined) inUse.destroyAbove = above
}

/** Destroys a socket in any state, and ignores the errors that it still reports. */
export const destroySocket = (socket: Net.Socket): void => {
  if (!socket.listeners("error").includes(ignore)) socket.on("error", ignore)
  socket.destroy()
}

const ignore = () => undefined

export const fromNodeSocket = (
  socket: Net.Socket,
  options?: {
    readonly addresses?: Addresses | undefined
    /** Destroys what lies below the socket. */
    readonly onDestroy?: (() => void) | undefined
  }
): NodeConnection => {
  const inUse = new SocketInUse(socket, options?.onDestroy ?? ignore)
  const connection: NodeConnection = {
    pull: Wakeup.until(inUse.reading, () => inUse.pulled()),
    write: (bytes) =>
      Effect.suspend(() => {
        const progress = inUse.begin(bytes)
        return Wakeup.until(inUse.writing, (): Effect.Effect<void, ConnectionLost> | undefined => {
          const outcome = progress()
          return outcome === "Flushed" ? Effect.void : outcome
        })
      }),
    buffered: () => inUse.buffered(),
    destroy: Effect.sync(() => inUse.destroy()),
    addresses: options?.addresses ?? {
      remoteAddress: socket.remoteAddress,
      remotePort: socket.remotePort,
      localAddress: socket.localAddress,
      localPort: socket.localPort
    },
    failWrites: (cause) => inUse.failWrites(cause)
  }
  register(connection, inUse)
  socketsInUse.set(connection, inUse)
  return connection
}

class SocketInUse implements DirectConnection {
  readonly reading = Wakeup.make()
  readonly writing = Wakeup.make()
  destroyAbove: () => void = ignore
  private reader: Reader | undefined
  /** Why this connection is over, whatever the socket does. */
  private unusable: string | undefined
  private lost: unknown
  private writeFailed: unknown

  constructor(
    readonly socket: Net.Socket,
    private readonly onDestroy: () => void
  ) {
    this.lost = socket.errored ?? undefined
    this.interceptWriteErrors()
    socket.on("readable", this.onReadable)
    socket.on("end", this.onReadable)
    socket.on("error", (cause) => {
      this.lost ??= cause
      this.wakeAll()
    })
    socket.on("close", () => this.wakeAll())
  }

  readonly read = (reader: Reader): void => {
    this.reader = reader
    this.readDirectly()
  }

  readonly stop = (): void => {
    this.reader = undefined
  }

  readonly write: DirectConnection["write"] = (bytes, written) => {
    const progress = this.begin(bytes)
    const attempt = (): void => {
      const outcome = progress()
      if (outcome === undefined) this.writing.listen(attempt)
      else written(outcome === "Flushed" ? undefined : outcome)
    }
    attempt()
  }

  pulled(): Effect.Effect<Uint8Array | undefined, ConnectionLost> | undefined {
    const found = this.look()
    if (found === "End") return Effect.succeed(undefined)
    return found instanceof Uint8Array ? Effect.succeed(found) : found
  }

  /** Begins a write. The result tells whether it was flushed, has failed, or neither yet. */
  begin(bytes: ReadonlyArray<Uint8Array>): () => "Flushed" | ConnectionLost | undefined {
    const failure = this.writeFailure()
    if (failure !== undefined) return () => failure
    let isFlushed = false
    writeAll(this.socket, bytes, (error) => {
      if (error === undefined || error === null) isFlushed = this.writeFailed === undefined
      else this.failWrites(error)
      this.writing.wake()
    })
    if (this.socket.writableLength === 0) return () => this.writeFailure() ?? "Flushed"
    return () => (isFlushed ? "Flushed" : this.writeFailure())
  }

  buffered(): number {
    return this.unusable === undefined ? this.socket.readableLength : 0
  }

  failWrites(cause: unknown): void {
    this.writeFailed ??= cause
    this.writing.wake()
  }

  destroy(): void {
    this.unusable ??= "the connection was destroyed on this side"
    this.destroyAbove()
    destroySocket(this.socket)
    this.onDestroy()
    this.wakeAll()
  }

  /** Ends the use of the connection without closing the socket. */
  detach(): void {
    this.unusable ??= "the connection was handed to TLS"
    this.socket.off("readable", this.onReadable)
    this.socket.off("end", this.onReadable)
    this.wakeAll()
  }

  private readonly onReadable = (): void => {
    this.readDirectly()
    this.reading.wake()
  }

  private wakeAll(): void {
    this.onReadable()
    this.writing.wake()
  }

  /** Bytes, the end of the stream, why nothing more can be read, or `undefined`: nothing yet. */
  private look(): Uint8Array | "End" | ConnectionLost | undefined {
    if (this.unusable !== undefined) return lostIn("read", new Error(this.unusable))
    const bytes: unknown = this.socket.read()
    if (bytes instanceof Uint8Array) return bytes
    if (this.socket.readableEnded) return "End"
    return this.lost === undefined && !this.socket.closed
      ? undefined
      : lostIn("read", this.lost ?? new Error("the connection is closed"))
  }

  private readDirectly(): void {
    while (this.reader !== undefined) {
      const found = this.look()
      if (found === undefined) return
      const { reader } = this
      if (found instanceof Uint8Array) {
        reader.received(found)
      } else {
        this.reader = undefined
        reader.ended(found === "End" ? undefined : found)
      }
    }
  }

  private writeFailure(): ConnectionLost | undefined {
    if (this.unusable !== undefined) return lostIn("write", new Error(this.unusable))
    const cause = this.writeFailed ?? this.lost
    if (cause !== undefined) return lostIn("write", cause)
    return this.socket.destroyed || this.socket.writableEnded
      ? lostIn("write", new Error("the connection is closed for writing"))
      : undefined
  }

  /**
   * Node destroys a socket whose write fails, and with it the bytes that the kernel still holds for reading. Here the
   * write fails alone, and the socket is read until its end, error or close; the next user of the socket, e.g. TLS, gets
   * Node's behaviour.
   */
  private interceptWriteErrors(): void {
    type Callback = (error?: Error | null) => void
    const { socket } = this
    const guarded =
      (callback: Callback): Callback =>
      (error) => {
        if (error === undefined || error === null || socket.destroyed || this.unusable !== undefined) {
          callback(error)
        } else {
          this.failWrites(error)
          callback()
        }
      }
    const write = socket._write.bind(socket)
    const writev = socket._writev?.bind(socket)
    socket._write = (chunk: unknown, encoding, callback) => write(chunk, encoding, guarded(callback))
    if (writev !== undefined) socket._writev = (chunks, callback) => writev(chunks, guarded(callback))
  }
}

const lostIn = (operation: "read" | "write", cause: unknown): ConnectionLost =>
  new ConnectionLost({ operation, cause })

/** One system call for all arrays, as far as it accepts them. */
const writeAll = (
  socket: Net.Socket,
  bytes: ReadonlyArray<Uint8Array>,
  onFlush: (error?: Error | null) => void
): void => {
  const [only] = bytes
  if (bytes.length === 1 && only !== undefined && only.length > 0) {
    socket.write(only, onFlush)
    return
  }
  const arrays = bytes.filter((array) => array.length > 0)
  const last = arrays.pop()
  if (last === undefined) return
  socket.cork()
  for (const array of arrays) socket.write(array)
  socket.write(last, onFlush)
  socket.uncork()
}
