import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Net from "node:net"
import * as CapabilityCache from "../../src/CapabilityCache.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as NodeSmtpTest from "../../src/NodeSmtpTest.js"
import * as SmtpAuth from "../../src/SmtpAuth.js"
import * as SmtpError from "../../src/SmtpError.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import * as Certificates from "../servers/certificates.js"
import * as Loopback from "../support/loopback.js"
import { resourcesLeftBy } from "../support/resources.js"
import { clientName, ehlo, goodbye, greeting, judged, withSession } from "./oneSession.js"
import { failed, failedAsScripted, overTcp, serverTls, startTls, succeeded } from "./overTcp.js"

const { expect: says, inject, reply, script, silence } = SmtpTest

const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })

/** All that a client says in clear when TLS comes to nothing. */
const onlyStartTls = `EHLO ${clientName}\r\nSTARTTLS\r\n`

const upgraded = script(greeting, ehlo("STARTTLS"), startTls, ehlo(), goodbye)

const make = (more: Partial<SmtpSession.Options>) => (options: SmtpSession.Options) =>
  SmtpSession.make({ ...options, ...more })

describe('tls: "starttls"', () => {
  it.live("says EHLO again behind the handshake, and tells what the handshake came to", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(upgraded, serverTls(made), (options) =>
        Effect.flatMap(
          SmtpSession.make({ ...options, tlsOptions: { ca: made.ca } }),
          (session) => session.tls
        )
      )
      expect(succeeded(met)).toMatchObject({
        protocol: "TLSv1.3",
        servername: "127.0.0.1",
        verified: true,
        resumed: false,
        certificate: { subject: "CN=localhost" },
        channelBinding: { type: "tls-exporter" }
      })
    })
  )

  it.live("is the default", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(upgraded, serverTls(made), make({ tlsOptions: { ca: made.ca } }))
      succeeded(met)
      expect(met.handshakes.length).toBe(1)
    })
  )

  it.live("trusts nothing that was said before the handshake (RFC 3207 section 4.2)", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("STARTTLS", "SIZE 10", "AUTH PLAIN", "SMTPUTF8"),
          startTls,
          ehlo("SIZE 2000", "PIPELINING"),
          goodbye
        ),
        serverTls(made),
        (options) =>
          Effect.flatMap(
            SmtpSession.make({ ...options, tlsOptions: { ca: made.ca } }),
            (session) => session.capabilities
          )
      )
      const capabilities = succeeded(met)
      expect(capabilities.size).toBe(2000)
      expect(capabilities.has("PIPELINING")).toBe(true)
      expect(capabilities.has("SMTPUTF8")).toBe(false)
      expect(capabilities.authMechanisms).toEqual([])
    })
  )

  it.live("has forgotten the announcement before EHLO is said again", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS", "SMTPUTF8"), startTls, goodbye),
        serverTls(made),
        (options) =>
          Effect.gen(function* () {
            const session = yield* SmtpSession.connect({ ...options, tlsOptions: { ca: made.ca } })
            yield* session.startTls
            return { state: yield* session.state, capabilities: yield* session.capabilities }
          })
      )
      const { capabilities, state } = succeeded(met)
      expect(state).toBe("Greeted")
      expect(capabilities.has("SMTPUTF8")).toBe(false)
      expect(capabilities.starttls).toBe(false)
    })
  )

  it.live("does not use AUTH that was offered only before the handshake", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS", "AUTH PLAIN"), startTls, ehlo(), goodbye),
        serverTls(made),
        make({ auth, tlsOptions: { ca: made.ca } })
      )
      expect(failedAsScripted(met)).toMatchObject({ _tag: "AuthenticationError", reason: "NotOffered" })
    })
  )

  it.live("goes no further where it is not offered: neither AUTH nor MAIL", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(script(greeting, ehlo("AUTH PLAIN"), goodbye), {}, make({ auth }))
      const error = failedAsScripted(met)
      expect(error).toMatchObject({ extension: "STARTTLS" })
      expect(judged(error)).toEqual(["NotSupported", undefined, "permanent", "NotSent"])
    })
  )

  for (const [code, transient] of [
    ["454 4.7.0 TLS not available", true],
    ["501 5.5.4 no parameters", false]
  ] as const) {
    it.live(`goes no further when it is refused with ${code.slice(0, 3)} (RFC 3207 section 4)`, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(
          script(greeting, ehlo("STARTTLS", "AUTH PLAIN"), says("STARTTLS"), reply(code), goodbye),
          {},
          make({ auth })
        )
        const error = failedAsScripted(met)
        expect(error).toMatchObject({ command: "STARTTLS" })
        expect(judged(error)).toEqual([
          "CommandRefused",
          "starttls",
          transient ? "transient" : "permanent",
          "NotSent"
        ])
      })
    )
  }

  it.live("takes 250 for no answer to it (RFC 3207 section 4)", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), says("STARTTLS"), reply("250 ok"), SmtpTest.expectEnd),
        {},
        make({})
      )
      expect(judged(failedAsScripted(met))).toEqual(["ProtocolError", "starttls", "permanent", "NotSent"])
    })
  )
})

