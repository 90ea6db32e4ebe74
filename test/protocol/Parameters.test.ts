import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Capabilities from "../../src/protocol/Capabilities.js"
import { invalid, isInvalid } from "../../src/protocol/Invalid.js"
import type * as Parameters from "../../src/protocol/Parameters.js"
import * as Lines from "../../src/protocol/ParameterLine.js"
import * as Xtext from "../../src/protocol/Xtext.js"
import { runsOf } from "../support/runs.js"

const announcing = (...lines: ReadonlyArray<string>): Parameters.Context => ({
  capabilities: Capabilities.fromLines(["mail.example.com", ...lines]),
  tls: true
})

const everything = announcing(
  "SIZE 1000000",
  "8BITMIME",
  "BINARYMIME",
  "CHUNKING",
  "SMTPUTF8",
  "DSN",
  "AUTH PLAIN",
  "REQUIRETLS",
  "MT-PRIORITY MIXER",
  "DELIVERBY 60",
  "FUTURERELEASE 86400 2030-01-01T00:00:00Z",
  "RRVS"
)
const nothing: Parameters.Context = { capabilities: Capabilities.none, tls: true }

const outcome = (result: ReturnType<typeof Lines.mailParameters.render>): string => {
  if (typeof result === "string") return result
  return result._tag === "Invalid"
    ? `Invalid ${result.field}: it ${result.reason}`
    : `Unsupported ${result.extension}: ${result.reason}`
}

const mail = (parameters: Parameters.MailParameters, context = everything): string =>
  outcome(Lines.mailParameters.render(parameters, context, "mail"))

const recipient = (parameters: Parameters.RecipientParameters, context = everything): string =>
  outcome(Lines.recipientParameters.render(parameters, context, "to[0]"))

describe("MAIL", () => {
  it("has no parameters when none is asked for", () => {
    expect(mail({})).toBe("")
    expect(mail({ smtputf8: false, requireTls: false, extra: [] }, nothing)).toBe("")
  })

  it("renders every parameter, each after one space", () => {
    expect(
      mail({
        size: 12,
        body: "8BITMIME",
        smtputf8: true,
        ret: "HDRS",
        envelopeId: "QQ 314=159+1",
        auth: "e+mc2@example.com",
        requireTls: true,
        priority: -3,
        deliverBy: { seconds: 120, mode: "R", trace: true },
        holdFor: 3600,
        extra: [{ keyword: "XVERP" }, { keyword: "X-One", value: "a;b" }]
      })
    ).toBe(
      " SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+20314+3D159+2B1 AUTH=e+2Bmc2@example.com" +
        " REQUIRETLS MT-PRIORITY=-3 BY=120;RT HOLDFOR=3600 XVERP X-One=a;b"
    )
  })

  const cases: ReadonlyArray<readonly [string, Parameters.MailParameters]> = [
    ["SIZE", { size: 1 }],
    ["8BITMIME", { body: "8BITMIME" }],
    ["BINARYMIME", { body: "BINARYMIME" }],
    ["SMTPUTF8", { smtputf8: true }],
    ["DSN", { ret: "FULL" }],
    ["DSN", { envelopeId: "x" }],
    ["AUTH", { auth: "a@b" }],
    ["AUTH", { auth: null }],
    ["REQUIRETLS", { requireTls: true }],
    ["MT-PRIORITY", { priority: 1 }],
    ["DELIVERBY", { deliverBy: { seconds: 1, mode: "N" } }],
    ["FUTURERELEASE", { holdFor: 1 }],
    ["FUTURERELEASE", { holdUntil: new Date(0) }],
    ["MTRK", { extra: [{ keyword: "mtrk", value: "x" }] }],
    ["NO-SOLICITING", { extra: [{ keyword: "SOLICIT", value: "x" }] }],
    ["CHECKPOINT", { extra: [{ keyword: "TRANSID", value: "<x>" }] }],
    ["CONPERM", { extra: [{ keyword: "CONPERM" }] }],
    ["X-MINE", { extra: [{ keyword: "FOO", extension: "X-MINE" }] }]
  ]
  it.each(cases)("without %s says so instead of dropping %j", (extension, parameters) => {
    expect(mail(parameters, nothing)).toContain(`Unsupported ${extension}: `)
  })

  it("reports a local mistake before what the server lacks", () => {
    expect(mail({ size: 1, priority: 10 }, nothing)).toContain("Invalid mail.priority")
  })
})

describe("SIZE (RFC 1870)", () => {
  it.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])("refuses %d", (size) => {
    expect(mail({ size })).toContain("Invalid mail.size")
  })

  it("renders the largest number in full", () => {
    expect(mail({ size: Number.MAX_SAFE_INTEGER })).toBe(" SIZE=9007199254740991")
  })
})

describe("BODY (RFC 6152, RFC 3030)", () => {
  it("BINARYMIME needs CHUNKING too", () => {
    expect(mail({ body: "BINARYMIME" }, announcing("BINARYMIME"))).toContain("Unsupported CHUNKING")
    expect(mail({ body: "BINARYMIME" }, announcing("BINARYMIME", "CHUNKING"))).toBe(" BODY=BINARYMIME")
  })

  it("7BIT is said to a server with 8BITMIME and goes without saying elsewhere", () => {
    expect(mail({ body: "7BIT" })).toBe(" BODY=7BIT")
    expect(mail({ body: "7BIT" }, nothing)).toBe("")
  })
})

describe("ENVID (RFC 3461 section 4.4)", () => {
  it("is at most 100 octets after xtext", () => {
    expect(mail({ envelopeId: "a".repeat(100) })).toBe(` ENVID=${"a".repeat(100)}`)
    expect(mail({ envelopeId: "a".repeat(101) })).toContain("Invalid mail.envelopeId")
    expect(mail({ envelopeId: "=".repeat(33) })).toBe(` ENVID=${"+3D".repeat(33)}`)
    expect(mail({ envelopeId: "=".repeat(34) })).toContain("Invalid mail.envelopeId")
  })

  it.each(["", "ü", "a\r\nRCPT TO:<eve@example.com>", "a\0", "a\tb"])(
    "refuses %j before encoding it",
    (envelopeId) => {
      expect(mail({ envelopeId })).toContain("Invalid mail.envelopeId")
    }
  )
})

