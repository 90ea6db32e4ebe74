import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ehlo, goodbye, greeting, submission } from "../SmtpSession/oneSession.js"
import { startTls } from "../SmtpSession/overTcp.js"
import { makeClient } from "./client.js"

const { expect: says, reply, script } = SmtpTest

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const plain = script(says(`AUTH PLAIN ${base64("\0ann\0secret")}`), reply("235 welcome"))

const sends = script(
  says(/^MAIL FROM:/),
  reply("250 ok"),
  says(/^RCPT TO:/),
  reply("250 ok"),
  says("DATA"),
  reply("354 go"),
  SmtpTest.expectContent(),
  reply("250 taken"),
  goodbye
)

const onTls = (mechanisms: string, ...steps: ReadonlyArray<SmtpTest.Script>) =>
  script(greeting, ehlo("STARTTLS"), startTls, ehlo(`AUTH ${mechanisms}`), ...steps, sends)

describe("the sessions of a client", () => {
  it.scoped("begin with the mechanism that has worked, and not with one that was refused", () =>
    Effect.gen(function* () {
      const offered = "SCRAM-SHA-256 CRAM-MD5 PLAIN"
      const server = yield* SmtpTest.scripted([
        onTls(offered, says(/^AUTH SCRAM-SHA-256 /), reply("535 5.7.8 no such secret"), plain),
        onTls(offered, plain),
        onTls(offered, plain)
      ])
      const client = yield* makeClient(
        { "mx.test": server },
        {
          tls: "starttls",
          auth: SmtpAuth.password({ username: "ann", password: Redacted.make("secret") }),
          maxMessages: 1
        }
      )
      for (let sent = 0; sent < 3; sent++) expect((yield* client.send(submission)).accepted).toHaveLength(1)
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("pass over a mechanism on which the server has hung up, once another has worked", () =>
    Effect.gen(function* () {
      const login = script(
        says("AUTH LOGIN"),
        reply("334 Username:"),
        says(base64("ann")),
        reply("334 Password:"),
        says(base64("secret")),
        reply("235 welcome")
      )
      const hangsUp = script(
        greeting,
        ehlo("STARTTLS"),
        startTls,
        ehlo("AUTH PLAIN LOGIN"),
        says(/^AUTH PLAIN /),
        SmtpTest.close
      )
      const server = yield* SmtpTest.scripted([
        hangsUp,
        onTls("PLAIN LOGIN", login),
        onTls("PLAIN LOGIN", login)
      ])
      const client = yield* makeClient(
        { "mx.test": server },
        {
          tls: "starttls",
          auth: SmtpAuth.password({ username: "ann", password: Redacted.make("secret") }),
          maxMessages: 1
        }
      )
      for (let sent = 0; sent < 2; sent++) expect((yield* client.send(submission)).accepted).toHaveLength(1)
      yield* client.close
      yield* server.done
    })
  )
})

describe("a password that is obtained by an effect", () => {
  const login = (password: string, answer: string) =>
    script(says(`AUTH PLAIN ${base64(`\0ann\0${password}`)}`), reply(answer))

  const refusedNow = "535 5.7.8 wrong password"

  /** Gives one password after another; the last one again and again. */
  const passwords = (...all: ReadonlyArray<string>) => {
    let reads = 0
    return {
      effect: Effect.sync(() => Redacted.make(all[Math.min(reads++, all.length - 1)] ?? "none")),
      reads: () => reads
    }
  }

  const clientOf = (
    password: SmtpAuth.PasswordOptions["password"],
    scripts: ReadonlyArray<SmtpTest.Script>
  ) =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(scripts)
      const auth = SmtpAuth.password({ username: "ann", password })
      const client = yield* makeClient(
        { "mx.test": server },
        { tls: "starttls", auth, maxMessages: 1, retry: "off" }
      )
      return { client, server }
    })

  it.scoped("is read for each session", () =>
    Effect.gen(function* () {
      const { effect } = passwords("old", "new")
      const { client, server } = yield* clientOf(effect, [
        onTls("PLAIN", login("old", "235 welcome")),
        onTls("PLAIN", login("new", "235 welcome"))
      ])
      for (let sent = 0; sent < 2; sent++) expect((yield* client.send(submission)).accepted).toHaveLength(1)
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("is read again after a refusal, and tried at once on the same session if it has changed", () =>
    Effect.gen(function* () {
      const { effect } = passwords("old", "new")
      const { client, server } = yield* clientOf(effect, [
        onTls("PLAIN", login("old", refusedNow), login("new", "235 welcome"))
      ])
      expect((yield* client.send(submission)).accepted).toHaveLength(1)
      yield* client.close
      yield* server.done
    })
  )

  it.scoped("is not tried again if it is the same, and not more than once if it is another", () =>
    Effect.gen(function* () {
      const same = passwords("old")
      const first = yield* clientOf(same.effect, [
        script(greeting, ehlo("STARTTLS"), startTls, ehlo("AUTH PLAIN"), login("old", refusedNow), goodbye)
      ])
      const error = yield* Effect.flip(first.client.send(submission))
      expect(error).toMatchObject({ _tag: "AuthenticationError", reason: "Rejected" })
      expect(same.reads()).toBe(2)
      yield* first.server.done
      const other = passwords("old", "older", "oldest")
      const second = yield* clientOf(other.effect, [
        script(
          greeting,
          ehlo("STARTTLS"),
          startTls,
          ehlo("AUTH PLAIN"),
          login("old", refusedNow),
          login("older", refusedNow),
          goodbye
        )
      ])
      expect(yield* Effect.flip(second.client.send(submission))).toMatchObject({ reason: "Rejected" })
      expect(other.reads()).toBe(2)
      yield* second.server.done
    })
  )

  it.scoped("that cannot be obtained is an AuthenticationError, and nothing is dialled", () =>
    Effect.gen(function* () {
      const { client, server } = yield* clientOf(Effect.fail(new Error("no such secret")), [])
      const error = yield* Effect.flip(client.send(submission))
      expect(error).toMatchObject({ _tag: "AuthenticationError", reason: "Token" })
      expect(error.message).toBe(
        "Cannot obtain the token or password: no such secret. Check the effect that obtains it."
      )
      expect(yield* server.dialled).toEqual([])
    })
  )

  it.scoped("that is unusable is InvalidArgument before AUTH", () =>
    Effect.gen(function* () {
      const { client } = yield* clientOf(Effect.succeed(Redacted.make("")), [
        script(greeting, ehlo("STARTTLS"), startTls, ehlo("AUTH PLAIN"), goodbye)
      ])
      expect(yield* Effect.flip(client.send(submission))).toMatchObject({
        _tag: "InvalidArgument",
        field: "password"
      })
    })
  )
})
