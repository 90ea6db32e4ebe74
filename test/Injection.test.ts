/**
 * That no value a program passes on can become a command, a recipient or a message of its own: whole sessions with
 * hostile arguments, whose octets are read by a decoder that shares nothing with the library. `FUZZ_RUNS` sets the
 * number of runs of each property.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { createHmac } from "node:crypto"
import { domainToASCII } from "node:url"
import * as SmtpAuth from "../src/SmtpAuth.js"
import * as SmtpCommand from "../src/SmtpCommand.js"
import type { Content } from "../src/SmtpContent.js"
import * as SmtpContent from "../src/SmtpContent.js"
import * as SmtpSession from "../src/SmtpSession.js"
import { SmtpSocket } from "../src/SmtpSocket.js"
import * as SmtpTest from "../src/SmtpTest.js"
import type { Item, LineEnds, Message } from "./support/wireDecoder.js"
import {
  decode,
  faults,
  fromLatin1,
  latin1,
  messages,
  readPath,
  readXtext,
  replyCodes
} from "./support/wireDecoder.js"
import { runsOf } from "./support/runs.js"

// -- running

const runs = runsOf(80)

const utf8 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "utf8"))

/** Latin-1 for comparison: a string in which each character is an octet. */
const wire = (text: string): string => latin1(utf8(text))

/** What a session asked for, and which octets left for it. */
interface Call {
  readonly error: unknown
  readonly octets: Uint8Array
}

interface Recorded {
  readonly smtp: SmtpSession.Service
  /** Runs one call of the program and gives what left for it; a defect is the test's. */
  readonly call: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<Call>
}

interface Session {
  /** Everything that the client wrote. */
  readonly octets: Uint8Array
  readonly codes: ReadonlyArray<number>
  readonly items: ReadonlyArray<Item>
  readonly messages: ReadonlyArray<Message>
}

const capabilities = [
  "PIPELINING",
  "SIZE 26214400",
  "8BITMIME",
  "SMTPUTF8",
  "DSN",
  "CHUNKING",
  "BINARYMIME",
  "DELIVERBY",
  "MT-PRIORITY",
  "FUTURERELEASE 999999999 2099-01-01T00:00:00Z",
  "RRVS",
  "AUTH PLAIN"
]

type Server = Pick<SmtpTest.Service, "socket" | "layer" | "connections">

/** The items as strings, which compare faster than octets. */
const shown = (items: ReadonlyArray<Item>): ReadonlyArray<string> =>
  items.map((item) => `${item._tag} ${latin1("octets" in item ? item.octets : item.line)}`)

/** Runs a client over a session to the server, and reads what it wrote as the server must, and as careless ones do. */
const recorded = (
  server: Server,
  options: SmtpSession.Options,
  use: (recorded: Recorded) => Effect.Effect<void, SmtpSession.SetupError>
): Effect.Effect<Session, SmtpSession.SetupError> =>
  Effect.gen(function* () {
    const written: Array<Uint8Array> = []
    const read: Array<Uint8Array> = []
    const socket: SmtpSocket["Type"] = {
      dial: (endpoint, dialOptions) =>
        Effect.map(server.socket.dial(endpoint, dialOptions), (connection) => ({
          ...connection,
          pull: Effect.tap(connection.pull, (octets) => {
            if (octets !== undefined) read.push(octets)
          }),
          write: (parts) =>
            Effect.suspend(() => {
              for (const part of parts) written.push(Uint8Array.from(part))
              return connection.write(parts)
            })
        }))
    }
    const call = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Call> =>
      Effect.gen(function* () {
        const before = Buffer.concat(written).length
        const exit = yield* Effect.exit(effect)
        const failure = Exit.isFailure(exit) ? Cause.failureOrCause(exit.cause) : undefined
        if (failure !== undefined && Either.isRight(failure)) return yield* Effect.failCause(failure.right)
        const error =
          failure === undefined ? undefined : Either.getOrElse(Either.flip(failure), () => undefined)
        return { error, octets: Uint8Array.from(Buffer.concat(written).subarray(before)) }
      })
    yield* SmtpSession.make({ host: "mx.test", tls: "none", clientName: "client.test", ...options }).pipe(
      Effect.flatMap((smtp) => use({ smtp, call })),
      Effect.scoped,
      Effect.provide(Layer.merge(server.layer, Layer.succeed(SmtpSocket, socket)))
    )
    const octets = Uint8Array.from(Buffer.concat(written))
    const codes = replyCodes(Buffer.concat(read))
    const items = decode(octets, { codes })
    expect(faults(items)).toEqual([])
    for (const lineEnds of ["lf", "any"] satisfies ReadonlyArray<LineEnds>) {
      expect(shown(decode(octets, { codes, lineEnds }))).toEqual(shown(items))
    }
    return { octets, codes, items, messages: messages(items) }
  })

const withServer = (
  use: (recorded: Recorded) => Effect.Effect<void, SmtpSession.SetupError>,
  options: SmtpSession.Options = {},
  announced: ReadonlyArray<string> = capabilities
): Effect.Effect<Session, SmtpSession.SetupError> =>
  Effect.scoped(
    Effect.flatMap(SmtpTest.server({ capabilities: announced }), (server) => recorded(server, options, use))
  )

const commandLines = ({ items }: Session): ReadonlyArray<string> =>
  items.flatMap((item) => (item._tag === "Command" ? [latin1(item.line)] : []))

/** The lines of commands between EHLO and QUIT. */
const asked = (session: Session): ReadonlyArray<string> => {
  const lines = commandLines(session)
  expect(lines[0]).toBe("EHLO client.test")
  expect(lines.at(-1)).toBe("QUIT")
  return lines.slice(1, -1)
}

/** The same for a session whose last content was not finished: nothing may follow it, not even QUIT. */
const askedUntilCut = (session: Session): ReadonlyArray<string> => {
  const lines = commandLines(session)
  expect(lines[0]).toBe("EHLO client.test")
  expect(session.items.at(-1)).toMatchObject({ _tag: "Unfinished", what: "content" })
  return lines.slice(1)
}

/** A property of whole sessions; each run has five seconds, so that a hang is a failure with a seed. */
const property = <A>(
  name: string,
  arbitrary: FastCheck.Arbitrary<A>,
  holds: (value: A) => Effect.Effect<unknown, unknown>,
  numRuns = runs
): void => {
  it(
    name,
    async () => {
      await FastCheck.assert(
        FastCheck.asyncProperty(arbitrary, async (value) => {
          await Effect.runPromise(holds(value))
        }),
        { numRuns, timeout: 5_000 }
      )
    },
    600_000
  )
}

const tagOf = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"
    ? error._tag
    : undefined

const fieldOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "field" in error ? error.field : undefined

const localTags: ReadonlyArray<string | undefined> = ["InvalidArgument", "NotSupported", "ContentError"]

/** A call was refused by the library: it wrote nothing, and its error names what is wrong. */
const isRefusedLocally = ({ error, octets }: Call, field: RegExp): boolean => {
  const tag = tagOf(error)
  if (!localTags.includes(tag)) return false
  expect(latin1(octets)).toBe("")
  if (tag === "InvalidArgument") expect(fieldOf(error)).toMatch(field)
  return true
}

// -- hostile values

