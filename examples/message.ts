/**
 * A message from a template: text and HTML from Eta's templates, an inline picture, a file, an address beyond ASCII,
 * one-click unsubscription, and a DKIM signature. Templates are not the library's business: any library for them
 * gives strings.
 *
 *   npx tsx examples/message.ts                  sends it to a server of its own
 *   npx tsx examples/message.ts 127.0.0.1:1025   sends it, without TLS, to a test server of yours, such as maildev
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import type { SmtpSession as Sessions } from "effect-smtplib"
import { NodeSmtp, SmtpAuth, SmtpSession } from "effect-smtplib"
import * as Dkim from "effect-smtplib/Dkim"
import * as MailMessage from "effect-smtplib/MailMessage"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Eta } from "eta"
import { generateKeyPairSync } from "node:crypto"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

interface Order {
  readonly name: string
  readonly address: string
  readonly number: number
  readonly items: ReadonlyArray<{ readonly title: string; readonly price: string }>
}

const order: Order = {
  name: "Jörg <Joe> Müller",
  address: "joerg@example.net",
  number: 4711,
  items: [
    { title: "Tea, “first flush” & biscuits", price: "12.50 €" },
    { title: "日本茶", price: "9.00 €" }
  ]
}

// In HTML every value is escaped; in text nothing is.
const html = new Eta({ autoEscape: true })
const text = new Eta({ autoEscape: false, autoTrim: false })

const htmlTemplate = `
<body style="font-family: sans-serif; color: #223">
  <p><img src="cid:logo@shop.example.com" alt="The Shop" width="120" height="40"></p>
  <p>Dear <b><%= it.name %></b>,</p>
  <p>thank you for order <b>#<%= it.number %></b>:</p>
  <table cellpadding="6" style="border-collapse: collapse">
    <% for (const { title, price } of it.items) { %>
    <tr style="border-bottom: 1px solid #ccd"><td><%= title %></td><td align="right"><%= price %></td></tr>
    <% } %>
  </table>
  <p>The invoice is attached. Until soon!</p>
</body>
`

const textTemplate = `Dear <%= it.name %>,

thank you for order #<%= it.number %>:

<% for (const { title, price } of it.items) { %>  - <%= title %>: <%= price %>
<% } %>
The invoice is attached. Until soon!
`

const logo = `<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40">
  <rect width="120" height="40" rx="8" fill="#3456a8"/>
  <text x="60" y="26" fill="#fff" font-family="sans-serif" font-size="18" text-anchor="middle">The Shop</text>
</svg>
`

const compose = (to: Order) =>
  MailMessage.make({
    from: { name: "The Shop", address: "orders@shop.example.com" },
    replyTo: "help@shop.example.com",
    // A name that others have chosen: it can add no recipient, whatever it holds.
    to: { name: to.name, address: to.address },
    bcc: "archive@shop.example.com",
    subject: `Order #${to.number} – thank you, ${to.name}`,
    text: text.renderString(textTemplate, to),
    html: html.renderString(htmlTemplate, to),
    attachments: [{ filename: "logo.svg", cid: "logo@shop.example.com", content: logo }],
    list: { unsubscribe: "https://shop.example.com/unsubscribe/4711", oneClick: true }
  })

// In a real program: Dkim.keyFromFile, or Dkim.key with what Config.redacted gives.
const makeKeys = Effect.all(
  ([generateKeyPairSync("rsa", { modulusLength: 2048 }), generateKeyPairSync("ed25519")] as const).map(
    ({ privateKey }, index) =>
      Dkim.key({
        domain: "shop.example.com",
        selector: `key${index + 1}`,
        privateKey: Redacted.make(privateKey.export({ format: "pem", type: "pkcs8" }).toString())
      })
  )
)

const invoice = fileURLToPath(new URL("./message.eml", import.meta.url))

const send = (server: Sessions.Options) =>
  Effect.gen(function* () {
    const smtp = yield* SmtpSession.make(server)
    const message = yield* compose(order)
    const attachments = [MailMessage.file(invoice, { filename: "Rechnung Nº 4711.eml" })]
    const submission = yield* MailMessage.submission(message, { attachments })
    Print.receipt(yield* smtp.send(yield* Dkim.sign(submission, { keys: yield* makeKeys })))
  })

const [target] = process.argv.slice(2)

const toOwnServer = Effect.gen(function* () {
  const { ca, host, messages, port } = yield* startServer({ username: "app", password: "secret" })
  const auth = SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
  yield* send({ host, port, tlsOptions: { ca }, auth })
  for (const octets of messages) {
    const [header = ""] = new TextDecoder().decode(octets).split("\r\n\r\n")
    Print.heading("The header as it arrived")
    for (const line of header.split("\r\n")) Print.line(`  ${line}`)
  }
})

const program =
  target === undefined
    ? toOwnServer
    : send({ host: target.split(":")[0], port: Number(target.split(":")[1] ?? 25), tls: "none" })

run(program.pipe(Effect.scoped, Effect.provide([NodeSmtp.layer, NodeFileSystem.layer])))