describe("a server that does not offer STARTTLS", () => {
  it.effect.each([
    ["localhost", true],
    ["127.0.0.1", true],
    ["::1", true],
    ["mailpit", true],
    ["mail.example.com", false],
    ["192.0.2.1", false],
    ["127.0.0.1.example.com", false]
  ] as const)("at %s: whether the error names tls none", ([host, isNamed]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        withSession(script(greeting, ehlo(), goodbye), () => Effect.void, { host, tls: "starttls" })
      )
      expect(error).toMatchObject({ _tag: "NotSupported", extension: "STARTTLS" })
      expect(String(error).includes('set tls to "none"')).toBe(isNamed)
    })
  )
})

describe("plaintext behind the 220 of STARTTLS (RFC 3207 section 6)", () => {
  for (const [what, octets] of [
    ["a whole reply", "250 AUTH PLAIN\r\n"],
    ["half a reply", "25"],
    ["what is no reply", "hello\r\n"],
    ["an empty line", "\r\n"]
  ] as const) {
    it.live(`is an injection: ${what} in the same segment`, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(
          script(
            greeting,
            ehlo("STARTTLS"),
            says("STARTTLS"),
            inject(`220 go ahead\r\n${octets}`),
            SmtpTest.expectEnd
          ),
          {},
          make({ auth })
        )
        const error = failedAsScripted(met)
        expect(error).toMatchObject({ reason: "Injection" })
        expect(judged(error)).toEqual(["TlsError", undefined, "permanent", "NotSent"])
        expect(met.received).toBe(onlyStartTls)
      })
    )
  }

  it.live("ends the session in a later segment too, and nothing of it is believed", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("STARTTLS"),
          says("STARTTLS"),
          reply("220 go ahead", { separate: true }),
          inject("250-mx.test\r\n250 AUTH PLAIN\r\n", { delay: "5 millis" }),
          silence
        ),
        {},
        make({ auth })
      )
      const error = failed(met)
      expect(error._tag).toBe("TlsError")
      expect(["Injection", "Handshake"]).toContain(error._tag === "TlsError" ? error.reason : "")
      expect(met.received.startsWith(onlyStartTls)).toBe(true)
      expect(met.received).not.toContain("AUTH")
    })
  )
})