describe("AUTH (RFC 4954 section 5)", () => {
  it("null is an empty mailbox in brackets", () => {
    expect(mail({ auth: null })).toBe(" AUTH=<>")
  })

  it.each(["", "<>"])("a program that means it must say null, not %j", (auth) => {
    expect(mail({ auth })).toContain("Invalid mail.auth")
  })

  it("encodes what is beyond ASCII as octets of UTF-8", () => {
    expect(mail({ auth: "ü@b" })).toBe(" AUTH=+C3+BC@b")
  })

  it.each(["a\r\nb", "a\0b", "\ud800"])("refuses %j", (auth) => {
    expect(mail({ auth })).toContain("Invalid mail.auth")
  })

  it("is at most 500 octets with its keyword and the space before it", () => {
    expect(mail({ auth: "a".repeat(494) })).toHaveLength(500)
    expect(mail({ auth: "a".repeat(495) })).toContain("Invalid mail.auth")
  })
})

describe("REQUIRETLS (RFC 8689)", () => {
  it("fails without verified TLS, even where it is announced", () => {
    expect(mail({ requireTls: true }, { ...everything, tls: false })).toContain("Unsupported REQUIRETLS")
  })
})

describe("MT-PRIORITY (RFC 6710)", () => {
  it.each([
    [-9, " MT-PRIORITY=-9"],
    [0, " MT-PRIORITY=0"],
    [-0, " MT-PRIORITY=0"],
    [9, " MT-PRIORITY=9"]
  ])("%d", (priority, expected) => {
    expect(mail({ priority })).toBe(expected)
  })

  it.each([-10, 10, 0.5, Number.NaN])("refuses %d", (priority) => {
    expect(mail({ priority })).toContain("Invalid mail.priority")
  })
})

describe("BY (RFC 2852)", () => {
  it("renders mode and trace", () => {
    expect(mail({ deliverBy: { seconds: 120, mode: "N" } })).toBe(" BY=120;N")
    expect(mail({ deliverBy: { seconds: 120, mode: "N", trace: true } })).toBe(" BY=120;NT")
  })

  it("may be negative or zero under N and never under R", () => {
    expect(mail({ deliverBy: { seconds: -5, mode: "N" } })).toBe(" BY=-5;N")
    expect(mail({ deliverBy: { seconds: 0, mode: "N" } })).toBe(" BY=0;N")
    expect(mail({ deliverBy: { seconds: 0, mode: "R" } })).toContain("Invalid mail.deliverBy.seconds")
    expect(mail({ deliverBy: { seconds: -5, mode: "R" } })).toContain("Invalid mail.deliverBy.seconds")
  })

  it("has at most nine digits", () => {
    expect(mail({ deliverBy: { seconds: -999_999_999, mode: "N" } })).toBe(" BY=-999999999;N")
    expect(mail({ deliverBy: { seconds: 1_000_000_000, mode: "R" } })).toContain("Invalid")
  })

  it("under R respects the server's least by-time", () => {
    expect(mail({ deliverBy: { seconds: 59, mode: "R" } })).toContain("Unsupported DELIVERBY")
    expect(mail({ deliverBy: { seconds: 60, mode: "R" } })).toBe(" BY=60;R")
    expect(mail({ deliverBy: { seconds: 59, mode: "N" } })).toBe(" BY=59;N")
  })
})

describe("HOLDFOR and HOLDUNTIL (RFC 4865)", () => {
  it("stand alone", () => {
    expect(mail({ holdFor: 1, holdUntil: new Date("2029-01-01") })).toContain("Invalid mail.holdFor")
  })

  it.each([0, -1, 1.5, 1_000_000_000])("refuses to hold for %d s", (holdFor) => {
    expect(mail({ holdFor })).toContain("Invalid mail.holdFor")
  })

  it("holds no longer than the server announced", () => {
    expect(mail({ holdFor: 86_400 })).toBe(" HOLDFOR=86400")
    expect(mail({ holdFor: 86_401 })).toContain("Unsupported FUTURERELEASE")
  })

  it("writes the time in UTC, rounded up to a full second so that it is never early", () => {
    expect(mail({ holdUntil: new Date("2029-12-31T23:59:58.001+02:00") })).toBe(
      " HOLDUNTIL=2029-12-31T21:59:59Z"
    )
  })

  it("holds no later than the server announced", () => {
    expect(mail({ holdUntil: new Date("2030-01-01T00:00:00Z") })).toBe(" HOLDUNTIL=2030-01-01T00:00:00Z")
    expect(mail({ holdUntil: new Date("2030-01-01T00:00:01Z") })).toContain("Unsupported FUTURERELEASE")
  })

  it("refuses a time that is not in the future, when told the present", () => {
    const holdUntil = new Date("2029-01-01T00:00:00Z")
    expect(mail({ holdUntil }, { ...everything, now: holdUntil.getTime() })).toContain(
      "Invalid mail.holdUntil"
    )
    expect(mail({ holdUntil }, { ...everything, now: holdUntil.getTime() - 1 })).toContain("HOLDUNTIL=")
  })

  it.each([new Date(Number.NaN), new Date("+010000-01-01T00:00:00Z"), new Date("-000001-01-01T00:00:00Z")])(
    "refuses a date that RFC 3339 cannot write",
    (holdUntil) => {
      expect(mail({ holdUntil })).toContain("Invalid mail.holdUntil")
    }
  )
})

