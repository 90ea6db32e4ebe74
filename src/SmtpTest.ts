/**
 * Servers for tests, without a network: a scripted server that reads as the protocol does and compares every
 * octet of the client, and a small server that captures messages. Both are SmtpSocket services over connections
 * in memory, and keep time by Effect's Clock. They are instruments, not mail servers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Credentials, Message, Path, Policy } from "./internal/testing/capturingServer.js"
import { serveMail } from "./internal/testing/capturingServer.js"
import { describeCause } from "./internal/effect/cause.js"
import { makePair } from "./internal/testing/memoryConnection.js"
import type {
  Content,
  Failure,
  ServerConnection,
  ServerUpgrade,
  Step,
  Wire
} from "./internal/testing/scriptedServer.js"
import { withOwnLimit } from "./internal/effect/ownLimit.js"
import * as internal from "./internal/testing/scriptedServer.js"
import * as CapabilityCache from "./CapabilityCache.js"
import { ConnectError } from "./SmtpError.js"
import type { Connection, Endpoint, Service as SocketService } from "./SmtpSocket.js"
import { formatEndpoint, SmtpSocket } from "./SmtpSocket.js"
import type { SecuredConnection } from "./TlsUpgrade.js"
import { TlsUpgrade } from "./TlsUpgrade.js"

export type {
  /**
   * A message content as it travelled behind DATA: `octets` without transparency, `raw` as it came.
   *
   * @since 0.1.0
   * @category models
   */
  Content,
  /**
   * What a client authenticated with.
   *
   * @since 0.1.0
   * @category models
   */
  Credentials,
  /**
   * A message that a capturing server has accepted: sender and recipients with their parameters, and the content.
   *
   * @since 0.1.0
   * @category models
   */
  Message,
  /**
   * A reverse-path or forward-path and the parameters that came with it.
   *
   * @since 0.1.0
   * @category models
   */
  Path,
  /**
   * The server's end of a connection: a Connection that can also `end` and `reset`.
   *
   * @since 0.1.0
   * @category models
   */
  ServerConnection,
  /**
   * The server's side of a TLS handshake.
   *
   * @since 0.1.0
   * @category models
   */
  ServerUpgrade
}

/**
 * The scripted server as a service, for programs that get it from `layerScript`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * const program = Effect.gen(function* () {
 *   const server = yield* SmtpTest.ScriptedServer
 *   return yield* server.receivedText
 * })
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class ScriptedServer extends Context.Tag("effect-smtplib/SmtpTest/ScriptedServer")<
  ScriptedServer,
  Scripted
>() {}

/**
 * One side of a dialogue, built by `script` and the combinators of this module. A script is itself a piece of a
 * script.
 *
 * @since 0.1.0
 * @category models
 */
export interface Script {
  /** How the server answers the dial. */
  readonly dial: "Accepts" | "Refuses" | "Hangs"
  readonly steps: ReadonlyArray<Step>
}

/**
 * One script for the first connection, one for each connection in turn, or a function of the connection's index
 * (from 0) for any number of them. A dial for which there is no script is refused.
 *
 * @since 0.1.0
 * @category models
 */
export type Scripts = Script | ReadonlyArray<Script> | ((index: number) => Script | undefined)

/**
 * What a session needs of its surroundings.
 *
 * @since 0.1.0
 * @category models
 */
export type Transport = SmtpSocket | TlsUpgrade | CapabilityCache.CapabilityCache

/**
 * @since 0.1.0
 * @category models
 */
export interface ReplyOptions {
  /**
   * The offsets at which the octets are cut into writes of their own, or one octet a write. Over TCP the system may
   * join them again, unless `pause` keeps them apart.
   */
  readonly split?: ReadonlyArray<number> | "byteByByte" | undefined
  /** The time between two writes of a split reply. */
  readonly pause?: Duration.DurationInput | undefined
  /** The time before the reply; earlier replies leave before it. */
  readonly delay?: Duration.DurationInput | undefined
  /** Whether the reply leaves in a write of its own. Default: replies in a row share one. */
  readonly separate?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ScriptedOptions {
  /** Octets that each direction takes while nobody reads. Default 65,536. */
  readonly capacity?: number | undefined
  /**
   * What the script's `upgrade` does with the server's end. Default: nothing, which is what `layerTls` expects at
   * the client's end.
   */
  readonly upgrade?: ServerUpgrade | undefined
}

/**
 * What one connection came to.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectionRecord {
  /** Every octet that the script has read from the client, within TLS as without. */
  readonly received: Uint8Array
  /** The same octets as they were read; over memory, one array for each that the client wrote. */
  readonly chunks: ReadonlyArray<Uint8Array>
  /** The contents that were read behind DATA. */
  readonly contents: ReadonlyArray<Content>
  /** Both sides interleaved: `C: ` is the client, `S: ` the server, `-- ` what happened besides. */
  readonly transcript: ReadonlyArray<string>
}