const fragments = [
  "\r\n",
  "\r",
  "\n",
  "\0",
  "\r\nDATA\r\n",
  ">\r\nRCPT TO:<evil@z.test>",
  "> SIZE=1",
  ">",
  "<",
  " ",
  "\t",
  "\v",
  "\x7f",
  "\u0085",
  "\u00a0",
  "\u00ad",
  "\u200b",
  "\u2028",
  "\u2029",
  "\ufe0f",
  "\ufeff",
  "\ud800",
  "\udc00",
  "@",
  "\uff20",
  "\uff0e",
  "\u3002",
  "\uff1e",
  "\uff1c",
  "\uff0d",
  "\uff0a",
  "\u2100",
  "\u33c2",
  "\u2488",
  "\u560d\u560a",
  "\u010d\u010a",
  "%0d%0a",
  "%40",
  '"',
  "\\",
  "\\\r\n",
  "[",
  "]",
  "(",
  ")",
  ",",
  ";",
  ":",
  "=",
  "+",
  "+0D+0A",
  ".",
  "..",
  "-",
  "_",
  "xn--",
  "\u00fc",
  "\u00df",
  "\u0130",
  "\u{1f600}",
  "a",
  "b1",
  "x.test",
  "a".repeat(64),
  "\u00fc".repeat(200),
  "a".repeat(1000)
]

const fragment = FastCheck.constantFrom(...fragments)

const anyUnits = FastCheck.array(FastCheck.integer({ min: 0, max: 0xffff }), { maxLength: 12 }).map((units) =>
  String.fromCharCode(...units)
)

const control = FastCheck.integer({ min: 0, max: 0x20 }).map((code) => String.fromCharCode(code))

/** A value that is as it should be, but for something in some place. */
const spoiled = (values: ReadonlyArray<string>): FastCheck.Arbitrary<string> =>
  FastCheck.tuple(
    FastCheck.constantFrom(...values),
    FastCheck.nat(60),
    FastCheck.oneof({ arbitrary: fragment, weight: 4 }, control, anyUnits)
  ).map(([value, at, put]) => value.slice(0, at) + put + value.slice(at))

const hostile = (...values: ReadonlyArray<string>): FastCheck.Arbitrary<string> =>
  FastCheck.oneof(
    { arbitrary: FastCheck.constantFrom(...values), weight: 2 },
    { arbitrary: spoiled(values), weight: 6 },
    { arbitrary: FastCheck.array(fragment, { maxLength: 6 }).map((parts) => parts.join("")), weight: 2 },
    { arbitrary: anyUnits, weight: 1 },
    { arbitrary: FastCheck.string({ unit: "binary", maxLength: 20 }), weight: 1 }
  )

const address = hostile(
  "a@x.test",
  "Ann.Lee+tag=1@X.test",
  '"a b"@x.test',
  '"a@b>\\" c"@x.test',
  "a@[192.0.2.1]",
  "a@[IPv6:2001:db8::1]",
  "\u00fcser@x.test",
  "a@b\u00fccher.test",
  "\u00fc@b\u00fccher.\u4f8b\u3048.test",
  "postmaster"
)

// -- what has to be on the wire

/** The path of an address: the address itself, but for a domain beyond ASCII. */
const expectedPath = (given: string): string => {
  const at = given.lastIndexOf("@")
  const domain = given.slice(at + 1)
  return /^\p{ASCII}*$/u.test(domain) || at === -1
    ? wire(given)
    : `${wire(given.slice(0, at))}@${domainToASCII(domain)}`
}

/** What two paths of one mailbox have in common: needless quotes and the letter case of domains do not count. */
const mailboxOf = (path: string): string => {
  const at = path.lastIndexOf("@")
  if (at === -1) return path.toLowerCase()
  const local = path.slice(0, at)
  const bare = local.startsWith('"') ? local.slice(1, -1).replaceAll(/\\(.)/g, "$1") : local
  return `${bare}@${path.slice(at + 1).toLowerCase()}`
}

const pathOf = (line: string | undefined): string | undefined => {
  const path = readPath(fromLatin1(line ?? ""))
  return path === undefined ? undefined : latin1(path.path)
}

interface Sent {
  readonly keyword: string
  readonly value: string | undefined
}

const parametersOf = (line: string | undefined): ReadonlyArray<Sent> => {
  const path = readPath(fromLatin1(line ?? ""))
  if (path === undefined) throw new Error(`no MAIL or RCPT: ${JSON.stringify(line)}`)
  return path.parameters.map(({ keyword, value }) => ({ keyword: keyword.toUpperCase(), value }))
}

/** The naive form of RFC 5321 section 2.3.8: whatever ends a line is CRLF, and the last line has an end. */
const canonical = (octets: Uint8Array): string => {
  const text = latin1(octets).replaceAll(/\r\n|\r|\n/g, "\r\n")
  return text === "" || text.endsWith("\r\n") ? text : `${text}\r\n`
}

const message = "Subject: hi\r\n\r\nhello\r\n"

