/**
 * The server's side of a scripted dialogue: a wire that records every octet and reads lines, contents and counted
 * octets from it, and the steps a script is made of. It decides nothing as a mail server would; that is the
 * business of capturingServer. Time is Effect's Clock.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type { Connection, ConnectionLost } from "../../SmtpSocket.js"
import { describeCause } from "../effect/cause.js"

/** The server's end of a connection: what a client's end can, and the ways a server leaves. */
export interface ServerConnection extends Connection {
  /** Ends this side's stream after what was written; the client reads the end, and may go on writing. */
  readonly end: Effect.Effect<void, ConnectionLost>
  /** Resets the connection: the client's next read or write fails. */
  readonly reset: Effect.Effect<void>
}

/** Turns the server's end into a secured one, as the server's side of a TLS handshake. */
export type ServerUpgrade = (
  connection: ServerConnection
) => Effect.Effect<ServerConnection, unknown, Scope.Scope>

/** Why a script could not go on. */
export interface Failure {
  readonly _tag: "Failure"
  readonly reason: "Mismatch" | "ClientLeft" | "Effect"
  /** The step that failed, as the script writes it. */
  readonly step: string
  readonly expected: string | undefined
  readonly received: string | undefined
  readonly detail: string
}

/** One piece of the dialogue, in the order of time. */
export type Entry =
  | { readonly _tag: "Client" | "Server"; readonly octets: Uint8Array; readonly millis: number }
  | { readonly _tag: "Event"; readonly text: string; readonly millis: number }

/** A message content as it travelled behind DATA. */
export interface Content {
  /** The content without transparency dots and without the terminating dot. */
  readonly octets: Uint8Array
  /** The octets as they came, with the terminating `.` CRLF. */
  readonly raw: Uint8Array
}

export interface Step {
  readonly label: string
  readonly run: (wire: Wire) => Effect.Effect<void, Failure>
}

/** The server's end with a memory. */
export interface Wire {
  /** Everything so far, both sides. */
  readonly entries: ReadonlyArray<Entry>
  /** The contents that were read behind DATA. */
  readonly contents: ReadonlyArray<Content>
  /** False once the script has stopped reading, or this side has closed or reset the connection. */
  readonly isReading: () => boolean
  /** True once this side has closed or reset the connection. */
  readonly isClosed: () => boolean
  /** Octets of the client that no step has taken. */
  readonly unread: () => Uint8Array
  /** Names the step that runs, for failures. */
  readonly enter: (step: string) => void
  readonly fail: (
    reason: Failure["reason"],
    detail: string,
    expected?: string,
    received?: string
  ) => Effect.Effect<never, Failure>
  /** Keeps octets for the next write. */
  readonly queue: (octets: Uint8Array) => void
  /** Writes what is queued, in one write. */
  readonly flush: Effect.Effect<void, Failure>
  /** Writes what is queued, then these octets in a write of their own. */
  readonly write: (octets: Uint8Array) => Effect.Effect<void, Failure>
  /** Flushes and reads more octets; `false` at the client's end. */
  readonly fill: Effect.Effect<boolean, Failure>
  /** Flushes and waits for octets that no step has taken; `false` at the client's end. */
  readonly more: Effect.Effect<boolean, Failure>
  /** The next octets up to and without CRLF, or `undefined` when the client has ended at a line's start. */
  readonly readLine: (expected: string) => Effect.Effect<Uint8Array | undefined, Failure>
  /** The content up to and with CRLF `.` CRLF. */
  readonly readContent: Effect.Effect<Content, Failure>
  readonly readOctets: (count: number, expected: string) => Effect.Effect<Uint8Array, Failure>
  /** Compares octets as they come, and fails at the first that differs. */
  readonly readExactly: (octets: Uint8Array) => Effect.Effect<void, Failure>
  /** Reads and forgets, though it records, until the client's end; whether that was an end or a loss. */
  readonly drain: Effect.Effect<"Ended" | "Lost", Failure>
  readonly stopReading: Effect.Effect<void, Failure>
  readonly halfClose: Effect.Effect<void, Failure>
  readonly close: Effect.Effect<void, Failure>
  readonly reset: Effect.Effect<void, Failure>
  readonly upgrade: Effect.Effect<void, Failure>
  /** Closes at once, dropping what was not flushed. */
  readonly destroy: Effect.Effect<void>
}

