import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as JSONSchema from "effect/JSONSchema"
import * as Schema from "effect/Schema"
import { make } from "../src/protocol/Reply.js"
import * as SmtpError from "../src/SmtpError.js"
import * as SmtpReceipt from "../src/SmtpReceipt.js"
import * as SmtpSchema from "../src/SmtpSchema.js"
import { byTag, error, receipt, reply } from "./support/errors.js"

const throughJson = <A, I>(schema: Schema.Schema<A, I>, value: A): A => {
  const encoded = Schema.encodeSync(schema)(value)
  const json: unknown = JSON.parse(JSON.stringify(encoded))
  expect(json, "the encoded value is its own JSON").toStrictEqual(encoded)
  return Schema.decodeUnknownSync(schema)(json)
}

const codecs: {
  readonly [Tag in SmtpError.SmtpError["_tag"]]: Schema.Schema.AnyNoContext
} = SmtpSchema

const isTag = (name: string): name is SmtpError.SmtpError["_tag"] => name in byTag
const tags = Object.keys(byTag).filter(isTag)

describe("Reply", () => {
  it("comes back from JSON as it was", () => {
    FastCheck.assert(
      FastCheck.property(reply, (value) => {
        expect(throughJson(SmtpSchema.Reply, value)).toStrictEqual(value)
      })
    )
  })

  it.each([99, 600, 250.5])("refuses the code %s", (code) => {
    const decoded = Schema.decodeEither(SmtpSchema.Reply)({ code, lines: [], text: "" })
    expect(Either.isLeft(decoded)).toBe(true)
  })
})

describe("errors", () => {
  it.each(tags)("%s comes back from JSON as the same class with the same fields and message", (tag) => {
    FastCheck.assert(
      FastCheck.property(byTag[tag], (value) => {
        const received: unknown = throughJson(codecs[tag], value)
        expect(received).toBeInstanceOf(SmtpError[tag])
        expect(received).toBeInstanceOf(Error)
        expect(JSON.parse(JSON.stringify(received))).toStrictEqual(JSON.parse(JSON.stringify(value)))
      })
    )
  })

  it("of the union come back as the class of their tag, and mean the same", () => {
    FastCheck.assert(
      FastCheck.property(error, (value) => {
        const received = throughJson(SmtpSchema.SmtpError, value)
        expect(received).toBeInstanceOf(SmtpError[value._tag])
        expect(SmtpError.delivery(received)).toBe(SmtpError.delivery(value))
        expect(SmtpError.isTransient(received)).toBe(SmtpError.isTransient(value))
      })
    )
  })

  it.effect("can be caught by tag after decoding", () =>
    Effect.gen(function* () {
      const received = throughJson(
        SmtpSchema.SmtpError,
        new SmtpError.ConnectError({ endpoint: "mail.example.com:587", reason: "Timeout" })
      )
      const caught = yield* Effect.fail(received).pipe(
        Effect.catchTag("ConnectError", ({ reason }) => Effect.succeed(reason))
      )
      expect(caught).toBe("Timeout")
    })
  )

  it("encode a cause as its sentence, and decode it to an Error with that message", () => {
    const sent = new SmtpError.AuthenticationError({
      reason: "Token",
      cause: Object.assign(new Error("token endpoint answered 503"), { clientSecret: "hunter2" })
    })
    const encoded = JSON.stringify(Schema.encodeSync(SmtpSchema.AuthenticationError)(sent))
    expect(encoded).not.toContain("hunter2")
    const received = Schema.decodeSync(Schema.parseJson(SmtpSchema.AuthenticationError))(encoded)
    expect(received.cause).toStrictEqual(new Error("token endpoint answered 503"))
  })

  it("say nothing of a cause that is neither an Error nor a string", () => {
    const sent = new SmtpError.ServerDisconnected({ phase: "mail", cause: { password: "hunter2" } })
    const encoded = Schema.encodeSync(SmtpSchema.ServerDisconnected)(sent)
    expect(encoded).toStrictEqual({ _tag: "ServerDisconnected", phase: "mail", cause: "unknown cause" })
  })

  it("are encoded although the program asks for excess properties to be errors", () => {
    const sent = new SmtpError.InvalidArgument({ field: "to[0]", reason: "holds a NUL" })
    const encoded = Schema.encodeEither(SmtpSchema.SmtpError, { onExcessProperty: "error" })(sent)
    expect(encoded).toStrictEqual(
      Either.right({ _tag: "InvalidArgument", field: "to[0]", reason: "holds a NUL" })
    )
  })

  it("are refused with an unknown tag or an impossible field", () => {
    const decode = Schema.decodeUnknownEither(SmtpSchema.SmtpError)
    expect(Either.isLeft(decode({ _tag: "Elsewhere" }))).toBe(true)
    expect(Either.isLeft(decode({ _tag: "DataError", phase: "lunch", reply: {} }))).toBe(true)
  })

  it("have a JSON Schema, for HttpApi and its OpenAPI page", () => {
    const document = JSON.stringify(JSONSchema.make(SmtpSchema.SmtpError))
    for (const tag of tags) expect(document).toContain(`"${tag}"`)
  })
})

describe("receipts", () => {
  it("come back from JSON with the same outcomes in the same order, and the same lists", () => {
    FastCheck.assert(
      FastCheck.property(receipt, (value) => {
        const received = throughJson(SmtpSchema.Receipt, value)
        // JSON on both sides, since causes come back as Errors of the same message.
        expect(JSON.parse(JSON.stringify(received))).toStrictEqual(JSON.parse(JSON.stringify(value)))
        expect(Object.keys(received)).toStrictEqual(Object.keys(value))
      })
    )
  })

  it("hold causes that are instances of their classes", () => {
    const cause = new SmtpError.ServerDisconnected({ phase: "final" })
    const value = SmtpReceipt.make([SmtpReceipt.unknown("ann@example.net", cause)])
    const [unknown] = throughJson(SmtpSchema.Receipt, value).unknown
    expect(unknown?.cause).toBeInstanceOf(SmtpError.ServerDisconnected)
  })

  it("say each recipient once in JSON", () => {
    const value = SmtpReceipt.make([
      SmtpReceipt.accepted("ann@example.net", make(250, ["2.0.0 Ok: queued as 4A6B71234"]))
    ])
    expect(Schema.encodeSync(SmtpSchema.Receipt)(value)).toStrictEqual({
      outcomes: [
        {
          _tag: "Accepted",
          recipient: "ann@example.net",
          reply: {
            code: 250,
            enhancedCode: { class: 2, subject: 0, detail: 0, advertised: false },
            lines: ["2.0.0 Ok: queued as 4A6B71234"],
            text: "Ok: queued as 4A6B71234"
          },
          queueId: "4A6B71234"
        }
      ]
    })
  })

  it("with an Unknown outcome whose cause is no disconnection are refused", () => {
    const json = {
      outcomes: [
        {
          _tag: "Unknown",
          recipient: "ann@example.net",
          cause: { _tag: "InvalidArgument", field: "to", reason: "is empty" }
        }
      ]
    }
    expect(Either.isLeft(Schema.decodeUnknownEither(SmtpSchema.Receipt)(json))).toBe(true)
  })
})