/**
 * A server that runs scripts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scripted {
  /** Dials a new connection in memory, whatever the endpoint, and runs the next script at its other end. */
  readonly socket: SocketService
  /** `socket`, the TLS of `layerTls`, and CapabilityCache.layerNone. */
  readonly layer: Layer.Layer<Transport>
  /** Runs the next script on a connection from elsewhere, e.g. a TCP listener; ends when both sides are done. */
  readonly accept: (connection: ServerConnection) => Effect.Effect<void>
  /**
   * Waits until every script has come to its end; of a function, every script that has begun. Fails as soon as one
   * of them fails.
   */
  readonly done: Effect.Effect<void, ScriptFailure>
  /**
   * Runs the client and then waits for `done`. A script that fails interrupts the client, and its failure outranks
   * the client's own.
   */
  readonly verify: <A, E, R>(client: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ScriptFailure, R>
  /** Every octet of every connection's client, the first connection's first. */
  readonly received: Effect.Effect<Uint8Array>
  /** `received` as UTF-8. */
  readonly receivedText: Effect.Effect<string>
  /** The transcripts of all connections, a line each. */
  readonly transcript: Effect.Effect<string>
  readonly connections: Effect.Effect<ReadonlyArray<ConnectionRecord>>
  /** The endpoints that were dialled, in order. */
  readonly dialled: Effect.Effect<ReadonlyArray<Endpoint>>
}

/**
 * A script could not go on.
 *
 * - `Mismatch`: the client sent something other than what the script expects
 * - `ClientLeft`: the client ended, or lost, the connection before the script's end
 * - `Effect`: an effect of the script failed, or the script asks for the impossible
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * const report = (server: SmtpTest.Scripted) =>
 *   server.done.pipe(Effect.catchTag("ScriptFailure", (failure) => Effect.logError(failure.message)))
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class ScriptFailure extends Data.TaggedError("ScriptFailure")<{
  readonly reason: "Mismatch" | "ClientLeft" | "Effect"
  /** The connection's number, from 1. */
  readonly connection: number
  /** The step that failed, as the script writes it. */
  readonly step: string
  readonly detail: string
  readonly expected?: string | undefined
  readonly received?: string | undefined
  readonly transcript: ReadonlyArray<string>
}> {
  override get message(): string {
    const expected = this.expected === undefined ? [] : [`  expected: ${this.expected}`]
    const received = this.received === undefined ? [] : [`  received: ${this.received}`]
    const skipped = Math.max(0, this.transcript.length - shownLines)
    return [
      `Connection ${this.connection}, at ${this.step}: ${this.detail}`,
      ...expected,
      ...received,
      skipped === 0 ? "Transcript:" : `Transcript (without the first ${skipped} lines):`,
      ...this.transcript.slice(skipped).map((line) => `  ${line}`)
    ].join("\n")
  }
}

const shownLines = 40

const toFailure = (failure: Failure, connection: number, wire: Wire): ScriptFailure =>
  new ScriptFailure({
    reason: failure.reason,
    connection,
    step: failure.step,
    detail: failure.detail,
    expected: failure.expected,
    received: failure.received,
    transcript: internal.renderTranscript(wire.entries)
  })

// -- scripts

const immediate = (label: string, run: Step["run"]): Script => ({
  dial: "Accepts",
  steps: [{ label, run }]
})

// Every step but a reply sends the replies before it: what a reply waits for is never waiting for the reply.
const step = (label: string, run: Step["run"]): Script =>
  immediate(label, (wire) => Effect.zipRight(wire.flush, run(wire)))

