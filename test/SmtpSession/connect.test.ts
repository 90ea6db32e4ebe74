import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { listen } from "../support/listen.js"
import * as OneSession from "./oneSession.js"
import { ask, ehlo, goodbye, greeting, judged, opened, withConnection, withSession } from "./oneSession.js"

/** The endpoint that options lead to; the dial is refused. */
const dialled = (options: SmtpSession.Options) =>
  Effect.gen(function* () {
    const server = yield* SmtpTest.scripted(SmtpTest.refused)
    const error = yield* SmtpSession.connect(options).pipe(
      Effect.scoped,
      Effect.flip,
      Effect.provide(server.layer)
    )
    return { error, endpoints: yield* server.dialled }
  }).pipe(Effect.scoped)

describe("where a session connects to", () => {
  it.effect("is host and port", () =>
    Effect.gen(function* () {
      const { endpoints, error } = yield* dialled({ host: "mx.test", port: 2525 })
      expect(endpoints).toMatchObject([{ _tag: "Tcp", host: "mx.test", port: 2525 }])
      expect(error).toMatchObject({ _tag: "ConnectError", reason: "Unreachable" })
    })
  )

  it.effect("may be written host:port", () =>
    Effect.gen(function* () {
      const { endpoints } = yield* dialled({ host: "mx.test:2525" })
      expect(endpoints).toMatchObject([{ host: "mx.test", port: 2525 }])
    })
  )

  it.effect("may be written [address]:port", () =>
    Effect.gen(function* () {
      const { endpoints } = yield* dialled({ host: "[::1]:2525" })
      expect(endpoints).toMatchObject([{ host: "::1", port: 2525 }])
    })
  )

  it.effect("takes an IPv6 address without brackets for an address and no port", () =>
    Effect.gen(function* () {
      const { endpoints } = yield* dialled({ host: "::1" })
      expect(endpoints).toMatchObject([{ host: "::1", port: 587 }])
    })
  )

  const defaults: ReadonlyArray<readonly [SmtpSession.Options, number]> = [
    [{}, 587],
    [{ tls: "starttls" }, 587],
    [{ tls: "implicit" }, 465],
    [{ tls: "opportunistic" }, 25],
    [{ tls: "none" }, 25],
    [{ dialect: "lmtp", tls: "none" }, 24]
  ]
  for (const [options, port] of defaults) {
    it.effect(`is port ${port} by default with ${JSON.stringify(options)}`, () =>
      Effect.gen(function* () {
        const { endpoints } = yield* dialled({ host: "mx.test", ...options })
        expect(endpoints).toMatchObject([{ port }])
      })
    )
  }

  it.effect("keeps the local address and port", () =>
    Effect.gen(function* () {
      const { endpoints } = yield* dialled({ host: "mx.test", localAddress: "127.0.0.2", localPort: 19876 })
      expect(endpoints).toMatchObject([{ localAddress: "127.0.0.2", localPort: 19876 }])
    })
  )

  it.effect("is a UNIX socket by its path, in clear unless told otherwise", () =>
    Effect.gen(function* () {
      const script = SmtpTest.script(opened(), goodbye)
      const server = yield* SmtpTest.scripted(script)
      yield* server.verify(
        SmtpSession.make({ path: "/run/lmtp.sock", clientName: "client.test" }).pipe(
          Effect.scoped,
          Effect.provide(server.layer)
        )
      )
      expect(yield* server.dialled).toEqual([{ _tag: "Unix", path: "/run/lmtp.sock" }])
    }).pipe(Effect.scoped)
  )

  it.scopedLive("is reached from the local address over TCP", () =>
    Effect.gen(function* () {
      const { port, server } = yield* listen(SmtpTest.script(opened(), goodbye))
      const addresses = yield* server.verify(
        SmtpSession.make({
          host: `127.0.0.1:${port}`,
          localAddress: "127.0.0.1",
          tls: "none",
          clientName: "client.test"
        }).pipe(
          Effect.map((smtp) => smtp.addresses),
          Effect.scoped,
          Effect.provide(NodeSmtp.layer)
        )
      )
      expect(addresses).toMatchObject({ localAddress: "127.0.0.1", remoteAddress: "127.0.0.1" })
    })
  )
})

