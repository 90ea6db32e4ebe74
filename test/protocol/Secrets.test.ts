import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { createHash } from "node:crypto"
import * as Command from "../../src/protocol/Command.js"
import { make as makeReply } from "../../src/protocol/Reply.js"
import { Secrets } from "../../src/protocol/Secrets.js"

const base64 = (text: string): string => Buffer.from(text).toString("base64")

const password = "hunter2-and-more"
const response = base64(`\0ann\0${password}`)

const keeping = (...lines: ReadonlyArray<string>): Secrets => {
  const secrets = new Secrets()
  for (const line of lines) secrets.keep(Command.authResponse(line))
  return secrets
}

const guarding = (value: string): Secrets => {
  const secrets = keeping("")
  secrets.guard(value)
  return secrets
}

const groupsOf = (size: number, text: string): string =>
  Array.from({ length: Math.ceil(text.length / size) }, (_, index) =>
    text.slice(index * size, (index + 1) * size)
  ).join(" ")

describe("a response of AUTH in text of the server", () => {
  it.each([
    [`Command unrecognized: "AUTH PLAIN ${response}"`, 'Command unrecognized: "AUTH PLAIN [redacted]"'],
    [`cannot decode ${response.slice(3, 15)}...`, "cannot decode [redacted]..."],
    [`AUTH PLAIN ${response.toUpperCase()}?`, "AUTH PLAIN [redacted]?"],
    [`x${response}x`, "x[redacted]x"],
    [`in groups: ${groupsOf(4, response)}.`, "in groups: [redacted]."],
    [`in groups: ${groupsOf(1, response)}.`, "in groups: [redacted]."],
    [`${response} or ${response}`, "[redacted] or [redacted]"]
  ])("is withheld: %j", (text, shown) => {
    const secrets = new Secrets()
    secrets.keep(Command.auth(`PLAIN ${response}`))
    expect(secrets.withhold(text)).toBe(shown)
    expect(keeping(response, base64("another response")).withhold(text)).toBe(shown)
  })

  it("is withheld in the alphabet of URLs", () => {
    const text = Buffer.from("??>>??>>??>>").toString("base64")
    expect(text).toMatch(/[+/]/)
    expect(keeping(text).withhold(Buffer.from("??>>??>>??>>").toString("base64url"))).toBe("[redacted]")
  })

  it("is withheld over several lines, which stay lines", () => {
    const half = response.length / 2
    expect(
      keeping(response).withhold(`first ${response.slice(0, 5)}\n${response.slice(5, half)}\nlast`)
    ).toBe("first [redacted]\n[redacted]\nlast")
  })

  it("is found as a word when it is short, and words that only look like a piece of one stay", () => {
    expect(keeping("YQ==").withhold("YQ== is a, AQ== and xYQ== are not")).toBe(
      "[redacted] is a, AQ== and xYQ== are not"
    )
    const text = "5.7.8 Authentication failed: bad credentials"
    expect(keeping(response).withhold(text)).toBe(text)
  })

  it("is withheld wherever it stands, whatever it is", () => {
    const octets = FastCheck.uint8Array({ minLength: 6, maxLength: 300 })
    const text = FastCheck.string({ unit: "grapheme", maxLength: 40 })
    FastCheck.assert(
      FastCheck.property(octets, text, text, (secret, before, after) => {
        const line = Buffer.from(secret).toString("base64")
        const shown = keeping(line).withhold(before + line + after)
        expect(shown).not.toContain(line.slice(0, 8))
        expect(shown).toContain("[redacted]")
      })
    )
  })

  it("is still known after thousands of others, and memory is bounded by forgetting the oldest", () => {
    const secrets = keeping("Zmlyc3QgcmVzcG9uc2U=")
    const nth = (index: number) => createHash("sha256").update(String(index)).digest("base64")
    for (let index = 0; index < 2000; index++) secrets.keep(Command.authResponse(nth(index)))
    expect(secrets.withhold(nth(1999))).toBe("[redacted]")
    expect(secrets.withhold(nth(1900))).toBe("[redacted]")
    expect(secrets.withhold("Zmlyc3QgcmVzcG9uc2U=")).toBe("Zmlyc3QgcmVzcG9uc2U=")
  })
})