describe("a session on which STARTTLS is said by hand", () => {
  const said = script(greeting, ehlo("STARTTLS"), says("STARTTLS"))
  const goAhead = script(said, reply("220 go ahead"))
  interface Expected {
    readonly error: object
    readonly judgement: ReadonlyArray<unknown>
    readonly state: SmtpSession.State
  }
  const tls = (reason: string, mayPass: "transient" | "permanent"): Expected => ({
    error: { reason },
    judgement: ["TlsError", undefined, mayPass, "NotSent"],
    state: "Closed"
  })
  const refusal = (judgement: "transient" | "permanent"): Expected => ({
    error: { command: "STARTTLS" },
    judgement: ["CommandRefused", "starttls", judgement, "NotSent"],
    state: "Ready"
  })
  const cases: Readonly<Record<string, readonly [SmtpTest.Script, Expected, Duration.DurationInput?]>> = {
    "lives where it is refused for now": [script(said, reply("454 later"), goodbye), refusal("transient")],
    "lives where it is refused": [script(said, reply("501 no"), goodbye), refusal("permanent")],
    "is closed by an answer that is none": [
      script(said, reply("250 ok"), SmtpTest.expectEnd),
      {
        error: { reply: { code: 250 } },
        judgement: ["ProtocolError", "starttls", "permanent", "NotSent"],
        state: "Closed"
      }
    ],
    "is closed by plaintext behind the 220": [
      script(said, inject("220 go ahead\r\n250 ok\r\n"), SmtpTest.expectEnd),
      tls("Injection", "permanent")
    ],
    "is closed by garbage instead of a handshake": [
      script(goAhead, SmtpTest.expectOctets(5), inject("this is not TLS at all\r\n"), silence),
      tls("Handshake", "permanent")
    ],
    "is closed by the server's leaving": [
      script(goAhead, SmtpTest.expectOctets(5), SmtpTest.close),
      tls("Disconnected", "transient")
    ],
    "is closed by a handshake that stalls": [
      script(goAhead, silence),
      tls("Timeout", "transient"),
      "100 millis"
    ]
  }
  for (const [what, [server, { error, judgement, state }, limit]] of Object.entries(cases)) {
    it.live(what, () =>
      Effect.gen(function* () {
        const met = yield* overTcp(server, {}, (options) =>
          Effect.flatMap(SmtpSession.connect({ ...options, timeouts: { tls: limit } }), (session) =>
            Effect.zip(Effect.flip(session.startTls), session.state)
          )
        )
        const [told, left] = succeeded(met)
        expect(told).toMatchObject(error)
        expect([judged(told), left]).toEqual([judgement, state])
      })
    )
  }

  it.live("is closed by a certificate that it does not trust", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(script(greeting, ehlo("STARTTLS"), startTls), serverTls(made), (options) =>
        Effect.flatMap(SmtpSession.connect(options), (session) =>
          Effect.zip(Effect.flip(session.startTls), session.state)
        )
      )
      const [told, left] = Either.getOrThrow(met.result)
      expect(told).toMatchObject({ reason: "Certificate" })
      expect([judged(told), left]).toEqual([["TlsError", undefined, "permanent", "NotSent"], "Closed"])
    })
  )
})

describe("a handshake that fails", () => {
  const broken = (...steps: ReadonlyArray<SmtpTest.Script>) =>
    script(greeting, ehlo("STARTTLS"), says("STARTTLS"), reply("220 go ahead"), ...steps)

  it.live("is TlsError when garbage comes in its place", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        broken(SmtpTest.expectOctets(5), inject("this is not TLS at all\r\n"), silence),
        {},
        make({ auth })
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
      expect(met.received).not.toContain("AUTH")
    })
  )

  it.live("is TlsError when the server leaves", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(broken(SmtpTest.expectOctets(5), SmtpTest.close), {}, make({}))
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Disconnected" })
    })
  )

  it.live("is TlsError at its time limit when the server stalls", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(broken(silence), {}, make({ timeouts: { tls: "100 millis" } }))
      const error = failedAsScripted(met)
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Timeout" })
      expect(SmtpError.isTransient(error)).toBe(true)
    })
  )

  it.live("ends the session for everybody who uses it", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(broken(SmtpTest.expectOctets(5), SmtpTest.close), {}, (options) =>
        Effect.gen(function* () {
          const session = yield* SmtpSession.connect(options)
          yield* Effect.exit(session.startTls)
          expect(yield* session.state).toBe("Closed")
          expect(yield* session.awaitClosed).toMatchObject({ _tag: "ServerDisconnected" })
          return yield* Effect.flip(session.noop)
        })
      )
      expect(succeeded(met)).toMatchObject({ _tag: "ServerDisconnected" })
    })
  )

  it.live("ends the session when it is interrupted", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<boolean>()
      const met = yield* overTcp(
        broken(SmtpTest.expectOctets(5), SmtpTest.effect(Deferred.succeed(begun, true)), silence),
        {},
        (options) =>
          Effect.gen(function* () {
            const session = yield* SmtpSession.connect(options)
            const fiber = yield* Effect.fork(session.startTls)
            yield* Deferred.await(begun)
            yield* Fiber.interrupt(fiber)
            return { state: yield* session.state, next: yield* Effect.flip(session.ehlo) }
          })
      )
      expect(succeeded(met)).toMatchObject({ state: "Closed", next: { _tag: "ServerDisconnected" } })
    })
  )
})

