import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { isInvalid } from "../../src/protocol/Invalid.js"
import * as Mailbox from "../../src/protocol/Mailbox.js"
import { runsOf } from "../support/runs.js"

const read = (address: string): Mailbox.Mailbox => {
  const mailbox = Mailbox.parse(address, "to")
  if (isInvalid(mailbox)) throw new Error(`${address}: it ${mailbox.reason}`)
  return mailbox
}

const path = (address: string): string => Mailbox.toPath(read(address))

const reason = (address: string): string => {
  const mailbox = Mailbox.parse(address, "to")
  return isInvalid(mailbox) ? mailbox.reason : `accepted as ${Mailbox.toPath(mailbox)}`
}

describe("addresses that go out octet for octet (RFC 5321 section 4.1.2)", () => {
  it.each([
    "ann@example.com",
    "Ann.Lee@Example.COM",
    "o'brien+tag=1@example.com",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "user%other@example.com",
    "bang!path@example.com",
    "a@b",
    "a@localhost",
    "a@1.2",
    "a@0x7f.1",
    "a@xn--bcher-kva.example",
    '"ann"@example.com',
    '""@example.com',
    '"a b"@example.com',
    '"a@b"@example.com',
    '"a\\"b\\\\c"@example.com',
    '"a..b"@example.com',
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "a@[ipv6:::ffff:192.0.2.1]",
    "a@[x-tag:any!thing]",
    "a@[x-IPv6:a]"
  ])("%s", (address) => {
    expect(path(address)).toBe(`<${address}>`)
  })

  it("accepts an underscore in a domain, since such hosts receive mail", () => {
    expect(path("a@mail_1._in.example.com")).toBe("<a@mail_1._in.example.com>")
  })

  it("keeps what the program gave beside what goes on the wire", () => {
    expect(read("Ann@BÜCHER.example")).toStrictEqual({
      _tag: "Mailbox",
      source: "Ann@BÜCHER.example",
      localPart: "Ann",
      domain: "BÜCHER.example",
      asciiDomain: "xn--bcher-kva.example",
      needsSmtpUtf8: false
    })
  })
})

describe("addresses that are refused", () => {
  it.each([
    ["Ann <ann@example.com>", "display name or angle brackets; give the bare address"],
    ["<ann@example.com>", "display name or angle brackets; give the bare address"],
    ['"Ann Lee" <ann@example.com>', "display name or angle brackets; give the bare address"],
    ["ann@example.com>", "display name or angle brackets; give the bare address"],
    ["ann@example.com> SIZE=1", "display name or angle brackets; give the bare address"],
    ["@relay.example:ann@example.com", "source route"],
    ["@example.com", "no local part"],
    ["ann", "no @ and domain"],
    ["ann@", "no domain after the @"],
    ["", "is empty"],
    ["ann lee@example.com", "space outside quotes"],
    ["ann@example.com ", "space outside quotes"],
    ["ann@exa\u00a0mple.com", "space outside quotes"],
    ["ann@example.com, bob@example.com", "more than one address; give an array"],
    ["ann@example.com; bob@example.com", "more than one address; give an array"],
    ["ann@example.com,bob@example.com", "more than one address; give an array"],
    ["ann@b@example.com", "more than one @"],
    ["ann@example.com\r\nRCPT TO:<eve@example.com>", "holds a CR"],
    ["ann\n@example.com", "holds an LF"],
    ['"a\r\nb"@example.com', "holds a CR"],
    ["ann\0@example.com", "holds a NUL"],
    ["ann\t@example.com", "control character U+0009"],
    ["ann\u0085@example.com", "control character U+0085"],
    ["ann\u007f@example.com", "control character U+007F"],
    ["ann\u2028@example.com", "control character U+2028"],
    ["ann\u200b@example.com", "invisible character U+200B"],
    ["\ufeffann@example.com", "invisible character U+FEFF"],
    ["ann\ud800@example.com", "half a surrogate pair"],
    ["ann..lee@example.com", "must be put in double quotes"],
    [".ann@example.com", "must be put in double quotes"],
    ["ann.@example.com", "must be put in double quotes"],
    ["ann(comment)@example.com", "must be put in double quotes"],
    ["a;b@example.com", "must be put in double quotes"],
    ['"ann@example.com', "must be put in double quotes"],
    ['ann"lee"@example.com', "must be put in double quotes"],
    ['"ann"lee@example.com', "no @ after its quoted local part"],
    ["ann@example..com", "empty label"],
    ["ann@example.com.", "empty label"],
    ["ann@.example.com", "empty label"],
    ["ann@-example.com", "inner hyphens"],
    ["ann@example-.com", "inner hyphens"],
    ["ann@example.com:25", "inner hyphens"],
    ["ann@example.com/path", "inner hyphens"],
    ["ann@ex%61mple.com", "inner hyphens"],
    ["ann@[192.0.2.256]", "address literal"],
    ["ann@[192.0.2.1", "closing bracket"],
    ["ann@[192.0.2.1]x", "closing bracket"],
    ["ann@[2001:db8::1]", "write [IPv6:2001:db8::1]"],
    ["ann@[IPv6:1:2:3]", "not an IPv6 address"],
    ["ann@[IPv6:fe80::1%eth0]", "not an IPv6 address"],
    ["ann@[_x:a]", "neither [1.2.3.4] nor [IPv6:...] nor [tag:...]"],
    ["ann@[x:a\\b]", "neither [1.2.3.4] nor [IPv6:...] nor [tag:...]"],
    ["ann@[]", "address literal"]
  ])("%j", (address, expected) => {
    expect(reason(address)).toContain(expected)
  })

  it("names the field as the program wrote it", () => {
    expect(Mailbox.parse("ann", "to[2].address")).toMatchObject({ _tag: "Invalid", field: "to[2].address" })
  })
})

