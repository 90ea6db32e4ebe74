import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Capabilities from "../../src/protocol/Capabilities.js"
import * as Reply from "../../src/protocol/Reply.js"

const announcing = (...lines: ReadonlyArray<string>): Capabilities.Capabilities =>
  Capabilities.fromLines(["mail.example.com", ...lines])

const dataOf = ({ has, parameters, ...data }: Capabilities.Capabilities) => ({
  ...data,
  lookedUp: data.keywords.map((keyword) => [has(keyword), parameters(keyword)])
})

describe("the reply to EHLO (RFC 5321 section 4.1.1.1)", () => {
  const capabilities = Capabilities.fromReply(
    Reply.make(250, [
      "mail.example.com greets client.example.org",
      "PIPELINING",
      "SIZE 10485760",
      "8BITMIME",
      "BINARYMIME",
      "CHUNKING",
      "SMTPUTF8",
      "STARTTLS",
      "DSN",
      "ENHANCEDSTATUSCODES",
      "REQUIRETLS",
      "X-Odd Some  Thing"
    ])
  )

  it("names the server and its greeting", () => {
    expect(capabilities.domain).toBe("mail.example.com")
    expect(capabilities.greeting).toBe("greets client.example.org")
    expect(Capabilities.fromLines([" mail.example.com \t hello "])).toMatchObject({
      domain: "mail.example.com",
      greeting: "hello"
    })
    expect(Capabilities.fromLines(["", "DSN"])).toMatchObject({ domain: "", greeting: "", dsn: true })
  })

  it("finds keywords in any letter case", () => {
    expect(capabilities.has("pipelining")).toBe(true)
    expect(capabilities.has("PIPELINING")).toBe(true)
    expect(announcing("pipeLining").pipelining).toBe(true)
    expect(capabilities.has("VRFY")).toBe(false)
  })

  it("has a field for each extension that a transaction turns on", () => {
    expect(capabilities).toMatchObject({
      pipelining: true,
      chunking: true,
      starttls: true,
      eightBitMime: true,
      binaryMime: true,
      smtpUtf8: true,
      dsn: true,
      enhancedStatusCodes: true,
      requireTls: true,
      size: 10_485_760
    })
  })

  it("keeps unknown keywords and their parameters as they came", () => {
    expect(capabilities.parameters("x-odd")).toBe("Some  Thing")
    expect(capabilities.parameters("PIPELINING")).toBe("")
    expect(capabilities.parameters("VRFY")).toBeUndefined()
    expect(capabilities.keywords.at(-1)).toBe("X-ODD")
  })

  it("does not take the first line for a keyword", () => {
    expect(Capabilities.fromLines(["STARTTLS"]).starttls).toBe(false)
  })

  it("counts the first of two equal keywords", () => {
    expect(announcing("SIZE 10", "size 20").size).toBe(10)
    expect(announcing("SIZE 10", "size 20").keywords).toStrictEqual(["SIZE"])
    expect(announcing("SIZE 10", "size 20").parameters("SIZE")).toBe("10")
  })

  it("does not fold letters beyond ASCII into keywords", () => {
    expect(announcing("\u017fize 5").has("SIZE")).toBe(false)
    expect(announcing("AUTH P\u017f").authMechanisms).toStrictEqual(["P\u017f"])
  })

  it("passes over empty lines", () => {
    expect(announcing("", " ", "DSN").keywords).toStrictEqual(["DSN"])
  })

  it("a keyword that only begins like another is not that other", () => {
    expect(announcing("STARTTLSX", "SIZE-X 5")).toMatchObject({ starttls: false, size: undefined })
  })

  it("of a refusal there are none", () => {
    expect(Capabilities.fromReply(Reply.make(502, ["no", "PIPELINING"]))).toBe(Capabilities.none)
  })

  it("none has nothing", () => {
    expect(Capabilities.none).toMatchObject({ domain: "", keywords: [], authMechanisms: [], size: undefined })
    expect(Capabilities.none.has("")).toBe(false)
    expect(Capabilities.none.has("constructor")).toBe(false)
  })
})