describe("extra parameters (RFC 5321 section 4.1.2)", () => {
  it.each(["", "-X", "X Y", "X=Y", "X\r\n", "Ü", "X_Y"])("refuses the keyword %j", (keyword) => {
    expect(mail({ extra: [{ keyword }] })).toContain("Invalid mail.extra[0]")
  })

  it.each(["", "a b", "a=b", "a\r\nb", "a\0", "ü", "\u007f"])("refuses the value %j", (value) => {
    expect(mail({ extra: [{ keyword: "X", value }] })).toContain("Invalid mail.extra[0]")
  })

  it("refuses a keyword that has a typed field, in any letter case", () => {
    expect(mail({ extra: [{ keyword: "size", value: "1" }] })).toContain("has a field of its own")
    expect(recipient({ extra: [{ keyword: "Notify", value: "NEVER" }] })).toContain("has a field of its own")
  })

  it("refuses a keyword that comes twice", () => {
    expect(mail({ extra: [{ keyword: "X" }, { keyword: "x" }] })).toContain("Invalid mail.extra[1]")
  })

  it("sends an unknown keyword without asking the capabilities", () => {
    expect(mail({ extra: [{ keyword: "FOO", value: "bar" }] }, nothing)).toBe(" FOO=bar")
  })

  it.each([
    ["TRANSID", "<a@b>", "CHECKPOINT"],
    ["MTRK", "aGFzaA==:86400", "MTRK"],
    ["SOLICIT", "org.example:ADV", "NO-SOLICITING"]
  ])("sends %s with its value where the server announces %s", (keyword, value, announced) => {
    const parameter = { keyword, value: value.replaceAll("=", "+3D") }
    expect(mail({ extra: [parameter] }, announcing(announced))).toBe(` ${keyword}=${parameter.value}`)
    expect(mail({ extra: [parameter] }, nothing)).toContain(`Unsupported ${announced}: `)
  })

  it("asks the capabilities for the keyword that the program names", () => {
    const extra = [{ keyword: "X-BURL", value: "imap:", extension: "BURL" }]
    expect(mail({ extra }, announcing("BURL imap"))).toBe(" X-BURL=imap:")
    expect(mail({ extra }, nothing)).toBe(
      "Unsupported BURL: the server does not announce BURL, which X-BURL requires"
    )
  })
})

describe("NOTIFY (RFC 3461 section 4.1)", () => {
  it("renders NEVER, one condition, and several in the order given", () => {
    expect(recipient({ notify: "NEVER" })).toBe(" NOTIFY=NEVER")
    expect(recipient({ notify: ["SUCCESS"] })).toBe(" NOTIFY=SUCCESS")
    expect(recipient({ notify: ["DELAY", "SUCCESS", "DELAY", "FAILURE"] })).toBe(
      " NOTIFY=DELAY,SUCCESS,FAILURE"
    )
  })

  it("NEVER stands alone, even from a program without types", () => {
    const notify: Array<Parameters.NotifyCondition> = ["SUCCESS"]
    Reflect.set(notify, 1, "NEVER")
    expect(recipient({ notify })).toContain("NEVER stands alone")
  })

  it("an empty list is refused", () => {
    expect(recipient({ notify: [] })).toContain("Invalid to[0].notify")
  })

  it("needs DSN", () => {
    expect(recipient({ notify: "NEVER" }, nothing)).toContain("Unsupported DSN")
  })
})

describe("ORCPT (RFC 3461 section 4.2, RFC 6533)", () => {
  it("a string is of type rfc822 and goes as xtext", () => {
    expect(recipient({ originalRecipient: "e+mc=2@example.com" })).toBe(
      " ORCPT=rfc822;e+2Bmc+3D2@example.com"
    )
  })

  it("a string beyond ASCII is of type utf-8 and stays ASCII on the wire", () => {
    expect(recipient({ originalRecipient: "ü+😀@example.com" })).toBe(
      " ORCPT=utf-8;\\x{FC}\\x{2B}\\x{1F600}@example.com"
    )
  })

  it("other types are kept", () => {
    expect(recipient({ originalRecipient: { type: "x400", address: "/C=us/ G=a/" } })).toBe(
      " ORCPT=x400;/C+3Dus/+20G+3Da/"
    )
  })

  it.each([
    "",
    "rfc822;ann@example.com",
    "a\r\nb@example.com",
    "a\0@example.com",
    "ü\n@example.com",
    { type: "rfc822", address: "ü@example.com" },
    { type: "", address: "a" },
    { type: "x 400", address: "a" },
    { type: "a;b", address: "a" },
    { type: "rfc822", address: "" }
  ])("refuses %j", (originalRecipient) => {
    expect(recipient({ originalRecipient })).toContain("Invalid to[0].originalRecipient")
  })

  it("is at most 500 octets after xtext, its type included", () => {
    expect(recipient({ originalRecipient: "a".repeat(493) })).toBe(` ORCPT=rfc822;${"a".repeat(493)}`)
    expect(recipient({ originalRecipient: "a".repeat(494) })).toContain("Invalid to[0].originalRecipient")
    expect(recipient({ originalRecipient: "=".repeat(164) })).toContain("ORCPT=")
    expect(recipient({ originalRecipient: "=".repeat(165) })).toContain("Invalid to[0].originalRecipient")
  })

  it("needs DSN", () => {
    expect(recipient({ originalRecipient: "a@b" }, nothing)).toContain("Unsupported DSN")
  })
})

describe("RRVS (RFC 7293)", () => {
  const since = new Date("2014-04-03T23:01:00.500Z")

  it("renders the time with and without an action", () => {
    expect(recipient({ rrvs: { since } })).toBe(" RRVS=2014-04-03T23:01:00Z")
    expect(recipient({ rrvs: { since, action: "C" } })).toBe(" RRVS=2014-04-03T23:01:00Z;C")
  })

  it("refuses what is no date", () => {
    expect(recipient({ rrvs: { since: new Date(Number.NaN) } })).toContain("Invalid to[0].rrvs.since")
  })

  it("needs RRVS", () => {
    expect(recipient({ rrvs: { since } }, nothing)).toContain("Unsupported RRVS")
  })
})

