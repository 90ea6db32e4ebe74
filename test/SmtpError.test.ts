import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { inspect } from "node:util"
import { make } from "../src/protocol/Reply.js"
import * as SmtpError from "../src/SmtpError.js"
import { byTag, error } from "./support/errors.js"
import { runsOf } from "./support/runs.js"

const refusedForNow = make(450, ["4.2.0 greylisted"])
const refusedForGood = make(550, ["5.1.1 no such user"])
const goodbye = make(421, ["4.3.2 shutting down"])

const recipients = (...replies: ReadonlyArray<typeof refusedForNow>) =>
  replies.map((reply, index) => ({ address: `user${index}@example.org`, reply }))

const disconnection = FastCheck.oneof(byTag.ServerDisconnected, byTag.ReplyTimeout, byTag.ProtocolError)
const unknown = disconnection.filter((value) => SmtpError.delivery(value) === "Unknown")

describe("advice in messages", () => {
  it("names auth after 530", () => {
    const reply = make(530, ["5.7.0 Authentication required"])
    expect(new SmtpError.CommandRefused({ command: "NOOP", phase: "noop", reply }).message).toMatch(
      /Set auth.*SMTP_USERNAME/
    )
  })

  it("names port and TLS mode if the connection is lost before the greeting", () => {
    expect(new SmtpError.ServerDisconnected({ phase: "greeting" }).message).toMatch(/tls suits the port.*465/)
  })
})

