/**
 * What every server and this client have to agree on, as a list of cases that runs against any of them. A server
 * is described by `Server`; what it cannot do is left out of `features`, and one case checks that list itself.
 */
import { describe, expect, layer } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import type { Credentials, Running } from "./running.js"
import { bob, jörg, unknownRecipient, user } from "./running.js"

/**
 * - `STARTTLS`, `8BITMIME`, `SMTPUTF8`, `DSN`, `PIPELINING`: the keyword is announced, in clear or under TLS
 * - `implicit`: there is a `tlsPort`
 * - `AUTH`: there are `credentials`, accepted under TLS by every mechanism that the server announces
 * - `longLines`: lines over 998 octets are taken
 */
export type Feature =
  "STARTTLS" | "implicit" | "AUTH" | "8BITMIME" | "SMTPUTF8" | "DSN" | "PIPELINING" | "longLines"

/** A server as the cases see it. It knows the people of running.ts. */
export interface Server {
  /** Where it speaks in clear, or STARTTLS: host and port or path, and `dialect: "lmtp"` for LMTP. */
  readonly endpoint: Pick<SmtpSession.Options, "host" | "port" | "path" | "dialect">
  /** Implicit TLS, on the same host. */
  readonly tlsPort?: number | undefined
  /** PEM of the authority of its certificate. */
  readonly ca?: string | undefined
  readonly credentials?: Credentials | undefined
  /** Refused for good at RCPT. */
  readonly refusedRecipient: string
  /**
   * The contents that the recipient got, oldest first, with CRLF and without trace fields, as soon as there are
   * `count` of them (1 by default).
   */
  readonly delivered: (recipient: string, count?: number) => Effect.Effect<ReadonlyArray<Uint8Array>>
}

/** A running server of this folder on TCP. */
export const fromRunning = (
  running: Running & {
    readonly port: number
    readonly tlsPort?: number
    readonly credentials?: Credentials
  },
  dialect: "smtp" | "lmtp" = "smtp"
): Server => ({
  endpoint: { host: running.host, port: running.port, dialect },
  tlsPort: running.tlsPort,
  ca: running.ca,
  credentials: running.credentials,
  refusedRecipient: unknownRecipient,
  delivered: (recipient, count) =>
    Effect.map(running.awaitMessages(recipient, count), (messages) => messages.map(({ content }) => content))
})

class Tested extends Context.Tag("test/servers/conformance/Tested")<Tested, Server>() {}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Equal octets, told apart by length and place: a diff of megabytes helps nobody. */
export const expectOctets = (actual: Uint8Array | undefined, expected: Uint8Array): void => {
  const found = actual ?? new Uint8Array(0)
  const at = expected.findIndex((octet, index) => octet !== found[index])
  const around = (octets: Uint8Array): string =>
    at === -1 ? "" : Buffer.from(octets.subarray(Math.max(0, at - 20), at + 20)).toString("latin1")
  expect({ length: found.length, at, around: around(found) }).toEqual({
    length: expected.length,
    at: -1,
    around: around(expected)
  })
}

const header = "From: <bob@example.test>\r\nSubject: conformance\r\n"

const message = (body: string | Uint8Array): Uint8Array =>
  Buffer.concat([encode(`${header}\r\n`), typeof body === "string" ? encode(body) : body])

const tenMiB = (): Uint8Array => {
  const line = "0123456789abcdefghijklmnopqrstuvwxyz .".padEnd(76, "=")
  const count = Math.ceil((10 * 1024 * 1024) / 78)
  return message(
    Array.from({ length: count }, (_, index) => `${index % 7 === 0 ? "." : ""}${line}\r\n`).join("")
  )
}

const inPieces = (octets: Uint8Array, size: number): Stream.Stream<Uint8Array> =>
  Stream.fromChunk(
    Chunk.fromIterable(
      Array.from({ length: Math.ceil(octets.length / size) }, (_, index) =>
        octets.subarray(index * size, (index + 1) * size)
      )
    )
  ).pipe(Stream.rechunk(1))

const outcomes = ({ outcomes }: Receipt): ReadonlyArray<readonly [string, string]> =>
  outcomes.map(({ _tag, recipient }) => [recipient, _tag])

const inClear = Effect.flatMap(Tested, ({ endpoint }) => SmtpSession.make({ ...endpoint, tls: "none" }))