describe("the server's certificate", () => {
  const refusedCertificate = (certificate: Certificates.Certificate, more: Partial<SmtpSession.Options>) =>
    Effect.map(
      overTcp(
        script(greeting, ehlo("STARTTLS", "AUTH PLAIN"), startTls, ehlo()),
        serverTls(certificate),
        make(more)
      ),
      (met) => {
        const error = failed(met)
        expect(error).toMatchObject({ reason: "Certificate" })
        expect(judged(error)).toEqual(["TlsError", undefined, "permanent", "NotSent"])
        expect(met.received).toBe(onlyStartTls)
        return error.message
      }
    )

  it.live("is refused when it has expired", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates({ validity: Certificates.expired() })
      expect(yield* refusedCertificate(made, { auth, tlsOptions: { ca: made.ca } })).toMatch(/expired.*renew/)
    })
  )

  it.live("is refused when it is not valid yet", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates({ validity: Certificates.notYetValid() })
      expect(yield* refusedCertificate(made, { auth, tlsOptions: { ca: made.ca } })).toMatch(
        /not yet valid.*clock/
      )
    })
  )

  it.live("is refused when it has signed itself", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      expect(yield* refusedCertificate(made, { auth })).toMatch(/self-signed.*tlsOptions\.ca/)
    })
  )

  it.live("is refused when its authority is not trusted", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const other = yield* Certificates.makeAuthority()
      for (const tlsOptions of [{ ca: other.certificate }, {}]) {
        expect(yield* refusedCertificate(made, { auth, tlsOptions })).toContain("tlsOptions.ca")
      }
    })
  )

  it.live("is refused when it is for another name, which the message tells", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates({ names: ["elsewhere.test"] })
      const tlsOptions = { ca: made.ca, servername: "mail.example.test" }
      const message = yield* refusedCertificate(made, { auth, tlsOptions })
      expect(message).toContain("mail.example.test")
      expect(message).toContain("elsewhere.test")
      expect(message).toContain("tlsOptions.servername")
    })
  )

  it.live("is refused when it is for localhost and the address was dialled", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates({ names: ["localhost"] })
      expect(yield* refusedCertificate(made, { auth, tlsOptions: { ca: made.ca } })).toMatch(
        /IP: 127\.0\.0\.1 .*tlsOptions\.servername/
      )
    })
  )

  it.live("is accepted for the name that the program gives in its place", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates({ names: ["mail.example.test"] })
      const met = yield* overTcp(
        upgraded,
        serverTls(made),
        make({ tlsOptions: { ca: made.ca, servername: "mail.example.test" } })
      )
      succeeded(met)
      expect(met.handshakes).toMatchObject([{ servername: "mail.example.test" }])
    })
  )

  it.live(
    "is accepted, whatever it is, when the program gives up verification, and the session says so",
    () =>
      Effect.gen(function* () {
        const made = yield* Certificates.makeSelfSigned({ names: ["elsewhere.test"] })
        const met = yield* overTcp(upgraded, serverTls(made), (options) =>
          Effect.flatMap(
            SmtpSession.make({ ...options, tlsOptions: { verify: false } }),
            (session) => session.tls
          )
        )
        expect(succeeded(met)).toMatchObject({
          verified: false,
          certificate: { subject: "CN=elsewhere.test" }
        })
      })
  )
})

