import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { ehlo, goodbye, greeting } from "./oneSession.js"

const { expect: says, reply, script } = SmtpTest

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const bearer = (mechanism: string, token: string) =>
  says(`AUTH ${mechanism} ${base64(`user=ann\u0001auth=Bearer ${token}\u0001\u0001`)}`)

const login = script(
  says("AUTH LOGIN"),
  reply("334 "),
  says(base64("ann")),
  reply("334 "),
  says(base64("secret")),
  reply("235 welcome")
)

const plain = says(`AUTH PLAIN ${base64("\0ann\0secret")}`)

const password = SmtpAuth.password({
  username: "ann",
  password: Redacted.make("secret"),
  mechanisms: ["PLAIN", "LOGIN"]
})

const offers = (mechanisms: string, ...steps: ReadonlyArray<SmtpTest.Script>) =>
  script(greeting, ehlo(`AUTH ${mechanisms}`), ...steps)

/** Makes a session with a server that serves these connections, and no more. */
const makes = (auth: SmtpAuth.Credentials, ...connections: ReadonlyArray<SmtpTest.Script>) =>
  Effect.gen(function* () {
    const server = yield* SmtpTest.scripted(connections)
    const options = {
      host: "mx.test",
      clientName: "client.test",
      tls: "none",
      allowInsecureAuth: true,
      auth
    } as const
    const result = yield* Effect.either(Effect.scoped(SmtpSession.make(options))).pipe(
      Effect.provide(server.layer),
      Effect.provide(CapabilityCache.layerMemory)
    )
    yield* server.done
    return result
  })

const tokens = () => {
  const asked: Array<string | undefined> = []
  const auth = SmtpAuth.oauth2({
    username: "ann",
    mechanisms: ["XOAUTH2"],
    token: ({ refused }) =>
      Effect.sync(() => {
        asked.push(refused === undefined ? undefined : Redacted.value(refused))
        return Redacted.make(refused === undefined ? "stale" : "fresh")
      })
  })
  return { asked, auth }
}

describe("a server that hangs up in AUTH", () => {
  it.scoped("on a mechanism is asked by the next one, on a new connection", () =>
    Effect.gen(function* () {
      const result = yield* makes(
        password,
        offers("PLAIN LOGIN", plain, SmtpTest.close),
        offers("PLAIN LOGIN", login, goodbye)
      )
      expect(result._tag).toBe("Right")
    })
  )

  it.scoped("on every mechanism has lost the connection", () =>
    Effect.gen(function* () {
      const result = yield* makes(
        password,
        offers("PLAIN LOGIN", plain, SmtpTest.close),
        offers("PLAIN LOGIN", says("AUTH LOGIN"), SmtpTest.close)
      )
      expect(result).toMatchObject({ left: { _tag: "ServerDisconnected", phase: "auth" } })
    })
  )

  it.scoped("with 421 is not asked again", () =>
    Effect.gen(function* () {
      const result = yield* makes(
        password,
        offers("PLAIN LOGIN", plain, reply("421 4.3.2 later"), SmtpTest.close)
      )
      expect(result).toMatchObject({ left: { _tag: "ServerDisconnected", reply: { code: 421 } } })
    })
  )

  it.scoped("after it has refused the password is not asked again", () =>
    Effect.gen(function* () {
      const result = yield* makes(
        password,
        offers("PLAIN LOGIN", plain, reply("535 5.7.8 wrong"), SmtpTest.close)
      )
      expect(result).toMatchObject({ left: { _tag: "AuthenticationError", reason: "Rejected" } })
    })
  )

  it.scoped("after it has refused a token is asked once with a fresh one, on a new connection", () =>
    Effect.gen(function* () {
      const { asked, auth } = tokens()
      const result = yield* makes(
        auth,
        offers("XOAUTH2", bearer("XOAUTH2", "stale"), reply("535 5.7.8 expired"), SmtpTest.close),
        offers("XOAUTH2", bearer("XOAUTH2", "fresh"), reply("235 welcome"), goodbye)
      )
      expect(result._tag).toBe("Right")
      expect(asked.at(-1)).toBe("stale")
    })
  )

  it.scoped("after it has refused both tokens has rejected the credentials", () =>
    Effect.gen(function* () {
      const { auth } = tokens()
      const refuses = (token: string) =>
        offers("XOAUTH2", bearer("XOAUTH2", token), reply("535 5.7.8 expired"), SmtpTest.close)
      const result = yield* makes(auth, refuses("stale"), refuses("fresh"))
      expect(result).toMatchObject({
        left: { _tag: "AuthenticationError", reason: "Rejected", reply: { code: 535 } }
      })
    })
  )

  it.scoped("after it has refused a token, and does not greet again, has rejected the credentials", () =>
    Effect.gen(function* () {
      const { auth } = tokens()
      const result = yield* makes(
        auth,
        offers("XOAUTH2", bearer("XOAUTH2", "stale"), reply("535 5.7.8 expired"), SmtpTest.close),
        SmtpTest.close
      )
      expect(result).toMatchObject({ left: { _tag: "AuthenticationError", reply: { code: 535 } } })
    })
  )
})