describe("addresses on the wire (RFC 5321 section 4.1.2)", () => {
  property("a sender is one path of one MAIL, octet for octet, or nothing", address, (from) =>
    Effect.gen(function* () {
      const seen = { refused: false }
      const session = yield* withServer(({ call, smtp }) =>
        Effect.gen(function* () {
          const sent = yield* call(smtp.send({ from, to: "b@y.test", content: message }))
          seen.refused = isRefusedLocally(sent, /^from$/)
        })
      )
      const lines = asked(session)
      if (seen.refused) {
        expect(lines).toEqual([])
        return
      }
      expect(lines).toHaveLength(3)
      expect(pathOf(lines[0])).toBe(expectedPath(from))
      expect(lines.slice(1)).toEqual(["RCPT TO:<b@y.test>", "DATA"])
      expect(session.messages.map(({ content }) => latin1(content))).toEqual([message])
    })
  )

  property(
    "recipients are a path each, octet for octet, or nothing is sent at all",
    FastCheck.array(address, { minLength: 1, maxLength: 3 }),
    (to) =>
      Effect.gen(function* () {
        const seen = { refused: false }
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const sent = yield* call(smtp.send({ from: "a@x.test", to, content: message }))
            seen.refused = isRefusedLocally(sent, /^to\[[0-2]\]$/)
          })
        )
        const lines = asked(session)
        if (seen.refused) {
          expect(lines).toEqual([])
          return
        }
        const paths = lines.slice(1, -1).map((line) => pathOf(line) ?? line)
        const expected = to.map(expectedPath)
        for (const path of paths) expect(expected).toContain(path)
        // Equal recipients are sent once.
        const mailboxes = new Set(expected.map(mailboxOf))
        expect(paths.map(mailboxOf)).toEqual([...mailboxes])
        expect(session.messages).toHaveLength(1)
      })
  )

  property(
    "MAIL and RCPT by hand, alone or in a group, are a line each, or nothing",
    FastCheck.record({ from: address, to: address, grouped: FastCheck.boolean() }),
    ({ from, grouped, to }) =>
      Effect.gen(function* () {
        const expected: Array<string> = []
        const smtputf8 = { smtputf8: true }
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            if (grouped) {
              const group = [SmtpCommand.mail(from, smtputf8), SmtpCommand.rcpt(to)] as const
              const sent = yield* call(smtp.group(group))
              if (!isRefusedLocally(sent, /^(?:from|to)$/))
                expected.push(expectedPath(from), expectedPath(to))
              return
            }
            const mailed = yield* call(smtp.mail(from, smtputf8))
            if (!isRefusedLocally(mailed, /^from$/)) expected.push(expectedPath(from))
            const named = yield* call(smtp.rcpt(to))
            if (!isRefusedLocally(named, /^to$/)) expected.push(expectedPath(to))
          })
        )
        expect(asked(session).map(pathOf)).toEqual(expected)
      })
  )

  const send = (from: string, to: string) =>
    Effect.gen(function* () {
      let refused: string | undefined
      const session = yield* withServer(({ call, smtp }) =>
        Effect.gen(function* () {
          const sent = yield* call(smtp.send({ from, to, content: message }))
          if (isRefusedLocally(sent, /^from$|^to\[0\]$/)) refused = tagOf(sent.error)
        })
      )
      return { refused, lines: asked(session) }
    })

  const neverSent = [
    "a@b>\r\nDATA",
    "a@b>\r\nDATA\r\n",
    "\r\na@x.test",
    "a@x.test\r\n",
    "a@x.test\n",
    '"a\r\nb"@x.test',
    '"a\nb"@x.test',
    '"a\\\r\nb"@x.test',
    '"a\0b"@x.test',
    "a@x.test> SIZE=1",
    "a@x.test SIZE=1",
    "<a@x.test>",
    "Ann <a@x.test>",
    "a@x.test,b@x.test",
    "a@x.test\u0000",
    "a\u0000@x.test",
    "a@[1.2.3.4]>",
    "a@[1.2.3.4]> SIZE=1",
    "a@[1.2.3.4\r\n]",
    "a@[x:y>z]",
    "a@[x:y z]",
    "a\u2028b@x.test",
    "a\u2029b@x.test",
    "a\u0085b@x.test",
    '"a\u2028b"@x.test',
    '"a\u0085b"@x.test',
    "a@x\u2028.test",
    "a@x\u2029.test",
    "a@x\u0085.test",
    "a@%0d%0a.test",
    "a@b%40c.test",
    "a@b\uff20c.test",
    "a@b\uff1ec.test",
    "a@b\uff1c.test",
    "a@b\uff0fc.test",
    "a@b\uff1a25.test",
    "a@b\uff05\uff14\uff10c.test",
    "a@b\u2100c.test",
    "a@b\u2488c.test",
    "a@\u00ad.test",
    "a@\ufe0f.test",
    "a@\ufe0f",
    "a@\u3002",
    "a@b\u3002\u3002c.test",
    "a@\uff3b1.2.3.4\uff3d",
    "a@\uff11.\uff12.\uff13.\uff14",
    "\ud800@x.test",
    "a@x\udc00.test",
    "@r.test:a@x.test",
    `${"a".repeat(65)}@x.test`,
    `a@${"b.".repeat(127)}test`
  ]
  for (const given of neverSent) {
    it.effect(`${JSON.stringify(given.slice(0, 80))} never leaves`, () =>
      Effect.gen(function* () {
        expect(yield* send(given, "b@y.test")).toEqual({ refused: "InvalidArgument", lines: [] })
        expect(yield* send("a@x.test", given)).toEqual({ refused: "InvalidArgument", lines: [] })
      })
    )
  }

  const sentAs: ReadonlyArray<readonly [string, string]> = [
    ["a%0d%0a@x.test", "a%0d%0a@x.test"],
    ["a%40b@x.test", "a%40b@x.test"],
    ['"a@b>\\" SIZE=1"@x.test', '"a@b>\\" SIZE=1"@x.test'],
    ['"a> SIZE=1 <b"@x.test', '"a> SIZE=1 <b"@x.test'],
    ["a@b\uff0ec.test", "a@b.c.test"],
    ["a@b\u3002test", "a@b.test"],
    ["a@B\u00dcCHER.test", "a@xn--bcher-kva.test"],
    ["\uff20@x.test", wire("\uff20@x.test")],
    ["\u560d\u560a@x.test", wire("\u560d\u560a@x.test")],
    ["\uff1e@x.test", wire("\uff1e@x.test")]
  ]
  for (const [given, path] of sentAs) {
    it.effect(`${JSON.stringify(given)} is one path`, () =>
      Effect.gen(function* () {
        const { lines, refused } = yield* send(given, "b@y.test")
        expect(refused).toBeUndefined()
        expect(lines).toHaveLength(3)
        expect(pathOf(lines[0])).toBe(path)
        expect(pathOf((yield* send("a@x.test", given)).lines[1])).toBe(path)
      })
    )
  }
})