describe("delivery and isTransient", () => {
  const {
    AuthenticationError,
    ClientUnavailable,
    CommandRefused,
    ConnectError,
    ContentError,
    DataError,
    HeloError,
    InvalidArgument,
    NotSupported,
    ProtocolError,
    RecipientsRefused,
    ReplyTimeout,
    SenderRefused,
    ServerDisconnected,
    TlsError
  } = SmtpError
  const endpoint = "mail.example.com:587"

  const table: ReadonlyArray<
    readonly [situation: string, SmtpError.SmtpError, SmtpError.Delivery, transient: boolean]
  > = [
    // No session.
    ["a host that cannot be reached", new ConnectError({ endpoint, reason: "Unreachable" }), "NotSent", true],
    ["a dial that took too long", new ConnectError({ endpoint, reason: "Timeout" }), "NotSent", true],
    [
      "a greeting of 421 (RFC 5321 section 3.8)",
      new ConnectError({ endpoint, reason: "Greeting", reply: goodbye }),
      "NotSent",
      true
    ],
    [
      "a greeting of 554 (RFC 5321 section 3.1)",
      new ConnectError({ endpoint, reason: "Greeting", reply: make(554, ["no service"]) }),
      "NotSent",
      false
    ],
    [
      "a certificate that is not trusted",
      new TlsError({ endpoint, reason: "Certificate" }),
      "NotSent",
      false
    ],
    ["a handshake that failed", new TlsError({ endpoint, reason: "Handshake" }), "NotSent", false],
    [
      "a server that left in the middle of the handshake",
      new TlsError({ endpoint, reason: "Disconnected" }),
      "NotSent",
      true
    ],
    [
      "plaintext behind the 220 of STARTTLS",
      new TlsError({ endpoint, reason: "Injection" }),
      "NotSent",
      false
    ],
    ["a handshake that took too long", new TlsError({ endpoint, reason: "Timeout" }), "NotSent", true],
    [
      "an offer of STARTTLS that vanished",
      new TlsError({ endpoint, reason: "OfferVanished" }),
      "NotSent",
      true
    ],
    ["EHLO and HELO refused", new HeloError({ command: "HELO", reply: refusedForGood }), "NotSent", false],
    [
      "STARTTLS not available for now (RFC 3207 section 4)",
      new CommandRefused({ command: "STARTTLS", phase: "starttls", reply: make(454, ["later"]) }),
      "NotSent",
      true
    ],
    [
      "STARTTLS with a syntax error",
      new CommandRefused({ command: "STARTTLS", phase: "starttls", reply: make(501, ["syntax"]) }),
      "NotSent",
      false
    ],
    ["credentials rejected", new AuthenticationError({ reason: "Rejected" }), "NotSent", false],
    [
      "a temporary authentication failure (RFC 4954 section 6)",
      new AuthenticationError({ reason: "Temporary", reply: make(454, ["4.7.0 later"]) }),
      "NotSent",
      true
    ],
    ["a token that cannot be had", new AuthenticationError({ reason: "Token" }), "NotSent", false],
    [
      "a token that cannot be had for now",
      new AuthenticationError({ reason: "TokenUnavailable" }),
      "NotSent",
      true
    ],
    [
      "a server that did not prove itself",
      new AuthenticationError({ reason: "ServerNotVerified" }),
      "NotSent",
      false
    ],

    // The connection is lost.
    ["an end of stream at MAIL", new ServerDisconnected({ phase: "mail" }), "NotSent", true],
    ["an end of stream at DATA", new ServerDisconnected({ phase: "data" }), "NotSent", true],
    [
      "an end of stream in the middle of the content",
      new ServerDisconnected({ phase: "content" }),
      "NotSent",
      true
    ],
    [
      "an end of stream in place of the final reply",
      new ServerDisconnected({ phase: "final" }),
      "Unknown",
      false
    ],
    [
      "421 in place of the final reply",
      new ServerDisconnected({ phase: "final", reply: goodbye }),
      "Refused",
      true
    ],
    ["421 to RCPT", new ServerDisconnected({ phase: "rcpt", reply: goodbye }), "NotSent", true],
    ["421 on an idle session", new ServerDisconnected({ phase: "idle", reply: goodbye }), "NotSent", true],
    [
      "554 on an idle session",
      new ServerDisconnected({ phase: "idle", reply: make(554, ["goodbye"]) }),
      "NotSent",
      false
    ],
    ["no reply to MAIL in time", new ReplyTimeout({ phase: "mail", limitMillis: 300_000 }), "NotSent", true],
    [
      "content that made no progress",
      new ReplyTimeout({ phase: "content", limitMillis: 180_000 }),
      "NotSent",
      true
    ],
    ["no final reply in time", new ReplyTimeout({ phase: "final", limitMillis: 600_000 }), "Unknown", false],
    [
      "a malformed reply to RCPT",
      new ProtocolError({ phase: "rcpt", reason: "not a code" }),
      "NotSent",
      false
    ],
    [
      "250 in place of 354, before any content",
      new ProtocolError({ phase: "data", reason: "354 was due", reply: make(250, ["OK"]) }),
      "NotSent",
      false
    ],
    [
      "a malformed final reply",
      new ProtocolError({ phase: "final", reason: "not a code" }),
      "Unknown",
      false
    ],
    [
      "250 in the middle of the content",
      new ProtocolError({ phase: "content", reason: "too early", reply: make(250, ["OK"]) }),
      "Unknown",
      false
    ],

    // The server refused.
    [
      "MAIL refused for now",
      new SenderRefused({ sender: "a@b.example", reply: refusedForNow }),
      "Refused",
      true
    ],
    [
      "MAIL refused for good",
      new SenderRefused({ sender: "a@b.example", reply: refusedForGood }),
      "Refused",
      false
    ],
    [
      "every recipient refused, one of them for now",
      new RecipientsRefused({ policy: "any", recipients: recipients(refusedForGood, refusedForNow) }),
      "Refused",
      true
    ],
    [
      "every recipient refused for good",
      new RecipientsRefused({ policy: "any", recipients: recipients(refusedForGood, refusedForGood) }),
      "Refused",
      false
    ],
    [
      'one recipient refused for good under "all"',
      new RecipientsRefused({ policy: "all", recipients: recipients(refusedForNow, refusedForGood) }),
      "Refused",
      false
    ],
    [
      'one recipient refused for now under "all"',
      new RecipientsRefused({ policy: "all", recipients: recipients(refusedForNow) }),
      "Refused",
      true
    ],
    ["451 to DATA", new DataError({ phase: "data", reply: make(451, ["later"]) }), "Refused", true],
    [
      "452 in place of the final reply",
      new DataError({ phase: "final", reply: make(452, ["4.3.1 disk full"]) }),
      "Refused",
      true
    ],
    [
      "552 in the middle of the content (RFC 1870 section 6.3)",
      new DataError({ phase: "content", reply: make(552, ["5.3.4 too big"]) }),
      "Refused",
      false
    ],
    [
      "554 after the content",
      new DataError({ phase: "final", reply: make(554, ["5.7.1 spam"]) }),
      "Refused",
      false
    ],

    // Nothing that a server could change.
    [
      "SMTPUTF8 not offered",
      new NotSupported({ extension: "SMTPUTF8", reason: "not offered" }),
      "NotSent",
      false
    ],
    [
      "content that changed",
      new ContentError({ reason: "Changed", detail: "other octets" }),
      "NotSent",
      false
    ],
    ["a local mistake", new InvalidArgument({ field: "to[0]", reason: "holds a NUL" }), "NotSent", false],
    ["a full queue", new ClientUnavailable({ reason: "QueueFull" }), "NotSent", true],
    [
      "a store of a rate limit that does not work",
      new ClientUnavailable({ reason: "RateLimitStore" }),
      "NotSent",
      true
    ],
    ["a client that is closed", new ClientUnavailable({ reason: "Closed" }), "NotSent", false]
  ]

  it.each(table)("%s", (_situation, error, delivery, transient) => {
    expect({ delivery: SmtpError.delivery(error), transient: SmtpError.isTransient(error) }).toStrictEqual({
      delivery,
      transient
    })
  })

  it.each([
    undefined,
    null,
    "ServerDisconnected",
    new Error("x"),
    { _tag: "ReplyTimeout" },
    { isTransient: true, _tag: "ConnectError", reason: "Timeout" }
  ])("call nothing transient that is no error of this library: %s", (error) => {
    expect(SmtpError.isTransient(error)).toBe(false)
  })

  it("never advise a retry where the message may have been delivered", () => {
    FastCheck.assert(
      FastCheck.property(unknown, (value) => {
        expect(SmtpError.isTransient(value)).toBe(false)
        expect(value.message).toContain("may deliver it twice")
      })
    )
  })

  it("call nothing Unknown but a disconnection after content went out", () => {
    FastCheck.assert(
      FastCheck.property(error, (value) => {
        if (SmtpError.delivery(value) !== "Unknown") return
        expect(["ServerDisconnected", "ReplyTimeout", "ProtocolError"]).toContain(value._tag)
        expect("phase" in value ? value.phase : undefined).toMatch(/^(final|content)$/)
      }),
      { numRuns: runsOf(1000) }
    )
  })
})

