/**
 * Every refusal for now and for good, of each step of a message, in a group and out of one: what the program is told,
 * and that the session goes on as if nothing had been asked.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SmtpTest from "../../src/SmtpTest.js"
import {
  ask,
  content,
  goodbye,
  judged,
  message,
  opened,
  outcomes,
  submission,
  withSession
} from "./dialogue.js"
import { replies } from "./underWay.js"

const { script } = SmtpTest

const steps = ["mail", "rcpt", "data"] as const
type Step = (typeof steps)[number] | "final"

const lines = { mail: "MAIL FROM:<a@x.test>", rcpt: "RCPT TO:<b@y.test>", data: "DATA" } as const
const accepted = { mail: "250 ok", rcpt: "250 ok", data: "354 go" } as const
const errors = {
  mail: "SenderRefused",
  rcpt: "RecipientsRefused",
  data: "DataError",
  final: "DataError"
} as const

/** How many of the steps leave in the first write. */
const groups = { off: 1, envelope: 2, data: 3 } as const

/** The replies to all steps: what follows the refused one is out of sequence. */
const answers = (refused: Step, refusal: string): ReadonlyArray<string> => {
  const at = refused === "final" ? steps.length : steps.indexOf(refused)
  return steps.map((step, index) => {
    if (index < at) return accepted[step]
    return index === at ? refusal : "503 5.5.1 out of sequence"
  })
}

/** The steps up to the refused one, and those that had left with it. */
const refusing = (refused: Step, refusal: string, together: number): SmtpTest.Script => {
  const told = answers(refused, refusal)
  const last = refused === "final" ? steps.length : steps.indexOf(refused) + 1
  return script(
    SmtpTest.expectGroup(...steps.slice(0, together).map((step) => lines[step])),
    replies(...told.slice(0, together)),
    ...steps
      .slice(together, Math.max(together, last))
      .map((step, index) => ask(lines[step], told[together + index] ?? "")),
    ...(refused === "final" ? [content(message, refusal)] : [])
  )
}

describe("a refusal is told for what it is, and leaves the session as it was", () => {
  for (const pipelining of ["off", "envelope", "data"] as const) {
    for (const refused of [...steps, "final"] as const) {
      for (const refusal of ["451 4.3.0 later", "550 5.7.1 no"] as const) {
        it.effect(`${refusal.slice(0, 3)} to ${refused}, pipelining "${pipelining}"`, () => {
          const once = script(refusing(refused, refusal, groups[pipelining]), ask("RSET", "250 ok"))
          return withSession(
            script(
              opened("PIPELINING"),
              once,
              once,
              refusing("final", "250 ok", groups[pipelining]),
              goodbye
            ),
            (smtp) =>
              Effect.gen(function* () {
                const receipt = yield* smtp.deliver(submission)
                expect(outcomes(receipt)).toEqual([`b@y.test Refused ${refusal.slice(0, 3)} ${refused}`])
                const phase = errors[refused] === "DataError" ? refused : undefined
                const mayPass = refusal.startsWith("4") ? "transient" : "permanent"
                const error = yield* Effect.flip(smtp.send(submission))
                expect(judged(error)).toEqual([errors[refused], phase, mayPass, "Refused"])
                expect(yield* smtp.state).toBe("Ready")
                expect(outcomes(yield* smtp.send(submission))).toEqual(["b@y.test Accepted 250"])
              }),
            { pipelining }
          )
        })
      }
    }
  }
})