describe("parameters on the wire (RFC 5321 section 4.1.2, RFC 3461, RFC 4954 section 5)", () => {
  const text = hostile("id-1", "a+b=c", "Ann Lee", "a@x.test", "+2B", "x".repeat(90))

  const xtextOf = (value: string | undefined): string | undefined => {
    const octets = value === undefined ? undefined : readXtext(value)
    return octets === undefined ? undefined : latin1(octets)
  }

  property(
    "ENVID and AUTH of MAIL say what was given, in xtext, or nothing is sent",
    FastCheck.record({ envelopeId: text, auth: text }),
    ({ auth, envelopeId }) =>
      Effect.gen(function* () {
        let refused = 0
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const calls = [
              yield* call(smtp.mail("a@x.test", { envelopeId })),
              yield* call(smtp.rset),
              yield* call(smtp.mail("a@x.test", { auth })),
              yield* call(smtp.rset)
            ]
            for (const made of calls)
              if (isRefusedLocally(made, /^parameters\.(?:envelopeId|auth)$/)) refused++
          })
        )
        const mails = asked(session).filter((line) => line !== "RSET")
        expect(asked(session)).toHaveLength(4 - refused)
        for (const line of mails) {
          const [only, ...more] = parametersOf(line)
          expect(more).toEqual([])
          expect(xtextOf(only?.value)).toBe(wire(only?.keyword === "ENVID" ? envelopeId : auth))
        }
      })
  )

  property(
    "ORCPT says what was given, or nothing is sent",
    FastCheck.record({
      address: hostile("ann@x.test", "\u00fc@x.test", "a+b=c@x.test", "a;b"),
      type: FastCheck.option(hostile("rfc822", "x400", "utf-8"), { nil: undefined })
    }),
    ({ address: given, type }) =>
      Effect.gen(function* () {
        const seen = { refused: false }
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            yield* call(smtp.mail("a@x.test"))
            const originalRecipient = type === undefined ? given : { type, address: given }
            const sent = yield* call(smtp.rcpt("b@y.test", { originalRecipient }))
            seen.refused = isRefusedLocally(sent, /^parameters\.originalRecipient$/)
          })
        )
        const [, rcpt, ...more] = asked(session)
        expect(more).toEqual([])
        if (seen.refused) {
          expect(rcpt).toBeUndefined()
          return
        }
        const [only, ...others] = parametersOf(rcpt)
        expect(others).toEqual([])
        const [kind, ...encoded] = (only?.value ?? "").split(";")
        const value = encoded.join(";")
        if (kind?.toLowerCase() === "utf-8") {
          const decoded = value.replaceAll(/\\x\{([0-9A-F]+)\}/g, (_, digits: string) =>
            String.fromCodePoint(parseInt(digits, 16))
          )
          expect(decoded).toBe(given)
        } else {
          expect(kind).toBe(type ?? "rfc822")
          expect(xtextOf(value)).toBe(wire(given))
        }
      })
  )

  property(
    "an extra keyword and value are one parameter, character for character, or nothing is sent",
    FastCheck.record({
      keyword: hostile("XVERP", "X-A", "SIZE"),
      value: FastCheck.option(hostile("1", "a>b", "yes;no"), { nil: undefined }),
      recipient: FastCheck.boolean()
    }),
    ({ keyword, recipient, value }) =>
      Effect.gen(function* () {
        const seen = { refused: false }
        const parameters = { extra: [{ keyword, value }] }
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const sent = recipient
              ? yield* call(Effect.zipRight(smtp.mail("a@x.test"), smtp.noop))
              : yield* call(smtp.mail("a@x.test", parameters))
            const last = recipient ? yield* call(smtp.rcpt("b@y.test", parameters)) : sent
            seen.refused = isRefusedLocally(last, /^parameters(?:\.extra\[0\])?$/)
          })
        )
        const lines = asked(session).filter((line) => line !== "NOOP" && line !== "MAIL FROM:<a@x.test>")
        expect(lines).toHaveLength(seen.refused ? 0 : 1)
        for (const line of lines) {
          expect(parametersOf(line)).toEqual([{ keyword: keyword.toUpperCase(), value }])
        }
      })
  )

  property(
    "written parameters are one each, or nothing is sent",
    FastCheck.record({
      mail: FastCheck.array(
        hostile(
          "RET=HDRS",
          "ENVID=a+2Bb",
          "SMTPUTF8",
          "BODY=8BITMIME",
          "BY=100;R",
          "X-A=1",
          "AUTH=<>",
          "SIZE=10"
        ),
        { maxLength: 3 }
      ),
      rcpt: FastCheck.array(
        hostile("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;a+40b", "X-B", "RRVS=2026-01-01T00:00:00Z"),
        {
          maxLength: 3
        }
      )
    }),
    ({ mail, rcpt }) =>
      Effect.gen(function* () {
        const expected: Array<ReadonlyArray<string>> = []
        const keywords = (texts: ReadonlyArray<string>): ReadonlyArray<string> =>
          texts.map((one) => (one.trim().split("=")[0] ?? "").toUpperCase()).sort()
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const mailed = yield* call(smtp.mail("a@x.test", mail))
            if (!isRefusedLocally(mailed, /^parameters/)) expected.push(keywords(mail))
            const named = yield* call(smtp.rcpt("b@y.test", rcpt))
            if (!isRefusedLocally(named, /^parameters/)) expected.push(keywords(rcpt))
          })
        )
        const found = asked(session).map((line) => parametersOf(line).map(({ keyword }) => keyword))
        expect(found.map((names) => [...names].sort())).toEqual(expected)
      })
  )

  property(
    "those of a whole send stand in its MAIL and RCPT, or nothing is sent",
    FastCheck.record({ envelopeId: text, originalRecipient: text, value: text }),
    ({ envelopeId, originalRecipient, value }) =>
      Effect.gen(function* () {
        const seen = { refused: false }
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const sent = yield* call(
              smtp.send({
                from: "a@x.test",
                to: { address: "b@y.test", originalRecipient },
                content: message,
                parameters: { envelopeId, extra: [{ keyword: "X-A", value }] }
              })
            )
            seen.refused = isRefusedLocally(
              sent,
              /^(?:parameters(?:\.envelopeId|\.extra\[0\])?|to\[0\](?:\.originalRecipient)?)$/
            )
          })
        )
        const [mail, rcpt, ...more] = asked(session)
        if (seen.refused) {
          expect(mail).toBeUndefined()
          return
        }
        expect(more).toEqual(["DATA"])
        expect(parametersOf(mail).map(({ keyword }) => keyword)).toEqual(["SIZE", "ENVID", "X-A"])
        expect(parametersOf(rcpt).map(({ keyword }) => keyword)).toEqual(["ORCPT"])
        expect(session.messages).toHaveLength(1)
      })
  )

  it.effect("ENVID and ORCPT with + and = are encoded, with CR they never leave (RFC 3461 section 4)", () =>
    Effect.gen(function* () {
      const session = yield* withServer(({ call, smtp }) =>
        Effect.gen(function* () {
          yield* call(smtp.mail("a@x.test", { envelopeId: "a+b=c d" }))
          yield* call(smtp.rcpt("b@y.test", { originalRecipient: "a+b=c@y.test" }))
          for (const bad of ["a\rb", "a\nb", "a\r\nRCPT TO:<evil@z.test>", "a\0"]) {
            const mailed = yield* call(smtp.mail("a@x.test", { envelopeId: bad }))
            expect(isRefusedLocally(mailed, /^parameters\.envelopeId$/)).toBe(true)
            const named = yield* call(smtp.rcpt("b@y.test", { originalRecipient: bad }))
            expect(isRefusedLocally(named, /^parameters\.originalRecipient$/)).toBe(true)
          }
        })
      )
      expect(asked(session)).toEqual([
        "MAIL FROM:<a@x.test> ENVID=a+2Bb+3Dc+20d",
        "RCPT TO:<b@y.test> ORCPT=rfc822;a+2Bb+3Dc@y.test"
      ])
    })
  )
})

describe("commands in the program's own words (RFC 5321 section 4.1.1)", () => {
  property(
    "are a line each, within 512 octets, or nothing is sent",
    FastCheck.array(
      FastCheck.record({
        how: FastCheck.constantFrom("command" as const, "vrfy" as const, "expn" as const, "help" as const),
        verb: hostile("XVERB", "ETRN", "noop", "DATA", "BDAT", "AUTH", "STARTTLS", "MAIL", "RCPT", "RSET"),
        argument: hostile("", "ann", "FROM:<a@x.test>", "TO:<b@y.test>", "x".repeat(504), "\u00fc")
      }),
      { minLength: 1, maxLength: 5 }
    ),
    (calls) =>
      Effect.gen(function* () {
        const expected: Array<string> = []
        const session = yield* withServer(({ call, smtp }) =>
          Effect.forEach(
            calls,
            ({ argument, how, verb }) =>
              Effect.gen(function* () {
                const made = how === "command" ? smtp.command(verb, argument) : smtp[how](argument)
                const name = how === "command" ? verb : how.toUpperCase()
                const said = yield* call<unknown, unknown>(made)
                if (isRefusedLocally(said, /^(?:verb|argument|user|list|topic)$/)) return
                const words = [name, ...(argument === "" ? [] : [argument])]
                if (/\P{ASCII}/u.test(argument) && (how === "vrfy" || how === "expn")) words.push("SMTPUTF8")
                expected.push(wire(words.join(" ")))
              }),
            { discard: true }
          )
        )
        expect(asked(session)).toEqual(expected)
      })
  )

  const overlong = "x".repeat(509)
  it.effect("longer than 512 octets never leave, and say which argument is too long", () =>
    Effect.gen(function* () {
      const session = yield* withServer(({ call, smtp }) =>
        Effect.gen(function* () {
          const calls: ReadonlyArray<readonly [Call, RegExp]> = [
            [yield* call(smtp.vrfy(overlong)), /^user$/],
            [yield* call(smtp.expn(overlong)), /^list$/],
            [yield* call(smtp.help(overlong)), /^topic$/],
            [yield* call(smtp.command("X", overlong)), /^argument$/],
            [yield* call(smtp.command("X".repeat(511))), /^verb$|^argument$/]
          ]
          for (const [made, field] of calls) {
            expect(tagOf(made.error)).toBe("InvalidArgument")
            expect(isRefusedLocally(made, field)).toBe(true)
          }
          yield* call(smtp.vrfy("x".repeat(505)))
        })
      )
      expect(asked(session)).toEqual([`VRFY ${"x".repeat(505)}`])
    })
  )

  it.effect("made by the program itself with two lines in one never leave", () =>
    Effect.gen(function* () {
      const forged: typeof SmtpCommand.noop = {
        ...SmtpCommand.noop,
        prepare: (context) =>
          Effect.map(SmtpCommand.noop.prepare(context), (command) => ({
            ...command,
            line: "NOOP\r\nMAIL FROM:<evil@z.test>"
          }))
      }
      const session = yield* withServer(({ call, smtp }) =>
        Effect.gen(function* () {
          for (const made of [yield* call(smtp.run(forged)), yield* call(smtp.group([forged]))]) {
            expect(made.error).toBeDefined()
            expect(latin1(made.octets)).toBe("")
          }
        })
      )
      expect(asked(session)).toEqual([])
    })
  )
})

