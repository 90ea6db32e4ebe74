/**
 * The sign-ups of an HTTP service: a typed API of @effect/platform, which depends on Mailer and on nothing else. Whether
 * mail goes to customers, to a developer or into a directory is decided in layers.ts.
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import type { SmtpReceipt } from "effect-smtplib"
import { SmtpError, SmtpReply } from "effect-smtplib"
import * as Mailer from "effect-smtplib/Mailer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Eta } from "eta"

// -- the API

const SignUp = Schema.Struct({ name: Schema.NonEmptyString, address: Schema.NonEmptyString })

const Welcomed = Schema.Struct({ welcome: Schema.Literal("sent", "unknown", "suppressed", "not production") })

class BadSignUp extends Schema.TaggedError<BadSignUp>()("BadSignUp", { detail: Schema.String }) {}
class TryLater extends Schema.TaggedError<TryLater>()("TryLater", { detail: Schema.String }) {}

const signUp = HttpApiEndpoint.post("signUp", "/sign-ups")
  .setPayload(SignUp)
  .addSuccess(Welcomed)
  .addError(BadSignUp, { status: 422 })
  .addError(TryLater, { status: 503 })

export const api = HttpApi.make("shop").add(HttpApiGroup.make("customers", { topLevel: true }).add(signUp))

// -- the message

const eta = new Eta()

/** Any renderer will do: `html` may be an effect, and its errors are those of the send. */
const html = (data: typeof SignUp.Type) =>
  Effect.try(() => eta.renderString("<h1>Welcome, <%= it.name %></h1><p>Good to have you.</p>", data))

const welcome = (customer: typeof SignUp.Type) =>
  Mailer.deliver(
    { to: customer, subject: `Welcome, ${customer.name}`, html: html(customer), unsubscribe: "offers" },
    // No longer than the browser waits. Do not use Effect.timeout: it could not tell what has left by then.
    { timeout: "20 seconds" }
  )

// -- what became of it, in the words of HTTP

const answerTo = (
  outcome: SmtpReceipt.Outcome
): Effect.Effect<typeof Welcomed.Type, BadSignUp | TryLater> => {
  switch (outcome._tag) {
    case "Accepted":
      return Effect.succeed({ welcome: "sent" })
    // The message may have arrived: sending it again may deliver it twice.
    case "Unknown":
      return Effect.succeed({ welcome: "unknown" })
    case "Refused": {
      const detail = SmtpReply.format(outcome.reply)
      return outcome.permanent ? new BadSignUp({ detail }) : new TryLater({ detail })
    }
    case "NotSent":
      return SmtpError.isTransient(outcome.cause)
        ? new TryLater({ detail: outcome.cause.message })
        : new BadSignUp({ detail: outcome.cause.message })
  }
}

const answer = (result: Mailer.Result): Effect.Effect<typeof Welcomed.Type, BadSignUp | TryLater> => {
  if (result._tag === "Receipt") return answerTo(result.outcomes[0])
  return Effect.succeed({ welcome: result.reason === "Suppressed" ? "suppressed" : "not production" })
}

export const handlers = HttpApiBuilder.group(api, "customers", (group) =>
  Effect.map(Mailer.Mailer, (mailer) =>
    group.handle("signUp", ({ payload }) =>
      welcome(payload).pipe(
        Effect.provideService(Mailer.Mailer, mailer),
        Effect.mapError((error) => new BadSignUp({ detail: error.message })),
        Effect.flatMap(answer)
      )
    )
  )
)

/** Requires a Mailer and an HTTP server. */
export const service = HttpApiBuilder.serve().pipe(
  Layer.provide(HttpApiBuilder.api(api)),
  Layer.provide(handlers)
)
