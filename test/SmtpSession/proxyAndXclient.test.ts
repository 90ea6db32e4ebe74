import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Tls from "node:tls"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpCommand from "../../src/SmtpCommand.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as Certificates from "../servers/certificates.js"
import { listen } from "../support/loopback.js"
import { clientName, ehlo, goodbye, greeting, judged } from "./oneSession.js"
import { failedAsScripted, overTcp, serverTls, startTls, succeeded } from "./overTcp.js"

const { expect: says, inject, reply, script } = SmtpTest

const client = { address: "192.0.2.1", port: 4711 }
const destination = { address: "198.51.100.2", port: 25 }
const certificate = Effect.runSync(Effect.cached(Certificates.makeCertificates()))

describe("A PROXY header", () => {
  it.scopedLive("of version 1 is said before the greeting", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(says("PROXY TCP4 192.0.2.1 198.51.100.2 4711 25"), greeting, ehlo(), goodbye),
        {},
        (options) =>
          SmtpSession.make({
            ...options,
            tls: "none",
            proxyHeader: { version: 1, source: client, destination }
          })
      )
      succeeded(met)
    })
  )

  it.scopedLive("of version 2 is said before the greeting, in one piece with nothing behind it", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(SmtpTest.expectOctets(28), SmtpTest.expectNothing("20 millis"), greeting, ehlo(), goodbye),
        {},
        (options) =>
          SmtpSession.make({
            ...options,
            tls: "none",
            proxyHeader: { version: 2, source: client, destination }
          })
      )
      succeeded(met)
      expect(met.received.slice(0, 12)).toBe("\r\n\r\n\0\r\nQUIT\n")
    })
  )

  it.scopedLive("is said in clear before implicit TLS", () =>
    Effect.gen(function* () {
      const { ca, certificate: cert, key } = yield* certificate
      const header = "PROXY UNKNOWN\r\n"
      const said: Array<string> = []
      const { port } = yield* listen((socket) => {
        socket.once("readable", () => {
          const first: unknown = socket.read(header.length)
          said.push(String(first))
          const secured = new Tls.TLSSocket(socket, { isServer: true, cert, key })
          secured.write("220 mx.test ESMTP\r\n")
          secured.on("data", (octets: Buffer) => {
            said.push(octets.toString())
            secured.write(octets.toString().startsWith("QUIT") ? "221 goodbye\r\n" : "250 mx.test\r\n")
          })
        })
      })
      const open = SmtpSession.make({
        host: "127.0.0.1",
        port,
        clientName,
        tls: "implicit",
        tlsOptions: { ca },
        proxyHeader: { version: 1 }
      })
      yield* Effect.scoped(open).pipe(Effect.provide(NodeSmtp.layer))
      expect(said).toEqual([header, `EHLO ${clientName}\r\n`, "QUIT\r\n"])
    })
  )

  it.effect("that cannot be is InvalidArgument before anything is dialled", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(SmtpSession.make({ host: "mx.test", proxyHeader: { version: 1, source: client } }))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "proxyHeader.destination" })
    }).pipe(Effect.provide(SmtpTest.layer()))
  )
})

