/**
 * A recipe: the test of a service that sends mail, with @effect/vitest and TestClock. Nothing leaves the process, no time
 * passes, and the link is read from the HTML as its reader sees it.
 */
import { expect, it } from "@effect/vitest"
import * as Mailer from "effect-smtplib/Mailer"
import * as SmtpTest from "effect-smtplib/SmtpTest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"

/** The program under test sends a link at once, and a reminder a day later. */
const signUp = (to: string, code: string) =>
  Effect.gen(function* () {
    const link = `https://app.example/sign-up?to=${encodeURIComponent(to)}&code=${code}`
    yield* Mailer.send({
      to,
      subject: "Bienvenue à bord",
      html: `<p>Your code is <b>${code}</b>.</p><p><a href="${link.replaceAll("&", "&amp;")}">Sign up</a></p>`,
      attachments: [{ filename: "terms.txt", content: "Be kind.\n" }]
    })
    yield* Effect.sleep("1 day")
    yield* Mailer.send({ to, subject: "A reminder", text: `Please open ${link}.\n` })
  })

const App = SmtpTest.layerMailer({ defaults: { from: "The App <app@app.example>" } })

it.effect("sends a link, and a reminder a day later", () =>
  Effect.gen(function* () {
    const inbox = yield* SmtpTest.SmtpTest
    const program = yield* Effect.fork(signUp("ann@example.net", "271828"))

    const mail = yield* inbox.waitFor(({ subject }) => subject === "Bienvenue à bord", "1 second")
    expect(mail.from).toEqual({ name: "The App", address: "app@app.example" })
    expect(mail.to).toEqual([{ address: "ann@example.net" }])
    expect(mail.html).toContain("<b>271828</b>")
    expect(mail.links).toEqual(["https://app.example/sign-up?to=ann%40example.net&code=271828"])
    expect(mail.attachments).toMatchObject([{ filename: "terms.txt", contentType: "text/plain" }])

    yield* inbox.clear
    yield* TestClock.adjust("1 day")
    const reminder = yield* inbox.waitFor(({ to }) => to[0]?.address === "ann@example.net", "1 second")
    expect(reminder.subject).toBe("A reminder")
    expect(reminder.links).toEqual(mail.links)
    yield* Fiber.join(program)
  }).pipe(Effect.provide(App))
)