const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

const encoder = new TextEncoder()

export const toOctets = (value: string | Uint8Array): Uint8Array =>
  typeof value === "string" ? encoder.encode(value) : value

/** The octets as UTF-8; what is not UTF-8 becomes U+FFFD. */
export const toText = (octets: Uint8Array): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(octets)

const escapes: Record<string, string> = { "\r": "\\r", "\n": "\\n", "\t": "\\t", "\\": "\\\\" }

const hex = (octet: number): string => `\\x${octet.toString(16).padStart(2, "0")}`

const escapeControls = (text: string): string =>
  text.replaceAll(/[\u0000-\u001f\u007f\\]/gu, (character) => {
    const short = escapes[character]
    return short ?? hex(character.charCodeAt(0))
  })

/**
 * Octets for people: UTF-8 with controls escaped, or octets over 127 in hexadecimal where they are not UTF-8.
 */
export const show = (octets: Uint8Array, limit = 200): string => {
  const shown = octets.length > limit ? octets.subarray(0, limit) : octets
  const more = octets.length > limit ? `… (${octets.length} octets)` : ""
  const text = toText(shown)
  if (!text.includes("\ufffd")) return escapeControls(text) + more
  return (
    Array.from(shown, (octet) =>
      octet > 0x7e ? hex(octet) : escapeControls(String.fromCharCode(octet))
    ).join("") + more
  )
}

const firstDifference = (left: Uint8Array, right: Uint8Array): number => {
  const shorter = Math.min(left.length, right.length)
  for (let index = 0; index < shorter; index++) if (left[index] !== right[index]) return index
  return left.length === right.length ? -1 : shorter
}

export const equal = (left: Uint8Array, right: Uint8Array): boolean => firstDifference(left, right) === -1

const around = (octets: Uint8Array, at: number): string => {
  const start = at > 100 ? at - 60 : 0
  return (start > 0 ? "…" : "") + show(octets.subarray(start))
}

/** How received octets differ from expected ones: both, around the first octet that differs. */
export const difference = (
  expected: Uint8Array,
  received: Uint8Array
): { readonly expected: string; readonly received: string; readonly detail: string } => {
  const at = Math.max(0, firstDifference(expected, received))
  return {
    expected: around(expected, at),
    received: around(received, at),
    detail: `the client sent something else, from octet ${at + 1} on`
  }
}

// Octets in, lines and blocks out. Appending and taking move no octet more than once on average, so that large
// contents cost no more than their length.
interface Buffer {
  readonly length: () => number
  readonly append: (octets: Uint8Array) => void
  readonly take: (count: number) => Uint8Array
  readonly view: () => Uint8Array
}

const makeBuffer = (): Buffer => {
  let store = new Uint8Array(4096)
  let start = 0
  let end = 0
  return {
    length: () => end - start,
    append: (octets) => {
      if (end + octets.length > store.length) {
        const next = new Uint8Array(Math.max(4096, 2 * (end - start + octets.length)))
        next.set(store.subarray(start, end))
        store = next
        end -= start
        start = 0
      }
      store.set(octets, end)
      end += octets.length
    },
    take: (count) => {
      const taken = store.slice(start, start + count)
      start += count
      return taken
    },
    view: () => store.subarray(start, end)
  }
}

const lineEnd = (octets: Uint8Array, from: number): number => {
  for (let at = octets.indexOf(LF, from); at !== -1; at = octets.indexOf(LF, at + 1)) {
    if (at > 0 && octets[at - 1] === CR) return at + 1
  }
  return -1
}

// The length of the content with its terminating dot; the first line counts as one after CRLF.
const contentEnd = (octets: Uint8Array, from: number): number => {
  for (let at = octets.indexOf(LF, from); at !== -1; at = octets.indexOf(LF, at + 1)) {
    if (octets[at - 1] !== CR || octets[at - 2] !== DOT) continue
    if (at === 2 || (at >= 4 && octets[at - 3] === LF && octets[at - 4] === CR)) return at + 1
  }
  return -1
}

/** Takes transparency and the terminating dot away (RFC 5321 section 4.5.2). */
export const unstuff = (raw: Uint8Array): Uint8Array => {
  const content = raw.subarray(0, raw.length - 3)
  const out = new Uint8Array(content.length)
  let length = 0
  let atLineStart = true
  for (let index = 0; index < content.length; index++) {
    const octet = content[index] ?? 0
    if (atLineStart && octet === DOT) {
      atLineStart = false
      continue
    }
    atLineStart = octet === LF && index > 0 && content[index - 1] === CR
    out[length++] = octet
  }
  return out.slice(0, length)
}