describe("limits (RFC 5321 section 4.5.3.1)", () => {
  const labels = (count: number): string => Array.from({ length: count }, () => "a".repeat(49)).join(".")

  it("allows a local part of 64 octets and no more", () => {
    expect(reason(`${"a".repeat(64)}@b`)).toContain("accepted")
    expect(reason(`${"a".repeat(65)}@b`)).toBe("has a local part of more than 64 bytes")
  })

  it("counts the local part in octets of UTF-8, quotes included", () => {
    expect(reason(`${"ü".repeat(32)}@b`)).toContain("accepted")
    expect(reason(`${"ü".repeat(33)}@b`)).toContain("64 bytes")
    expect(reason(`"${"a".repeat(63)}"@b`)).toContain("64 bytes")
  })

  it("allows a label of 63 octets and no more", () => {
    expect(reason(`a@${"b".repeat(63)}.c`)).toContain("accepted")
    expect(reason(`a@${"b".repeat(64)}.c`)).toContain("63 bytes")
  })

  it("allows a path of 256 octets with its brackets and no more", () => {
    const longest = `aaaa@${labels(5)}`
    expect(path(longest)).toHaveLength(256)
    expect(reason(`a${longest}`)).toBe("is a path of more than 256 bytes")
    expect(path(`"aa"@${labels(5)}`)).toHaveLength(256)
    expect(reason(`"aaa"@${labels(5)}`)).toBe("is a path of more than 256 bytes")
  })

  it("refuses a domain of more than 255 octets", () => {
    expect(reason(`a@${labels(5)}.aaaaaa`)).toContain("255 bytes")
  })
})

