/** The server's end of a scripted connection: records both sides, and reads lines, contents and counted bytes. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { describeCause } from "../effect/cause.js"
import {
  ByteBuffer,
  concat,
  contentEnd,
  firstDifference,
  lineEnd,
  showAround,
  showBytes,
  unstuff
} from "./bytes.js"
import type { Content, ServerConnection, ServerUpgrade } from "./model.js"

export interface StepFailure {
  readonly reason: "Mismatch" | "ClientLeft" | "Effect"
  readonly step: string
  readonly detail: string
  readonly expected: string | undefined
  readonly received: string | undefined
}

type Run<A = void> = Effect.Effect<A, StepFailure>

export interface ScriptStep {
  readonly label: string
  readonly run: (connection: RecordedConnection) => Run
}

type Recorded =
  | { readonly _tag: "Client" | "Server"; readonly bytes: Uint8Array }
  | { readonly _tag: "Event"; readonly text: string }

export class RecordedConnection {
  readonly entries: Array<Recorded> = []
  readonly contents: Array<Content> = []
  /** Bytes of the client that no step has read. */
  readonly unread = new ByteBuffer()
  /** The running step, for failures. */
  step = "start"
  /** False once the script has stopped reading, or this side has closed or reset the connection. */
  isReading = true
  /** True once this side has closed or reset the connection. */
  isClosed = false
  private isWritable = true
  private hasEnded = false
  private queued: Array<Uint8Array> = []

  /** A secured connection lives in the scope. */
  constructor(
    private connection: ServerConnection,
    private readonly serverUpgrade: ServerUpgrade,
    private readonly scope: Scope.Scope
  ) {}

  fail(reason: StepFailure["reason"], detail: string, expected?: string, received?: string): Run<never> {
    return Effect.fail({ reason, step: this.step, detail, expected, received })
  }

  clientLeft(expected?: string, detail = "the client left"): Run<never> {
    const unread = this.unread.length === 0 ? undefined : showBytes(this.unread.view())
    return this.fail("ClientLeft", detail, expected, unread)
  }

  /** Fails unless the bytes are equal. */
  compare(expected: Uint8Array, received: Uint8Array): Run {
    const at = firstDifference(expected, received)
    if (at === -1) return Effect.void
    const detail = `the client sent something else, from byte ${at + 1} on`
    return this.fail("Mismatch", detail, showAround(expected, at), showAround(received, at))
  }

  /** Keeps bytes for the next write. */
  queue(bytes: Uint8Array): void {
    this.queued.push(bytes)
  }

  /** Writes what is queued, in one write. */
  readonly flush: Run = Effect.suspend(() => {
    if (this.queued.length === 0) return Effect.void
    const bytes = concat(this.queued)
    this.queued = []
    return this.send(bytes)
  })

  /** Writes what is queued, then these bytes in a write of their own. */
  write(bytes: Uint8Array): Run {
    return Effect.zipRight(
      this.flush,
      Effect.suspend(() => this.send(bytes))
    )
  }

  /** Flushes and reads more; `false` at the client's end. */
  readonly fill: Run<boolean> = Effect.zipRight(
    this.flush,
    Effect.suspend(() => {
      if (this.hasEnded) return Effect.succeed(false)
      if (!this.isReading) return this.fail("Effect", "the script reads after stopReading, close or reset")
      return Effect.match(this.connection.pull, {
        onFailure: (lost) => this.end(`the connection was lost: ${describeCause(lost.cause)}`),
        onSuccess: (bytes) => {
          if (bytes === undefined) return this.end("the client ended its stream")
          const copy = bytes.slice()
          this.entries.push({ _tag: "Client", bytes: copy })
          this.unread.append(copy)
          return true
        }
      })
    })
  )

  /** Flushes and waits for unread bytes; `false` at the client's end. */
  readonly more: Run<boolean> = Effect.suspend(() =>
    this.unread.length > 0 ? Effect.succeed(true) : this.fill
  )

  readonly stopReading = this.afterFlush("the server stops reading", () => {
    this.isReading = false
    return Effect.void
  })

  readonly halfClose = this.afterFlush("the server ends its stream", () => this.endStream())

  readonly close = this.afterFlush("the server closes the connection", () => {
    this.isReading = false
    this.isClosed = true
    return Effect.zipRight(this.endStream(), this.destroy)
  })

  readonly reset = this.afterFlush("the server resets the connection", () => {
    this.isReading = false
    this.isClosed = true
    this.isWritable = false
    return this.connection.reset
  })

  readonly upgrade: Run = Effect.zipRight(
    this.flush,
    Effect.suspend(() => {
      if (this.unread.length > 0) {
        const received = showBytes(this.unread.view())
        const expected = "no bytes before the handshake"
        return this.fail("Mismatch", "the client wrote in clear before TLS", expected, received)
      }
      return Effect.matchEffect(Scope.extend(this.serverUpgrade(this.connection), this.scope), {
        onFailure: (cause) => {
          const detail = `the server's TLS handshake failed: ${describeCause(cause)}`
          this.note(detail)
          return this.fail("Effect", detail)
        },
        onSuccess: (secured) => {
          this.connection = secured
          this.note("TLS begins")
          return Effect.void
        }
      })
    })
  )

  /** Closes at once and drops what was not flushed. */
  readonly destroy = Effect.suspend(() => this.connection.destroy)

  private note(text: string): void {
    this.entries.push({ _tag: "Event", text })
  }

  private end(text: string): false {
    this.note(text)
    this.hasEnded = true
    return false
  }

  private send(bytes: Uint8Array): Run {
    if (bytes.length === 0) return Effect.void
    if (!this.isWritable) return this.fail("Effect", "the script writes after it has closed its side")
    this.entries.push({ _tag: "Server", bytes })
    return Effect.catchAll(this.connection.write([bytes]), (lost) =>
      this.clientLeft(undefined, `the client was gone when the server wrote: ${describeCause(lost.cause)}`)
    )
  }

  private endStream(): Effect.Effect<void> {
    if (!this.isWritable) return Effect.void
    this.isWritable = false
    return Effect.ignore(this.connection.end)
  }

  private afterFlush(text: string, run: () => Effect.Effect<void>): Run {
    return Effect.zipRight(
      this.flush,
      Effect.suspend(() => {
        this.note(text)
        return run()
      })
    )
  }
}