describe("options that cannot be", () => {
  const impossible: ReadonlyArray<readonly [string, SmtpSession.Options, string]> = [
    ["a port that is no number", { host: "mx.test:bogus" }, "host"],
    ["an empty port", { host: "mx.test:" }, "host"],
    ["a port twice", { host: "mx.test:25", port: 25 }, "port"],
    ["port 0", { host: "mx.test", port: 0 }, "port"],
    ["a port over 65535", { host: "mx.test:65536" }, "port"],
    ["a fraction of a port", { host: "mx.test", port: 25.5 }, "port"],
    ["no host at all", {}, "host"],
    ["an empty host", { host: "" }, "host"],
    ["a host with a line break", { host: "mx.test\r\nRSET" }, "host"],
    ["a host with a user name", { host: "app@mx.test" }, "host"],
    ["host and path", { host: "mx.test", path: "/run/lmtp.sock" }, "path"],
    ["a path with a NUL", { path: "/run\0" }, "path"],
    ["a name as local address", { host: "mx.test", localAddress: "localhost" }, "localAddress"],
    ["a local port below 0", { host: "mx.test", localPort: -1 }, "localPort"],
    ["a client name with a line break", { host: "mx.test", clientName: "a\r\nRSET" }, "clientName"],
    ["a client name with a space", { host: "mx.test", clientName: "a b" }, "clientName"],
    ["a time limit of zero", { host: "mx.test", timeouts: { mail: 0 } }, "timeouts.mail"],
    [
      "a reply limit of zero",
      { host: "mx.test", advanced: { replyLimits: { lines: 0 } } },
      "advanced.replyLimits.lines"
    ]
  ]
  for (const [name, options, field] of impossible) {
    it.effect(`are refused before the dial: ${name}`, () =>
      Effect.gen(function* () {
        const { endpoints, error } = yield* dialled(options)
        expect(error).toMatchObject({ _tag: "InvalidArgument", field })
        expect(endpoints).toEqual([])
      })
    )
  }
})

describe("time limits", () => {
  it.effect("are the RFC's by default: five minutes for the greeting (RFC 5321 section 4.5.3.2.1)", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.flip(withConnection(SmtpTest.silence, () => Effect.void)))
      yield* TestClock.adjust(Duration.subtract("5 minutes", "1 millis"))
      expect(yield* Fiber.poll(fiber)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(fiber)).toMatchObject({
        _tag: "ReplyTimeout",
        phase: "greeting",
        limitMillis: 300_000
      })
    })
  )

  it.effect("can be set for each phase", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        withSession(
          SmtpTest.script(opened(), SmtpTest.expect("NOOP"), SmtpTest.expectEnd),
          (smtp) => Effect.flip(smtp.noop),
          { timeouts: { noop: "7 seconds" } }
        )
      )
      yield* TestClock.adjust("7 seconds")
      expect(yield* Fiber.join(fiber)).toMatchObject({
        _tag: "ReplyTimeout",
        phase: "noop",
        limitMillis: 7_000
      })
    })
  )

  it.effect("may be infinite", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        withSession(
          SmtpTest.script(
            opened(),
            SmtpTest.expect("NOOP"),
            SmtpTest.reply("250 at last", { delay: "30 days" }),
            goodbye
          ),
          (smtp) => smtp.noop,
          { timeouts: { noop: Duration.infinity } }
        )
      )
      yield* TestClock.adjust("30 days")
      expect(yield* Fiber.join(fiber)).toMatchObject({ code: 250 })
    })
  )

  it.effect("hold for the dial", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        Effect.flip(
          withConnection(SmtpTest.unanswered, () => Effect.void, { timeouts: { connect: "3 seconds" } })
        )
      )
      yield* TestClock.adjust("3 seconds")
      expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "ConnectError", reason: "Timeout" })
    })
  )

  it.effect("bound the QUIT of the scope's end (five seconds)", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(
        withSession(SmtpTest.script(opened(), SmtpTest.expect("QUIT"), SmtpTest.expectEnd), () => Effect.void)
      )
      yield* TestClock.adjust("5 seconds")
      expect(yield* Fiber.join(fiber)).toBeUndefined()
    })
  )
})

