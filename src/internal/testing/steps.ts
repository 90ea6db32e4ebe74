/** The steps of a script. SmtpTest documents them. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { describeCause } from "../effect/cause.js"
import { concat, showBytes, toBytes, toText } from "./bytes.js"
import type { Handler, ReplyOptions, Script } from "./model.js"
import type { ScriptStep, RecordedConnection } from "./recordedConnection.js"
import { readContent, readExactly, readLine, runSteps } from "./recordedConnection.js"

export const unflushedStep = (label: string, run: ScriptStep["run"]): Script => ({
  dial: "Accepts",
  steps: [{ label, run }]
})

/** Sends the replies before it, so that no step waits for a client that waits for them. */
export const step = (label: string, run: ScriptStep["run"]): Script =>
  unflushedStep(label, (connection) => Effect.zipRight(connection.flush, run(connection)))

export const formatDuration = (duration: Duration.DurationInput): string =>
  Duration.format(Duration.decode(duration))

const split = (bytes: Uint8Array, at: ReplyOptions["split"]): ReadonlyArray<Uint8Array> => {
  if (at === undefined) return [bytes]
  if (at === "byteByByte") return Array.from(bytes, (byte) => Uint8Array.of(byte))
  const offsets = [0, ...at, bytes.length]
  return offsets
    .slice(1)
    .map((offset, index) => bytes.subarray(offsets[index], offset))
    .filter((piece) => piece.length > 0)
}

const send = (label: string, bytes: Uint8Array, options: ReplyOptions): Script => {
  const pause = options.pause === undefined ? Effect.yieldNow() : Effect.sleep(options.pause)
  return unflushedStep(label, (connection) =>
    Effect.gen(function* () {
      if (options.delay !== undefined) {
        yield* connection.flush
        yield* Effect.sleep(options.delay)
      }
      if (options.split === undefined && options.separate !== true) {
        connection.queue(bytes)
        return
      }
      for (const [index, piece] of split(bytes, options.split).entries()) {
        if (index > 0) yield* pause
        yield* connection.write(piece)
      }
    })
  )
}

const isOptions = (part: string | Uint8Array | ReplyOptions): part is ReplyOptions =>
  typeof part === "object" && !(part instanceof Uint8Array)

export const reply = (
  ...parts:
    | ReadonlyArray<string | Uint8Array>
    | readonly [...lines: ReadonlyArray<string | Uint8Array>, options: ReplyOptions]
): Script => {
  const lines: Array<Uint8Array> = []
  let options: ReplyOptions = {}
  for (const part of parts) {
    if (isOptions(part)) options = part
    else lines.push(typeof part === "string" ? toBytes(`${part}\r\n`) : part)
  }
  const bytes = concat(lines)
  return send(`reply ${showBytes(bytes, 60)}`, bytes, options)
}

export const inject = (bytes: string | Uint8Array, options: ReplyOptions = {}): Script =>
  send(`inject ${showBytes(toBytes(bytes), 60)}`, toBytes(bytes), { ...options, separate: true })

export const expect = (line: string | RegExp | Uint8Array): Script => {
  if (line instanceof Uint8Array) {
    return step(`expect ${showBytes(line, 60)}`, (connection) => readExactly(connection, line))
  }
  const expected = typeof line === "string" ? showBytes(toBytes(line)) : String(line)
  return step(`expect ${expected}`, (connection) =>
    Effect.flatMap(readLine(connection, expected), (received) => {
      if (received === undefined) return connection.clientLeft(expected)
      if (typeof line === "string") return connection.compare(toBytes(line), received)
      return line.test(toText(received))
        ? Effect.void
        : connection.fail("Mismatch", "the line does not match", expected, showBytes(received))
    })
  )
}

export const expectContent = (content?: string | Uint8Array): Script =>
  step("expectContent", (connection) =>
    Effect.flatMap(readContent(connection), ({ octets }) =>
      content === undefined ? Effect.void : connection.compare(toBytes(content), octets)
    )
  )

const failIfSome = (connection: RecordedConnection, some: boolean, detail: string, expected: string) =>
  some ? connection.fail("Mismatch", detail, expected, showBytes(connection.unread.view())) : Effect.void

export const expectNothing = (duration: Duration.DurationInput): Script =>
  step(`expectNothing ${formatDuration(duration)}`, (connection) =>
    Effect.flatMap(
      Effect.timeoutTo(connection.more, { duration, onTimeout: () => false, onSuccess: (some) => some }),
      (some) => failIfSome(connection, some, "the client sent bytes", "nothing")
    )
  )

export const expectEnd = step("expectEnd", (connection) =>
  Effect.flatMap(connection.more, (some) =>
    failIfSome(connection, some, "the client sent more", "the client's end of the connection")
  )
)

export const repeat = (piece: Script, times?: number): Script =>
  times === undefined
    ? step("repeat", (connection) =>
        Effect.gen(function* () {
          while (connection.isReading && (yield* connection.more)) yield* runSteps(connection, piece.steps)
        })
      )
    : unflushedStep(`repeat ${times}`, (connection) =>
        Effect.gen(function* () {
          for (let round = 0; round < times; round++) yield* runSteps(connection, piece.steps)
        })
      )

/** The longest key that begins the line wins. */
const handlerFor = (handlers: Readonly<Record<string, Handler>>, line: string): Handler | undefined => {
  const upper = line.toUpperCase()
  const [longest] = Object.entries(handlers)
    .filter(([key]) => {
      const next = upper[key.length]
      return upper.startsWith(key.toUpperCase()) && (next === undefined || next === " " || next === ":")
    })
    .sort(([left], [right]) => right.length - left.length)
  return longest?.[1]
}

export const branch = (handlers: Readonly<Record<string, Handler>>, otherwise?: Handler): Script => {
  const keys = Object.keys(handlers).join(", ")
  const expected = `one of ${keys}`
  return step(`branch on ${keys}`, (connection) =>
    Effect.flatMap(readLine(connection, expected), (received) => {
      if (received === undefined) return connection.clientLeft(expected)
      const line = toText(received)
      const handler = handlerFor(handlers, line) ?? otherwise
      if (handler === undefined) {
        return connection.fail("Mismatch", "no handler for the line", expected, showBytes(received))
      }
      return runSteps(connection, (typeof handler === "function" ? handler(line) : handler).steps)
    })
  )
}

export const effect = (run: Effect.Effect<unknown, unknown>): Script =>
  step("effect", (connection) =>
    Effect.catchAll(Effect.asVoid(run), (cause) =>
      connection.fail("Effect", `the effect failed: ${describeCause(cause)}`)
    )
  )