/**
 * Pieces of a script, one after another.
 *
 * At its end the server reads and records on until the client's end, and then closes, unless the script has left
 * the connection otherwise.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(
 *   SmtpTest.reply("220 mx.test ESMTP"),
 *   SmtpTest.expect("EHLO client.test"),
 *   SmtpTest.reply("250-mx.test", "250 PIPELINING"),
 *   SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
 *   SmtpTest.reply("250 ok"),
 *   SmtpTest.reply("250 ok"),
 *   SmtpTest.reply("354 go"),
 *   SmtpTest.expectContent("Subject: hi\r\n\r\nhello\r\n"),
 *   SmtpTest.reply("250 2.0.0 queued as 42"),
 *   SmtpTest.expect("QUIT"),
 *   SmtpTest.reply("221 bye"),
 *   SmtpTest.expectEnd
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const script = (...pieces: ReadonlyArray<Script>): Script => ({
  dial: pieces[0]?.dial ?? "Accepts",
  steps: pieces.flatMap((piece) => piece.steps)
})

/**
 * A server that refuses the connection: the dial fails with ConnectError, `Unreachable`.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const secondTry = [SmtpTest.refused, SmtpTest.script(SmtpTest.reply("220 mx.test ESMTP"))]
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const refused: Script = { dial: "Refuses", steps: [] }

/**
 * A server that does not answer the dial, which fails with ConnectError, `Timeout`, after its limit.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const server = SmtpTest.scripted(SmtpTest.unanswered)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const unanswered: Script = { dial: "Hangs", steps: [] }

// -- what the server says

const isOptions = (part: string | Uint8Array | ReplyOptions): part is ReplyOptions =>
  typeof part === "object" && !(part instanceof Uint8Array)

const cut = (octets: Uint8Array, split: ReplyOptions["split"]): ReadonlyArray<Uint8Array> => {
  if (split === undefined) return [octets]
  if (split === "byteByByte") return Array.from(octets, (octet) => Uint8Array.of(octet))
  const offsets = [0, ...split, octets.length]
  return offsets
    .slice(1)
    .map((offset, index) => octets.subarray(offsets[index], offset))
    .filter((piece) => piece.length > 0)
}

const pauseFor = (pause: Duration.DurationInput | undefined): Effect.Effect<void> =>
  pause === undefined ? Effect.yieldNow() : Effect.sleep(pause)

const writePieces = (wire: Wire, octets: Uint8Array, options: ReplyOptions): Effect.Effect<void, Failure> =>
  Effect.forEach(
    cut(octets, options.split),
    (piece, index) => Effect.zipRight(index === 0 ? Effect.void : pauseFor(options.pause), wire.write(piece)),
    { discard: true }
  )

const say = (label: string, octets: Uint8Array, options: ReplyOptions): Script =>
  immediate(label, (wire) =>
    Effect.gen(function* () {
      if (options.delay !== undefined) {
        yield* wire.flush
        yield* Effect.sleep(options.delay)
      }
      if (options.split === undefined && options.separate !== true) {
        wire.queue(octets)
        return
      }
      yield* writePieces(wire, octets, options)
    })
  )

/**
 * A reply. Each string is a line and gets its CRLF; octets go out as they are. Replies in a row leave in one write,
 * as servers answer a group, unless `separate` or `split` asks otherwise.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const capabilities = SmtpTest.reply("250-mx.test", "250-PIPELINING", "250 SIZE 1000")
 * export const late = SmtpTest.reply("250 ok", { delay: "30 seconds" })
 * export const dribbled = SmtpTest.reply("250 ok", { split: "byteByByte" })
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const reply = (
  ...parts:
    | ReadonlyArray<string | Uint8Array>
    | readonly [...lines: ReadonlyArray<string | Uint8Array>, options: ReplyOptions]
): Script => {
  const octets: Array<Uint8Array> = []
  let options: ReplyOptions = {}
  for (const part of parts) {
    if (isOptions(part)) options = part
    else octets.push(typeof part === "string" ? internal.toOctets(`${part}\r\n`) : part)
  }
  const all = internal.concat(octets)
  return say(`reply ${internal.show(all, 60)}`, all, options)
}

/**
 * Octets that nobody asked for, exactly as given and in a write of their own; a string gets no CRLF.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const goodbye = SmtpTest.inject("421 4.3.2 shutting down\r\n")
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const inject = (octets: string | Uint8Array, options: ReplyOptions = {}): Script => {
  const all = internal.toOctets(octets)
  return say(`inject ${internal.show(all, 60)}`, all, { ...options, separate: true })
}

/**
 * Waits, by Effect's Clock, without reading.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(SmtpTest.delay("10 seconds"), SmtpTest.reply("220 mx.test ESMTP"))
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const delay = (duration: Duration.DurationInput): Script =>
  step(`delay ${Duration.format(Duration.decode(duration))}`, () => Effect.sleep(duration))

/**
 * Says nothing more and reads on until the client's end, whatever the client sends.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const neverAnswers = SmtpTest.script(SmtpTest.reply("220 mx.test ESMTP"), SmtpTest.silence)
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const silence: Script = step("silence", (wire) => Effect.asVoid(wire.drain))

/**
 * Reads nothing from here on: once the buffers are full, the client's writes wait. The rest of the script can
 * still speak, wait and leave.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const stalls = SmtpTest.script(
 *   SmtpTest.reply("220 mx.test ESMTP"),
 *   SmtpTest.expect("DATA"),
 *   SmtpTest.reply("354 go"),
 *   SmtpTest.stopReading
 * )
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const stopReading: Script = step("stopReading", (wire) => wire.stopReading)

/**
 * Ends the server's stream and goes on reading.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(SmtpTest.halfClose, SmtpTest.expect("QUIT"), SmtpTest.expectEnd)
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const halfClose: Script = step("halfClose", (wire) => wire.halfClose)

/**
 * Closes the connection after what was written.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(SmtpTest.reply("554 no service"), SmtpTest.close)
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const close: Script = step("close", (wire) => wire.close)

/**
 * Resets the connection, as a crashed server's system does.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(SmtpTest.expect("EHLO client.test"), SmtpTest.reset)
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const reset: Script = step("reset", (wire) => wire.reset)

/**
 * The server's side of the TLS handshake, behind the 220 to STARTTLS or at once. Octets that the client wrote in
 * clear after STARTTLS fail the script (RFC 3207 section 4).
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(
 *   SmtpTest.expect("STARTTLS"),
 *   SmtpTest.reply("220 go ahead"),
 *   SmtpTest.upgrade,
 *   SmtpTest.expect("EHLO client.test")
 * )
 * ```
 *
 * @since 0.1.0
 * @category server
 */