describe("SIZE (RFC 1870)", () => {
  it.each([
    ["SIZE 1000", 1000],
    ["SIZE 0", undefined],
    ["SIZE 000", undefined],
    ["SIZE", undefined],
    ["SIZE 99999999999999999999", Number.MAX_SAFE_INTEGER],
    ["SIZE 100000000000000000000", undefined],
    ["SIZE -1", undefined],
    ["SIZE 1e3", undefined],
    ["SIZE unlimited", undefined],
    ["SIZE 1000 extra", 1000],
    ["SIZE 0010", 10],
    [" SIZE \t 1000 ", 1000],
    ["SIZE\t1000", 1000]
  ])("%s", (line, size) => {
    expect(announcing(line).size).toBe(size)
  })

  it("a message is too large beyond the limit, not at it", () => {
    expect(Capabilities.exceedsSize(announcing("SIZE 1000"), 1000)).toBe(false)
    expect(Capabilities.exceedsSize(announcing("SIZE 1000"), 1001)).toBe(true)
  })

  it("without a fixed limit no message is too large", () => {
    expect(Capabilities.exceedsSize(announcing("SIZE 0"), Number.MAX_SAFE_INTEGER)).toBe(false)
    expect(Capabilities.exceedsSize(Capabilities.none, 1)).toBe(false)
  })
})

describe("AUTH (RFC 4954)", () => {
  it("gives mechanisms in upper case and once", () => {
    expect(announcing("AUTH plain LOGIN  Plain").authMechanisms).toStrictEqual(["PLAIN", "LOGIN"])
  })

  it("understands the old form with an equals sign", () => {
    expect(announcing("AUTH=LOGIN PLAIN").authMechanisms).toStrictEqual(["LOGIN", "PLAIN"])
    expect(announcing("auth=login").has("AUTH")).toBe(true)
    expect(announcing("X-AUTH=LOGIN").keywords).toStrictEqual(["X-AUTH=LOGIN"])
  })

  it("joins the mechanisms of both forms", () => {
    const capabilities = announcing("AUTH LOGIN PLAIN", "AUTH=LOGIN SCRAM-SHA-256")
    expect(capabilities.authMechanisms).toStrictEqual(["LOGIN", "PLAIN", "SCRAM-SHA-256"])
    expect(capabilities.parameters("AUTH")).toBe("LOGIN PLAIN LOGIN SCRAM-SHA-256")
    expect(announcing("AUTH PLAIN", "AUTH").parameters("AUTH")).toBe("PLAIN")
    expect(announcing("AUTH", "AUTH PLAIN").parameters("AUTH")).toBe("PLAIN")
  })

  it("may be announced without any mechanism", () => {
    expect(announcing("AUTH")).toMatchObject({ authMechanisms: [], keywords: ["AUTH"] })
  })
})

describe("LIMITS (RFC 9422)", () => {
  const nothing = { mailMax: undefined, rcptMax: undefined, rcptDomainMax: undefined }

  it("reads the three limits in any letter case and order", () => {
    expect(announcing("LIMITS rcptmax=100 MAILMAX=5 RCPTDOMAINMAX=1").limits).toStrictEqual({
      mailMax: 5,
      rcptMax: 100,
      rcptDomainMax: 1
    })
  })

  it("passes over unknown limits", () => {
    expect(announcing("LIMITS OTHER=x,y MAILMAX=5").limits).toStrictEqual({ ...nothing, mailMax: 5 })
  })

  it.each([
    "MAILMAX=5 RCPTMAX",
    "MAILMAX=5 =7",
    "MAILMAX=5  RCPTMAX=7",
    "MAILMAX=5;RCPTMAX=7",
    "MAILMAX= RCPTMAX=7",
    "MAILMAX=5\tRCPTMAX=7"
  ])("a syntax error makes the whole keyword void: %j", (parameters) => {
    expect(announcing(`LIMITS ${parameters}`).limits).toStrictEqual(nothing)
  })

  it.each(["0", "1000000", "05", "-5", "5x", "1e3"])(
    "the value %s makes that limit void, not its neighbour",
    (value) => {
      expect(announcing(`LIMITS MAILMAX=${value} RCPTMAX=7`).limits).toStrictEqual({ ...nothing, rcptMax: 7 })
    }
  )

  it("accepts six digits", () => {
    expect(announcing("LIMITS MAILMAX=999999").limits.mailMax).toBe(999_999)
  })

  it("takes the stricter of a limit that comes twice", () => {
    expect(announcing("LIMITS RCPTMAX=50 RCPTMAX=20").limits.rcptMax).toBe(20)
  })
})