describe("names by which the client introduces itself (RFC 5321 section 4.1.1.1)", () => {
  /** The EHLO line, or the field that was refused before anything was dialled. */
  const introduced = (options: SmtpSession.Options) =>
    Effect.either(withServer(() => Effect.void, options)).pipe(
      Effect.map(
        Either.match({
          onLeft: (error) => (error._tag === "InvalidArgument" ? { field: error.field } : { error }),
          onRight: ({ items }) =>
            items.flatMap((item) => (item._tag === "Command" ? [latin1(item.line)] : [item._tag]))
        })
      )
    )

  property(
    "are the one argument of EHLO, or nothing is dialled",
    hostile("client.test", "[192.0.2.1]", "[IPv6:::1]", "a_b", "xn--bcher-kva.test"),
    (clientName) =>
      Effect.map(introduced({ clientName }), (result) => {
        expect([{ field: "clientName" }, [`EHLO ${clientName}`, "QUIT"]]).toContainEqual(result)
      })
  )

  it.effect.each([
    "a b",
    "a\r\nMAIL FROM:<a@b>",
    "a\n",
    "a\0",
    "\u00fc.test",
    "[a b]",
    "a\u2028b",
    "a".repeat(256)
  ])("%j is none", (clientName) =>
    Effect.map(introduced({ clientName }), (result) => {
      expect(result).toEqual({ field: "clientName" })
    })
  )
})