describe("TLS options of a session", () => {
  it.live("present a client certificate where the server demands one", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const client = yield* Certificates.makeCertificate(made.authority, {
        names: ["client.test"],
        usage: "client"
      })
      const met = yield* overTcp(
        upgraded,
        { tls: { ...serverTls(made).tls, ca: made.ca, requestCert: true, rejectUnauthorized: true } },
        make({ tlsOptions: { ca: made.ca, cert: client.certificate, key: Redacted.make(client.key) } })
      )
      succeeded(met)
      expect(met.handshakes).toMatchObject([{ client: "CN=client.test" }])
    })
  )

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const mode of ["implicit", "starttls"] as const) {
      it.live(`fail the handshake where a client certificate is missing, ${mode}, ${version}`, () =>
        Effect.gen(function* () {
          const made = yield* Certificates.makeCertificates()
          const tls = { ...serverTls(made).tls, ca: made.ca, maxVersion: version }
          const { port, server } = yield* NodeSmtpTest.server({
            mode,
            tls: { ...tls, requestCert: true, rejectUnauthorized: true }
          })
          const error = yield* Effect.flip(
            SmtpSession.make({ host: "localhost", port, tls: mode, tlsOptions: { ca: made.ca } })
          )
          // On TLS 1.3 the server judges it after the client's part of the handshake.
          expect(error).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
          expect(error.message).toMatch(/alert/)
          expect(SmtpError.isTransient(error)).toBe(false)
          expect(yield* server.messages).toEqual([])
        }).pipe(Effect.scoped, Effect.provide(NodeSmtp.layer))
      )
    }
  }

  it.live("set the lowest version that is accepted", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const tls = { ...serverTls(made).tls, maxVersion: "TLSv1.2" } as const
      const older = yield* overTcp(upgraded, { tls }, make({ tlsOptions: { ca: made.ca } }))
      succeeded(older)
      const refused = yield* overTcp(
        upgraded,
        { tls },
        make({ tlsOptions: { ca: made.ca, minVersion: "TLSv1.3" } })
      )
      expect(failed(refused)).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
    })
  )

  it.live("that cannot be used are TlsError Configuration, which tells what to look at", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), says("STARTTLS"), reply("220 go ahead"), silence),
        {},
        make({ tlsOptions: { ca: "no certificate" } })
      )
      const error = failedAsScripted(met)
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Configuration" })
      expect(error.message).toContain("ca")
    })
  )

  it.live("may be the layer's", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        upgraded,
        serverTls(made),
        make({}),
        NodeSmtp.layerWith({ tls: { ca: made.ca } })
      )
      succeeded(met)
    })
  )
})

describe('tls: "implicit" (RFC 8314)', () => {
  it.live("is on TLS from the first octet", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        script(greeting, ehlo("SIZE 5"), goodbye),
        { ...serverTls(made), mode: "implicit" },
        (options) =>
          Effect.flatMap(
            SmtpSession.make({ ...options, tls: "implicit", tlsOptions: { ca: made.ca } }),
            (session) => Effect.all([session.tls, session.capabilities])
          )
      )
      const [tls, capabilities] = succeeded(met)
      expect(tls).toMatchObject({ verified: true })
      expect(capabilities.size).toBe(5)
    })
  )

  it.live("ignores STARTTLS that is offered all the same", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), goodbye),
        { ...serverTls(made), mode: "implicit" },
        make({ tls: "implicit", tlsOptions: { ca: made.ca } })
      )
      succeeded(met)
    })
  )

  it.live("refuses a certificate before anything is said", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(
        () => script(greeting, SmtpTest.expectEnd),
        { ...serverTls(made), mode: "implicit" },
        make({ tls: "implicit", auth })
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Certificate" })
      expect(met.received).toBe("")
    })
  )

  it.live("on a plaintext port is TlsError at once, which tells what to check", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(script(greeting, silence), {}, make({ tls: "implicit", auth }))
      const error = failedAsScripted(met)
      expect(error).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
      expect(error.message).toContain("587")
    })
  )

  it.live("on a port where nobody speaks is TlsError at its time limit", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(silence, {}, make({ tls: "implicit", timeouts: { tls: "100 millis" } }))
      expect(failedAsScripted(met)).toMatchObject({ _tag: "TlsError", reason: "Timeout" })
    })
  )
})

describe('tls: "starttls" on a port with implicit TLS', () => {
  it.live("is ReplyTimeout of the greeting, which never comes, within its limit", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        () => greeting,
        { ...serverTls(made), mode: "implicit" },
        make({ timeouts: { greeting: "100 millis" } })
      )
      expect(failed(met)).toMatchObject({ _tag: "ReplyTimeout", phase: "greeting", limitMillis: 100 })
    })
  )
})