describe("other announced bounds", () => {
  it("reads the bounds of FUTURERELEASE (RFC 4865)", () => {
    expect(announcing("FUTURERELEASE 86400 2030-01-01T00:00:00Z").futureRelease).toStrictEqual({
      maximumInterval: 86_400,
      maximumTime: Date.UTC(2030, 0, 1)
    })
    expect(announcing("FUTURERELEASE soon later").futureRelease).toStrictEqual({
      maximumInterval: undefined,
      maximumTime: undefined
    })
    expect(announcing("DSN").futureRelease).toBeUndefined()
  })

  it.each([
    ["2030-01-01T00:00:00.5Z", Date.UTC(2030, 0, 1, 0, 0, 0, 500)],
    ["2030-01-01T00:00:00.125z", Date.UTC(2030, 0, 1, 0, 0, 0, 125)],
    ["2030-01-01t00:00:00z", Date.UTC(2030, 0, 1)],
    ["2030-01-01T11:30:00+11:30", Date.UTC(2030, 0, 1)],
    ["2029-12-31T19:00:00-05:00", Date.UTC(2030, 0, 1)],
    ["2030-01-01T00:00:00", undefined],
    ["2030-01-01", undefined],
    ["2030-13-01T00:00:00Z", undefined],
    ["2030-01-01T00:00:00.xZ", undefined],
    ["2030-01-01T00:00:00Z[UTC]", undefined],
    ["+002030-01-01T00:00:00Z", undefined],
    [undefined, undefined]
  ])("the latest time of FUTURERELEASE: %s", (time, maximumTime) => {
    expect(announcing(`FUTURERELEASE 60 \t ${time ?? ""}`).futureRelease).toStrictEqual({
      maximumInterval: 60,
      maximumTime
    })
  })

  it.each(["x60", "60x", "1234567890", ""])("no seconds: %j", (text) => {
    expect(announcing(`FUTURERELEASE ${text}`).futureRelease?.maximumInterval).toBeUndefined()
    expect(announcing(`DELIVERBY ${text}`).deliverByMinimum).toBeUndefined()
  })

  it("reads the least by-time of DELIVERBY (RFC 2852)", () => {
    expect(announcing("DELIVERBY 240").deliverByMinimum).toBe(240)
    expect(announcing("DSN").deliverByMinimum).toBeUndefined()
    expect(announcing("DELIVERBY").deliverByMinimum).toBeUndefined()
  })
})

describe("storing", () => {
  it("lines survive JSON and give equal capabilities", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(
          FastCheck.oneof(
            FastCheck.string(),
            FastCheck.constantFrom("SIZE 5", "AUTH PLAIN", "LIMITS MAILMAX=5")
          )
        ),
        (lines) => {
          const capabilities = Capabilities.fromLines(lines)
          const stored: unknown = JSON.parse(JSON.stringify(capabilities.rawLines))
          expect(stored).toStrictEqual(lines)
          expect(dataOf(Capabilities.fromLines(capabilities.rawLines))).toStrictEqual(dataOf(capabilities))
        }
      )
    )
  })

  it("does not change when the lines that it was read from do", () => {
    const lines = ["host", "DSN"]
    const capabilities = Capabilities.fromLines(lines)
    lines.push("SIZE 5")
    expect(capabilities.rawLines).toStrictEqual(["host", "DSN"])
  })

  it("never throws, and every number is a sane one", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.string({ unit: "binary" })),
        FastCheck.string(),
        (lines, text) => {
          const capabilities = announcing(...lines, `SIZE ${text}`, `LIMITS ${text}`, `FUTURERELEASE ${text}`)
          const { limits, size } = capabilities
          for (const value of [size, limits.mailMax, limits.rcptMax, limits.rcptDomainMax]) {
            if (value !== undefined) expect(Number.isSafeInteger(value) && value > 0).toBe(true)
          }
          for (const keyword of capabilities.keywords) expect(capabilities.has(keyword)).toBe(true)
        }
      )
    )
  })
})