describe("credentials (RFC 4954 section 4, RFC 4616, RFC 5802, RFC 7628)", () => {
  const value = hostile(
    "ann",
    "a,b=c",
    "n=x,r=y",
    "Ann Lee",
    "ann@x.test",
    "\u00fcser",
    "p\u0001q",
    "\uff0c\uff1d"
  )

  const base64 = (text: string): string => Buffer.from(text, "utf8").toString("base64")

  /** A server that goes along with PLAIN, LOGIN, CRAM-MD5, bearers and EXTERNAL, and gives SCRAM a useless challenge. */
  const server = (mechanism: string) => {
    const welcome = SmtpTest.script(
      SmtpTest.branch({ "*": SmtpTest.reply("501 as you like") }, SmtpTest.reply("235 welcome"))
    )
    const ask = (challenge: string, then: SmtpTest.Script): SmtpTest.Script =>
      SmtpTest.script(SmtpTest.reply(`334 ${challenge}`), then)
    const begin = (line: string): SmtpTest.Script => {
      if (mechanism === "LOGIN") {
        const second = ask(base64("Password:"), welcome)
        return ask(base64("Username:"), SmtpTest.script(SmtpTest.branch({}, second)))
      }
      if (mechanism === "CRAM-MD5") return ask(base64("<1@mx.test>"), welcome)
      const whole = line.split(" ").length > 2
      if (mechanism.startsWith("SCRAM")) {
        const useless = ask(base64("x"), welcome)
        return whole ? useless : ask("", SmtpTest.script(SmtpTest.branch({}, useless)))
      }
      return whole ? SmtpTest.reply("235 welcome") : ask("", welcome)
    }
    return SmtpTest.scripted(
      SmtpTest.script(
        SmtpTest.reply("220 mx.test ESMTP"),
        SmtpTest.repeat(
          SmtpTest.branch({
            EHLO: SmtpTest.reply("250-mx.test", `250 AUTH ${mechanism}`),
            AUTH: begin,
            QUIT: SmtpTest.script(SmtpTest.reply("221 bye"), SmtpTest.close)
          })
        )
      )
    )
  }

  interface Exchange {
    readonly error: unknown
    /** The command without its response, then each response, decoded; the cancellation is `*`. */
    readonly said: ReadonlyArray<string>
  }

  const decoded = (response: string): string =>
    response === "*" ? "*" : response === "=" ? "" : Buffer.from(response, "base64").toString("latin1")

  const exchange = (
    mechanism: string,
    credentials: SmtpAuth.Credentials,
    field: RegExp,
    options: SmtpSession.Options = {}
  ): Effect.Effect<Exchange | undefined, SmtpSession.SetupError> =>
    Effect.gen(function* () {
      let error: unknown
      const seen = { refused: false }
      const session = yield* Effect.scoped(
        Effect.flatMap(server(mechanism), (scripted) =>
          recorded(scripted, { allowInsecureAuth: true, ...options }, ({ call, smtp }) =>
            Effect.gen(function* () {
              const made = yield* call(smtp.authenticate(credentials))
              error = made.error
              seen.refused = isRefusedLocally(made, field)
            })
          )
        )
      )
      const lines = asked(session)
      if (seen.refused) {
        expect(lines).toEqual([])
        return undefined
      }
      const [name, initial, ...more] = (lines[0] ?? "").slice("AUTH ".length).split(" ")
      expect([lines.length, name, more]).toEqual([1, mechanism, []])
      const responses = session.items.flatMap((item) => (item._tag === "Response" ? [latin1(item.line)] : []))
      return { error, said: [...(initial === undefined ? [] : [initial]), ...responses].map(decoded) }
    })

  const fields = /^(?:username|password|token|authorizationId|trace|name|initialResponse)$/

  const arbitraryPassword = FastCheck.record({
    username: value,
    password: FastCheck.oneof(value, FastCheck.constantFrom("x".repeat(500), "x".repeat(1024))),
    authorizationId: FastCheck.option(value, { nil: undefined }),
    initialResponse: FastCheck.boolean()
  })

  property("PLAIN is three parts, or nothing is sent", arbitraryPassword, (given) =>
    Effect.map(
      exchange("PLAIN", SmtpAuth.password({ ...given, password: Redacted.make(given.password) }), fields),
      (made) => {
        if (made === undefined) return
        const { authorizationId, password, username } = given
        expect(made.said).toEqual([[authorizationId ?? "", username, password].map(wire).join("\0")])
        expect(made.said[0]?.split("\0")).toHaveLength(3)
      }
    )
  )

  property("LOGIN is a user name and a password, or nothing is sent", arbitraryPassword, (given) =>
    Effect.map(
      exchange(
        "LOGIN",
        SmtpAuth.password({ username: given.username, password: Redacted.make(given.password) }),
        fields
      ),
      (made) => {
        if (made !== undefined) expect(made.said).toEqual([wire(given.username), wire(given.password)])
      }
    )
  )

  property("CRAM-MD5 is a user name and a digest, or nothing is sent", arbitraryPassword, (given) =>
    Effect.map(
      exchange(
        "CRAM-MD5",
        SmtpAuth.password({ username: given.username, password: Redacted.make(given.password) }),
        fields
      ),
      (made) => {
        if (made === undefined) return
        const digest = createHmac("md5", utf8(given.password)).update("<1@mx.test>").digest("hex")
        expect(made.said).toEqual([`${wire(given.username)} ${digest}`])
      }
    )
  )

  property("SCRAM is four attributes, or nothing is sent", arbitraryPassword, (given) =>
    Effect.map(
      exchange(
        "SCRAM-SHA-256",
        SmtpAuth.password({ ...given, password: Redacted.make(given.password) }),
        fields
      ),
      (made) => {
        if (made === undefined) return
        const [first, ...rest] = made.said
        expect(rest).toEqual(["*"])
        expect(tagOf(made.error)).toBe("AuthenticationError")
        const parts = (first ?? "").split(",")
        expect(parts).toHaveLength(4)
        const [binding, authorizationId = "", username = "", nonce] = parts
        expect(binding).toBe("n")
        expect(nonce).toMatch(/^r=[!-+.-~-]+$/)
        const name = (text: string): string => {
          expect(text).not.toMatch(/=(?!2C|3D)/)
          return text.replaceAll("=2C", ",").replaceAll("=3D", "=")
        }
        const { authorizationId: wanted } = given
        expect(name(authorizationId.slice(2))).toBe(wanted === undefined ? "" : wire(wanted))
        expect(authorizationId.slice(0, 2)).toBe(wanted === undefined ? "" : "a=")
        expect(username.slice(0, 2)).toBe("n=")
        const prepared = name(username.slice(2))
        if (/^[ -~]*$/.test(given.username)) expect(prepared).toBe(given.username)
      }
    )
  )

  const arbitraryToken = FastCheck.record({ username: value, token: hostile("ya29.a-b_c", "x".repeat(2000)) })

  property(
    "OAUTHBEARER and XOAUTH2 are their parts, or nothing is sent",
    arbitraryToken,
    ({ token, username }) =>
      Effect.gen(function* () {
        const credentials = SmtpAuth.oauth2({ username, token: Redacted.make(token) })
        const bearer = yield* exchange("OAUTHBEARER", credentials, fields)
        if (bearer !== undefined) {
          const name = wire(username).replaceAll("=", "=3D").replaceAll(",", "=2C")
          expect(bearer.said).toEqual([
            [`n,a=${name},`, "host=mx.test", "port=25", `auth=Bearer ${token}`, "", ""].join("\u0001")
          ])
        }
        const older = yield* exchange("XOAUTH2", credentials, fields)
        if (older !== undefined) {
          expect(older.said).toEqual([`user=${wire(username)}\u0001auth=Bearer ${token}\u0001\u0001`])
        }
      })
  )

  property("EXTERNAL and ANONYMOUS are what was given, or nothing is sent", value, (given) =>
    Effect.gen(function* () {
      const external = yield* exchange("EXTERNAL", SmtpAuth.external({ authorizationId: given }), fields)
      if (external !== undefined) expect(external.said).toEqual([wire(given)])
      const anonymous = yield* exchange("ANONYMOUS", SmtpAuth.anonymous({ trace: given }), fields)
      if (anonymous !== undefined) expect(anonymous.said).toEqual([wire(given)])
    })
  )

  property(
    "a mechanism of the program says what it says, in base64, under a name that is one",
    FastCheck.record({
      name: hostile("X-MINE", "x_mine"),
      initial: FastCheck.option(FastCheck.uint8Array({ maxLength: 700 }), { nil: undefined }),
      response: FastCheck.uint8Array({ maxLength: 700 })
    }),
    ({ initial, name, response }) =>
      Effect.gen(function* () {
        const credentials = SmtpAuth.mechanism({
          name,
          begin: Effect.succeed({
            initialResponse: initial === undefined ? undefined : Redacted.make(initial),
            respond: () => Effect.succeed(Redacted.make(response))
          })
        })
        // A server that announces what it is asked for, as far as it can.
        const announced = /^[A-Za-z0-9_-]+$/.test(name) ? name.toUpperCase() : "X-MINE"
        const made = yield* exchange(announced, credentials, fields)
        if (made !== undefined) expect(made.said).toEqual([latin1(initial ?? response)])
      })
  )

  const password = (options: Partial<SmtpAuth.PasswordOptions>) =>
    SmtpAuth.password({ username: "ann", password: Redacted.make("secret"), ...options })

  it.effect("a password with NUL never leaves by PLAIN (RFC 4616 section 2)", () =>
    Effect.gen(function* () {
      const credentials = password({ password: Redacted.make("a\0b") })
      expect(yield* exchange("PLAIN", credentials, /^password$/)).toBeUndefined()
    })
  )

  it.effect("a user name with , and = is escaped for SCRAM (RFC 5802 section 5.1)", () =>
    Effect.gen(function* () {
      const made = yield* exchange("SCRAM-SHA-256", password({ username: "a,b=c" }), /^$/)
      expect(made?.said[0]).toMatch(/^n,,n=a=2Cb=3Dc,r=[^,]+$/)
      const wide = yield* exchange("SCRAM-SHA-256", password({ username: "a\uff0cb\uff1dc" }), /^$/)
      expect(wide?.said[0]).toMatch(/^n,,n=a=2Cb=3Dc,r=[^,]+$/)
    })
  )

  it.effect("a host cannot add a part to OAUTHBEARER (RFC 7628 section 3.1)", () =>
    Effect.gen(function* () {
      const credentials = SmtpAuth.oauth2({ username: "ann", token: Redacted.make("t") })
      for (const host of ["mx.test\u0001auth=Bearer evil", "mx\u007f.test", "mx\u0085.test"]) {
        const result = yield* Effect.either(exchange("OAUTHBEARER", credentials, /^$/, { host }))
        expect(Either.isLeft(result) ? result.left : result.right).toMatchObject({
          _tag: "InvalidArgument",
          field: "host"
        })
      }
    })
  )
})

