import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { plain } from "../../../src/protocol/sasl/Plain.js"
import {
  checkIdentity,
  checkMechanismName,
  checkPassword,
  checkToken,
  checkTrace
} from "../../../src/protocol/sasl/Values.js"
import { text } from "./replay.js"

const everywhere: ReadonlyArray<readonly [what: string, value: string]> = [
  ["nothing", ""],
  ["a NUL", "a\0b"],
  ["a CR", "a\rb"],
  ["a line end", "secret\n"],
  ["half a surrogate pair", "a\ud800"],
  ["1025 octets", "é".repeat(512) + "x"]
]

describe("identities", () => {
  it.each([...everywhere, ["a control character", "a\u0001b"] as const, ["a DEL", "a\u007f"] as const])(
    "cannot hold %s",
    (_, value) => {
      expect(checkIdentity("username", value)).toMatchObject({ _tag: "Invalid", field: "username" })
    }
  )

  it.each(["user", "Jürgen Müller", "a,b=c", "😀", "é".repeat(512)])("can be %s", (value) => {
    expect(checkIdentity("username", value)).toBeUndefined()
  })
})

describe("passwords", () => {
  it.each(everywhere)("cannot hold %s", (_, value) => {
    expect(checkPassword("password", value)).toMatchObject({ _tag: "Invalid", field: "password" })
  })

  it("can hold a tab and spaces", () => {
    expect(checkPassword("password", " \t ")).toBeUndefined()
  })

  it("never show in the reason", () => {
    for (const value of ["hunter2\0", "hunter2\n"]) {
      expect(checkPassword("password", value)?.reason).not.toContain("hunter2")
    }
  })

  it("that are let through keep the three parts of PLAIN apart", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.string({ unit: "binary" }),
        FastCheck.string({ unit: "binary" }),
        (username, password) => {
          FastCheck.pre(
            checkIdentity("username", username) === undefined &&
              checkPassword("password", password) === undefined
          )
          const step = plain({ username, password }).start()
          expect(step._tag === "Respond" && text(step.octets).split("\0")).toEqual(["", username, password])
        }
      )
    )
  })
})

describe("tokens", () => {
  it.each(["", "a b", "a\n", "a\u0001b", "tökén"])("cannot be %j", (value) => {
    expect(checkToken("token", value)).toMatchObject({ field: "token" })
  })

  it("can be any visible ASCII", () => {
    expect(checkToken("token", "ya29.a-b_c~d+e/f==")).toBeUndefined()
  })
})

describe("traces (RFC 4505 section 2)", () => {
  it("have at most 255 characters", () => {
    expect(checkTrace("trace", "x".repeat(255))).toBeUndefined()
    expect(checkTrace("trace", "x".repeat(256))).toMatchObject({ field: "trace" })
  })
})

describe("mechanism names (RFC 4422 section 3.1)", () => {
  it.each(["X-TOKEN", "x-token", "A", "SCRAM-SHA-512-PLUS"])("can be %s", (value) => {
    expect(checkMechanismName("name", value)).toBeUndefined()
  })

  it.each(["", "A B", "A\r\nRSET", "ABCDEFGHIJKLMNOPQRSTU", "É"])("cannot be %j", (value) => {
    expect(checkMechanismName("name", value)).toMatchObject({ field: "name" })
  })
})

describe("what is wrong with a value", () => {
  const line = "holds a CR or LF; was it read from a file with its line end?"
  it.each([
    [checkPassword, "", "is empty"],
    [checkPassword, "a\0b", "holds a NUL"],
    [checkPassword, "a\r", line],
    [checkPassword, "a\n", line],
    [checkPassword, "a\ud800", "holds half of a surrogate pair"],
    [checkPassword, "x".repeat(1025), "is longer than 1024 bytes"],
    [checkIdentity, "", "is empty"],
    [checkIdentity, "a\tb", "holds a control character"],
    [checkToken, "", "is empty"],
    [checkToken, " a", "holds white space or other than visible ASCII"],
    [checkToken, "a ", "holds white space or other than visible ASCII"],
    [checkTrace, "x".repeat(256), "is longer than 255 characters"],
    [checkTrace, "\u{1f600}".repeat(256), "is longer than 255 characters"],
    [checkTrace, "a\tb", "holds a control character"],
    [checkMechanismName, "a b", "is not 1 to 20 letters, digits, hyphens and underscores"],
    [checkMechanismName, "é1", "is not 1 to 20 letters, digits, hyphens and underscores"],
    [checkMechanismName, "1é", "is not 1 to 20 letters, digits, hyphens and underscores"]
  ])("%#", (check, value, reason) => {
    expect(check("field", value)).toStrictEqual({ _tag: "Invalid", field: "field", reason })
  })
})