describe("command lines (RFC 5321 section 4.5.3.1.4)", () => {
  const rcpt = (path: string, parameters: Parameters.RecipientParameters): string =>
    outcome(Lines.recipientParameters.line(path, parameters, everything, "to[0]"))

  it("joins verb, path and parameters", () => {
    expect(Lines.mailParameters.line("<>", { body: "8BITMIME" }, everything, "from")).toBe(
      "MAIL FROM:<> BODY=8BITMIME"
    )
    expect(rcpt("<a@b>", { notify: "NEVER" })).toBe("RCPT TO:<a@b> NOTIFY=NEVER")
    expect(rcpt("<a@b>", {})).toBe("RCPT TO:<a@b>")
  })

  it("a line of 512 octets with its CRLF is allowed and one of 513 is not", () => {
    // "RCPT TO:" and CRLF are 10 octets.
    expect(rcpt("a".repeat(502), {})).toHaveLength(510)
    expect(rcpt("a".repeat(503), {})).toBe(
      "Invalid to[0]: it makes a command line of 513 bytes, where 512 are allowed"
    )
  })

  it("counts octets of UTF-8", () => {
    expect(rcpt("ü".repeat(251), {})).toHaveLength(259)
    expect(rcpt("ü".repeat(252), {})).toContain("Invalid")
  })

  it.each([
    [{ size: 1 }, 26],
    [{ body: "8BITMIME" }, 17],
    [{ smtputf8: true }, 10],
    [{ smtputf8: false }, 0],
    [{ ret: "FULL" }, 8],
    [{ envelopeId: "x" }, 107],
    [{ auth: null }, 500],
    [{ requireTls: true }, 11],
    [{ priority: 1 }, 15],
    [{ deliverBy: { seconds: 1, mode: "N" } }, 17],
    [{ holdFor: 1 }, 34],
    [{ holdUntil: new Date(0) }, 34],
    [{ extra: [{ keyword: "FOO" }, { keyword: "X", value: "yz" }] }, 9]
  ] satisfies ReadonlyArray<readonly [Parameters.MailParameters, number]>)(
    "%j adds %d octets to MAIL",
    (parameters, octets) => {
      expect(Lines.mailParameters.lineLimit(parameters)).toBe(512 + octets)
    }
  )

  it.each([
    [{ notify: "NEVER" }, 28],
    [{ originalRecipient: "a@b" }, 500],
    [{ rrvs: { since: new Date(0) } }, 33]
  ] satisfies ReadonlyArray<readonly [Parameters.RecipientParameters, number]>)(
    "%j adds %d octets to RCPT",
    (parameters, octets) => {
      expect(Lines.recipientParameters.lineLimit(parameters)).toBe(512 + octets)
    }
  )

  it("the longest path with every parameter at its longest fits", () => {
    const path = `<${"a".repeat(254)}>`
    const line = rcpt(path, {
      notify: ["SUCCESS", "FAILURE", "DELAY"],
      originalRecipient: "a".repeat(493),
      rrvs: { since: new Date(0), action: "R" }
    })
    expect(line.startsWith("RCPT TO:<aaa")).toBe(true)
  })
})

describe("parameters as they are written", () => {
  it("reads a keyword with and without a value", () => {
    expect(Lines.parseParameter("SMTPUTF8", "options[0]")).toStrictEqual({ keyword: "SMTPUTF8" })
    expect(Lines.parseParameter("BODY=8BITMIME", "options[0]")).toStrictEqual({
      keyword: "BODY",
      value: "8BITMIME"
    })
  })

  it.each([
    "",
    "=x",
    "BODY=",
    "BODY=8BITMIME SIZE=1",
    "BODY=8BITMIME\r\nRCPT TO:<eve@example.com>",
    "A=B=C",
    "A\nB"
  ])("refuses %j", (text) => {
    expect(Lines.parseParameter(text, "options[0]")).toMatchObject({
      _tag: "Invalid",
      field: "options[0]"
    })
  })

  it("gives typed fields to what is known, in any letter case, and keeps the rest", () => {
    expect(
      Lines.mailParameters.read(["body=8bitmime", " smtputf8 ", "Ret=hdrs", "AUTH=<>", "X=y"], "options")
    ).toStrictEqual({
      body: "8BITMIME",
      smtputf8: true,
      ret: "HDRS",
      auth: null,
      extra: [{ keyword: "X", value: "y" }]
    })
    expect(Lines.recipientParameters.read(["notify=success,delay"], "options")).toStrictEqual({
      notify: ["SUCCESS", "DELAY"]
    })
  })

  it("saturates a size of up to 20 digits (RFC 1870)", () => {
    expect(Lines.mailParameters.read(["SIZE=99999999999999999999"], "options")).toStrictEqual({
      size: Number.MAX_SAFE_INTEGER
    })
  })

  it.each([
    "SIZE=x",
    "SIZE",
    "SIZE=100000000000000000000",
    "BODY=9BIT",
    "SMTPUTF8=yes",
    "RET=NONE",
    "ENVID=a+b",
    "ENVID=+3d",
    "AUTH=+FF",
    "REQUIRETLS=1",
    "MT-PRIORITY=10",
    "BY=5",
    "BY=5;X",
    "HOLDFOR=1.5",
    "HOLDUNTIL=tomorrow",
    "HOLDUNTIL=2026-13-01T00:00:00Z"
  ])("refuses %s on MAIL", (text) => {
    expect(Lines.mailParameters.read(["X", text], "options")).toMatchObject({
      _tag: "Invalid",
      field: "options[1]"
    })
  })

  it.each([
    "NOTIFY=NEVER,SUCCESS",
    "NOTIFY=",
    "NOTIFY=SOMETIMES",
    "ORCPT=a@b",
    "ORCPT=rfc822;a+b",
    "RRVS=now"
  ])("refuses %s on RCPT", (text) => {
    expect(Lines.recipientParameters.read([text], "options")).toMatchObject({
      _tag: "Invalid",
      field: "options[0]"
    })
  })

  it("refuses a parameter that comes twice", () => {
    expect(Lines.mailParameters.read(["SIZE=1", "size=2"], "options")).toMatchObject({ field: "options[1]" })
  })
})

/** One field as a program without types may give it. */
const fieldOf = (name: string, value: unknown): object => {
  const parameters = {}
  Reflect.set(parameters, name, value)
  return parameters
}