describe('tls: "opportunistic" (RFC 7435)', () => {
  const opportunistic = { tls: "opportunistic" } as const

  it.live("goes on in clear where TLS is not offered", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(script(greeting, ehlo(), goodbye), {}, (options) =>
        Effect.flatMap(SmtpSession.make({ ...options, ...opportunistic }), (session) => session.tls)
      )
      expect(succeeded(met)).toBeUndefined()
    })
  )

  it.live("takes TLS where it is offered, with any certificate when there is nothing to hand over", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(upgraded, serverTls(made), (options) =>
        Effect.flatMap(SmtpSession.make({ ...options, ...opportunistic }), (session) => session.tls)
      )
      expect(succeeded(met)).toMatchObject({ verified: false })
    })
  )

  it.live("verifies the certificate before a password is sent", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), startTls, ehlo("AUTH PLAIN")),
        serverTls(made),
        make({ ...opportunistic, auth })
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Certificate" })
      expect(met.received).toBe(onlyStartTls)
    })
  )

  it.live("sends no password by hand either where nobody was verified", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), startTls, ehlo("AUTH PLAIN"), goodbye),
        serverTls(made),
        (options) =>
          Effect.flatMap(SmtpSession.make({ ...options, ...opportunistic }), (session) =>
            session.authenticate(auth)
          )
      )
      expect(failedAsScripted(met)).toMatchObject({ _tag: "AuthenticationError", reason: "Insecure" })
    })
  )

  it.live("sends the password by hand where the program has given up verification in so many words", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("STARTTLS"),
          startTls,
          ehlo("AUTH PLAIN"),
          says(/^AUTH PLAIN /),
          reply("235 welcome"),
          goodbye
        ),
        serverTls(made),
        (options) =>
          Effect.flatMap(
            SmtpSession.make({ ...options, ...opportunistic, tlsOptions: { verify: false } }),
            (session) => session.authenticate(auth)
          )
      )
      expect(succeeded(met)).toMatchObject({ code: 235 })
    })
  )

  it.live("sends no password in clear where TLS is not offered", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(greeting, ehlo("AUTH PLAIN"), goodbye),
        {},
        make({ ...opportunistic, auth })
      )
      expect(failedAsScripted(met)).toMatchObject({ _tag: "AuthenticationError", reason: "Insecure" })
    })
  )

  it.live("verifies the certificate when the program asks for it", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(
        upgraded,
        serverTls(made),
        make({ ...opportunistic, tlsOptions: { verify: true } })
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Certificate" })
    })
  )

  it.live("verifies the certificate when the layer asks for it", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const met = yield* overTcp(
        upgraded,
        serverTls(made),
        make(opportunistic),
        NodeSmtp.layerWith({ tls: { verify: true } })
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Certificate" })
    })
  )

  it.live("never goes on in clear after a handshake that failed", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(
          greeting,
          ehlo("STARTTLS"),
          says("STARTTLS"),
          reply("220 go ahead"),
          SmtpTest.expectOctets(5),
          inject("garbage\r\n"),
          silence
        ),
        {},
        make(opportunistic)
      )
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Handshake" })
      expect(met.received).not.toContain("QUIT")
    })
  )

  it.live("goes on in clear after 454 where TLS was never seen", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), says("STARTTLS"), reply("454 not now"), goodbye),
        {},
        (options) =>
          Effect.flatMap(SmtpSession.make({ ...options, ...opportunistic }), (session) => session.state)
      )
      expect(succeeded(met)).toBe("Ready")
    })
  )

  for (const [what, later] of [
    ["the offer has vanished", script(greeting, ehlo(), goodbye)],
    ["454 comes instead", script(greeting, ehlo("STARTTLS"), says("STARTTLS"), reply("454 not now"), goodbye)]
  ] as const) {
    for (const policy of ["opportunistic", "starttls"] as const) {
      if (policy === "starttls" && what !== "the offer has vanished") continue
      it.live(`does not go on with "${policy}" where TLS has been seen and ${what}`, () =>
        Effect.gen(function* () {
          const made = yield* Certificates.makeCertificates()
          const met = yield* overTcp([upgraded, later], serverTls(made), (options) =>
            Effect.gen(function* () {
              const all = { ...options, tls: policy, tlsOptions: { ca: made.ca } }
              yield* Effect.scoped(SmtpSession.make(all))
              return yield* SmtpSession.make(all)
            })
          )
          const error = failedAsScripted(met)
          expect(error).toMatchObject({ _tag: "TlsError", reason: "OfferVanished" })
          expect(SmtpError.isTransient(error)).toBe(true)
        })
      )
    }
  }
})

describe('tls: "none"', () => {
  it.live("takes no notice of an offer", () =>
    Effect.gen(function* () {
      const met = yield* overTcp(script(greeting, ehlo("STARTTLS"), goodbye), {}, make({ tls: "none" }))
      succeeded(met)
    })
  )

  it.live("sends no password in clear, unless told to", () =>
    Effect.gen(function* () {
      const refused = yield* overTcp(
        script(greeting, ehlo("AUTH PLAIN"), goodbye),
        {},
        make({ tls: "none", auth })
      )
      expect(failedAsScripted(refused)).toMatchObject({ _tag: "AuthenticationError", reason: "Insecure" })
      const sent = yield* overTcp(
        script(greeting, ehlo("AUTH PLAIN"), says(/^AUTH PLAIN /), reply("235 welcome"), goodbye),
        {},
        make({ tls: "none", auth, allowInsecureAuth: true })
      )
      succeeded(sent)
    })
  )
})