describe("internationalised addresses (RFC 6531)", () => {
  it("sends a domain as A-labels, which does not need SMTPUTF8", () => {
    const mailbox = read("ann@faß.bücher.example")
    expect(Mailbox.toPath(mailbox)).toBe("<ann@xn--fa-hia.xn--bcher-kva.example>")
    expect(mailbox.needsSmtpUtf8).toBe(false)
  })

  it("keeps a local part beyond ASCII as it is, without normalising it, and needs SMTPUTF8", () => {
    const mailbox = read("u\u0308ser@example.com")
    expect(Mailbox.toPath(mailbox)).toBe("<u\u0308ser@example.com>")
    expect(mailbox.needsSmtpUtf8).toBe(true)
  })

  it("accepts a quoted local part beyond ASCII", () => {
    expect(path('"ü b"@example.com')).toBe('<"ü b"@example.com>')
  })

  it("accepts a last label that begins with a digit", () => {
    expect(path("a@ü.1com")).toBe("<a@xn--tda.1com>")
  })

  it("takes the ideographic full stop for a dot (UTS 46)", () => {
    expect(path("a@ü。com")).toBe("<a@xn--tda.com>")
  })

  it.each([
    ["full-width digits that URL takes for an IPv4 address", "a@１.２"],
    ["a number that URL takes for an IPv4 address", "a@２５６２５"],
    ["circled digits that URL takes for an IPv4 address", "a@①.②.③.④"],
    ["a port", "a@ü.com:25"],
    ["a path", "a@ü.com/x"],
    ["a query", "a@ü.com?x"],
    ["a fragment", "a@ü.com#x"],
    ["a backslash", "a@ü.com\\x"],
    ["a percent-encoded dot", "a@ü%2ecom"],
    ["an asterisk", "a@ü*.com"],
    ["a trailing dot", "a@ü."],
    ["an empty label", "a@ü..com"],
    ["a leading full-width dot", "a@．com"],
    ["a hyphen at the start of a label that stays ASCII", "a@ü.-com"],
    ["a false A-label", "a@xn--zzzü.com"],
    ["a leading combining mark", "a@\u0301a.com"],
    ["a label of more than 63 octets once it is an A-label", `a@${"ü".repeat(80)}.com`]
  ])("refuses a domain with %s", (_, address) => {
    expect(reason(address)).toContain("cannot be turned into A-labels")
  })

  it("leaves a domain in ASCII as it is, which URL would put into lower case", () => {
    expect(read("a@Example.com").asciiDomain).toBe("Example.com")
  })
})

describe("reverse-path and forward-path", () => {
  it("reads the empty string as the null reverse-path (RFC 5321 section 4.5.5)", () => {
    expect(Mailbox.parseReversePath("", "from")).toBeNull()
    expect(Mailbox.toPath(null)).toBe("<>")
  })

  it("explains how the null reverse-path is given", () => {
    expect(Mailbox.parseReversePath("<>", "from")).toStrictEqual({
      _tag: "Invalid",
      field: "from",
      reason: 'holds angle brackets; give "" for the null reverse-path'
    })
  })

  it.each(["postmaster", "Postmaster", "POSTMASTER"])(
    "accepts %s without a domain as a recipient only (RFC 5321 section 4.1.1.3)",
    (address) => {
      const mailbox = Mailbox.parseForwardPath(address, "to")
      expect(isInvalid(mailbox) ? mailbox : Mailbox.toPath(mailbox)).toBe(`<${address}>`)
      expect(mailbox).toMatchObject({ needsSmtpUtf8: false })
      expect(Mailbox.parseReversePath(address, "from")).toMatchObject({ _tag: "Invalid" })
    }
  )

  it.each(["a postmaster", "postmasters", "postmaster@"])("refuses %s", (address) => {
    expect(Mailbox.parseForwardPath(address, "to")).toMatchObject({ _tag: "Invalid" })
  })

  it("refuses an empty recipient", () => {
    expect(Mailbox.parseForwardPath("", "to")).toMatchObject({ _tag: "Invalid" })
  })
})