describe("messages", () => {
  const endpoint = "mail.example.com:587"
  const mailbox = make(550, ["5.1.1 no such user", "5.1.1 ask the postmaster"])
  const openSslError =
    "805C3050CB7F0000:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl3_record.c:350:\n"
  const coded = (code: string): Error => Object.assign(new Error("no"), { code })

  it.each<readonly [SmtpError.SmtpError, string]>([
    [
      new SmtpError.ConnectError({ endpoint, reason: "Unreachable", cause: new Error("ECONNREFUSED") }),
      "Cannot connect to mail.example.com:587: ECONNREFUSED. Check host and port."
    ],
    [
      new SmtpError.ConnectError({ endpoint, reason: "Greeting", reply: goodbye }),
      "mail.example.com:587 refused the session: 421 4.3.2 shutting down. The refusal is temporary: try again later."
    ],
    [
      new SmtpError.ServerDisconnected({ phase: "final", cause: new Error("ECONNRESET") }),
      "The connection was lost after the whole message was sent: ECONNRESET. The server may have accepted the message: sending it again may deliver it twice."
    ],
    [
      new SmtpError.ReplyTimeout({ phase: "content", limitMillis: 180_000 }),
      "The server made no progress within 180000 ms while the message was being sent. Try again later, or raise timeouts.content."
    ],
    [
      new SmtpError.ServerDisconnected({ phase: "mail", reply: goodbye }),
      "The server closed the connection after MAIL: 421 4.3.2 shutting down. The refusal is temporary: try again later."
    ],
    [
      new SmtpError.ReplyTimeout({ phase: "rcpt", limitMillis: 60, isOfSend: true }),
      "The timeout of the send, 60 ms, ran out after RCPT. The message was not sent to this recipient: raise the timeout."
    ],
    [
      new SmtpError.ReplyTimeout({ phase: "idle", limitMillis: 200 }),
      "The server did not answer an earlier command within 200 ms. Try again later."
    ],
    [
      new SmtpError.ReplyTimeout({ phase: "mail", limitMillis: 600_000, limitPhase: "final" }),
      "The server did not answer another command within 600000 ms (timeouts.final) after MAIL. Try again later, or raise timeouts.final."
    ],
    [
      new SmtpError.ReplyTimeout({ phase: "final", limitMillis: 300_000, limitPhase: "mail" }),
      "The server did not answer another command within 300000 ms (timeouts.mail) after the whole message was sent. The server may have accepted the message: sending it again may deliver it twice."
    ],
    [
      new SmtpError.ReplyTimeout({ phase: "greeting", limitMillis: 300_000 }),
      'The server did not answer within 300000 ms while waiting for the greeting. Check that it is an SMTP server. A port with TLS from the first byte, usually 465, requires tls "implicit".'
    ],
    [
      new SmtpError.ProtocolError({ phase: "greeting", reason: "a reply line is no reply" }),
      "The server broke the protocol while waiting for the greeting: a reply line is no reply. Check that host and port are those of an SMTP server."
    ],
    [
      new SmtpError.TlsError({ endpoint, reason: "Handshake", cause: new Error(openSslError) }),
      'The TLS handshake with mail.example.com:587 failed: wrong version number. Check that the option tls suits the port: "implicit" usually is 465, "starttls" 587.'
    ],
    [
      new SmtpError.TlsError({ endpoint, reason: "Disconnected", cause: new Error("ECONNRESET") }),
      'The connection to mail.example.com:587 was lost during the TLS handshake: ECONNRESET. Try again later. Check that the option tls suits the port: "implicit" usually is 465, "starttls" 587.'
    ],
    [
      new SmtpError.TlsError({ endpoint, reason: "Certificate", cause: coded("CERT_HAS_EXPIRED") }),
      "The certificate of mail.example.com:587 is not accepted: no. Ask the operator of the server to renew it, or correct the clock of this machine."
    ],
    [
      new SmtpError.TlsError({
        endpoint,
        reason: "Certificate",
        cause: coded("ERR_TLS_CERT_ALTNAME_INVALID")
      }),
      "The certificate of mail.example.com:587 is not accepted: no. Connect to a name that it is valid for, or set tlsOptions.servername to one."
    ],
    [
      new SmtpError.TlsError({
        endpoint,
        reason: "Certificate",
        cause: coded("DEPTH_ZERO_SELF_SIGNED_CERT")
      }),
      "The certificate of mail.example.com:587 is not accepted: no. Set tlsOptions.ca to its authority, or tlsOptions.servername to its name."
    ],
    [
      new SmtpError.SenderRefused({ sender: "app@example.com", reply: refusedForNow }),
      "The server refused the sender <app@example.com>: 450 4.2.0 greylisted. The refusal is temporary: try again later."
    ],
    [
      new SmtpError.RecipientsRefused({ policy: "any", recipients: recipients(mailbox) }),
      "The server refused every recipient: <user0@example.org>: 550 5.1.1 no such user / ask the postmaster. Check the addresses."
    ],
    [
      new SmtpError.AuthenticationError({ reason: "Rejected", mechanism: "PLAIN", reply: make(535, ["no"]) }),
      "The server rejected the credentials with PLAIN: 535 no. Check the user name and the password or token."
    ],
    [
      new SmtpError.InvalidArgument({ field: "to[1].address", reason: "holds a line feed" }),
      "Invalid to[1].address: it holds a line feed"
    ]
  ])("$_tag says what happened and what to do", (value, message) => {
    expect(value.message).toBe(message)
  })

  it("name five of many refused recipients and count the rest", () => {
    const value = new SmtpError.RecipientsRefused({
      policy: "any",
      recipients: recipients(...Array.from({ length: 100 }, () => refusedForGood))
    })
    expect(value.message).toContain("<user4@example.org>")
    expect(value.message).not.toContain("<user5@example.org>")
    expect(value.message).toContain("; and 95 more. ")
  })

  it("name no missing value and print no object", () => {
    FastCheck.assert(
      FastCheck.property(error, (value) => {
        const words = value.message
        expect(words).not.toMatch(/\bundefined\b|\bnull\b|\[object |\bNaN\b/)
        expect(words).toMatch(/.{10,}/su)
      })
    )
  })

  it("and JSON hold only the sentence of a cause, never its fields", () => {
    const cause = Object.assign(new Error("the token endpoint answered 503"), { authorization: "hunter2" })
    const value = new SmtpError.AuthenticationError({ reason: "Token", cause })
    expect(value.message).toContain("the token endpoint answered 503")
    expect(value.message).not.toContain("hunter2")
    const json = JSON.stringify(value)
    expect(json).toContain("the token endpoint answered 503")
    expect(json).not.toContain("hunter2")
  })
})

describe("what is printed of an error", () => {
  it("has the message and every field in JSON", () => {
    const value = new SmtpError.ServerDisconnected({ phase: "rcpt", reply: goodbye, cause: "reset" })
    expect(JSON.parse(JSON.stringify(value))).toStrictEqual({
      _tag: "ServerDisconnected",
      phase: "rcpt",
      reply: { ...goodbye },
      cause: "reset",
      message: value.message
    })
  })

  it("has no field that would hold a secret", () => {
    const secret = /pass|secret|token|credential|authorization/i
    FastCheck.assert(
      FastCheck.property(error, (value) => {
        expect(Object.getOwnPropertyNames(value).filter((name) => secret.test(name))).toStrictEqual([])
      })
    )
  })

  it("begins with tag and message under util.inspect", () => {
    const value = new SmtpError.InvalidArgument({ field: "from", reason: "holds a NUL" })
    expect(inspect(value)).toMatch(/^InvalidArgument: Invalid from: it holds a NUL\n/)
  })
})

describe("isSmtpError", () => {
  it("is true of every error of the library", () => {
    FastCheck.assert(
      FastCheck.property(error, (value) => {
        expect(SmtpError.isSmtpError(value)).toBe(true)
      })
    )
  })

  it("is false of anything else, whatever its tag", () => {
    const foreign: ReadonlyArray<unknown> = [
      undefined,
      null,
      "DataError",
      new Error("DataError"),
      { _tag: "DataError", phase: "final", reply: refusedForGood }
    ]
    expect(foreign.filter(SmtpError.isSmtpError)).toStrictEqual([])
  })

  it("covers every class of the module", () => {
    const classes = Object.keys(SmtpError).filter((name) => name.startsWith(name.charAt(0).toUpperCase()))
    expect(classes.sort()).toStrictEqual(Object.keys(byTag).sort())
  })
})