describe("startTls by hand", () => {
  it.live("says EHLO first where nobody has", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), startTls, goodbye),
        serverTls(made),
        (options) =>
          Effect.gen(function* () {
            const session = yield* SmtpSession.connect({ ...options, tlsOptions: { ca: made.ca } })
            return yield* session.startTls
          })
      )
      expect(succeeded(met)).toMatchObject({ verified: true })
    })
  )

  it.live("does not go on after the reply to EHLO when it was interrupted before, and the session does", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<boolean>()
      const interrupted = yield* Deferred.make<boolean>()
      const met = yield* overTcp(
        script(
          greeting,
          says(`EHLO ${clientName}`),
          SmtpTest.effect(Deferred.succeed(asked, true)),
          SmtpTest.effect(Deferred.await(interrupted)),
          reply("250-mx.test", "250 STARTTLS"),
          says("NOOP"),
          reply("250 ok"),
          goodbye
        ),
        {},
        (options) =>
          Effect.gen(function* () {
            const session = yield* SmtpSession.connect(options)
            const fiber = yield* Effect.fork(session.startTls)
            yield* Deferred.await(asked)
            yield* Fiber.interrupt(fiber)
            yield* Deferred.succeed(interrupted, true)
            return yield* session.noop
          })
      )
      expect(succeeded(met)).toMatchObject({ code: 250 })
    })
  )

  it.live("is InvalidArgument on TLS, and nothing is sent", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const client = (tls: SmtpSession.TlsPolicy) => (options: SmtpSession.Options) =>
        Effect.flatMap(
          SmtpSession.make({ ...options, tls, tlsOptions: { ca: made.ca } }),
          (session) => session.startTls
        )
      const again = yield* overTcp(upgraded, serverTls(made), client("starttls"))
      expect(failedAsScripted(again)).toMatchObject({ _tag: "InvalidArgument" })
      const implicit = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), goodbye),
        { ...serverTls(made), mode: "implicit" },
        client("implicit")
      )
      expect(failedAsScripted(implicit)).toMatchObject({ _tag: "InvalidArgument" })
    })
  )
})

describe("TLS sessions", () => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it.live(`are resumed by the next session to the same endpoint, on ${version}`, () =>
      Effect.gen(function* () {
        const made = yield* Certificates.makeCertificates()
        const met = yield* overTcp(
          [upgraded, upgraded],
          { tls: { ...serverTls(made).tls, maxVersion: version } },
          (options) =>
            Effect.forEach([1, 2], () =>
              Effect.scoped(
                Effect.flatMap(
                  SmtpSession.make({ ...options, tlsOptions: { ca: made.ca } }),
                  (session) => session.tls
                )
              )
            )
        )
        const [first, second] = succeeded(met)
        expect(met.handshakes).toMatchObject([{ resumed: false }, { resumed: true }])
        expect(second).toMatchObject({ resumed: true, verified: true })
        expect(second?.certificate).toEqual(first?.certificate)
      })
    )
  }
})