describe("identity", () => {
  it("never folds a local part, whatever the case of the domain", () => {
    expect(same("Ann@EXAMPLE.com", "ann@example.com")).toBe(false)
    expect(same("Ann@EXAMPLE.com", "Ann@example.com")).toBe(true)
  })

  const same = (left: string, right: string): boolean =>
    Mailbox.identity(read(left)) === Mailbox.identity(read(right))

  it.each([
    ["needless quotes", '"ann"@example.com', "ann@example.com"],
    ["a needless quoted pair", '"a\\nn"@example.com', "ann@example.com"],
    ["quotes that are needed, with another escape", '"a b"@example.com', '"a\\ b"@example.com'],
    ["the letter case of a domain", "ann@EXAMPLE.com", "ann@example.com"],
    ["U-labels and A-labels", "ann@BÜCHER.example", "ann@XN--BCHER-KVA.example"]
  ])("ignores %s", (_, left, right) => {
    expect(same(left, right)).toBe(true)
  })

  it.each([
    ["the letter case of a local part (RFC 5321 section 2.4)", "Ann@example.com", "ann@example.com"],
    ["dots", "a.nn@example.com", "ann@example.com"],
    ["tags", "ann+x@example.com", "ann@example.com"],
    ["Unicode normalisation of a local part", "\u00fc@example.com", "u\u0308@example.com"],
    ["a quoted @ and a real one", '"a@b"@c', "a@c"],
    ["a quoted backslash", '"a\\\\b"@c', '"a\\b"@c']
  ])("tells %s apart", (_, left, right) => {
    expect(same(left, right)).toBe(false)
  })

  it.each([
    ["Ann@Example.COM", "Ann@example.com"],
    ['"ann"@Example.COM', "ann@example.com"],
    ['"a\\ \\"b\\\\"@Example.COM', '"a \\"b\\\\"@example.com']
  ])("of %s is %s", (address, identity) => {
    expect(Mailbox.identity(read(address))).toBe(identity)
  })

  it("treats the bare postmaster alike in any letter case", () => {
    const keys = ["postmaster", "Postmaster"].map((address) => {
      const mailbox = Mailbox.parseForwardPath(address, "to")
      return isInvalid(mailbox) ? undefined : Mailbox.identity(mailbox)
    })
    expect(keys).toStrictEqual(["postmaster", "postmaster"])
  })
})

describe("the client's name (RFC 5321 section 4.1.1.1)", () => {
  it.each([
    "mail.example.com",
    "host",
    "WIN-HOST-1",
    "mail.1a",
    "1.mail",
    "[192.0.2.1]",
    "[IPv6:2001:db8::1]",
    "xn--bcher-kva.example",
    Array.from({ length: 4 }, () => "a".repeat(63)).join("."),
    `[x:${"a".repeat(251)}]`
  ])("accepts %s", (name) => {
    expect(Mailbox.parseClientName(name, "clientName")).toBe(name)
  })

  it.each([
    ["", "is empty"],
    ["a b", "holds a space"],
    ["a\r\nMAIL FROM:<>", "holds a CR"],
    ["a\nb", "holds an LF"],
    ["bücher.example", "is not ASCII"],
    ["WIN_HOST-1", "underscore"],
    ["1.2", "label of digits"],
    ["mail.25", "label of digits"],
    ["25", "label of digits"],
    ["host.", "empty label"],
    ["-host", "inner hyphens"],
    ["a@b", "inner hyphens"],
    ["[192.0.2]", "address literal"],
    ["a".repeat(256), "255 bytes"],
    [`[x:${"a".repeat(252)}]`, "has a domain of more than 255 bytes"],
    ["a".repeat(64), "has a domain label of more than 63 bytes"]
  ])("refuses %j", (name, expected) => {
    const read = Mailbox.parseClientName(name, "clientName")
    expect(isInvalid(read) ? read.reason : "accepted").toContain(expected)
  })
})

describe("address literals (RFC 5321 section 4.1.3)", () => {
  it.each([
    ["192.0.2.1", "[192.0.2.1]"],
    ["::1", "[IPv6:::1]"],
    ["2001:db8::1", "[IPv6:2001:db8::1]"],
    ["fe80::1%eth0", "[IPv6:fe80::1]"],
    ["::ffff:192.0.2.1", "[192.0.2.1]"],
    ["::FFFF:192.0.2.1%eth0", "[192.0.2.1]"],
    ["64::ffff:192.0.2.1", "[IPv6:64::ffff:192.0.2.1]"],
    ["255.255.255.255", "[255.255.255.255]"],
    ["1:2:3:4:5:6:7:8", "[IPv6:1:2:3:4:5:6:7:8]"],
    ["1:2:3:4:5:6:7::", "[IPv6:1:2:3:4:5:6:7::]"],
    ["::", "[IPv6:::]"]
  ])("%s becomes %s", (ip, literal) => {
    expect(Mailbox.addressLiteral(ip)).toBe(literal)
    expect(Mailbox.parseClientName(literal, "clientName")).toBe(literal)
    if (!ip.includes("%")) expect(Mailbox.parseClientName(ip, "clientName")).toBe(literal)
  })

  it.each([
    "",
    "localhost",
    "1.2.3",
    "1.2.3.4.5",
    "::ffff:1.2.3.4x",
    "::ffff:1.2.3.4:1",
    "1::2::3",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    ":::",
    "1.2.3.4::",
    "12345::"
  ])("%j is none", (ip) => {
    expect(Mailbox.addressLiteral(ip)).toBeUndefined()
  })
})