/** A wire over the server's end of a connection. A secured end lives in the scope. */
export const makeWire = (
  initial: ServerConnection,
  serverUpgrade: ServerUpgrade
): Effect.Effect<Wire, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const clock = yield* Effect.clock
    const buffer = makeBuffer()
    const entries: Array<Entry> = []
    const contents: Array<Content> = []
    let queued: Array<Uint8Array> = []
    let connection = initial
    let step = "start"
    let reading = true
    let closed = false
    let writable = true
    let ended: "Ended" | "Lost" | undefined

    const now = (): number => clock.unsafeCurrentTimeMillis()

    const note = (words: string): void => {
      entries.push({ _tag: "Event", text: words, millis: now() })
    }

    const fail: Wire["fail"] = (reason, detail, expected, received) =>
      Effect.fail({ _tag: "Failure", reason, step, expected, received, detail })

    const left = (detail: string, expected?: string) =>
      fail("ClientLeft", detail, expected, buffer.length() === 0 ? undefined : show(buffer.view()))

    const send = (octets: Uint8Array): Effect.Effect<void, Failure> =>
      Effect.suspend(() => {
        if (octets.length === 0) return Effect.void
        if (!writable) return fail("Effect", "the script writes after it has closed its side")
        entries.push({ _tag: "Server", octets, millis: now() })
        return Effect.catchAll(connection.write([octets]), (lost) =>
          left(`the client was gone when the server wrote: ${describeCause(lost.cause)}`)
        )
      })

    const flush = Effect.suspend(() => {
      if (queued.length === 0) return Effect.void
      const octets = concat(queued)
      queued = []
      return send(octets)
    })

    const pull = Effect.suspend((): Effect.Effect<"Octets" | "Ended" | "Lost", Failure> => {
      if (ended !== undefined) return Effect.succeed(ended)
      if (!reading) return fail("Effect", "the script reads after stopReading, close or reset")
      return Effect.match(connection.pull, {
        onFailure: (lost) => {
          note(`the connection was lost: ${describeCause(lost.cause)}`)
          ended = "Lost"
          return ended
        },
        onSuccess: (octets) => {
          if (octets === undefined) {
            note("the client ended its stream")
            ended = "Ended"
            return ended
          }
          const copy = octets.slice()
          entries.push({ _tag: "Client", octets: copy, millis: now() })
          buffer.append(copy)
          return "Octets" as const
        }
      })
    })

    const fill = Effect.zipRight(
      flush,
      Effect.map(pull, (result) => result === "Octets")
    )

    const readUntil = (
      endOf: (octets: Uint8Array, from: number) => number,
      expected: string
    ): Effect.Effect<Uint8Array, Failure> =>
      Effect.gen(function* () {
        let searched = 0
        for (;;) {
          const end = endOf(buffer.view(), searched)
          if (end !== -1) return buffer.take(end)
          searched = buffer.length()
          if (!(yield* fill)) return yield* left("the client left", expected)
        }
      })

    const more: Wire["more"] = Effect.suspend(() => (buffer.length() > 0 ? Effect.succeed(true) : fill))

    const readOctets: Wire["readOctets"] = (count, expected) =>
      Effect.gen(function* () {
        while (buffer.length() < count) {
          if (!(yield* fill)) return yield* left("the client left", expected)
        }
        return buffer.take(count)
      })

    const readExactly: Wire["readExactly"] = (octets) =>
      Effect.gen(function* () {
        for (;;) {
          const received = buffer.view().subarray(0, octets.length)
          if (!equal(octets.subarray(0, received.length), received)) {
            const found = difference(octets, received)
            return yield* fail("Mismatch", found.detail, found.expected, found.received)
          }
          if (received.length === octets.length) {
            buffer.take(octets.length)
            return
          }
          if (!(yield* fill)) return yield* left("the client left", show(octets))
        }
      })

    const drain: Wire["drain"] = Effect.gen(function* () {
      yield* flush
      for (;;) {
        const result = yield* pull
        buffer.take(buffer.length())
        if (result !== "Octets") return result
      }
    })

    const end = Effect.suspend(() => {
      if (!writable) return Effect.void
      writable = false
      return Effect.ignore(connection.end)
    })

    const leave = (words: string, how: Effect.Effect<void>): Effect.Effect<void> =>
      Effect.suspend(() => {
        reading = false
        closed = true
        note(words)
        return how
      })

    const upgrade: Wire["upgrade"] = Effect.gen(function* () {
      yield* flush
      if (buffer.length() > 0) {
        return yield* fail(
          "Mismatch",
          "the client wrote octets in clear before TLS",
          "no octets before the handshake",
          show(buffer.view())
        )
      }
      connection = yield* Effect.catchAll(Scope.extend(serverUpgrade(connection), scope), (cause) => {
        const words = `the server's TLS handshake failed: ${describeCause(cause)}`
        note(words)
        return fail("Effect", words)
      })
      note("TLS begins")
    })

    return {
      entries,
      contents,
      isReading: () => reading,
      isClosed: () => closed,
      unread: () => buffer.view(),
      enter: (label) => {
        step = label
      },
      fail,
      queue: (octets) => {
        queued.push(octets)
      },
      flush,
      write: (octets) => Effect.zipRight(flush, send(octets)),
      fill,
      more,
      readLine: (expected) =>
        Effect.flatMap(more, (some) =>
          some
            ? Effect.map(readUntil(lineEnd, expected), (line) => line.subarray(0, line.length - 2))
            : Effect.succeed(undefined)
        ),
      readContent: Effect.map(readUntil(contentEnd, "a content that ends in CRLF . CRLF"), (raw) => {
        const content: Content = { octets: unstuff(raw), raw }
        contents.push(content)
        return content
      }),
      readOctets,
      readExactly,
      drain,
      stopReading: Effect.zipRight(
        flush,
        Effect.sync(() => {
          reading = false
          note("the server stops reading")
        })
      ),
      halfClose: Effect.zipRight(
        flush,
        Effect.suspend(() => {
          note("the server ends its stream")
          return end
        })
      ),
      close: Effect.zipRight(
        flush,
        leave(
          "the server closes the connection",
          Effect.zipRight(
            end,
            Effect.suspend(() => connection.destroy)
          )
        )
      ),
      reset: Effect.zipRight(
        flush,
        leave(
          "the server resets the connection",
          Effect.suspend(() => {
            writable = false
            return connection.reset
          })
        )
      ),
      upgrade,
      destroy: Effect.suspend(() => connection.destroy)
    }
  })

