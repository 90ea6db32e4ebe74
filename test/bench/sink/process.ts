/**
 * The sink as a process of its own, told over Node's channel between parent and child what to expect.
 */
import type { Sink, SinkOptions } from "./server.js"
import { openSink } from "./server.js"
import type { Account } from "./tally.js"

/** What the sink is asked: to listen for a measurement, or to end it. */
export type Question = { readonly _tag: "Open"; readonly options: SinkOptions } | { readonly _tag: "Close" }

/** What the sink answers, in the order of the questions. */
export type Answer =
  | { readonly _tag: "Opened"; readonly port: number }
  | { readonly _tag: "Closed"; readonly account: Account }
  | { readonly _tag: "Failed"; readonly reason: string }

const makeDesk = (): ((question: Question) => Promise<Answer>) => {
  let sink: Sink | undefined
  return async (question) => {
    if (question._tag === "Open") {
      sink = await openSink(question.options)
      return { _tag: "Opened", port: sink.port }
    }
    if (sink === undefined) return { _tag: "Failed", reason: "no measurement is open" }
    const account = await sink.close()
    sink = undefined
    return { _tag: "Closed", account }
  }
}

const reply = (answer: Answer): void => {
  process.send?.(answer)
}

const answer = makeDesk()
// What is heard here was sent by `openSinkProcess`, which knows the type.
process.on("message", (question: Question) => {
  answer(question).then(reply, (error: unknown) => reply({ _tag: "Failed", reason: String(error) }))
})
// The parent is gone, however it ended.
process.on("disconnect", () => process.exit())