describe("parameters as objects", () => {
  const extraReason = "is not a list of objects whose keyword, value and extension are strings"
  const since = new Date("2024-01-01T00:00:00Z")

  it.each([
    ["size", "1", "is not a number"],
    ["body", 5, "is not a string"],
    ["smtputf8", "yes", "is neither true nor false"],
    ["ret", null, "is not a string"],
    ["envelopeId", 5, "is not a string"],
    ["auth", 5, "is neither a string nor null"],
    ["requireTls", 1, "is neither true nor false"],
    ["priority", "1", "is not a number"],
    ["deliverBy", null, "is not an object"],
    ["deliverBy", "5;R", "is not an object"],
    ["holdFor", "5", "is not a number"],
    ["holdUntil", "2030-01-01", "is not a Date"],
    ["extra", {}, extraReason],
    ["extra", "X", extraReason],
    ["extra", ["X"], extraReason],
    ["extra", [null], extraReason],
    ["extra", [{ keyword: "X" }, {}], extraReason],
    ["extra", [{ keyword: 5 }], extraReason],
    ["extra", [{ keyword: "X", value: 5 }], extraReason],
    ["extra", [{ keyword: "X", extension: 5 }], extraReason]
  ])("of MAIL: %s may not be %j", (name, value, reason) => {
    expect(Lines.mailParameters.read(fieldOf(name, value), "options")).toStrictEqual(
      invalid(`options.${name}`, reason)
    )
  })

  const recipientReason = "is neither a string nor an object with a type and an address"
  it.each([
    ["notify", 5, "is neither a string nor a list of strings"],
    ["notify", {}, "is neither a string nor a list of strings"],
    ["notify", ["SUCCESS", 5], "is neither a string nor a list of strings"],
    ["originalRecipient", 5, recipientReason],
    ["originalRecipient", null, recipientReason],
    ["originalRecipient", { type: "rfc822" }, recipientReason],
    ["originalRecipient", { address: "a@b" }, recipientReason],
    ["originalRecipient", { type: 5, address: "a@b" }, recipientReason],
    ["rrvs", null, "is not an object with a Date"],
    ["rrvs", {}, "is not an object with a Date"],
    ["rrvs", { since: "2024-01-01" }, "is not an object with a Date"],
    ["rrvs", { since, action: 5 }, "is not an object with a Date"]
  ])("of RCPT: %s may not be %j", (name, value, reason) => {
    expect(Lines.recipientParameters.read(fieldOf(name, value), "to[0]")).toStrictEqual(
      invalid(`to[0].${name}`, reason)
    )
  })

  it("have to be objects", () => {
    const { parameters } = { parameters: {}, ...fieldOf("parameters", "SIZE=1") }
    expect(Lines.mailParameters.read(parameters, "options")).toMatchObject({ field: "options" })
  })

  it("are copied, with all that is in them", () => {
    const given: Parameters.MailParameters = {
      size: 1,
      body: "7BIT",
      smtputf8: true,
      ret: "FULL",
      envelopeId: "x",
      auth: null,
      requireTls: false,
      priority: 0,
      deliverBy: { seconds: 5, mode: "R", trace: true },
      holdFor: undefined,
      holdUntil: since,
      extra: [{ keyword: "X" }, { keyword: "Y", value: "1", extension: "Z" }]
    }
    const read = Lines.mailParameters.read(given, "options")
    expect(read).toStrictEqual(given)
    if (isInvalid(read)) throw new Error(read.reason)
    expect(read.deliverBy).not.toBe(given.deliverBy)
    expect(read.holdUntil).not.toBe(given.holdUntil)
    expect(read.extra?.[0]).not.toBe(given.extra?.[0])
    expect(Lines.mailParameters.read({}, "options")).toStrictEqual({})
  })

  it.each<Parameters.RecipientParameters>([
    { notify: "NEVER", originalRecipient: "a@b" },
    { notify: ["SUCCESS"], originalRecipient: { type: "x400", address: "a" }, rrvs: { since, action: "R" } }
  ])("of a recipient are copied: %j", (given) => {
    const read = Lines.recipientParameters.read(given, "to[0]")
    expect(read).toStrictEqual(given)
    if (isInvalid(read)) throw new Error(read.reason)
    if (typeof given.notify === "object") expect(read.notify).not.toBe(given.notify)
    if (typeof given.originalRecipient === "object")
      expect(read.originalRecipient).not.toBe(given.originalRecipient)
    if (given.rrvs !== undefined) {
      expect(read.rrvs).not.toBe(given.rrvs)
      expect(read.rrvs?.since).not.toBe(given.rrvs.since)
    }
  })

  it("are empty where no field is given, and picked without what else there is", () => {
    const { isEmpty, pick } = Lines.recipientParameters
    expect([isEmpty({}), isEmpty({ notify: undefined })]).toStrictEqual([true, true])
    expect([isEmpty({ notify: "NEVER" }), isEmpty({ extra: [] })]).toStrictEqual([false, false])
    const picked = { notify: "NEVER", originalRecipient: undefined, rrvs: undefined } as const
    expect(pick({ ...picked, ...fieldOf("address", "a@b") })).toStrictEqual(picked)
    expect(pick({ ...picked, extra: [] })).toStrictEqual({ ...picked, extra: [] })
  })
})

