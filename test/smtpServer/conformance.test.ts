import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Server } from "../servers/conformance.js"
import { conformance } from "../servers/conformance.js"
import { credentials, unknownRecipient } from "../servers/running.js"
import { startSmtpServer } from "../support/smtpServer.js"

const smtp: Effect.Effect<Server, never, Scope.Scope> = Effect.map(startSmtpServer(), (server) => ({
  endpoint: { host: "127.0.0.1", port: server.port },
  tlsPort: server.tlsPort,
  ca: server.certificates.ca,
  credentials,
  refusedRecipient: unknownRecipient,
  delivered: server.delivered
}))

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "lmtp-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

const lmtpOverTcp: Effect.Effect<Server, never, Scope.Scope> = Effect.map(
  startSmtpServer({ server: { lmtp: true, disabledCommands: ["AUTH"] } }),
  (server) => ({
    endpoint: { host: "127.0.0.1", port: server.port, dialect: "lmtp" },
    tlsPort: server.tlsPort,
    ca: server.certificates.ca,
    refusedRecipient: unknownRecipient,
    delivered: server.delivered
  })
)

const lmtpOverUnixSocket: Effect.Effect<Server, never, Scope.Scope> = Effect.gen(function* () {
  const path = join(yield* folder, "lmtp")
  const server = yield* startSmtpServer({
    path,
    server: { lmtp: true, disabledCommands: ["AUTH", "STARTTLS"] }
  })
  return {
    endpoint: { path, dialect: "lmtp" },
    refusedRecipient: unknownRecipient,
    delivered: server.delivered
  }
})

conformance("smtp-server", smtp, [
  "STARTTLS",
  "implicit",
  "AUTH",
  "8BITMIME",
  "SMTPUTF8",
  "DSN",
  "PIPELINING",
  "longLines"
])

conformance("smtp-server with LMTP over TCP", lmtpOverTcp, [
  "STARTTLS",
  "implicit",
  "8BITMIME",
  "SMTPUTF8",
  "DSN",
  "PIPELINING",
  "longLines"
])

conformance("smtp-server with LMTP over a UNIX socket", lmtpOverUnixSocket, [
  "8BITMIME",
  "SMTPUTF8",
  "DSN",
  "PIPELINING",
  "longLines"
])