export const upgrade: Script = step("upgrade", (wire) => wire.upgrade)

// -- what the server expects

const expectText = (line: string | RegExp): Script => {
  const expected = typeof line === "string" ? internal.show(internal.toOctets(line)) : String(line)
  return step(`expect ${expected}`, (wire) =>
    Effect.gen(function* () {
      const received = yield* wire.readLine(expected)
      if (received === undefined) return yield* wire.fail("ClientLeft", "the client left", expected)
      if (typeof line !== "string") {
        if (line.test(internal.toText(received))) return
        return yield* wire.fail("Mismatch", "the line does not match", expected, internal.show(received))
      }
      const octets = internal.toOctets(line)
      if (internal.equal(octets, received)) return
      const found = internal.difference(octets, received)
      return yield* wire.fail("Mismatch", found.detail, found.expected, found.received)
    })
  )
}

/**
 * One command line. A string has to be equal to it and a pattern to match it, both without its CRLF; octets are
 * compared exactly, as many as are given, with whatever line ends they hold.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const hello = SmtpTest.expect("EHLO client.test")
 * export const anySize = SmtpTest.expect(/^MAIL FROM:<a@x\.test> SIZE=\d+$/)
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expect = (line: string | RegExp | Uint8Array): Script =>
  line instanceof Uint8Array
    ? step(`expect ${internal.show(line, 60)}`, (wire) => wire.readExactly(line))
    : expectText(line)

/**
 * Several command lines in order, before the server says anything.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const group = SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expectGroup = (...lines: ReadonlyArray<string | RegExp | Uint8Array>): Script =>
  script(...lines.map(expect))

/**
 * The content behind DATA, up to CRLF `.` CRLF. What is given is compared with the content without transparency,
 * its last CRLF included. Either way it is in the connection's `contents`.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const content = SmtpTest.expectContent("Subject: hi\r\n\r\n.dots are unstuffed\r\n")
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expectContent = (content?: string | Uint8Array): Script =>
  step("expectContent", (wire) =>
    Effect.flatMap(wire.readContent, ({ octets }) => {
      if (content === undefined) return Effect.void
      const expected = internal.toOctets(content)
      if (internal.equal(expected, octets)) return Effect.void
      const found = internal.difference(expected, octets)
      return wire.fail("Mismatch", found.detail, found.expected, found.received)
    })
  )

/**
 * A number of octets, as behind BDAT, whatever they are. For given ones use `expect` with octets.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const chunk = SmtpTest.script(SmtpTest.expect("BDAT 86 LAST"), SmtpTest.expectOctets(86))
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expectOctets = (count: number): Script =>
  step(`expectOctets ${count}`, (wire) => Effect.asVoid(wire.readOctets(count, `${count} octets`)))

/**
 * Nothing for a while: octets that came before or come within the time fail the script. The client's end does not.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(
 *   SmtpTest.expect("EHLO client.test"),
 *   SmtpTest.expectNothing("1 second"),
 *   SmtpTest.reply("250 mx.test")
 * )
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expectNothing = (duration: Duration.DurationInput): Script =>
  step(`expectNothing ${Duration.format(Duration.decode(duration))}`, (wire) =>
    Effect.flatMap(
      Effect.timeoutTo(wire.more, { duration, onTimeout: () => false, onSuccess: (some) => some }),
      (some) =>
        some
          ? wire.fail("Mismatch", "the client sent octets", "nothing", internal.show(wire.unread()))
          : Effect.void
    )
  )

/**
 * The client's end of the connection, be it orderly or not, without another octet before it.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const script = SmtpTest.script(
 *   SmtpTest.expect("QUIT"),
 *   SmtpTest.reply("221 bye"),
 *   SmtpTest.expectEnd
 * )
 * ```
 *
 * @since 0.1.0
 * @category client
 */
export const expectEnd: Script = step("expectEnd", (wire) =>
  Effect.flatMap(wire.more, (some) =>
    some
      ? wire.fail(
          "Mismatch",
          "the client sent more",
          "the client's end of the connection",
          internal.show(wire.unread())
        )
      : Effect.void
  )
)