describe("what is wrong with a parameter", () => {
  const nine = "is not a whole number from -999999999 to 999999999"
  const condition = "holds a condition other than SUCCESS, FAILURE, DELAY and NEVER"

  it.each([
    ["size", -1, "Invalid mail.size: it is not a whole number from 0 to 9007199254740991"],
    ["body", "9BIT", "Invalid mail.body: it is none of 7BIT, 8BITMIME, BINARYMIME"],
    ["ret", "NONE", "Invalid mail.ret: it is none of FULL, HDRS"],
    ["envelopeId", "", "Invalid mail.envelopeId: it is empty"],
    ["envelopeId", "aü", "Invalid mail.envelopeId: it holds a character other than printable ASCII"],
    ["envelopeId", "üa", "Invalid mail.envelopeId: it holds a character other than printable ASCII"],
    [
      "envelopeId",
      "a".repeat(101),
      "Invalid mail.envelopeId: it is longer than 100 bytes once encoded as xtext"
    ],
    ["auth", "<>", "Invalid mail.auth: it is not a mailbox; give null for <>"],
    ["auth", "a\0b", "Invalid mail.auth: it holds a control character"],
    ["auth", "a".repeat(495), "Invalid mail.auth: it is longer than 494 bytes once encoded as xtext"],
    ["priority", 10, "Invalid mail.priority: it is not a whole number from -9 to 9"],
    ["deliverBy", { seconds: 1.5, mode: "N" }, `Invalid mail.deliverBy.seconds: it ${nine}`],
    ["deliverBy", { seconds: 1_000_000_000, mode: "N" }, `Invalid mail.deliverBy.seconds: it ${nine}`],
    ["deliverBy", { seconds: 999_999_999, mode: "N", trace: false }, " BY=999999999;N"],
    ["deliverBy", { seconds: 1, mode: "X" }, "Invalid mail.deliverBy.mode: it is neither R nor N"],
    [
      "deliverBy",
      { seconds: 0, mode: "R" },
      "Invalid mail.deliverBy.seconds: it is not positive, as mode R requires"
    ],
    [
      "deliverBy",
      { seconds: 59, mode: "R" },
      "Unsupported DELIVERBY: the server accepts no less than 60 s, and 59 s was requested"
    ],
    ["holdFor", 0, "Invalid mail.holdFor: it is not a whole number from 1 to 999999999"],
    [
      "holdFor",
      86_401,
      "Unsupported FUTURERELEASE: the server holds a message for at most 86400 s, and 86401 s was requested"
    ],
    ["holdUntil", new Date(Number.NaN), "Invalid mail.holdUntil: it is not a time that RFC 3339 can write"],
    [
      "holdUntil",
      new Date("2030-01-01T00:00:01Z"),
      "Unsupported FUTURERELEASE: the server holds a message until 2030-01-01T00:00:00Z, and 2030-01-01T00:00:01Z was requested"
    ],
    [
      "extra",
      [{ keyword: "X_Y" }],
      "Invalid mail.extra[0]: it has a keyword that is not letters, digits and hyphens"
    ],
    ["extra", [{ keyword: "X", value: "" }], "Invalid mail.extra[0]: it has an empty value; leave it out"],
    [
      "extra",
      [{ keyword: "X", value: "a b" }],
      "Invalid mail.extra[0]: it has a value with a space, =, or a character other than printable ASCII"
    ],
    ["extra", [{ keyword: "X" }, { keyword: "x" }], "Invalid mail.extra[1]: it gives X a second time"],
    [
      "extra",
      [{ keyword: "size" }],
      "Invalid mail.extra[0]: it is SIZE, which has a field of its own; use that"
    ],
    [
      "extra",
      [{ keyword: "CONNEG" }],
      "Unsupported CONNEG: the server does not announce CONNEG, which CONNEG requires"
    ]
  ])("of MAIL: %s is %j", (name, value, text) => {
    expect(mail(fieldOf(name, value))).toBe(text)
  })

  it("of MAIL: two times to hold it, or a time that is past", () => {
    const holdUntil = new Date("2029-01-01T00:00:00Z")
    expect(mail({ holdFor: 1, holdUntil })).toBe(
      "Invalid mail.holdFor: it is given beside holdUntil; give one of them"
    )
    expect(mail({ holdUntil }, { ...everything, now: holdUntil.getTime() })).toBe(
      "Invalid mail.holdUntil: it is not in the future"
    )
    expect(mail({ requireTls: true }, { ...everything, tls: false })).toBe(
      "Unsupported REQUIRETLS: the session is not on verified TLS, which REQUIRETLS needs"
    )
  })

  it.each([
    ["notify", [], 'Invalid to[0].notify: it is empty; give "NEVER" to ask for no notification'],
    ["notify", ["NEVER"], " NOTIFY=NEVER"],
    [
      "notify",
      ["NEVER", "DELAY"],
      "Invalid to[0].notify: it holds NEVER beside other conditions; NEVER stands alone"
    ],
    ["notify", "SUCCESS", " NOTIFY=SUCCESS"],
    ["notify", ["SUCCESS", "SOMETIMES"], `Invalid to[0].notify: it ${condition}`],
    ["notify", "SOMETIMES", `Invalid to[0].notify: it ${condition}`],
    [
      "originalRecipient",
      { type: "x_", address: "a" },
      "Invalid to[0].originalRecipient: it has an address type that is not letters, digits and hyphens"
    ],
    [
      "originalRecipient",
      { type: "_x", address: "a" },
      "Invalid to[0].originalRecipient: it has an address type that is not letters, digits and hyphens"
    ],
    [
      "originalRecipient",
      { type: "-x", address: "a" },
      "Invalid to[0].originalRecipient: it has an address type that is not letters, digits and hyphens"
    ],
    ["originalRecipient", { type: "x-4", address: "a" }, " ORCPT=x-4;a"],
    ["originalRecipient", { type: "UTF-8", address: "ü" }, " ORCPT=UTF-8;\\x{FC}"],
    ["originalRecipient", "", "Invalid to[0].originalRecipient: it is empty"],
    ["originalRecipient", "a\nb", "Invalid to[0].originalRecipient: it holds a control character"],
    ["originalRecipient", "aü", " ORCPT=utf-8;a\\x{FC}"],
    ["originalRecipient", "üa", " ORCPT=utf-8;\\x{FC}a"],
    ["originalRecipient", "a b;c", " ORCPT=rfc822;a+20b;c"],
    [
      "originalRecipient",
      { type: "x400", address: "ü" },
      "Invalid to[0].originalRecipient: it holds a character beyond ASCII, which the address type x400 cannot carry"
    ],
    [
      "originalRecipient",
      "rfc822;a@b",
      "Invalid to[0].originalRecipient: it begins with an address type; give { type, address }, or the address alone"
    ],
    [
      "originalRecipient",
      "a".repeat(494),
      "Invalid to[0].originalRecipient: it is longer than 500 bytes once encoded"
    ],
    [
      "rrvs",
      { since: new Date(Number.NaN) },
      "Invalid to[0].rrvs.since: it is not a time that RFC 3339 can write"
    ],
    ["rrvs", { since: new Date(0), action: "R" }, " RRVS=1970-01-01T00:00:00Z;R"],
    ["rrvs", { since: new Date(0), action: "X" }, "Invalid to[0].rrvs.action: it is neither C nor R"]
  ])("of RCPT: %s is %j", (name, value, text) => {
    expect(recipient(fieldOf(name, value))).toBe(text)
  })

  it.each([
    ["=x", "has a keyword that is not letters, digits and hyphens"],
    ["X=", "has an empty value; leave it out"],
    ["X=a b", "has a value with a space, =, or a character other than printable ASCII"],
    ["SIZE=1x", "is not a whole number from 0 to 9007199254740991"],
    ["SIZE=x1", "is not a whole number from 0 to 9007199254740991"],
    ["BODY=9BIT", "is none of 7BIT, 8BITMIME, BINARYMIME"],
    ["SMTPUTF8=yes", "has a value, where none is allowed"],
    ["ENVID=a+b", "is not xtext"],
    ["ENVID", "is not xtext"],
    ["AUTH=+FF", "is neither xtext nor <>"],
    ["AUTH", "is neither xtext nor <>"],
    ["MT-PRIORITY=10", "is not a whole number from -9 to 9"],
    ["MT-PRIORITY=x1", "is not a whole number from -9 to 9"],
    ["BY=5", "is not seconds;R or seconds;N"],
    ["BY=x5;R", "is not seconds;R or seconds;N"],
    ["BY=5;RTX", "is not seconds;R or seconds;N"],
    ["HOLDFOR=5x", "is not a whole number from 1 to 999999999"],
    ["HOLDFOR=x5", "is not a whole number from 1 to 999999999"],
    ["HOLDFOR=1234567890", "is not a whole number from 1 to 999999999"],
    ["HOLDUNTIL=tomorrow", "is not an RFC 3339 time"],
    ["HOLDUNTIL=x2026-01-01T00:00:00Z", "is not an RFC 3339 time"],
    ["HOLDUNTIL=2026-01-01T00:00:00Zx", "is not an RFC 3339 time"],
    ["HOLDUNTIL=2026-01-01T00:00:00", "is not an RFC 3339 time"],
    ["HOLDUNTIL=2026-01-01T00:00:00.xZ", "is not an RFC 3339 time"]
  ])("written on MAIL: %s %s", (text, reason) => {
    expect(Lines.mailParameters.read([text], "options")).toStrictEqual(invalid("options[0]", reason))
  })

  it("written on MAIL: what is no text, or comes twice", () => {
    const texts: Array<string> = ["X"]
    Reflect.set(texts, 1, 5)
    expect(Lines.mailParameters.read(texts, "options")).toStrictEqual(
      invalid("options[1]", "is not a string")
    )
    expect(Lines.mailParameters.read(["x", "X=1"], "options")).toStrictEqual(
      invalid("options[1]", "gives X a second time")
    )
  })

  it.each([
    ["NOTIFY", "is neither NEVER alone nor a list of SUCCESS, FAILURE and DELAY"],
    ["NOTIFY=NEVER,SUCCESS", "is neither NEVER alone nor a list of SUCCESS, FAILURE and DELAY"],
    ["ORCPT=a@b", "is not an address type, a semicolon and xtext"],
    ["ORCPT=_a;b", "is not an address type, a semicolon and xtext"],
    ["ORCPT=a;", "is not an address type, a semicolon and xtext"],
    ["ORCPT=rfc822;a+b", "is not an address type, a semicolon and xtext"],
    ["RRVS=now", "is not an RFC 3339 time with or without ;C or ;R"],
    ["RRVS=2024-01-01T00:00:00Z;X", "is not an RFC 3339 time with or without ;C or ;R"],
    ["RRVS=2024-01-01T00:00:00Z;C;C", "is not an RFC 3339 time with or without ;C or ;R"]
  ])("written on RCPT: %s %s", (text, reason) => {
    expect(Lines.recipientParameters.read([text], "to[0]")).toStrictEqual(invalid("to[0][0]", reason))
  })
})

