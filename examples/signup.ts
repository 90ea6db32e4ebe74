/**
 * An HTTP service that sends mail by Mailer: signup/service.ts is the service, signup/layers.ts its production, staging and
 * development, and test/examples/signup.test.ts its test, without a network.
 *
 *   npx tsx examples/signup.ts   runs it as in production and as in staging, against a server of its own
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { SmtpAuth } from "effect-smtplib"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { createServer } from "node:http"
import { production, staging } from "./signup/layers.js"
import { api, service } from "./signup/service.js"
import { run } from "./support/main.js"
import * as Print from "./support/print.js"
import { startServer } from "./support/server.js"

const ask = Effect.gen(function* () {
  const { address } = yield* HttpServer.HttpServer
  const baseUrl = address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : ""
  const http = yield* HttpApiClient.make(api, { baseUrl })
  for (const customer of ["ann@example.net", "gone@example.net", "nobody@example.org", "not an address"]) {
    const answer = yield* Effect.either(http.signUp({ payload: { name: "Ann", address: customer } }))
    Print.line(`  ${customer}: ${JSON.stringify(answer._tag === "Right" ? answer.right : answer.left)}`)
  }
})

const listening = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })

const main = Effect.gen(function* () {
  const server = yield* startServer({
    username: "app",
    password: "secret",
    unknown: ["nobody@example.org"]
  })
  const client = {
    host: server.host,
    port: server.port,
    tlsOptions: { ca: server.ca },
    auth: SmtpAuth.password({ username: "app", password: Redacted.make("secret") })
  }
  for (const [name, mailer] of [
    ["production", production(client)],
    ["staging", staging(client)]
  ] as const) {
    Print.heading(name)
    const before = server.messages.length
    yield* Effect.provide(
      ask,
      Layer.merge(service.pipe(Layer.provide(mailer), Layer.provideMerge(listening)), FetchHttpClient.layer)
    )
    for (const message of server.messages.slice(before)) {
      const subject = /^Subject: .*$/m.exec(new TextDecoder().decode(message))?.[0]
      Print.line(`  arrived: ${subject ?? "?"}`)
    }
  }
})

run(Effect.scoped(main))