describe("a password or token in text of the server", () => {
  it("is withheld as it is", () => {
    expect(guarding(password).withhold(`wrong: ann/${password}x`)).toBe("wrong: ann/[redacted]x")
    expect(guarding("a+b(c)[d]{2}$^|\\").withhold("not a+b(c)[d]{2}$^|\\!")).toBe("not [redacted]!")
  })

  it.each(["", "x", "xy", "app:"])("is withheld in base64 behind %j", (before) => {
    const shown = guarding(password).withhold(`Basic ${base64(`${before}${password}`)}`)
    const [, encoded = ""] = /^Basic (\S*)\[redacted\]/.exec(shown) ?? [undefined, shown]
    expect(Buffer.from(encoded, "base64").toString()).not.toContain(password.slice(0, 1))
    expect(shown).toContain("[redacted]")
  })

  it.each([
    ["", "[redacted]"],
    ["x", "eG[redacted]"],
    ["xy", "eHl[redacted]"]
  ])("leaves of base64 behind %j only what it shares with others: %s", (before, shown) => {
    const whole = base64(`${before}${password}`)
    const text = guarding(password).withhold(whole.replace(/=+$/, ""))
    expect(text.startsWith(shown)).toBe(true)
    expect(text.length).toBeLessThanOrEqual(shown.length + 1)
  })

  it("is withheld as often as it comes, short or long", () => {
    expect(guarding(password).withhold(`${password} ${password}`)).toBe("[redacted] [redacted]")
    expect(guarding("pass").withhold("pass pass")).toBe("[redacted] [redacted]")
    expect(guarding("päss").withhold("päss päss")).toBe("[redacted] [redacted]")
    expect(guarding("??????????").withhold("?????????? ??????????")).toBe("[redacted] [redacted]")
    expect(keeping("YQ==").withhold("YQ== yq==")).toBe("[redacted] [redacted]")
    expect(keeping("*").withhold("* and =")).toBe("* and =")
    expect(keeping("=").withhold("* and =")).toBe("* and =")
  })

  it("is known among the latest 64 short ones", () => {
    const secrets = keeping("")
    const nth = (index: number) => `p${String(index).padStart(3, "0")}`
    for (let index = 0; index < 65; index++) secrets.guard(nth(index))
    expect(secrets.withhold(`${nth(0)} ${nth(1)} ${nth(64)}`)).toBe("p000 [redacted] [redacted]")
    secrets.guard(nth(1))
    secrets.guard(nth(100))
    expect(secrets.withhold(`${nth(1)} ${nth(2)}`)).toBe("[redacted] p002")
  })

  it("is found as a word only when it is short, so that it does not show in holes of others", () => {
    expect(guarding("pass").withhold("your pass, your password")).toBe("your [redacted], your password")
    expect(guarding("abc").withhold("abc")).toBe("abc")
  })
})

describe("a reply", () => {
  it("has its lines and its text without what was said", () => {
    const reply = keeping(response).withholdFrom(makeReply(501, ["5.5.2 what is", `5.5.2 ${response}`]))
    expect(reply).toMatchObject({
      code: 501,
      lines: ["5.5.2 what is", "5.5.2 [redacted]"],
      text: "what is\n[redacted]",
      enhancedCode: { subject: 5, detail: 2 }
    })
  })

  it("is the same value where it repeats nothing, or nothing was said", () => {
    const reply = makeReply(250, ["2.0.0 Ok: queued as 4C8Zpq1Tz9z4Qy"])
    expect(keeping(response).withholdFrom(reply)).toBe(reply)
    const repeating = makeReply(500, [response])
    expect(new Secrets().withholdFrom(repeating)).toBe(repeating)
  })

  it("has its text without what was said, of one line and of several", () => {
    expect(keeping(response).withholdFrom(makeReply(501, [`5.5.2 ${response}`]))).toMatchObject({
      lines: ["5.5.2 [redacted]"],
      text: "[redacted]"
    })
    const plain = makeReply(250, ["one", "two"])
    expect(keeping(response).withholdFrom(plain)).toBe(plain)
    const empty = makeReply(250, [])
    expect(keeping(response).withholdFrom(empty)).toBe(empty)
  })

  it("that is a challenge shows nothing once AUTH was said", () => {
    const challenge = makeReply(334, ["PDEuMkBteD4="])
    expect(keeping("").withholdFrom(challenge)).toMatchObject({ lines: ["[redacted]"], text: "[redacted]" })
    expect(new Secrets().withholdFrom(challenge)).toBe(challenge)
  })
})