describe("the client name", () => {
  it.effect("is kept as given (RFC 5321 section 4.1.1.1)", () =>
    withSession(
      SmtpTest.script(greeting, ask("EHLO [192.0.2.1]", "250 mx.test"), goodbye),
      () => Effect.void,
      { clientName: "[192.0.2.1]" }
    )
  )

  it.effect("is a qualified name or a literal by default, never localhost (RFC 5321 section 4.1.3)", () =>
    withSession(
      SmtpTest.script(
        greeting,
        ask(/^EHLO (?!localhost)(?:[\w-]+(?:\.[\w-]+)+|\[[0-9.]+\]|\[IPv6:[0-9A-Fa-f:.]+\])$/, "250 mx.test"),
        goodbye
      ),
      () => Effect.void,
      { clientName: undefined }
    )
  )
})

describe("the greeting", () => {
  it.effect("is kept, all of its lines", () =>
    Effect.gen(function* () {
      const smtp = yield* withSession(
        SmtpTest.script(SmtpTest.reply("220-mx.test ESMTP", "220 no spam"), ehlo(), goodbye),
        Effect.succeed
      )
      expect(smtp.greeting).toMatchObject({ code: 220, lines: ["mx.test ESMTP", "no spam"] })
    })
  )

  it.effect("is awaited to its last line before a word is said", () =>
    withSession(
      SmtpTest.script(
        SmtpTest.reply("220-mx.test ESMTP", { separate: true }),
        SmtpTest.expectNothing("0 millis"),
        SmtpTest.reply("220 ready"),
        ehlo(),
        goodbye
      ),
      () => Effect.void
    )
  )

  it.effect("of 199 is ConnectError, and QUIT is all that follows", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(SmtpTest.script(SmtpTest.reply("199 no hello for you!"), goodbye), () => Effect.void)
      )
      expect(error).toMatchObject({
        _tag: "ConnectError",
        reason: "Greeting",
        reply: { code: 199, text: "no hello for you!" }
      })
      expect(judged(error)).toEqual(["ConnectError", undefined, "permanent", "NotSent"])
    })
  )

  it.effect("of 554 is ConnectError, and QUIT is all that follows (RFC 5321 section 3.1)", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(SmtpTest.script(SmtpTest.reply("554 5.3.2 no service"), goodbye), () => Effect.void)
      )
      expect(error).toMatchObject({ reason: "Greeting", reply: { code: 554 } })
      expect(judged(error)).toEqual(["ConnectError", undefined, "permanent", "NotSent"])
    })
  )

  it.effect.each([
    ["521 5.7.1 go away", "permanent", goodbye],
    ["450 4.3.2 come back", "transient", goodbye],
    ["421 4.3.2 come back", "transient", SmtpTest.expectEnd]
  ] as const)("is judged by its last line if the codes differ: %s", ([last, judgement, end]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(SmtpTest.script(SmtpTest.reply("220-mx.test", last), end), () => Effect.void)
      )
      expect(error).toMatchObject({ reason: "Greeting", reply: { code: Number(last.slice(0, 3)) } })
      expect(judged(error)).toEqual(["ConnectError", undefined, judgement, "NotSent"])
    })
  )

  it.effect("of 421 is ConnectError, and nothing follows", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(SmtpTest.script(SmtpTest.reply("421 4.3.2 busy"), SmtpTest.expectEnd), () => Effect.void)
      )
      expect(error).toMatchObject({ reason: "Greeting", reply: { code: 421 } })
      expect(judged(error)).toEqual(["ConnectError", undefined, "transient", "NotSent"])
    })
  )

  it.effect("that never comes, because the server leaves, is ServerDisconnected", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(withSession(SmtpTest.close, () => Effect.void))
      expect(judged(error)).toEqual(["ServerDisconnected", "greeting", "transient", "NotSent"])
    })
  )

  const malformed: ReadonlyArray<readonly [string, SmtpTest.Script]> = [
    ["line that is too long", SmtpTest.inject(`220 ${"x".repeat(20_000)}`)],
    ["code that is not a number", SmtpTest.reply("twenty mx.test")],
    ["reply that never ends", SmtpTest.reply(...Array.from({ length: 600 }, () => "220-and more"))],
    ["code of two digits", SmtpTest.reply("22 mx.test")]
  ]
  for (const [name, reply] of malformed) {
    it.effect(`is ProtocolError for a ${name}, and nothing is said`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          withSession(SmtpTest.script(reply, SmtpTest.expectEnd), () => Effect.void)
        )
        expect(judged(error)).toEqual(["ProtocolError", "greeting", "permanent", "NotSent"])
      })
    )
  }

  it.effect("is read under the limits that the program gives", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(SmtpTest.reply("220-a", "220-b", "220 c"), SmtpTest.expectEnd),
          () => Effect.void,
          { advanced: { replyLimits: { lines: 2 } } }
        )
      )
      expect(judged(error)).toEqual(["ProtocolError", "greeting", "permanent", "NotSent"])
    })
  )
})