// -- combinators

/**
 * Repeats a script: a number of times, or, without one, until the client's end or until the server leaves. Without
 * a number, each round begins when there are octets of the client.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const recipients = SmtpTest.repeat(
 *   SmtpTest.script(SmtpTest.expect(/^RCPT TO:/), SmtpTest.reply("250 ok")),
 *   100
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const repeat = (piece: Script, times?: number): Script => {
  const round = (wire: Wire) => internal.runSteps(wire, piece.steps)
  if (times !== undefined) {
    return immediate(`repeat ${times}`, (wire) =>
      Effect.repeatN(
        Effect.suspend(() => round(wire)),
        times - 1
      ).pipe(
        Effect.when(() => times > 0),
        Effect.asVoid
      )
    )
  }
  return step("repeat", (wire) =>
    Effect.gen(function* () {
      while (wire.isReading() && (yield* wire.more)) yield* round(wire)
    })
  )
}

/**
 * What a branch does with a command line: a script, or a function of the line without its CRLF.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler = Script | ((line: string) => Script)

const handlerFor = (handlers: Readonly<Record<string, Handler>>, line: string): Handler | undefined => {
  const upper = line.toUpperCase()
  const matching = Object.keys(handlers)
    .filter((key) => {
      const start = key.toUpperCase()
      return upper.startsWith(start) && [undefined, " ", ":"].includes(upper[start.length])
    })
    .sort((left, right) => right.length - left.length)
  return matching[0] === undefined ? undefined : handlers[matching[0]]
}

/**
 * Reads one command line and goes on with the handler whose key begins it, in any letter case, up to a space, a
 * colon or the line's end; the longest such key wins. A line without a handler goes to `otherwise`, or fails the
 * script.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const server = SmtpTest.script(
 *   SmtpTest.reply("220 mx.test ESMTP"),
 *   SmtpTest.repeat(
 *     SmtpTest.branch({
 *       EHLO: SmtpTest.reply("250 mx.test"),
 *       "RCPT TO:<nobody@y.test>": SmtpTest.reply("550 5.1.1 no such user"),
 *       RCPT: SmtpTest.reply("250 ok"),
 *       DATA: SmtpTest.script(SmtpTest.reply("354 go"), SmtpTest.expectContent(), SmtpTest.reply("250 ok")),
 *       QUIT: SmtpTest.script(SmtpTest.reply("221 bye"), SmtpTest.close)
 *     }, SmtpTest.reply("250 ok"))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const branch = (handlers: Readonly<Record<string, Handler>>, otherwise?: Handler): Script => {
  const keys = Object.keys(handlers).join(", ")
  return step(`branch on ${keys}`, (wire) =>
    Effect.gen(function* () {
      const octets = yield* wire.readLine(`one of ${keys}`)
      if (octets === undefined) return yield* wire.fail("ClientLeft", "the client left", `one of ${keys}`)
      const line = internal.toText(octets)
      const handler = handlerFor(handlers, line) ?? otherwise
      if (handler === undefined) {
        return yield* wire.fail(
          "Mismatch",
          "no handler for the line",
          `one of ${keys}`,
          internal.show(octets)
        )
      }
      const chosen = typeof handler === "function" ? handler(line) : handler
      return yield* internal.runSteps(wire, chosen.steps)
    })
  )
}

/**
 * Runs an effect at this point, e.g. completes a Deferred that the test waits for, or waits for one. Its failure is
 * the script's. Nothing is read in the meantime.
 *
 * @example
 * ```ts
 * import * as Deferred from "effect/Deferred"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const held = (release: Deferred.Deferred<void>) =>
 *   SmtpTest.script(SmtpTest.effect(Deferred.await(release)), SmtpTest.reply("250 ok"))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const effect = (run: Effect.Effect<unknown, unknown>): Script =>
  step("effect", (wire) =>
    Effect.catchAll(Effect.asVoid(run), (cause) =>
      wire.fail("Effect", `the effect failed: ${describeCause(cause)}`)
    )
  )

// -- the scripted server

type Settled = Deferred.Deferred<undefined, ScriptFailure>

interface Started {
  readonly script: Script
  readonly number: number
  readonly settled: Settled
}

interface Queue {
  /** The next connection's script, or `undefined` when there is none. */
  readonly next: () => Started | undefined
  /** What `done` waits for. */
  readonly awaited: () => ReadonlyArray<Settled>
}

