import { describe, expect, it } from "@effect/vitest"
import { createHash, createPrivateKey, sign } from "node:crypto"
import type { SignedField, Tags } from "../../src/protocol/DkimSignature.js"
import * as DkimSignature from "../../src/protocol/DkimSignature.js"

const field = (text: string): SignedField => ({ name: text.slice(0, text.indexOf(":")), text })

describe("the canonical form of a field", () => {
  // RFC 6376 section 3.4.5.
  it("is that of the RFC's example", () => {
    expect(DkimSignature.canonicalField("A: X", "relaxed")).toBe("a:X")
    expect(DkimSignature.canonicalField("B : Y\t\r\n\tZ  ", "relaxed")).toBe("b:Y Z")
    expect(DkimSignature.canonicalField("B : Y\t\r\n\tZ  ", "simple")).toBe("B : Y\t\r\n\tZ  ")
  })

  it("leaves white space of other alphabets alone", () => {
    expect(DkimSignature.canonicalField("A: \u00a0x\u00a0", "relaxed")).toBe("a:\u00a0x\u00a0")
  })
})

describe("the names of signed fields", () => {
  const fields = ["From: a", "To: b", "To: c", "X: d"].map(field)

  it("are each as often as the message has the field, and once more if it is oversigned", () => {
    expect(DkimSignature.signedNames(fields, ["from", "TO", "Subject"], [])).toEqual(["from", "to", "to"])
    expect(DkimSignature.signedNames(fields, ["From", "From"], ["To", "Cc"])).toEqual([
      "from",
      "to",
      "to",
      "to",
      "cc"
    ])
  })

  it("are by default those that readers see and those of MIME, of mailing lists and of resending", () => {
    expect(DkimSignature.defaultFields.join(" ")).toBe(
      [
        "From Sender Reply-To To Cc Subject",
        "Date Message-ID In-Reply-To References MIME-Version Content-Type",
        "Content-Transfer-Encoding Content-ID Content-Description Resent-Date Resent-From Resent-Sender",
        "Resent-To Resent-Cc Resent-Message-ID List-Id List-Help List-Unsubscribe",
        "List-Unsubscribe-Post List-Subscribe List-Post List-Owner List-Archive"
      ].join(" ")
    )
  })

  it("are oversigned by default where nobody on the way may add them", () => {
    const always = ["from", "reply-to", "cc", "subject", "content-type", "content-transfer-encoding"]
    expect(DkimSignature.signedNames([], [], undefined)).toEqual(always)
    const present = ["To: b", "Date: c", "Message-ID: d", "MIME-Version: e", "FROM: a"].map(field)
    expect([...DkimSignature.signedNames(present, [], undefined)].sort()).toEqual(
      [...always, "from", "to", "to", "date", "date", "message-id", "message-id"]
        .concat("mime-version", "mime-version")
        .sort()
    )
    expect(DkimSignature.defaultOversigned).toHaveLength(10)
  })

  it("stand for fields from the last one upwards (RFC 6376 section 5.4.2)", () => {
    const text = DkimSignature.signingText(
      fields,
      { header: "relaxed", names: ["to", "to", "to", "x"] },
      "S: b="
    )
    expect(text).toBe("to:c\r\nto:b\r\nx:d\r\ns:b=")
  })
})

describe("the field itself", () => {
  const tags: Tags = {
    algorithm: "ed25519-sha256",
    header: "relaxed",
    body: "simple",
    domain: "example.com",
    selector: "a.b",
    signedAt: 1_700_000_000,
    expiresAt: 1_700_000_600,
    names: Array.from({ length: 40 }, (_, index) => `x-field-${index}`),
    bodyHash: "x".repeat(44)
  }

  it("is written as short as it can be, in lines of 74 characters", () => {
    const field = DkimSignature.unsigned({ ...tags, expiresAt: undefined, names: ["from", "to"] })
    expect(DkimSignature.complete(field, "y".repeat(80))).toBe(
      [
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/simple; d=example.com;",
        " s=a.b; t=1700000000; h=from:to;",
        ` bh=${"x".repeat(44)};`,
        ` b=${"y".repeat(72)}`,
        ` ${"y".repeat(8)}`,
        ""
      ].join("\r\n")
    )
  })

  it("is folded between tags and names", () => {
    const whole = DkimSignature.complete(DkimSignature.unsigned(tags), "y".repeat(344))
    const lines = whole.slice(0, -2).split("\r\n")
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(78)
    expect(lines.slice(1).every((line) => /^ \S/.test(line))).toBe(true)
    const unfolded = whole.replace(/\r\n /g, "").replace(/\s+/g, "")
    expect(unfolded).toContain(`h=${tags.names.join(":")};bh=${"x".repeat(44)};b=${"y".repeat(344)}`)
    expect(unfolded).toContain("c=relaxed/simple;d=example.com;s=a.b;t=1700000000;x=1700000600;")
  })
})

// RFC 8463 appendix A: keys, message and signatures.
describe("the example of RFC 8463", () => {
  const message = [
    "From: Joe SixPack <joe@football.example.com>",
    "To: Suzie Q <suzie@shopping.example.net>",
    "Subject: Is dinner ready?",
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)",
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>"
  ].map(field)

  const names = ["from", "to", "subject", "date", "message-id", "from", "subject", "date"]

  const unsigned = [
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;",
    " d=football.example.com; i=@football.example.com;",
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :",
    " subject : date : message-id : from : subject : date;",
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;",
    " b="
  ].join("\r\n")

  it("signs the same text to the same signature", () => {
    const seed = Buffer.from("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=", "base64")
    const key = createPrivateKey({
      key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]),
      format: "der",
      type: "pkcs8"
    })
    const text = DkimSignature.signingText(message, { header: "relaxed", names }, unsigned)
    const digest = createHash("sha256").update(text, "latin1").digest()
    expect(sign(null, digest, key).toString("base64")).toBe(
      "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    )
  })
})