describe("what is written on the wire reads as a field", () => {
  const at = new Date("2026-01-01T00:00:00Z")
  it.each<readonly [string, Parameters.MailParameters]>([
    ["SIZE=000", { size: 0 }],
    ["SIZE=12", { size: 12 }],
    ["MT-PRIORITY=-0", { priority: 0 }],
    ["MT-PRIORITY=-3", { priority: -3 }],
    ["BY=-5;n", { deliverBy: { seconds: -5, mode: "N", trace: false } }],
    ["BY=+120;rt", { deliverBy: { seconds: 120, mode: "R", trace: true } }],
    ["BY=-0;N", { deliverBy: { seconds: 0, mode: "N", trace: false } }],
    ["HOLDFOR=60", { holdFor: 60 }],
    ["HOLDUNTIL=2026-01-01t00:00:00z", { holdUntil: at }],
    ["HOLDUNTIL=2026-01-01T00:00:00.000Z", { holdUntil: at }],
    ["HOLDUNTIL=2026-01-01T11:30:00+11:30", { holdUntil: at }],
    ["HOLDUNTIL=2025-12-31T19:00:00-05:00", { holdUntil: at }]
  ])("%s", (text, parameters) => {
    expect(Lines.mailParameters.read([text], "options")).toStrictEqual(parameters)
  })

  it.each<readonly [string, Parameters.RecipientParameters]>([
    ["NOTIFY=never", { notify: "NEVER" }],
    ["NOTIFY=Success,failure", { notify: ["SUCCESS", "FAILURE"] }],
    ["ORCPT=UTF-8;\\x{FC}", { originalRecipient: { type: "UTF-8", address: "ü" } }],
    ["ORCPT=x-400;a;b+3D", { originalRecipient: { type: "x-400", address: "a;b=" } }],
    ["RRVS=2026-01-01T00:00:00Z;c", { rrvs: { since: at, action: "C" } }],
    ["RRVS=2026-01-01T00:00:00Z;R", { rrvs: { since: at, action: "R" } }],
    ["RRVS=2026-01-01T00:00:00Z", { rrvs: { since: at } }]
  ])("%s", (text, parameters) => {
    expect(Lines.recipientParameters.read([text], "to[0]")).toStrictEqual(parameters)
  })
})

describe("xtext (RFC 3461 section 4)", () => {
  it("leaves printable ASCII but for + and =", () => {
    expect(Xtext.encode("a+b=c d~!")).toBe("a+2Bb+3Dc+20d~!")
  })

  it.each(["+", "+2", "+2b", "+GG", "a b", "=", "ü", "+FF", "+C3"])("%j is not xtext", (text) => {
    expect(Xtext.decode(text)).toBeUndefined()
  })

  it("round trips any text, and holds nothing that an esmtp-value may not", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), (text) => {
        const encoded = Xtext.encode(text)
        expect(encoded).toMatch(/^[!-<>-~]*$/)
        expect(Xtext.decode(encoded)).toBe(text)
      })
    )
  })

  it("utf-8-addr-xtext round trips any text in ASCII (RFC 6533 section 3)", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary" }), (text) => {
        const encoded = Xtext.encodeUtf8Address(text)
        expect(encoded).toMatch(/^[!-*,-<>-~]*$/)
        expect(Xtext.decodeUtf8Address(encoded)).toBe(text)
      })
    )
  })

  it("holds what is between surrogate halves and beyond", () => {
    expect(Xtext.decodeUtf8Address("\\x{D7FF}\\x{E000}\\x{10FFFF}")).toBe("\ud7ff\ue000\u{10ffff}")
    expect(Xtext.decodeUtf8Address("\\x{DFFF}")).toBeUndefined()
    expect(Xtext.encode("\ufeff a")).toBe("+EF+BB+BF+20a")
    expect(Xtext.decode("+EF+BB+BFa")).toBe("\ufeffa")
  })

  it.each(["\\", "\\x{}", "\\x{D800}", "\\x{110000}", "\\x{fc}", "a b", "+", "ü"])(
    "%j is not utf-8-addr-xtext",
    (text) => {
      expect(Xtext.decodeUtf8Address(text)).toBeUndefined()
    }
  )
})