describe("the capability cache", () => {
  const recording = Effect.sync(() => {
    const calls: Array<string> = []
    const note = (what: string) =>
      Effect.sync(() => {
        calls.push(what)
      })
    const cache = Layer.succeed(CapabilityCache.CapabilityCache, {
      get: () => Effect.succeed(undefined),
      put: ({ endpoint, security }, lines) => note(`put ${endpoint._tag} ${security}: ${lines.join(", ")}`),
      pin: ({ _tag }) => note(`pin ${_tag}`),
      pinned: () => Effect.succeed(false),
      bind: ({ _tag }) => note(`bind ${_tag}`),
      bound: () => Effect.succeed(false),
      loseInput: ({ _tag }) => note(`lose input ${_tag}`),
      losesInput: () => Effect.succeed(false),
      restrain: ({ _tag }) => note(`restrain ${_tag}`),
      restrained: () => Effect.succeed(false)
    })
    return { calls, layer: Layer.merge(NodeSmtp.layerTransport, cache) }
  })

  it.live("is told what was announced in clear and under TLS, and of STARTTLS after the handshake", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const { calls, layer } = yield* recording
      const met = yield* overTcp(
        script(greeting, ehlo("STARTTLS"), startTls, ehlo("SIZE 5"), goodbye),
        serverTls(made),
        make({ tlsOptions: { ca: made.ca } }),
        layer
      )
      succeeded(met)
      expect(calls).toEqual(["put Tcp clear: mx.test, STARTTLS", "pin Tcp", "put Tcp tls: mx.test, SIZE 5"])
    })
  )

  it.live("is not told of STARTTLS when the handshake fails", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeSelfSigned()
      const { calls, layer } = yield* recording
      const met = yield* overTcp(upgraded, serverTls(made), make({}), layer)
      expect(failed(met)).toMatchObject({ _tag: "TlsError", reason: "Certificate" })
      expect(calls).toEqual(["put Tcp clear: mx.test, STARTTLS"])
    })
  )

  it.live("is told nothing of STARTTLS by implicit TLS", () =>
    Effect.gen(function* () {
      const made = yield* Certificates.makeCertificates()
      const { calls, layer } = yield* recording
      const met = yield* overTcp(
        script(greeting, ehlo(), goodbye),
        { ...serverTls(made), mode: "implicit" },
        make({ tls: "implicit", tlsOptions: { ca: made.ca } }),
        layer
      )
      succeeded(met)
      expect(calls).toEqual(["put Tcp tls: mx.test"])
    })
  )
})

describe("a host with several addresses", () => {
  const twoAddresses = NodeSmtp.layerSocketWith({
    resolve: () => Effect.succeed(["127.0.0.1", "127.0.0.2"])
  }).pipe(Layer.merge(NodeSmtp.layerTls), Layer.merge(CapabilityCache.layerMemory))

  const answering = (greeting: string) => (socket: Net.Socket) => {
    socket.on("end", () => socket.end())
    socket.on("data", (octets) => {
      socket.write(octets.toString().startsWith("QUIT") ? "221 goodbye\r\n" : "250 mx.test\r\n")
    })
    socket.write(`${greeting}\r\n`)
  }

  const connectTo = (first: string, second: string) =>
    Effect.gen(function* () {
      const one = yield* Loopback.listen(answering(first))
      const two = yield* Loopback.listen(answering(second), { host: "127.0.0.2", port: one.port })
      const outcome = yield* SmtpSession.make({
        host: "mx.test",
        port: one.port,
        tls: "none",
        clientName
      }).pipe(
        Effect.map(({ addresses }) => addresses.remoteAddress),
        Effect.scoped,
        Effect.provide(twoAddresses),
        Effect.either
      )
      return { outcome, connections: [one.sockets.length, two.sockets.length] }
    })

  it.scopedLive("is tried at the next one when one greets with 4yz", () =>
    Effect.gen(function* () {
      expect(yield* connectTo("450 busy", "220 welcome")).toMatchObject({
        outcome: { right: "127.0.0.2" },
        connections: [1, 1]
      })
    })
  )

  it.scopedLive("is tried at the next one when one says 421", () =>
    Effect.gen(function* () {
      expect(yield* connectTo("421 full", "220 welcome")).toMatchObject({
        outcome: { right: "127.0.0.2" },
        connections: [1, 1]
      })
    })
  )

  it.scopedLive("is not tried further when one greets with 5yz", () =>
    Effect.gen(function* () {
      expect(yield* connectTo("554 no", "220 welcome")).toMatchObject({
        outcome: { left: { _tag: "ConnectError", reason: "Greeting", reply: { code: 554 } } },
        connections: [1, 0]
      })
    })
  )

  it.scopedLive("fails with what the first said when all say no for now", () =>
    Effect.gen(function* () {
      expect(yield* connectTo("450 busy", "451 busy too")).toMatchObject({
        outcome: { left: { _tag: "ConnectError", reason: "Greeting", reply: { code: 450 } } },
        connections: [1, 1]
      })
    })
  )

  it.live("leaves nothing open", () =>
    Effect.gen(function* () {
      expect(yield* resourcesLeftBy(Effect.scoped(connectTo("450 busy", "220 welcome")))).toEqual({})
    })
  )
})