describe("content (RFC 5321 sections 2.3.8 and 4.5.2, RFC 3030)", () => {
  const smuggled = "MAIL FROM:<evil@z.test>\r\nRCPT TO:<victim@y.test>\r\nDATA\r\nsmuggled\r\n.\r\n"

  const pieces = [
    "\r",
    "\n",
    ".",
    "..",
    "\r\n",
    "\n.\n",
    "\r.\r",
    "\n.\r\n",
    "\r\n.\r\n",
    "\r\n.\r",
    "\r\n.\n",
    "\r.\n",
    "\n\r.\r\n",
    `\n.\n${smuggled}`,
    `\r.\r${smuggled}`,
    `\r\n.\r\n${smuggled}`,
    "a",
    "Subject: hi\r\n\r\n",
    "text",
    "RSET\r\n",
    "\xff\x80",
    "\0",
    "x".repeat(1000)
  ]

  const octets = FastCheck.array(FastCheck.constantFrom(...pieces), { maxLength: 12 }).map((parts) =>
    fromLatin1(parts.join(""))
  )

  type Form = "octets" | "bytes" | "text" | "string" | "stream" | "replayable" | "once"

  const forms: ReadonlyArray<Form> = ["octets", "bytes", "text", "string", "stream", "replayable", "once"]

  /** The octets in pieces that end where the cuts say. */
  const cutAt = (whole: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
    const borders = [...cuts.map((cut) => cut % (whole.length + 1)), whole.length].sort((a, b) => a - b)
    return borders.map((border, index) => whole.subarray(borders[index - 1] ?? 0, border))
  }

  const contentOf = (whole: Uint8Array, form: Form, cuts: ReadonlyArray<number>): Content => {
    switch (form) {
      case "octets":
        return whole
      case "bytes":
        return SmtpContent.bytes(whole)
      case "text":
        return latin1(whole)
      case "string":
        return SmtpContent.string(latin1(whole))
      case "stream":
        return Stream.fromIterable(cutAt(whole, cuts))
      case "replayable":
        return SmtpContent.replayable(Stream.fromIterable(cutAt(whole, cuts)))
      case "once":
        return SmtpContent.once(Stream.fromIterable(cutAt(whole, cuts)))
    }
  }

  /** What of the content goes to UTF-8 on its way is given in Latin-1 here. */
  const givenAs = (whole: Uint8Array, form: Form): Uint8Array =>
    form === "text" || form === "string" ? utf8(latin1(whole)) : whole

  interface Options {
    readonly lineEnds: "convert" | "refuse"
    readonly allowNul: boolean
    readonly allowEmpty: boolean
  }

  /** Why RFC and options keep the content from being sent. */
  const refusalOf = (whole: Uint8Array, options: Options): ReadonlyArray<string> => {
    const text = latin1(whole)
    return [
      ...(text === "" && !options.allowEmpty ? ["InvalidArgument"] : []),
      ...(text.includes("\0") && !options.allowNul ? ["ContentError"] : []),
      ...(/\r(?!\n)|(?:^|[^\r])\n/.test(text) && options.lineEnds === "refuse" ? ["ContentError"] : [])
    ]
  }

  const options: FastCheck.Arbitrary<Options> = FastCheck.record({
    lineEnds: FastCheck.constantFrom("convert", "convert", "refuse"),
    allowNul: FastCheck.boolean(),
    allowEmpty: FastCheck.boolean()
  })

  const piece = FastCheck.record({
    whole: octets,
    form: FastCheck.constantFrom(...forms),
    cuts: FastCheck.array(FastCheck.nat(5000), { maxLength: 6 }),
    options
  })

  const verbOf = (line: string): string => line.split(" ")[0] ?? ""

  /** Of a stream the end is not known before MAIL: what is wrong with it can cut the content short. */
  const isCut = ({ octets }: Call, form: Form): boolean =>
    ["stream", "replayable", "once"].includes(form) && octets.length > 0

  property(
    "is one message for each accepted send, canonical, and no message for a refused one",
    FastCheck.record({
      sends: FastCheck.array(piece, { minLength: 1, maxLength: 3 }),
      pipelining: FastCheck.constantFrom("off" as const, "envelope" as const, "data" as const),
      announced: FastCheck.constantFrom(
        capabilities,
        capabilities.filter((name) => name !== "PIPELINING")
      )
    }),
    ({ announced, pipelining, sends }) =>
      Effect.gen(function* () {
        const accepted: Array<string> = []
        const seen = { cut: false }
        const session = yield* withServer(
          ({ call, smtp }) =>
            Effect.forEach(
              sends,
              ({ cuts, form, options, whole }) =>
                Effect.gen(function* () {
                  const content = contentOf(whole, form, cuts)
                  const sent = yield* call(
                    smtp.send({ from: "a@x.test", to: "b@y.test", content, ...options })
                  )
                  const reasons = refusalOf(givenAs(whole, form), options)
                  if (seen.cut) {
                    expect(sent.error).toBeDefined()
                    expect(latin1(sent.octets)).toBe("")
                  } else if (reasons.length === 0) {
                    expect(sent.error).toBeUndefined()
                    accepted.push(canonical(givenAs(whole, form)))
                  } else {
                    expect(reasons).toContain(tagOf(sent.error))
                    seen.cut = isCut(sent, form)
                    if (!seen.cut) expect(isRefusedLocally(sent, /^content$/)).toBe(true)
                  }
                }),
              { discard: true }
            ),
          { pipelining },
          announced
        )
        expect(session.messages.map(({ content }) => latin1(content))).toEqual(accepted)
        const lines = seen.cut ? askedUntilCut(session) : asked(session)
        const begun = seen.cut ? [...accepted, ""] : accepted
        expect(lines.map(verbOf)).toEqual(begun.flatMap(() => ["MAIL", "RCPT", "DATA"]))
      })
  )

  property("by hand is one message, or none", piece, ({ cuts, form, options, whole }) =>
    Effect.gen(function* () {
      const accepted: Array<string> = []
      let data = ["DATA"]
      const seen = { cut: false }
      const session = yield* withServer(({ call, smtp }) =>
        Effect.gen(function* () {
          yield* call(smtp.mail("a@x.test"))
          yield* call(smtp.rcpt("b@y.test"))
          const sent = yield* call(smtp.data(contentOf(whole, form, cuts), options))
          const reasons = refusalOf(givenAs(whole, form), options)
          if (reasons.length === 0) {
            expect(sent.error).toBeUndefined()
            accepted.push(canonical(givenAs(whole, form)))
            return
          }
          expect(reasons).toContain(tagOf(sent.error))
          seen.cut = isCut(sent, form)
          if (seen.cut) return
          expect(isRefusedLocally(sent, /^content$/)).toBe(true)
          data = []
        })
      )
      expect(session.messages.map(({ content }) => latin1(content))).toEqual(accepted)
      const lines = seen.cut ? askedUntilCut(session) : asked(session)
      expect(lines.map(verbOf)).toEqual(["MAIL", "RCPT", ...data])
    })
  )

  property(
    "by BDAT is counted octet for octet, whatever it looks like (RFC 3030 section 2)",
    FastCheck.array(octets, { minLength: 1, maxLength: 5 }),
    (chunks) =>
      Effect.gen(function* () {
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            yield* call(smtp.mail("a@x.test", { body: "BINARYMIME" }))
            yield* call(smtp.rcpt("b@y.test"))
            for (const [index, chunk] of chunks.entries()) {
              const sent = yield* call(smtp.bdat(chunk, { last: index === chunks.length - 1 }))
              expect(sent.error).toBeUndefined()
            }
          })
        )
        expect(session.messages.map(({ content }) => latin1(content))).toEqual([
          latin1(Buffer.concat(chunks))
        ])
        expect(asked(session).slice(2)).toEqual(
          chunks.map((chunk, index) => `BDAT ${chunk.length}${index === chunks.length - 1 ? " LAST" : ""}`)
        )
      })
  )

  property(
    "of many blocks and writes is the same, with a smuggler at any border",
    FastCheck.record({
      whole: octets.filter((given) => !given.includes(0)),
      border: FastCheck.constantFrom(65_536, 131_072, 262_144, 524_288),
      before: FastCheck.integer({ min: -12, max: 3 }),
      form: FastCheck.constantFrom(...forms),
      cuts: FastCheck.array(FastCheck.nat(600_000), { maxLength: 4 }),
      filling: FastCheck.constantFrom("x", "x\r\n", ".\r\n", ".\n")
    }),
    ({ before, border, cuts, filling, form, whole }) =>
      Effect.gen(function* () {
        const length = border + before
        const full = fromLatin1(
          filling.repeat(Math.ceil(length / filling.length)).slice(0, length) + latin1(whole)
        )
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const content = contentOf(full, form, cuts)
            const sent = yield* call(smtp.send({ from: "a@x.test", to: "b@y.test", content }))
            expect(sent.error).toBeUndefined()
          })
        )
        const [only, ...more] = session.messages
        expect(more).toEqual([])
        expect(latin1(only?.content ?? new Uint8Array(0)) === canonical(givenAs(full, form))).toBe(true)
        expect(asked(session).map(verbOf)).toEqual(["MAIL", "RCPT", "DATA"])
      }),
    Math.max(1, Math.ceil(runs / 15))
  )

  it.effect("refused in the middle of a stream is no message to anybody", () =>
    Effect.gen(function* () {
      const bad = ["\n.\n", "\r.\r", "\0"].map((text) => fromLatin1(text))
      for (const piece of bad) {
        const blocks = [fromLatin1("x\r\n".repeat(100_000)), piece, fromLatin1(smuggled)]
        const session = yield* withServer(({ call, smtp }) =>
          Effect.gen(function* () {
            const content = SmtpContent.replayable(Stream.fromIterable(blocks))
            const sent = yield* call(
              smtp.send({ from: "a@x.test", to: "b@y.test", content, lineEnds: "refuse" })
            )
            expect(tagOf(sent.error)).toBe("ContentError")
          })
        )
        expect(session.messages).toEqual([])
        const last = session.items.at(-1)
        expect(last).toMatchObject({ _tag: "Unfinished", what: "content" })
        expect(latin1(last?._tag === "Unfinished" ? last.octets : new Uint8Array(0))).not.toContain(
          "MAIL FROM"
        )
      }
    })
  )

  const known: ReadonlyArray<readonly [string, string]> = [
    ["\n.\n", "\r\n..\r\n"],
    ["\r.\r", "\r\n..\r\n"],
    ["\n.\r\n", "\r\n..\r\n"],
    ["\r\n.\r\n", "\r\n..\r\n"],
    ["\r\n.\n", "\r\n..\r\n"],
    ["\r\n.\r", "\r\n..\r\n"],
    ["\r.\r\n", "\r\n..\r\n"],
    ["\r\r\n.\r\n", "\r\n\r\n..\r\n"]
  ]
  for (const [end, transparent] of known) {
    for (const form of forms) {
      it.effect(`${JSON.stringify(end)} given as ${form} smuggles nothing`, () =>
        Effect.gen(function* () {
          const whole = fromLatin1(`innocent${end}${smuggled}`)
          const session = yield* withServer(({ call, smtp }) =>
            Effect.asVoid(
              call(
                smtp.send({
                  from: "a@x.test",
                  to: "b@y.test",
                  content: contentOf(whole, form, [8, 9, 10, 11, 12])
                })
              )
            )
          )
          expect(session.messages.map(({ content }) => latin1(content))).toEqual([canonical(whole)])
          expect(latin1(session.octets)).toContain(`innocent${transparent}MAIL FROM:<evil@z.test>`)
        })
      )
    }
  }
})