const makeQueue = (scripts: Scripts): Queue => {
  if (typeof scripts === "function") {
    const begun: Array<Settled> = []
    return {
      next: () => {
        const script = scripts(begun.length)
        if (script === undefined) return undefined
        const settled = Deferred.unsafeMake<undefined, ScriptFailure>(FiberId.none)
        begun.push(settled)
        return { script, number: begun.length, settled }
      },
      awaited: () => [...begun]
    }
  }
  const given = "steps" in scripts ? [scripts] : [...scripts]
  const all = given.map((script, index) => ({
    script,
    number: index + 1,
    settled: Deferred.unsafeMake<undefined, ScriptFailure>(FiberId.none)
  }))
  const remaining = [...all]
  return { next: () => remaining.shift(), awaited: () => all.map(({ settled }) => settled) }
}

const record = (wire: Wire): ConnectionRecord => ({
  received: internal.receivedOctets(wire.entries),
  chunks: wire.entries.flatMap((entry) => (entry._tag === "Client" ? [entry.octets] : [])),
  contents: [...wire.contents],
  transcript: internal.renderTranscript(wire.entries)
})

const noUpgrade: ServerUpgrade = (connection) => Effect.succeed(connection)

// What the server does once its script has ended: it stays until the client goes, as far as the script lets it.
const linger = (wire: Wire): Effect.Effect<void, Failure> =>
  Effect.suspend(() => {
    if (wire.isReading()) return Effect.asVoid(wire.drain)
    return wire.isClosed() ? Effect.void : Effect.never
  })

/**
 * A server that runs the scripts, one for each connection, as long as the scope is open. A script that fails, for
 * whatever reason, is a defect of the scope's end unless `done` or `verify` has told of it: no test passes over it. A
 * script that is still waiting at the scope's end has not failed; `done` tells whether all came to their end.
 *
 * @example
 * ```ts
 * import * as Duration from "effect/Duration"
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const server = yield* SmtpTest.scripted(
 *     SmtpTest.script(SmtpTest.reply("220 mx.test ESMTP"), SmtpTest.expect("QUIT"), SmtpTest.expectEnd)
 *   )
 *   const connection = yield* server.socket.dial(
 *     { _tag: "Tcp", host: "mx.test", port: 25 },
 *     { timeout: Duration.seconds(1) }
 *   )
 *   yield* connection.write([new TextEncoder().encode("QUIT\r\n")])
 *   yield* connection.destroy
 *   yield* server.done
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const scripted = (
  scripts: Scripts,
  options: ScriptedOptions = {}
): Effect.Effect<Scripted, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const queue = makeQueue(scripts)
    const wires: Array<Wire> = []
    const dialled: Array<Endpoint> = []
    const failed = yield* Deferred.make<never, ScriptFailure>()
    let observed = false

    const observe = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.tapError(effect, (error) =>
        Effect.sync(() => {
          observed ||= error instanceof ScriptFailure
        })
      )

    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        const failure = yield* Deferred.poll(failed)
        if (observed || Option.isNone(failure)) return
        const cause = yield* Effect.flip(failure.value)
        return yield* Effect.die(cause)
      })
    )

    const fail = (started: Started, wire: Wire) => (failure: Failure) => {
      const reported = toFailure(failure, started.number, wire)
      return Effect.zipRight(Deferred.fail(failed, reported), Deferred.fail(started.settled, reported))
    }

    const succeed = (started: Started, wire: Wire) => () =>
      Effect.zipRight(Deferred.succeed(started.settled, undefined), Effect.ignore(linger(wire)))

    const serve = (started: Started, connection: ServerConnection): Effect.Effect<void> =>
      Effect.gen(function* () {
        const wire = yield* internal.makeWire(connection, options.upgrade ?? noUpgrade)
        wires.push(wire)
        yield* internal.runSteps(wire, started.script.steps).pipe(
          Effect.zipRight(wire.flush),
          Effect.catchAllDefect((defect) => wire.fail("Effect", `the script died: ${describeCause(defect)}`)),
          Effect.matchEffect({ onFailure: fail(started, wire), onSuccess: succeed(started, wire) }),
          Effect.ensuring(wire.destroy)
        )
      }).pipe(Effect.scoped)

    // The turn lets the script hear of a client that has left just before the scope's end.
    const serveIn = (parent: Scope.Scope, started: Started, connection: ServerConnection) =>
      Effect.gen(function* () {
        const own = yield* Scope.fork(parent, ExecutionStrategy.sequential)
        const serving = Effect.ensuring(serve(started, connection), Scope.close(own, Exit.void))
        yield* Effect.forkIn(Effect.interruptible(serving), own)
        yield* Scope.addFinalizer(own, Effect.yieldNow())
      })

    const dial: SocketService["dial"] = (endpoint, dialOptions) =>
      Effect.gen(function* () {
        dialled.push(endpoint)
        const started = queue.next()
        const name = formatEndpoint(endpoint)
        if (started === undefined) {
          const cause = new Error(`the test has no script for connection ${dialled.length}`)
          return yield* new ConnectError({ endpoint: name, reason: "Unreachable", cause })
        }
        if (started.script.dial !== "Accepts") {
          yield* Deferred.succeed(started.settled, undefined)
          if (started.script.dial === "Refuses") {
            const cause = new Error("the script refuses the connection")
            return yield* new ConnectError({ endpoint: name, reason: "Unreachable", cause })
          }
          yield* Effect.sleep(dialOptions.timeout)
          return yield* new ConnectError({ endpoint: name, reason: "Timeout" })
        }
        const pair = yield* makePair({ capacity: options.capacity })
        yield* Effect.addFinalizer(() => pair.client.destroy)
        yield* serveIn(scope, started, pair.server)
        return pair.client
      })

    const done = observe(
      Effect.suspend(() =>
        Effect.raceFirst(
          Deferred.await(failed),
          Effect.forEach(queue.awaited(), Deferred.await, { discard: true })
        )
      )
    )

    const verify: Scripted["verify"] = (client) =>
      Effect.raceFirst(Deferred.await(failed), client).pipe(
        Effect.catchAllCause((cause) =>
          Effect.flatMap(
            Deferred.poll(failed),
            Option.getOrElse(() => Effect.failCause(cause))
          )
        ),
        observe,
        Effect.zipLeft(done)
      )

    const connections = Effect.sync(() => wires.map(record))
    const received = Effect.map(connections, (records) =>
      internal.concat(records.map((connection) => connection.received))
    )
    const socket: SocketService = withOwnLimit({ dial })

    return {
      socket,
      layer: Layer.mergeAll(Layer.succeed(SmtpSocket, socket), layerTls, CapabilityCache.layerNone),
      accept: (connection) =>
        Effect.suspend(() => {
          const started = queue.next()
          return started === undefined ? connection.reset : serve(started, connection)
        }),
      done,
      verify,
      received,
      receivedText: Effect.map(received, internal.toText),
      transcript: Effect.map(connections, (records) =>
        records.flatMap((connection) => connection.transcript).join("\n")
      ),
      connections,
      dialled: Effect.sync(() => [...dialled])
    }
  })

// -- the server that captures

/**
 * A capturing server as a service, for tests that get it from `layer`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const subjects = Effect.gen(function* () {
 *   const server = yield* SmtpTest.SmtpTest
 *   const messages = yield* server.messages
 *   return messages.map((message) => /^Subject: (.*)$/m.exec(message.text)?.[1])
 * })
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class SmtpTest extends Context.Tag("effect-smtplib/SmtpTest")<SmtpTest, Service>() {}

/**
 * A server that captures messages.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** Dials a new connection in memory, whatever the endpoint. */
  readonly socket: SocketService
  /** `socket`, the TLS of `layerTls`, and CapabilityCache.layerNone. */
  readonly layer: Layer.Layer<Transport>
  /** Serves a connection from elsewhere, e.g. a TCP listener; ends when both sides are done. */
  readonly accept: (connection: ServerConnection) => Effect.Effect<void>
  /** What was accepted so far, in the order of acceptance. */
  readonly messages: Effect.Effect<ReadonlyArray<Message>>
  /** Forgets the messages so far and gives them. */
  readonly takeMessages: Effect.Effect<ReadonlyArray<Message>>
  /** The transcripts of all connections, a line each. */
  readonly transcript: Effect.Effect<string>
  readonly connections: Effect.Effect<ReadonlyArray<ConnectionRecord>>
}

