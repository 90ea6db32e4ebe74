/** What a capturing server keeps, and how a test finds a message in it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Wakeup from "../effect/wakeup.js"
import { InboxError } from "./inboxError.js"
import type { Message, ParsedMessage, Service } from "./model.js"
import { parse } from "./parse.js"

export interface Inbox extends Pick<
  Service,
  "messages" | "parsedMessages" | "waitFor" | "takeMessages" | "clear"
> {
  readonly keep: (message: Message) => void
}

const summary = ({ recipients, subject }: ParsedMessage): string =>
  `"${subject ?? ""}" to ${recipients.map(({ address }) => address).join(", ")}`

const noMatch = (limit: Duration.DurationInput, others: ReadonlyArray<ParsedMessage>): InboxError => {
  const arrived =
    others.length === 0 ? "none arrived" : `those that arrived: ${others.map(summary).join("; ")}`
  const detail = `No message matched within ${Duration.format(limit)}; ${arrived}. Check the predicate, and that the program has sent the message.`
  return new InboxError({ reason: "NoMatch", detail })
}

export const makeInbox = (): Inbox => {
  let messages: Array<Message> = []
  const arrival = Wakeup.make()
  const takeMessages = Effect.sync(() => {
    const taken = messages
    messages = []
    return taken
  })
  return {
    keep: (message) => {
      messages.push(message)
      arrival.wake()
    },
    messages: Effect.sync(() => [...messages]),
    parsedMessages: Effect.suspend(() => Effect.forEach([...messages], parse)),
    waitFor: (predicate, timeout) =>
      Effect.suspend(() => {
        const seen = new Set<Message>()
        const others: Array<ParsedMessage> = []
        const unseen = () => messages.find((message) => !seen.has(message))
        const examine: Effect.Effect<ParsedMessage | undefined, InboxError> = Effect.suspend(() => {
          const message = unseen()
          if (message === undefined) return Effect.succeed(undefined)
          return Effect.flatMap(parse(message), (parsed) => {
            seen.add(message)
            if (predicate(parsed)) return Effect.succeed(parsed)
            others.push(parsed)
            return examine
          })
        })
        const arrived = Wakeup.until(arrival, () => (unseen() === undefined ? undefined : Effect.void))
        const search: Effect.Effect<ParsedMessage, InboxError> = Effect.zipRight(arrived, examine).pipe(
          Effect.flatMap((found) => (found === undefined ? search : Effect.succeed(found)))
        )
        return Effect.timeoutOption(search, timeout).pipe(
          // A TestClock may have passed the limit while a message that is already here was parsed.
          Effect.flatMap((found) => (Option.isSome(found) ? Effect.succeed(found.value) : examine)),
          Effect.flatMap((found) =>
            found === undefined ? Effect.fail(noMatch(timeout, others)) : Effect.succeed(found)
          )
        )
      }),
    takeMessages,
    clear: Effect.asVoid(takeMessages)
  }
}
