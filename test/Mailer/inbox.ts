/** A mailer over a capturing server in memory, and what arrived there as another parser reads it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import PostalMime from "postal-mime"
import * as Mailer from "../../src/Mailer.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpTest from "../../src/SmtpTest.js"

export const layer = (options?: Mailer.Options, server?: SmtpTest.ServerOptions) =>
  Mailer.layer(options).pipe(
    Layer.provideMerge(SmtpClient.layer({ host: "mx.test", tls: "none", retry: "off" })),
    Layer.provideMerge(SmtpTest.layer(server))
  )

/** The messages that arrived, with the envelope that they came in. */
export const arrived = Effect.flatMap(SmtpTest.SmtpTest, ({ messages }) =>
  Effect.flatMap(
    messages,
    Effect.forEach(({ content, recipients, sender }) =>
      Effect.map(
        Effect.promise(() => PostalMime.parse(content)),
        (email) => ({
          email,
          source: new TextDecoder().decode(content),
          from: sender.address,
          to: recipients.map(({ address }) => address)
        })
      )
    )
  )
)

/** The only message that arrived. */
export const received = Effect.flatMap(arrived, ([first, ...others]) =>
  first !== undefined && others.length === 0 ? Effect.succeed(first) : Effect.die("not exactly one message")
)