const withStartTls = (auth?: SmtpAuth.Credentials) =>
  Effect.flatMap(Tested, ({ ca, endpoint }) =>
    SmtpSession.make({ ...endpoint, tls: "starttls", tlsOptions: { ca }, auth })
  )

const withImplicitTls = (auth?: SmtpAuth.Credentials) =>
  Effect.flatMap(Tested, ({ ca, endpoint, tlsPort }) =>
    SmtpSession.make({ ...endpoint, port: tlsPort, tls: "implicit", tlsOptions: { ca }, auth })
  )

const delivered = (recipient: string, count?: number) =>
  Effect.flatMap(Tested, (server) => server.delivered(recipient, count))

/** Sends to one recipient, which nobody else uses, and compares what came with what was sent. */
const arrives = (session: SmtpSession.Service, recipient: string, content: Uint8Array, expected = content) =>
  Effect.gen(function* () {
    const receipt = yield* session.send({ from: bob, to: recipient, content })
    expect(outcomes(receipt)).toEqual([[recipient, "Accepted"]])
    const [first] = yield* delivered(recipient)
    expectOctets(first, expected)
  })

const theCredentials = (password?: string) =>
  Effect.flatMap(Tested, ({ credentials }) =>
    credentials === undefined
      ? Effect.dieMessage("a server with the feature AUTH needs credentials")
      : Effect.succeed({ ...credentials, ...(password === undefined ? {} : { password }) })
  )

const passwordBy = (
  { password, username }: Credentials,
  mechanisms?: ReadonlyArray<SmtpAuth.PasswordMechanism>
) => SmtpAuth.password({ username, password: Redacted.make(password), mechanisms })

/**
 * Defines the cases of a server, which runs for all of them together. Users from 1 to 300 of running.ts get mail.
 */