const lines = (octets: Uint8Array): ReadonlyArray<string> => {
  const shown: Array<string> = []
  let start = 0
  for (let end = lineEnd(octets, start); end !== -1; end = lineEnd(octets, start)) {
    shown.push(show(octets.subarray(start, end - 2)))
    start = end
  }
  if (start < octets.length) shown.push(`${show(octets.subarray(start))} (no CRLF)`)
  return shown
}

/**
 * Both sides interleaved, a line each: `C: ` the client's, `S: ` the server's, `-- ` what happened besides. Octets
 * of one side in a row are one text, however they were split.
 */
export const renderTranscript = (entries: ReadonlyArray<Entry>): ReadonlyArray<string> => {
  const shown: Array<string> = []
  let side: "Client" | "Server" = "Client"
  let run: Array<Uint8Array> = []
  const finish = (): void => {
    const prefix = side === "Client" ? "C: " : "S: "
    for (const line of lines(concat(run))) shown.push(prefix + line)
    run = []
  }
  for (const entry of entries) {
    if (entry._tag === "Event") {
      finish()
      shown.push(`-- ${entry.text}`)
      continue
    }
    if (entry._tag !== side) finish()
    side = entry._tag
    run.push(entry.octets)
  }
  finish()
  return shown
}

/** All octets of the client. */
export const receivedOctets = (entries: ReadonlyArray<Entry>): Uint8Array =>
  concat(entries.flatMap((entry) => (entry._tag === "Client" ? [entry.octets] : [])))

/** Runs the steps on the wire, one after another, and writes what the last of them queued. */
export const runSteps = (wire: Wire, steps: ReadonlyArray<Step>): Effect.Effect<void, Failure> =>
  Effect.forEach(
    steps,
    (step) => {
      wire.enter(step.label)
      return step.run(wire)
    },
    { discard: true }
  )