describe("plain addresses, which need no closer look", () => {
  it.each([
    "a@b",
    "ann@example.com",
    "Ann.Lee.x@Mail.Example.COM",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    "ann@mail_1.a--b.example.com",
    `${"a".repeat(64)}@${"b".repeat(63)}.${"c".repeat(63)}`,
    `aaaa@${Array.from({ length: 5 }, () => "a".repeat(49)).join(".")}`
  ])("%s", (address) => {
    expect(Mailbox.parsePlain(address)).toStrictEqual(read(address))
  })

  it.each([
    "",
    "ann",
    '"ann"@example.com',
    "ann@bücher.example",
    "ann@[192.0.2.1]",
    `${"a".repeat(65)}@b`,
    `a@${"b".repeat(64)}`,
    `aaaaa@${Array.from({ length: 5 }, () => "a".repeat(49)).join(".")}`
  ])("%j is none", (address) => {
    expect(Mailbox.parsePlain(address)).toBeUndefined()
  })
})

describe("for any input", () => {
  const hostile = FastCheck.oneof(
    FastCheck.string({ unit: "binary" }),
    FastCheck.string({
      unit: FastCheck.constantFrom(
        "a",
        "B",
        "1",
        "@",
        ".",
        '"',
        "\\",
        "<",
        ">",
        "[",
        "]",
        ":",
        " ",
        "-",
        "_",
        "ü",
        "\r",
        "\n",
        "\0",
        "．",
        "\ud800"
      )
    }),
    FastCheck.emailAddress()
  )
  const options: FastCheck.Parameters<unknown> = { numRuns: runsOf(200) }

  it("parsing never throws, and an accepted path can neither end its line nor gain a parameter", () => {
    FastCheck.assert(
      FastCheck.property(hostile, (address) => {
        const mailbox = Mailbox.parseForwardPath(address, "to")
        if (isInvalid(mailbox)) return
        const rendered = Mailbox.toPath(mailbox)
        expect(rendered).not.toMatch(/\p{Cc}|\p{Cs}/u)
        expect(rendered).toMatch(/^<(?:"(?:[^"\\]|\\.)*"|[^ <>"]+?)(?:@[^ <>"]+)?>$/u)
        expect(rendered.slice(1, -1)).toHaveLength(
          mailbox.domain === "" ? address.length : mailbox.localPart.length + 1 + mailbox.asciiDomain.length
        )
      }),
      options
    )
  })

  it("what was accepted reads as the same mailbox again", () => {
    FastCheck.assert(
      FastCheck.property(hostile, (address) => {
        const mailbox = Mailbox.parse(address, "to")
        if (isInvalid(mailbox)) return
        const again = read(Mailbox.toPath(mailbox).slice(1, -1))
        expect(again.localPart).toBe(mailbox.localPart)
        expect(again.asciiDomain).toBe(mailbox.asciiDomain)
        expect(Mailbox.identity(again)).toBe(Mailbox.identity(mailbox))
      }),
      options
    )
  })

  it("ordinary addresses are accepted and unchanged", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.emailAddress(), (address) => {
        FastCheck.pre(address.indexOf("@") <= 64)
        expect(path(address)).toBe(`<${address}>`)
      })
    )
  })

  it("an identity names itself: read as an address it has the same identity", () => {
    FastCheck.assert(
      FastCheck.property(hostile, (address) => {
        const mailbox = Mailbox.parse(address, "to")
        if (isInvalid(mailbox)) return
        const key = Mailbox.identity(mailbox)
        const again = Mailbox.parse(key, "to")
        expect(isInvalid(again) ? again.reason : Mailbox.identity(again)).toBe(key)
      }),
      options
    )
  })

  it("reading a client's name never throws and never lets a line end through", () => {
    FastCheck.assert(
      FastCheck.property(hostile, (name) => {
        const read = Mailbox.parseClientName(name, "clientName")
        if (!isInvalid(read)) expect(read).toMatch(/^[!-~]+$/)
      }),
      options
    )
  })
})