describe("EHLO", () => {
  it.effect("tells what the server can, in any letter case (RFC 5321 section 4.1.1.1)", () =>
    Effect.gen(function* () {
      const capabilities = yield* withSession(
        SmtpTest.script(
          opened("expn", "SIZE 20000000", "STARTTLS", "DELIVERBY", "AUTH LOGIN PLAIN", "X-OWN a b"),
          goodbye
        ),
        (smtp) => smtp.capabilities
      )
      expect(["EXPN", "Size", "starttls", "x-own"].map(capabilities.has)).toEqual([true, true, true, true])
      expect(capabilities.has("8BITMIME")).toBe(false)
      expect(capabilities.size).toBe(20_000_000)
      expect(capabilities.authMechanisms).toEqual(["LOGIN", "PLAIN"])
    })
  )

  it.effect("said a second time replaces everything the first one told", () =>
    Effect.gen(function* () {
      const [before, after] = yield* withSession(
        SmtpTest.script(opened("SIZE 1000", "8BITMIME"), ehlo("DSN"), goodbye),
        (smtp) =>
          Effect.gen(function* () {
            const first = yield* smtp.capabilities
            yield* smtp.ehlo
            return [first, yield* smtp.capabilities]
          })
      )
      expect([before?.size, before?.has("8BITMIME"), before?.has("DSN")]).toEqual([1000, true, false])
      expect([after?.size, after?.has("8BITMIME"), after?.has("DSN")]).toEqual([undefined, false, true])
    })
  )

  it.effect("in `make` is said once, and not again by what follows", () =>
    withSession(SmtpTest.script(opened(), ask("NOOP", "250 ok"), goodbye), (smtp) =>
      Effect.zipRight(smtp.ehloOrHeloIfNeeded, smtp.noop)
    )
  )

  it.effect("is said by `connect` not at all, and by the first send", () =>
    withConnection(
      SmtpTest.script(
        greeting,
        ehlo(),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        OneSession.content(OneSession.message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send(OneSession.submission)
    )
  )

  it.effect("is said once when several fibers begin to send at the same time", () =>
    withConnection(
      SmtpTest.script(
        greeting,
        ehlo(),
        ...Array.from({ length: 2 }, () =>
          SmtpTest.script(
            ask("MAIL FROM:<a@x.test>", "250 ok"),
            ask("RCPT TO:<b@y.test>", "250 ok"),
            ask("DATA", "354 go"),
            OneSession.content(OneSession.message, "250 ok")
          )
        ),
        goodbye
      ),
      (smtp) => Effect.replicateEffect(smtp.send(OneSession.submission), 2, { concurrency: "unbounded" })
    )
  )

  it.effect("lines beyond the limit end the session", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(
            greeting,
            SmtpTest.expect("EHLO client.test"),
            SmtpTest.reply(...Array.from({ length: 600 }, () => "250-X-MORE")),
            SmtpTest.expectEnd
          ),
          () => Effect.void
        )
      )
      expect(judged(error)).toEqual(["ProtocolError", "ehlo", "permanent", "NotSent"])
    })
  )

  it.effect("cut off in the middle of its lines is ServerDisconnected", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(
            greeting,
            SmtpTest.expect("EHLO client.test"),
            SmtpTest.reply("250-mx.test", "250-SIZE 1000"),
            SmtpTest.close
          ),
          () => Effect.void
        )
      )
      expect(judged(error)).toEqual(["ServerDisconnected", "ehlo", "transient", "NotSent"])
    })
  )
})

