/**
 * What the compiler knows of the tables of options. The assertions are those of `tsc`.
 */
import { describe, expectTypeOf, it } from "@effect/vitest"
import type { clientRows } from "../../src/internal/options/client.js"
import type { Row, Rows } from "../../src/internal/options/fields.js"
import type { sessionRows } from "../../src/internal/options/session.js"
import type * as SmtpClient from "../../src/SmtpClient.js"
import type * as SmtpSession from "../../src/SmtpSession.js"

describe("a table of options", () => {
  it("has a row for each option", () => {
    expectTypeOf<typeof sessionRows>().toExtend<Rows<SmtpSession.Options>>()
    expectTypeOf<Omit<typeof sessionRows, "tls">>().not.toExtend<Rows<SmtpSession.Options>>()
    expectTypeOf<typeof sessionRows & typeof clientRows>().toExtend<Rows<SmtpClient.Options>>()
  })

  it("has every choice of an option in its row, and no other", () => {
    expectTypeOf<Row<"smtp" | "lmtp">>().toExtend<Rows<SmtpSession.Options>["dialect"]>()
    expectTypeOf<Row<"smtp">>().not.toExtend<Rows<SmtpSession.Options>["dialect"]>()
    expectTypeOf<Row<"smtp" | "lmtp" | "uucp">>().not.toExtend<Rows<SmtpSession.Options>["dialect"]>()
  })
})
