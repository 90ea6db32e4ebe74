/**
 * Messages by three renderers: Eta, React Email, and MJML (by mrml). Any renderer will do: `html` and `text` of a message
 * may be effects, and what they fail with and require is what the send fails with and requires. None of them is a
 * dependency of effect-smtplib.
 *
 *   npx tsx examples/renderers.ts
 */
import { pretty, render } from "@react-email/render"
import { NodeSmtp, SmtpAuth } from "effect-smtplib"
import * as Mailer from "effect-smtplib/Mailer"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Eta } from "eta"
import * as mrml from "mrml"
import { createElement } from "react"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

interface Welcome {
  readonly name: string
}

/** A template that cannot be rendered: no message is sent. */
class RenderError extends Data.TaggedError("RenderError")<{ readonly message: string }> {}

const because = (cause: unknown): RenderError =>
  new RenderError({ message: cause instanceof Error ? cause.message : String(cause) })

// -- Eta: templates with holes, for text and HTML

const eta = new Eta()

const byEta = (welcome: Welcome): Effect.Effect<string, RenderError> =>
  Effect.try({ try: () => eta.renderString("<h1>Welcome, <%= it.name %></h1>", welcome), catch: because })

// -- React Email: components, usually in JSX and with those of @react-email/components

const WelcomeMail = ({ name }: Welcome) =>
  createElement(
    "html",
    { lang: "en" },
    createElement("body", null, createElement("h1", null, `Welcome, ${name}`))
  )

const byReactEmail = (welcome: Welcome): Effect.Effect<string, RenderError> =>
  Effect.tryPromise({ try: () => render(createElement(WelcomeMail, welcome)).then(pretty), catch: because })

// -- MJML: components for columns and buttons that look right in every mail program

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)

const byMjml = ({ name }: Welcome): Effect.Effect<string, RenderError> =>
  Effect.suspend(() => {
    const source = `<mjml><mj-body><mj-section><mj-column>
      <mj-text font-size="24px">Welcome, ${escaped(name)}</mj-text>
    </mj-column></mj-section></mj-body></mjml>`
    const result = new mrml.Engine().toHtml(source)
    return result.type === "success" ? Effect.succeed(result.content) : Effect.fail(because(result.message))
  })

const renderers = { Eta: byEta, "React Email": byReactEmail, MJML: byMjml }

const main = Effect.gen(function* () {
  const server = yield* startServer({ username: "app", password: "secret" })
  const mailer = NodeSmtp.layerMailer(
    {
      host: server.host,
      port: server.port,
      tlsOptions: { ca: server.ca },
      auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
    },
    // The plain text is made of the HTML, by the package html-to-text.
    { defaults: { from: "app@example.com" }, textFromHtml: true }
  )
  yield* Effect.forEach(Object.entries(renderers), ([name, renderer]) =>
    Effect.gen(function* () {
      const html = renderer({ name: "Ann <ann@example.net>" })
      yield* Mailer.send({ to: "ann@example.net", subject: `Welcome by ${name}`, html })
      const source = new TextDecoder().decode(server.messages.at(-1))
      const text = /^Welcome.*$/im.exec(source.slice(source.indexOf("text/plain")))?.[0]
      Print.line(`${name}: ${text ?? "no text"}`)
    })
  ).pipe(Effect.provide(mailer))
})

run(Effect.scoped(main))