describe("HELO as the fallback (RFC 5321 section 3.2)", () => {
  for (const code of [500, 501, 502, 504, 550]) {
    it.effect(`is said after ${code} to EHLO`, () =>
      Effect.gen(function* () {
        const capabilities = yield* withSession(
          SmtpTest.script(
            greeting,
            ask("EHLO client.test", `${code} what?`),
            ask("HELO client.test", "250 mx.test"),
            goodbye
          ),
          (smtp) => smtp.capabilities
        )
        expect(capabilities.has("SIZE")).toBe(false)
      })
    )
  }

  for (const code of [450, 451, 452, 503, 530, 554]) {
    it.effect(`is not said after ${code} to EHLO`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          withSession(
            SmtpTest.script(greeting, ask("EHLO client.test", `${code} no`), goodbye),
            () => Effect.void
          )
        )
        expect(error).toMatchObject({ command: "EHLO", reply: { code } })
        const judgement = ["HeloError", undefined, code < 500 ? "transient" : "permanent", "NotSent"]
        expect(judged(error)).toEqual(judgement)
        const byHand = yield* withConnection(
          SmtpTest.script(greeting, ask("EHLO client.test", `${code} no`), goodbye),
          (smtp) => Effect.zip(Effect.flip(smtp.ehloOrHeloIfNeeded), smtp.state)
        )
        expect([judged(byHand[0]), byHand[1]]).toEqual([judgement, "Greeted"])
      })
    )
  }

  it.effect("is not said after 421 to EHLO, which ends the session", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(greeting, ask("EHLO client.test", "421 bye"), SmtpTest.expectEnd),
          () => Effect.void
        )
      )
      expect(error).toMatchObject({ reply: { code: 421 } })
      expect(judged(error)).toEqual(["ServerDisconnected", "ehlo", "transient", "NotSent"])
    })
  )

  it.effect.each([
    ["550 to EHLO", "550 5.7.1 who are you?", false, true],
    ["421 to the first EHLO", "421 4.7.0 try again later", false, true],
    ["421 to EHLO after an accepted one", "421 4.7.0 try again later", true, false]
  ] as const)("refused by %s: whether the error names clientName", ([, refusal, isKnown, isNamed]) =>
    Effect.gen(function* () {
      const refused = SmtpTest.script(greeting, ask("EHLO client.test", refusal), SmtpTest.close)
      const server = yield* SmtpTest.scripted(
        isKnown ? [SmtpTest.script(greeting, ehlo(), goodbye), refused] : [refused]
      )
      const cache = yield* CapabilityCache.makeMemory()
      const options = { host: "mx.test", tls: "starttls", clientName: "client.test" } as const
      const open = (tls: "starttls" | "none") =>
        Effect.scoped(SmtpSession.make({ ...options, port: 25, tls })).pipe(
          Effect.provideService(CapabilityCache.CapabilityCache, cache),
          Effect.provide(server.layer)
        )
      if (isKnown) yield* open("none")
      const { message } = yield* Effect.flip(open("starttls"))
      expect(message).toContain(refusal)
      expect(message.includes("Set clientName to a name that it accepts.")).toBe(isNamed)
    }).pipe(Effect.scoped)
  )

  it.effect("is not said where TLS is required, which only EHLO could offer", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(greeting, ask("EHLO client.test", "502 what?"), goodbye),
          () => Effect.void,
          { tls: "starttls" }
        )
      )
      expect(error).toMatchObject({ _tag: "HeloError", command: "EHLO" })
    })
  )

  it.effect("is not said where the endpoint is known to have done STARTTLS", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(greeting, ask("EHLO client.test", "502 what?"), goodbye)
      )
      const cache = yield* CapabilityCache.makeMemory()
      yield* cache.pin({ _tag: "Tcp", host: "mx.test", port: 25 })
      const error = yield* SmtpSession.make({
        host: "mx.test",
        tls: "opportunistic",
        clientName: "client.test"
      }).pipe(
        Effect.scoped,
        Effect.provideService(CapabilityCache.CapabilityCache, cache),
        Effect.provide(server.layer),
        server.verify,
        Effect.flip
      )
      expect(error).toMatchObject({ _tag: "HeloError", command: "EHLO" })
    }).pipe(Effect.scoped)
  )

  it.effect("refused too is HeloError with the reply to HELO", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(
          SmtpTest.script(
            greeting,
            ask("EHLO client.test", "502 what?"),
            ask("HELO client.test", "504 no"),
            goodbye
          ),
          () => Effect.void
        )
      )
      expect(error).toMatchObject({ command: "HELO", reply: { code: 504 } })
      expect(judged(error)).toEqual(["HeloError", undefined, "permanent", "NotSent"])
    })
  )

  it.effect("suppresses every ESMTP parameter", () =>
    withSession(
      SmtpTest.script(
        greeting,
        ask("EHLO client.test", "502 what?"),
        ask("HELO client.test", "250 mx.test"),
        ask("MAIL FROM:<a@x.test>", "250 ok"),
        ask("RCPT TO:<b@y.test>", "250 ok"),
        ask("DATA", "354 go"),
        OneSession.content(OneSession.message, "250 ok"),
        goodbye
      ),
      (smtp) => smtp.send(OneSession.submission)
    )
  )
})

