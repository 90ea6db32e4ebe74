import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Capabilities from "../src/protocol/Capabilities.js"
import { make as makeReply } from "../src/protocol/Reply.js"
import * as SmtpCommand from "../src/SmtpCommand.js"

const announcing = (...lines: ReadonlyArray<string>): SmtpCommand.Context => ({
  capabilities: Capabilities.fromLines(["mx.test", ...lines]),
  verifiedTls: false,
  unprotected: false,
  occupied: false,
  now: 0
})

const bare = announcing()
const reply = (code: number) => makeReply(code, ["text"], false)

const line = (command: SmtpCommand.SmtpCommand<"Anywhere" | "Last", unknown, never>) =>
  Effect.map(command.prepare(bare), (prepared) => prepared.line)

describe("a command as a value", () => {
  it("says where it may stand in a group (RFC 2920 section 3.1)", () => {
    const places = {
      mail: SmtpCommand.mail("a@x.test").place,
      rcpt: SmtpCommand.rcpt("b@y.test").place,
      rset: SmtpCommand.rset.place,
      noop: SmtpCommand.noop.place,
      vrfy: SmtpCommand.vrfy("ann").place,
      expn: SmtpCommand.expn("team").place,
      help: SmtpCommand.help().place,
      command: SmtpCommand.command("ETRN").place
    }
    expect(places).toEqual({
      mail: "Anywhere",
      rcpt: "Anywhere",
      rset: "Anywhere",
      noop: "Last",
      vrfy: "Last",
      expn: "Last",
      help: "Last",
      command: "Last"
    })
  })

  it.effect("says its line when it is prepared", () =>
    Effect.gen(function* () {
      expect(yield* line(SmtpCommand.rset)).toBe("RSET")
      expect(yield* line(SmtpCommand.noop)).toBe("NOOP")
      const prepared = yield* SmtpCommand.mail("a@x.test", { ret: "HDRS" }).prepare(announcing("DSN"))
      expect(prepared.line).toBe("MAIL FROM:<a@x.test> RET=HDRS")
    })
  )

  it("turns a refusal into its error", () => {
    expect(SmtpCommand.mail("a@x.test").refuse(reply(550))).toMatchObject({
      _tag: "SenderRefused",
      sender: "a@x.test"
    })
    expect(SmtpCommand.rcpt("b@y.test").refuse(reply(450))).toMatchObject({
      _tag: "RecipientsRefused",
      recipients: [{ address: "b@y.test" }]
    })
    expect(SmtpCommand.noop.refuse(reply(500))).toMatchObject({ _tag: "CommandRefused", command: "NOOP" })
  })

  it("makes nothing of success, 251 included (RFC 5321 section 3.4)", () => {
    expect(SmtpCommand.mail("a@x.test").refuse(reply(250))).toBeUndefined()
    expect(SmtpCommand.rcpt("b@y.test").refuse(reply(251))).toBeUndefined()
    expect(SmtpCommand.rset.refuse(reply(200))).toBeUndefined()
  })

  it("makes nothing of any reply to VRFY, EXPN, HELP and a program's own words", () => {
    const asking = [
      SmtpCommand.vrfy("ann"),
      SmtpCommand.expn("team"),
      SmtpCommand.help(),
      SmtpCommand.command("X")
    ]
    expect(asking.map(({ refuse }): unknown => refuse(reply(550)))).toEqual(asking.map(() => undefined))
  })

  it.effect("MAIL is InvalidArgument while somebody else's transaction is under way", () =>
    Effect.gen(function* () {
      const occupied = { ...bare, occupied: true }
      for (const command of [SmtpCommand.mail("a@x.test"), SmtpCommand.command("mail", "FROM:<a@x.test>")]) {
        expect(yield* Effect.flip(Effect.asVoid(command.prepare(occupied)))).toMatchObject({
          _tag: "InvalidArgument",
          field: "session"
        })
      }
    })
  )

  it.effect("RCPT beyond ASCII needs SMTPUTF8 (RFC 6531 section 3.4)", () =>
    Effect.gen(function* () {
      const command = SmtpCommand.rcpt("Δοκιμή@y.test")
      expect(yield* Effect.flip(command.prepare(bare))).toMatchObject({ _tag: "NotSupported" })
      expect((yield* command.prepare(announcing("SMTPUTF8"))).line).toBe("RCPT TO:<Δοκιμή@y.test>")
    })
  )
})

describe("whatever a program puts into a command", () => {
  const hostile = FastCheck.oneof(
    FastCheck.string({ unit: "binary" }),
    FastCheck.tuple(
      FastCheck.string(),
      FastCheck.constantFrom("\r\n", "\n", "\r", "\0", "\ud800"),
      FastCheck.string()
    ).map((parts) => parts.join(""))
  )

  it.effect.prop("is one line, or refused", [hostile], ([text]) =>
    Effect.gen(function* () {
      const context = announcing("SMTPUTF8", "8BITMIME", "DSN", "SIZE")
      const commands = [
        SmtpCommand.mail(text),
        SmtpCommand.mail("a@x.test", [text]),
        SmtpCommand.mail("a@x.test", { envelopeId: text, smtputf8: true }),
        SmtpCommand.rcpt(text),
        SmtpCommand.rcpt("b@y.test", [text]),
        SmtpCommand.rcpt("b@y.test", { originalRecipient: text }),
        SmtpCommand.vrfy(text),
        SmtpCommand.expn(text),
        SmtpCommand.help(text),
        SmtpCommand.command(text),
        SmtpCommand.command("ETRN", text)
      ]
      for (const command of commands) {
        const prepared = yield* Effect.either(Effect.asVoid(command.prepare(context)))
        if (prepared._tag === "Left") continue
        const made = yield* command.prepare(context)
        expect(made.line).not.toMatch(/[\r\n\0]/)
        expect(new TextDecoder().decode(new TextEncoder().encode(made.line))).toBe(made.line)
      }
    })
  )
})