export const conformance = <E>(
  name: string,
  server: Effect.Effect<Server, E, Scope.Scope>,
  features: ReadonlyArray<Feature>
): void => {
  const can = (feature: Feature): boolean => features.includes(feature)
  const live = Layer.merge(Layer.scoped(Tested, server), NodeSmtp.layer)

  describe(`${name} and the client agree on`, () => {
    layer(live, { excludeTestServices: true, timeout: 120_000 })((it) => {
      it.scoped("what the server announces", () =>
        Effect.gen(function* () {
          const clear = yield* (yield* inClear).capabilities
          const secured = can("STARTTLS") ? yield* (yield* withStartTls()).capabilities : clear
          const keywords = ["STARTTLS", "AUTH", "8BITMIME", "SMTPUTF8", "DSN", "PIPELINING"] as const
          const announced = keywords.filter((keyword) => clear.has(keyword) || secured.has(keyword))
          expect(announced).toEqual(keywords.filter(can))
        })
      )

      it.scoped("a message in clear", () =>
        Effect.gen(function* () {
          yield* arrives(yield* inClear, user(1), message("in clear\r\n"))
        })
      )

      it.scoped("several messages in one session, and the end of it", () =>
        Effect.gen(function* () {
          const session = yield* inClear
          const bodies = ["one\r\n", "two\r\n", "three\r\n"]
          for (const body of bodies) yield* session.send({ from: bob, to: user(2), content: message(body) })
          const contents = yield* delivered(user(2), bodies.length)
          expect(contents.map((octets) => Buffer.from(octets).toString()).sort()).toEqual(
            bodies.map((body) => Buffer.from(message(body)).toString()).sort()
          )
          expect((yield* session.quit).code).toBe(221)
        })
      )

      it.effect("a session for one message, QUIT and all", () =>
        Effect.gen(function* () {
          const { endpoint } = yield* Tested
          const content = message("the only one\r\n")
          const submission = { from: bob, to: user(8), content }
          const receipt = yield* SmtpSession.sendOnce({ ...endpoint, tls: "none" }, submission)
          expect(outcomes(receipt)).toEqual([[user(8), "Accepted"]])
          expectOctets((yield* delivered(user(8)))[0], content)
        })
      )

      it.scoped("messages of several fibers over one session", () =>
        Effect.gen(function* () {
          const session = yield* inClear
          const numbers = Array.from({ length: 20 }, (_, index) => index)
          yield* Effect.forEach(
            numbers,
            (number) => session.send({ from: bob, to: user(10 + number), content: message(`${number}\r\n`) }),
            { concurrency: "unbounded" }
          )
          for (const number of numbers) {
            const contents = yield* delivered(user(10 + number))
            expect(contents.length).toBe(1)
            expectOctets(contents[0], message(`${number}\r\n`))
          }
        })
      )

      it.scoped("a message from nobody (RFC 5321 section 4.5.5)", () =>
        Effect.gen(function* () {
          const session = yield* inClear
          const content = message("a notification\r\n")
          yield* session.send({ from: "", to: user(3), content })
          expectOctets((yield* delivered(user(3)))[0], content)
        })
      )

      it.scoped("a refused recipient among others", () =>
        Effect.gen(function* () {
          const { refusedRecipient } = yield* Tested
          const session = yield* inClear
          const content = message("to two of three\r\n")
          const receipt = yield* session.send({
            from: bob,
            to: [user(4), refusedRecipient, user(5)],
            content
          })
          expect(outcomes(receipt)).toEqual([
            [user(4), "Accepted"],
            [refusedRecipient, "Refused"],
            [user(5), "Accepted"]
          ])
          expect(receipt.refused[0]).toMatchObject({ permanent: true, phase: "rcpt" })
          expectOctets((yield* delivered(user(4)))[0], content)
          expectOctets((yield* delivered(user(5)))[0], content)
        })
      )

      it.scoped("refused recipients alone, after which the session goes on", () =>
        Effect.gen(function* () {
          const { refusedRecipient } = yield* Tested
          const session = yield* inClear
          const error = yield* Effect.flip(
            session.send({ from: bob, to: refusedRecipient, content: message("to nobody\r\n") })
          )
          expect(error).toMatchObject({
            _tag: "RecipientsRefused",
            recipients: [{ address: refusedRecipient }]
          })
          yield* arrives(session, user(6), message("after a refusal\r\n"))
        })
      )

      it.scoped("nobody at all when everybody has to be accepted", () =>
        Effect.gen(function* () {
          const { endpoint, refusedRecipient } = yield* Tested
          const session = yield* inClear
          const to = endpoint.dialect === "lmtp" ? [refusedRecipient] : [user(7), refusedRecipient]
          const content = message("all or none\r\n")
          const error = yield* Effect.flip(session.send({ from: bob, to, content, recipients: "all" }))
          expect(error._tag).toBe("RecipientsRefused")
          yield* arrives(session, user(7), message("the only one\r\n"))
        })
      )

      it.scoped("a hundred recipients", () =>
        Effect.gen(function* () {
          const session = yield* inClear
          const to = Array.from({ length: 100 }, (_, index) => user(101 + index))
          const content = message("to a hundred\r\n")
          const receipt = yield* session.send({ from: bob, to, content })
          expect(receipt.accepted.length).toBe(100)
          for (const recipient of [user(101), user(150), user(200)]) {
            expectOctets((yield* delivered(recipient))[0], content)
          }
        })
      )

      it.scoped("dots at every place of a line (RFC 5321 section 4.5.2)", () =>
        Effect.gen(function* () {
          const body = ".\r\n..\r\n.a\r\na.\r\n\r\n.\r\n\r\n...b\r\n \r\n.\r\n"
          yield* arrives(yield* inClear, user(40), message(body))
        })
      )

      it.scoped("a line end that the content lacks, and line ends of other systems", () =>
        Effect.gen(function* () {
          const session = yield* inClear
          yield* arrives(
            session,
            user(41),
            message("no line end"),
            Buffer.concat([message("no line end"), encode("\r\n")])
          )
          yield* arrives(session, user(42), message("a\n.\nb\rc\r\n"), message("a\r\n.\r\nb\r\nc\r\n"))
        })
      )

      it.scoped("a header without a body", () =>
        Effect.gen(function* () {
          yield* arrives(yield* inClear, user(43), encode(`${header}\r\n`))
        })
      )

      it.scoped("10 MiB of octets", () =>
        Effect.gen(function* () {
          yield* arrives(yield* inClear, user(44), tenMiB())
        })
      )

      it.scoped("10 MiB of a stream, however it is cut", () =>
        Effect.gen(function* () {
          const session = yield* inClear
          const content = tenMiB()
          const streamed = SmtpContent.replayable(inPieces(content, 49_999))
          yield* session.send({ from: bob, to: user(45), content: streamed })
          expectOctets((yield* delivered(user(45)))[0], content)
        })
      )

      if (can("longLines")) {
        it.scoped("lines over 998 octets", () =>
          Effect.gen(function* () {
            const line = (length: number) => `${"0123456789".repeat(length).slice(0, length)}\r\n`
            yield* arrives(
              yield* inClear,
              user(46),
              message(line(998) + line(999) + line(5000) + line(70_000))
            )
          })
        )
      }

      if (can("8BITMIME")) {
        it.scoped("every octet but NUL, CR and LF (RFC 6152)", () =>
          Effect.gen(function* () {
            const all = Array.from({ length: 256 }, (_, octet) => octet).filter(
              (octet) => ![0, 10, 13].includes(octet)
            )
            yield* arrives(yield* inClear, user(47), message(Uint8Array.of(...all, 13, 10)))
          })
        )
      }

      if (can("SMTPUTF8")) {
        it.scoped("an address and header fields in UTF-8 (RFC 6531)", () =>
          Effect.gen(function* () {
            const content = encode("From: <bob@example.test>\r\nSubject: Größe 𝄞\r\n\r\nÄ\r\n")
            yield* arrives(yield* inClear, jörg, content)
          })
        )
      }

      if (can("DSN")) {
        it.scoped("the parameters of delivery notifications (RFC 3461)", () =>
          Effect.gen(function* () {
            const session = yield* inClear
            const receipt = yield* session.send({
              from: bob,
              to: { address: user(48), notify: ["FAILURE", "DELAY"], originalRecipient: user(48) },
              content: message("notify\r\n"),
              parameters: { ret: "HDRS", envelopeId: "conformance+1=2" }
            })
            expect(outcomes(receipt)).toEqual([[user(48), "Accepted"]])
            expectOctets((yield* delivered(user(48)))[0], message("notify\r\n"))
          })
        )
      }

      if (can("STARTTLS")) {
        it.scoped("STARTTLS (RFC 3207)", () =>
          Effect.gen(function* () {
            const session = yield* withStartTls()
            expect(yield* session.tls).toMatchObject({ verified: true })
            expect((yield* session.capabilities).starttls).toBe(false)
            yield* arrives(session, user(50), message("behind STARTTLS\r\n"))
          })
        )

        it.scoped("10 MiB over TLS", () =>
          Effect.gen(function* () {
            yield* arrives(yield* withStartTls(), user(51), tenMiB())
          })
        )
      }

      if (can("implicit")) {
        it.scoped("implicit TLS (RFC 8314)", () =>
          Effect.gen(function* () {
            const session = yield* withImplicitTls()
            expect(yield* session.tls).toMatchObject({ verified: true })
            yield* arrives(session, user(52), message("on TLS from the first octet\r\n"))
          })
        )
      }

      if (can("AUTH")) {
        it.scoped("a password, and a message after it", () =>
          Effect.gen(function* () {
            const session = yield* withStartTls(passwordBy(yield* theCredentials()))
            yield* arrives(session, user(53), message("authenticated\r\n"))
          })
        )

        it.scoped("the password by every mechanism that the server announces", () =>
          Effect.gen(function* () {
            const credentials = yield* theCredentials()
            const { authMechanisms } = yield* (yield* withStartTls()).capabilities
            const mechanisms = SmtpAuth.passwordMechanisms.filter((mechanism) =>
              authMechanisms.includes(mechanism)
            )
            expect(mechanisms.length).toBeGreaterThan(0)
            for (const mechanism of mechanisms) {
              const session = yield* withStartTls()
              const reply = yield* session.authenticate(passwordBy(credentials, [mechanism]))
              expect([mechanism, reply.code]).toEqual([mechanism, 235])
            }
          })
        )

        it.scoped("a wrong password, after which the right one is taken in the same session", () =>
          Effect.gen(function* () {
            const session = yield* withStartTls()
            const wrong = passwordBy(yield* theCredentials("wrong"))
            expect(yield* Effect.flip(session.authenticate(wrong))).toMatchObject({
              _tag: "AuthenticationError",
              reason: "Rejected"
            })
            const reply = yield* session.authenticate(passwordBy(yield* theCredentials()))
            expect(reply.code).toBe(235)
          })
        )
      }
    })
  })
}