/**
 * What the server announces and refuses. The functions give a reply line, e.g. `550 5.1.1 no such user`, or
 * `undefined` to accept; after a reply that begins with 421 the server closes the connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions {
  /** The name in the greeting. Default `mx.test`. */
  readonly hostname?: string | undefined
  /** Default `"smtp"`; `"lmtp"` knows LHLO and answers for each recipient (RFC 2033). */
  readonly protocol?: "smtp" | "lmtp" | undefined
  /**
   * The lines behind the first of the EHLO reply. STARTTLS, AUTH, CHUNKING and SIZE are acted upon when they are
   * among them. Default: `defaultCapabilities`.
   */
  readonly capabilities?: ReadonlyArray<string> | undefined
  /** Whether AUTH PLAIN succeeds. Default: always. */
  readonly authenticate?: ((credentials: Credentials) => boolean) | undefined
  /** The reply to MAIL. */
  readonly acceptSender?: ((sender: Path) => string | undefined) | undefined
  /** The reply to RCPT. */
  readonly accept?: ((recipient: Path) => string | undefined) | undefined
  /** The final reply; under LMTP, of the recipient that is given. */
  readonly acceptMessage?: ((message: Message, recipient: Path | undefined) => string | undefined) | undefined
  /** Octets that each direction takes while nobody reads. Default 65,536. */
  readonly capacity?: number | undefined
  /** What happens to the server's end after STARTTLS. Default: nothing, as `layerTls` expects. */
  readonly upgrade?: ServerUpgrade | undefined
}