describe("the end of a session", () => {
  it.effect("is QUIT with the scope's end, and the end of the connection", () =>
    withSession(SmtpTest.script(opened(), goodbye), () => Effect.void)
  )

  it.effect("is QUIT too when the program fails", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(SmtpTest.script(opened(), goodbye), () => Effect.fail("the program's own"))
      )
      expect(error).toBe("the program's own")
    })
  )

  it.effect("says QUIT once when the program has said it", () =>
    Effect.gen(function* () {
      const reply = yield* withSession(SmtpTest.script(opened(), goodbye), (smtp) => smtp.quit)
      expect(reply).toMatchObject({ code: 221 })
    })
  )

  it.effect("says QUIT once when the program has said it in its own words", () =>
    Effect.gen(function* () {
      const [state, ended] = yield* withSession(SmtpTest.script(opened(), goodbye), (smtp) =>
        Effect.zipRight(smtp.command("QUIT"), Effect.all([smtp.state, smtp.awaitClosed]))
      )
      expect([state, ended]).toEqual(["Closed", undefined])
    })
  )

  it.effect("makes of QUIT answered by 421 no failure of the scope", () =>
    withSession(
      SmtpTest.script(opened(), ask("QUIT", "421 going anyway"), SmtpTest.expectEnd),
      () => Effect.void
    )
  )

  it.effect("tells the program that QUIT was answered by 421", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(opened(), ask("QUIT", "421 going anyway"), SmtpTest.expectEnd),
        (smtp) => Effect.flip(smtp.quit)
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "quit", reply: { code: 421 } })
    })
  )

  it.effect("leaves every command behind it ServerDisconnected, and nothing on the wire", () =>
    Effect.gen(function* () {
      const errors = yield* withSession(SmtpTest.script(opened(), goodbye), (smtp) =>
        Effect.gen(function* () {
          yield* smtp.quit
          return yield* Effect.all([
            Effect.flip(smtp.noop),
            Effect.flip(smtp.ehlo),
            Effect.flip(smtp.mail("a@x.test")),
            Effect.flip(smtp.send(OneSession.submission)),
            Effect.flip(smtp.quit)
          ])
        })
      )
      expect(errors.map(({ _tag }) => _tag)).toEqual(Array.from({ length: 5 }, () => "ServerDisconnected"))
    })
  )

  it.effect("sends no QUIT to a server that has gone", () =>
    Effect.gen(function* () {
      const error = yield* withSession(
        SmtpTest.script(opened(), SmtpTest.expect("NOOP"), SmtpTest.close),
        (smtp) => Effect.flip(smtp.noop)
      )
      expect(error).toMatchObject({ _tag: "ServerDisconnected", phase: "noop", reply: undefined })
    })
  )

  it.effect("is told by awaitClosed: nothing after QUIT", () =>
    Effect.gen(function* () {
      const ended = yield* withSession(SmtpTest.script(opened(), goodbye), (smtp) =>
        Effect.zipRight(smtp.quit, smtp.awaitClosed)
      )
      expect(ended).toBeUndefined()
    })
  )

  it.effect("is told by awaitClosed: the server's goodbye, unasked", () =>
    Effect.gen(function* () {
      const ended = yield* withSession(
        SmtpTest.script(opened(), SmtpTest.inject("421 4.3.2 shutting down\r\n"), SmtpTest.expectEnd),
        (smtp) => smtp.awaitClosed
      )
      expect(ended).toMatchObject({ _tag: "ServerDisconnected", phase: "idle", reply: { code: 421 } })
    })
  )

  it.effect("is told to the next command when the server said goodbye with 451 or 554, unasked", () =>
    Effect.gen(function* () {
      for (const code of [451, 554]) {
        const error = yield* withSession(
          SmtpTest.script(opened(), SmtpTest.inject(`${code} idle for too long\r\n`), SmtpTest.expectEnd),
          (smtp) => Effect.zipRight(smtp.awaitClosed, Effect.flip(smtp.noop))
        )
        expect(error).toMatchObject({ _tag: "ServerDisconnected", reply: { code } })
      }
    })
  )

  it.effect("is ProtocolError when the server says yes to nothing", () =>
    Effect.gen(function* () {
      const ended = yield* withSession(
        SmtpTest.script(opened(), SmtpTest.inject("250 ok\r\n"), SmtpTest.expectEnd),
        (smtp) => smtp.awaitClosed
      )
      expect(ended).toMatchObject({ _tag: "ProtocolError", reply: { code: 250 } })
    })
  )
})