describe("for any parameters", () => {
  const wholeSeconds = (from: string, to: string): FastCheck.Arbitrary<Date> =>
    FastCheck.integer({ min: Date.parse(from) / 1000, max: Date.parse(to) / 1000 }).map(
      (s) => new Date(s * 1000)
    )
  const printable = FastCheck.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 33 })
  const extra = FastCheck.uniqueArray(
    FastCheck.record(
      {
        keyword: FastCheck.stringMatching(/^X-[A-Za-z0-9]{1,8}$/),
        value: FastCheck.stringMatching(/^[!-<>-~]{1,10}$/)
      },
      { requiredKeys: ["keyword"] }
    ),
    { minLength: 1, maxLength: 3, selector: (parameter) => parameter.keyword.toUpperCase() }
  )
  const hold = FastCheck.oneof(
    FastCheck.constant({}),
    FastCheck.record({ holdFor: FastCheck.integer({ min: 1, max: 86_400 }) }),
    FastCheck.record({ holdUntil: wholeSeconds("2000-01-01", "2030-01-01") })
  )
  const mailParameters = FastCheck.tuple(
    FastCheck.record(
      {
        size: FastCheck.maxSafeNat(),
        body: FastCheck.constantFrom("7BIT" as const, "8BITMIME" as const, "BINARYMIME" as const),
        smtputf8: FastCheck.constant(true),
        ret: FastCheck.constantFrom("FULL" as const, "HDRS" as const),
        envelopeId: printable,
        auth: FastCheck.option(printable.filter((text) => text !== "<>")),
        requireTls: FastCheck.constant(true),
        priority: FastCheck.integer({ min: -9, max: 9 }),
        deliverBy: FastCheck.record({
          seconds: FastCheck.integer({ min: 60, max: 999_999_999 }),
          mode: FastCheck.constantFrom("R" as const, "N" as const),
          trace: FastCheck.boolean()
        }),
        extra
      },
      { requiredKeys: [] }
    ),
    hold
  ).map(([parameters, held]): Parameters.MailParameters => ({ ...parameters, ...held }))
  const recipientParameters: FastCheck.Arbitrary<Parameters.RecipientParameters> = FastCheck.record(
    {
      notify: FastCheck.oneof(
        FastCheck.constant("NEVER" as const),
        FastCheck.uniqueArray(
          FastCheck.constantFrom("SUCCESS" as const, "FAILURE" as const, "DELAY" as const),
          {
            minLength: 1
          }
        )
      ),
      originalRecipient: FastCheck.oneof(
        FastCheck.record({
          type: FastCheck.constantFrom("rfc822" as const, "x400" as const),
          address: printable
        }),
        FastCheck.record({
          type: FastCheck.constant("utf-8"),
          address: FastCheck.string({ unit: "grapheme", minLength: 1, maxLength: 9 }).filter(
            (text) => !/\p{Cc}/u.test(text)
          )
        })
      ),
      rrvs: FastCheck.record(
        {
          since: wholeSeconds("1990-01-01", "2040-01-01"),
          action: FastCheck.constantFrom("C" as const, "R" as const)
        },
        { requiredKeys: ["since"] }
      ),
      extra
    },
    { requiredKeys: [] }
  )
  const split = (rendered: string): ReadonlyArray<string> => rendered.split(" ").slice(1)

  it("MAIL reads back as it was given", () => {
    FastCheck.assert(
      FastCheck.property(mailParameters, (parameters) => {
        const rendered = mail(parameters)
        expect(rendered).toMatch(/^(?: [!-~]+)*$/)
        expect(Lines.mailParameters.read(split(rendered), "mail")).toStrictEqual(parameters)
      }),
      { numRuns: runsOf(500) }
    )
  })

  it("RCPT reads back as it was given", () => {
    FastCheck.assert(
      FastCheck.property(recipientParameters, (parameters) => {
        const rendered = recipient(parameters)
        expect(rendered).toMatch(/^(?: [!-~]+)*$/)
        expect(Lines.recipientParameters.read(split(rendered), "to")).toStrictEqual(parameters)
      }),
      { numRuns: runsOf(500) }
    )
  })

  it("what is rendered from hostile texts is printable ASCII or nothing at all", () => {
    const hostile = FastCheck.string({ unit: "binary" })
    FastCheck.assert(
      FastCheck.property(hostile, hostile, (text, other) => {
        for (const rendered of [
          Lines.mailParameters.render({ envelopeId: text }, everything, "mail"),
          Lines.mailParameters.render({ auth: text }, everything, "mail"),
          Lines.mailParameters.render({ extra: [{ keyword: text, value: other }] }, everything, "mail"),
          Lines.mailParameters.render({ extra: [{ keyword: "X", value: text }] }, everything, "mail"),
          Lines.recipientParameters.render({ originalRecipient: text }, everything, "to"),
          Lines.recipientParameters.render(
            { originalRecipient: { type: "utf-8", address: text } },
            everything,
            "to"
          ),
          Lines.recipientParameters.render(
            { originalRecipient: { type: text, address: other } },
            everything,
            "to"
          )
        ]) {
          if (typeof rendered === "string") expect(rendered).toMatch(/^ [!-~]+$/)
        }
      }),
      { numRuns: runsOf(500) }
    )
  })

  it("reading never throws", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.constantFrom("SIZE=", "BY=", "HOLDUNTIL=", "ORCPT=utf-8;", "RRVS=", "NOTIFY=", "AUTH=", ""),
        FastCheck.string({ unit: "binary" }),
        (keyword, text) => {
          for (const read of [
            Lines.mailParameters.read([`${keyword}${text}`], "options"),
            Lines.recipientParameters.read([`${keyword}${text}`], "options")
          ]) {
            expect(isInvalid(read) || typeof read === "object").toBe(true)
          }
        }
      )
    )
  })
})