/**
 * What a capturing server announces unless told otherwise.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const withoutPipelining = SmtpTest.server({
 *   capabilities: SmtpTest.defaultCapabilities.filter((capability) => capability !== "PIPELINING")
 * })
 * ```
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultCapabilities: ReadonlyArray<string> = [
  "PIPELINING",
  "SIZE 26214400",
  "8BITMIME",
  "SMTPUTF8",
  "DSN",
  "CHUNKING",
  "ENHANCEDSTATUSCODES",
  "STARTTLS",
  "AUTH PLAIN"
]

/**
 * A small SMTP or LMTP server in memory that accepts, or refuses as it is told, and captures what it accepts, as
 * long as the scope is open.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   const server = yield* SmtpTest.server({
 *     accept: ({ address }) => (address === "nobody@y.test" ? "550 5.1.1 no such user" : undefined)
 *   })
 *   // ... run a program with server.layer, then:
 *   return yield* server.messages
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const server = (options: ServerOptions = {}): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    let messages: Array<Message> = []
    let accepted = 0
    const policy: Policy = {
      hostname: options.hostname ?? "mx.test",
      protocol: options.protocol ?? "smtp",
      capabilities: options.capabilities ?? defaultCapabilities,
      authenticate: options.authenticate ?? (() => true),
      acceptSender: options.acceptSender ?? (() => undefined),
      accept: options.accept ?? (() => undefined),
      acceptMessage: options.acceptMessage ?? (() => undefined),
      keep: (message) => {
        messages.push(message)
        accepted += 1
        return String(accepted)
      }
    }
    const scripts = (index: number) => immediate("serve", (wire) => serveMail(wire, policy, index + 1))
    const scriptedServer = yield* scripted(scripts, options)
    return {
      socket: scriptedServer.socket,
      layer: scriptedServer.layer,
      accept: scriptedServer.accept,
      messages: Effect.sync(() => [...messages]),
      takeMessages: Effect.sync(() => {
        const taken = messages
        messages = []
        return taken
      }),
      transcript: scriptedServer.transcript,
      connections: scriptedServer.connections
    }
  })

// -- layers

const pretendedTls = (connection: Connection, servername: string): SecuredConnection => ({
  pull: connection.pull,
  write: connection.write,
  buffered: connection.buffered,
  destroy: connection.destroy,
  addresses: connection.addresses,
  tls: {
    protocol: "TLSv1.3",
    cipher: "none (in memory)",
    servername,
    verified: true,
    resumed: false,
    certificate: undefined,
    channelBinding: undefined
  }
})

/**
 * TLS without cryptography: the upgrade leaves the octets as they are and says that they are secured. It lets a
 * program run with its real `tls` and `auth` options against a server in memory. Never use it on a network.
 *
 * @example
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as SmtpSocket from "effect-smtplib/SmtpSocket"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const transport = (server: SmtpTest.Scripted) =>
 *   Layer.merge(Layer.succeed(SmtpSocket.SmtpSocket, server.socket), SmtpTest.layerTls)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerTls: Layer.Layer<TlsUpgrade> = Layer.succeed(TlsUpgrade, {
  upgrade: (connection, options) =>
    Effect.acquireRelease(
      Effect.succeed(pretendedTls(connection, options.tls.servername ?? options.host)),
      (secured) => secured.destroy
    )
})

/**
 * The transport of a capturing server, and the server itself: a program under test sends without a network, and the
 * test looks at `messages`.
 *
 * @example
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const test = Effect.gen(function* () {
 *   // ... run the program under test, then:
 *   const { messages } = yield* SmtpTest.SmtpTest
 *   return yield* messages
 * }).pipe(Effect.provide(SmtpTest.layer({ capabilities: ["PIPELINING"] })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: ServerOptions): Layer.Layer<Transport | SmtpTest> =>
  Layer.unwrapScoped(
    Effect.map(server(options), (capturing) =>
      Layer.merge(capturing.layer, Layer.succeed(SmtpTest, capturing))
    )
  )

/**
 * The transport of a scripted server, and the server itself.
 *
 * @example
 * ```ts
 * import * as SmtpTest from "effect-smtplib/SmtpTest"
 *
 * export const layer = SmtpTest.layerScript(
 *   SmtpTest.script(SmtpTest.reply("554 no service here"), SmtpTest.expectEnd)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerScript = (
  scripts: Scripts,
  options?: ScriptedOptions
): Layer.Layer<Transport | ScriptedServer> =>
  Layer.unwrapScoped(
    Effect.map(scripted(scripts, options), (server) =>
      Layer.merge(server.layer, Layer.succeed(ScriptedServer, server))
    )
  )