describe("a session of many calls", () => {
  type Step =
    | { readonly _tag: "send" | "mail" | "rcpt" | "vrfy"; readonly text: string }
    | { readonly _tag: "rset" | "noop" | "ehlo" }
    | { readonly _tag: "data" | "bdat" | "last"; readonly text: string }

  const step: FastCheck.Arbitrary<Step> = FastCheck.oneof(
    FastCheck.record({
      _tag: FastCheck.constantFrom("send" as const, "mail" as const, "rcpt" as const, "vrfy" as const),
      text: address
    }),
    FastCheck.record({
      _tag: FastCheck.constantFrom("mail" as const, "rcpt" as const),
      text: FastCheck.constant("a@x.test")
    }),
    FastCheck.record({ _tag: FastCheck.constantFrom("rset" as const, "noop" as const, "ehlo" as const) }),
    FastCheck.record({
      _tag: FastCheck.constantFrom("data" as const, "bdat" as const, "last" as const),
      text: FastCheck.constantFrom("a\r\n.\r\nRSET\r\n", "\n.\nMAIL FROM:<evil@z.test>\r\n", ".", "")
    })
  )

  const call = (smtp: SmtpSession.Service, asked: Step): Effect.Effect<unknown, unknown> => {
    switch (asked._tag) {
      case "send":
        return smtp.send({ from: asked.text, to: "b@y.test", content: message })
      case "mail":
      case "rcpt":
      case "vrfy":
        return smtp[asked._tag](asked.text)
      case "rset":
      case "noop":
      case "ehlo":
        return smtp[asked._tag]
      case "data":
        return smtp.data(asked.text, { allowEmpty: true })
      case "bdat":
      case "last":
        return smtp.bdat(fromLatin1(asked.text), { last: asked._tag === "last" })
    }
  }

  const verbs: Readonly<Record<Step["_tag"], ReadonlyArray<string>>> = {
    send: ["MAIL", "RCPT", "DATA"],
    mail: ["MAIL"],
    rcpt: ["RCPT"],
    vrfy: ["VRFY"],
    rset: ["RSET"],
    noop: ["NOOP"],
    ehlo: ["EHLO"],
    data: ["DATA"],
    bdat: ["BDAT"],
    last: ["BDAT"]
  }

  property(
    "says what the calls ask for, in their order, and RSET behind a refused one",
    FastCheck.array(step, { minLength: 1, maxLength: 12 }),
    (steps) =>
      Effect.gen(function* () {
        const expected: Array<string> = []
        let delivered = 0
        const session = yield* withServer((recording) =>
          Effect.forEach(
            steps,
            (asked) =>
              Effect.gen(function* () {
                const made = yield* recording.call(call(recording.smtp, asked))
                if (isRefusedLocally(made, /^(?:from|to|user|session|content)/)) return
                expected.push(...verbs[asked._tag])
                if (tagOf(made.error) === "DataError") expected.push("RSET")
                const complete = ["send", "data", "last"].includes(asked._tag)
                if (complete && made.error === undefined) delivered++
              }),
            { discard: true }
          )
        )
        expect(asked(session).map((line) => line.split(" ")[0])).toEqual(expected)
        expect(session.messages).toHaveLength(delivered)
      })
  )
})