describe("XCLIENT in the options of a session", () => {
  const xclient = { name: "client.example.net", address: "2001:db8::1" }
  const introduced = script(
    says("XCLIENT NAME=client.example.net ADDR=IPV6:2001:db8::1"),
    reply("220 mx.test ESMTP")
  )

  it.scopedLive("is said before AUTH, and EHLO again behind it, whose answer counts", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("XCLIENT NAME ADDR PORT", "SIZE 1"),
          introduced,
          ehlo("AUTH PLAIN", "SIZE 2"),
          says(/^AUTH PLAIN /),
          reply("235 welcome"),
          goodbye
        ),
        {},
        (options) =>
          SmtpSession.make({
            ...options,
            tls: "none",
            allowInsecureAuth: true,
            auth: SmtpAuth.password({ username: "a", password: Redacted.make("b") }),
            xclient
          }).pipe(Effect.flatMap((session) => session.capabilities))
      )
      expect(succeeded(met).size).toBe(2)
    })
  )

  it.scopedLive("is said after STARTTLS", () =>
    Effect.gen(function* () {
      const authority = yield* certificate
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("STARTTLS", "XCLIENT NAME ADDR"),
          startTls,
          ehlo("XCLIENT NAME ADDR"),
          introduced,
          ehlo(),
          goodbye
        ),
        serverTls(authority),
        (options) => SmtpSession.make({ ...options, tlsOptions: { ca: authority.ca }, xclient })
      )
      succeeded(met)
    })
  )

  it.scopedLive(
    "is NotSupported where it is not announced, or not with every attribute, and nothing is said",
    () =>
      Effect.gen(function* () {
        for (const announced of ["SIZE", "XCLIENT NAME"]) {
          const met = yield* overTcp(script(greeting, ehlo(announced), goodbye), {}, (options) =>
            SmtpSession.make({ ...options, tls: "none", xclient })
          )
          expect(failedAsScripted(met)).toMatchObject({ _tag: "NotSupported", extension: "XCLIENT" })
        }
      })
  )

  it.scopedLive("is CommandRefused where the server does not believe this client", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("XCLIENT NAME ADDR"),
          says(/^XCLIENT /),
          reply("550 5.7.0 insufficient authorization"),
          goodbye
        ),
        {},
        (options) => SmtpSession.make({ ...options, tls: "none", xclient })
      )
      expect(failedAsScripted(met)).toMatchObject({
        _tag: "CommandRefused",
        command: "XCLIENT",
        reply: { code: 550 }
      })
    })
  )

  const answers: Readonly<Record<string, readonly [SmtpTest.Script, ReadonlyArray<unknown>]>> = {
    "a goodbye": [
      script(reply("421 4.3.2 not now"), SmtpTest.expectEnd),
      ["ServerDisconnected", "command", "transient", "NotSent"]
    ],
    "a refusal for now": [
      script(reply("450 4.3.0 not now"), goodbye),
      ["CommandRefused", "command", "transient", "NotSent"]
    ],
    "the reply of another command": [
      script(reply("354 go on"), SmtpTest.expectEnd),
      ["ProtocolError", "command", "permanent", "NotSent"]
    ],
    "more than one reply": [
      script(inject("220 mx.test\r\n250 mx.test\r\n"), SmtpTest.expectEnd),
      ["ProtocolError", "idle", "permanent", "NotSent"]
    ],
    "the end of the connection": [
      script(SmtpTest.close),
      ["ServerDisconnected", "command", "transient", "NotSent"]
    ],
    "a greeting, and a refusal of the EHLO behind it": [
      script(reply("220 mx.test ESMTP"), says(`EHLO ${clientName}`), reply("550 5.7.1 not you"), goodbye),
      ["HeloError", undefined, "permanent", "NotSent"]
    ]
  }
  for (const [what, [answer, judgement]] of Object.entries(answers)) {
    it.scopedLive(`fails where its answer is ${what}`, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(
          script(greeting, ehlo("XCLIENT NAME ADDR", "AUTH PLAIN"), says(/^XCLIENT /), answer),
          {},
          (options) =>
            SmtpSession.make({
              ...options,
              tls: "none",
              allowInsecureAuth: true,
              auth: SmtpAuth.password({ username: "a", password: Redacted.make("b") }),
              xclient
            })
        )
        expect(judged(failedAsScripted(met))).toEqual(judgement)
        expect(met.received).not.toContain("AUTH")
      })
    )
  }

  it.effect("that cannot be is InvalidArgument before anything is dialled", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(SmtpSession.make({ host: "mx.test", xclient: { address: "mx.test" } }))
      )
      expect(error).toMatchObject({ _tag: "InvalidArgument", field: "xclient.address" })
    }).pipe(Effect.provide(SmtpTest.layer()))
  )
})

describe("XCLIENT as a command", () => {
  it.scopedLive("takes away what was announced, by whichever words it was said", () =>
    Effect.gen(function* () {
      const once = script(
        says("XCLIENT NAME=x.test"),
        reply("220 mx.test ESMTP"),
        ehlo("XCLIENT NAME", "SIZE 1")
      )
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("XCLIENT NAME"),
          once,
          once,
          says(`EHLO ${clientName}`),
          reply("250 mx.test"),
          goodbye
        ),
        {},
        (options) =>
          Effect.gen(function* () {
            const session = yield* SmtpSession.make({ ...options, tls: "none" })
            const seen: Array<boolean> = []
            const look = Effect.map(session.capabilities, ({ has }) => void seen.push(has("XCLIENT")))
            yield* session.run(SmtpCommand.xclient({ name: "x.test" }))
            yield* Effect.zipRight(look, session.ehlo)
            yield* session.command("XCLIENT", "NAME=x.test")
            yield* Effect.zipRight(look, session.ehlo)
            yield* Effect.zipRight(look, session.ehlo)
            return seen
          })
      )
      expect(succeeded(met)).toEqual([false, false, true])
    })
  )
})
