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