const readUntil = (
  connection: RecordedConnection,
  endOf: (bytes: Uint8Array, from: number) => number,
  expected: string
): Run<Uint8Array> =>
  Effect.gen(function* () {
    for (let searched = 0; ;) {
      const end = endOf(connection.unread.view(), searched)
      if (end !== -1) return connection.unread.take(end)
      searched = connection.unread.length
      if (!(yield* connection.fill)) return yield* connection.clientLeft(expected)
    }
  })

/** The next line without CRLF, or `undefined` if the client has ended at the start of a line. */
export const readLine = (connection: RecordedConnection, expected: string): Run<Uint8Array | undefined> =>
  Effect.flatMap(connection.more, (some) =>
    some
      ? Effect.map(readUntil(connection, lineEnd, expected), (line) => line.subarray(0, -2))
      : Effect.succeed(undefined)
  )

/** Reads up to and with CRLF `.` CRLF. */
export const readContent = (connection: RecordedConnection): Run<Content> =>
  Effect.map(readUntil(connection, contentEnd, "a content that ends in CRLF . CRLF"), (raw) => {
    const content = { octets: unstuff(raw), raw }
    connection.contents.push(content)
    return content
  })

export const readCount = (connection: RecordedConnection, count: number, expected: string): Run<Uint8Array> =>
  Effect.gen(function* () {
    while (connection.unread.length < count) {
      if (!(yield* connection.fill)) return yield* connection.clientLeft(expected)
    }
    return connection.unread.take(count)
  })

/** Compares bytes as they arrive, and fails at the first that differs. */
export const readExactly = (connection: RecordedConnection, expected: Uint8Array): Run =>
  Effect.gen(function* () {
    for (;;) {
      const received = connection.unread.view().subarray(0, expected.length)
      const at = firstDifference(expected, received)
      if (at === -1) break
      if (at < received.length) return yield* connection.compare(expected, received)
      if (!(yield* connection.fill)) return yield* connection.clientLeft(showBytes(expected))
    }
    connection.unread.take(expected.length)
  })

/** Reads and discards until the client's end. */
export const drain = (connection: RecordedConnection): Run =>
  Effect.gen(function* () {
    do connection.unread.clear()
    while (yield* connection.fill)
  })

export const runSteps = (connection: RecordedConnection, steps: ReadonlyArray<ScriptStep>): Run =>
  Effect.forEach(
    steps,
    (step) => {
      connection.step = step.label
      return step.run(connection)
    },
    { discard: true }
  )

const linesOf = (bytes: Uint8Array): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let start = 0
  for (let end = lineEnd(bytes, start); end !== -1; end = lineEnd(bytes, start)) {
    lines.push(showBytes(bytes.subarray(start, end - 2)))
    start = end
  }
  if (start < bytes.length) lines.push(`${showBytes(bytes.subarray(start))} (no CRLF)`)
  return lines
}

/** One line each: `C: ` for the client, `S: ` for the server, `-- ` for events. Writes in a row are joined. */
export const transcriptOf = ({ entries }: RecordedConnection): ReadonlyArray<string> => {
  const transcript: Array<string> = []
  let run: Array<Uint8Array> = []
  for (const [index, entry] of entries.entries()) {
    if (entry._tag === "Event") {
      transcript.push(`-- ${entry.text}`)
      continue
    }
    run.push(entry.bytes)
    if (entries[index + 1]?._tag === entry._tag) continue
    const prefix = entry._tag === "Client" ? "C: " : "S: "
    for (const line of linesOf(concat(run))) transcript.push(prefix + line)
    run = []
  }
  return transcript
}