describe("the state of a session", () => {
  it.effect("goes from Greeted to Ready, Transaction and Closed", () =>
    Effect.gen(function* () {
      const states = yield* withConnection(
        SmtpTest.script(
          greeting,
          ehlo(),
          ask("MAIL FROM:<a@x.test>", "250 ok"),
          ask("RSET", "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            const seen = [yield* smtp.state]
            for (const step of [smtp.ehlo, smtp.mail("a@x.test"), smtp.rset, smtp.quit]) {
              yield* step
              seen.push(yield* smtp.state)
            }
            return seen
          })
      )
      expect(states).toEqual(["Greeted", "Ready", "Transaction", "Ready", "Closed"])
    })
  )

  it.effect("is Closed after a failure", () =>
    Effect.gen(function* () {
      const state = yield* withSession(
        SmtpTest.script(opened(), ask("NOOP", "no code"), SmtpTest.expectEnd),
        (smtp) => Effect.zipRight(Effect.flip(smtp.noop), smtp.state)
      )
      expect(state).toBe("Closed")
    })
  )

  it.effect("is Ready after EHLO in the program's own words, so that a send says no second one", () =>
    Effect.gen(function* () {
      const state = yield* withConnection(
        SmtpTest.script(
          greeting,
          ehlo("PIPELINING"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          OneSession.content(OneSession.message, "250 ok"),
          goodbye
        ),
        (smtp) =>
          Effect.gen(function* () {
            yield* smtp.command("EHLO", "client.test")
            const now = yield* smtp.state
            yield* smtp.send(OneSession.submission)
            return now
          })
      )
      expect(state).toBe("Ready")
    })
  )
})

describe("a session as a layer", () => {
  it.effect("is one connection, quit when the layer's scope closes", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.script(opened(), ask("NOOP", "250 ok"), goodbye))
      const live = SmtpSession.layer({ host: "mx.test", tls: "none", clientName: "client.test" })
      const reply = yield* server.verify(
        Effect.flatMap(SmtpSession.SmtpSession, (smtp) => smtp.noop).pipe(
          Effect.provide(Layer.provide(live, server.layer))
        )
      )
      expect(reply.code).toBe(250)
      expect(yield* server.dialled).toHaveLength(1)
    }).pipe(Effect.scoped)
  )

  it.effect("reads its options from configuration", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(greeting, ask("EHLO app.example.com", "250 mx.test"), goodbye)
      )
      const live = SmtpSession.layerConfig({
        host: Config.string("SMTP_HOST"),
        port: Config.port("SMTP_PORT"),
        clientName: Config.string("SMTP_NAME"),
        tls: Config.literal("none", "starttls")("SMTP_TLS")
      })
      const provider = ConfigProvider.fromMap(
        new Map([
          ["SMTP_HOST", "mx.test"],
          ["SMTP_PORT", "2525"],
          ["SMTP_NAME", "app.example.com"],
          ["SMTP_TLS", "none"]
        ])
      )
      yield* server.verify(
        Effect.asVoid(SmtpSession.SmtpSession).pipe(
          Effect.provide(Layer.provide(live, server.layer)),
          Effect.withConfigProvider(provider)
        )
      )
      expect(yield* server.dialled).toMatchObject([{ host: "mx.test", port: 2525 }])
    }).pipe(Effect.scoped)
  )

  it.effect("fails with ConfigError when configuration is missing, before the dial", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(SmtpTest.refused)
      const live = SmtpSession.layerConfig({ host: Config.string("SMTP_HOST") })
      const error = yield* Layer.build(live).pipe(
        Effect.scoped,
        Effect.provide(server.layer),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map())),
        Effect.flip
      )
      expect(error).toMatchObject({ _op: "MissingData" })
      expect(yield* server.dialled).toEqual([])
    }).pipe(Effect.scoped)
  )
})
