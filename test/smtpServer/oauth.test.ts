import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import * as SmtpOAuth from "../../src/SmtpOAuth.js"
import * as SmtpSession from "../../src/SmtpSession.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import { credentials } from "../servers/running.js"
import { resourcesLeftBy } from "../support/resources.js"
import { startSmtpServer } from "../support/smtpServer.js"
import { clientName, goodbye, greeting } from "../SmtpSession/oneSession.js"
import { overTcp, succeeded } from "../SmtpSession/overTcp.js"

interface TokenServer {
  readonly url: string
  /** The forms that were posted, in order. */
  readonly forms: ReadonlyArray<Readonly<Record<string, string>>>
}

type Answer = (
  response: Http.ServerResponse,
  form: Readonly<Record<string, string>>,
  request: Http.IncomingMessage
) => void

/** A token endpoint on loopback; whatever is open on it is closed with the scope. */
const tokenServer = (answer: Answer): Effect.Effect<TokenServer, never, Scope.Scope> =>
  Effect.suspend(() => {
    const forms: Array<Readonly<Record<string, string>>> = []
    const server = Http.createServer((request, response) => {
      const parts: Array<Buffer> = []
      request.on("data", (part: Buffer) => parts.push(part))
      request.on("end", () => {
        const form = Object.fromEntries(new URLSearchParams(Buffer.concat(parts).toString()))
        forms.push(form)
        answer(response, form, request)
      })
    })
    return Effect.acquireRelease(
      Effect.async<TokenServer>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({ url: `http://127.0.0.1:${port}/token`, forms }))
        })
      }),
      () =>
        Effect.async<undefined>((resume) => {
          server.close(() => resume(Effect.succeed(undefined)))
          server.closeAllConnections()
        })
    )
  })

const say = (response: Http.ServerResponse, status: number, body: unknown): void => {
  // What the client keeps alive is the client's own.
  response
    .writeHead(status, { "content-type": "application/json", connection: "close" })
    .end(JSON.stringify(body))
}

/** Gives stale, then fresh. */
const staleThenFresh = (): Answer => {
  const tokens = ["ya29.stale", "ya29.fresh"]
  return (response) => {
    say(response, 200, { access_token: tokens.shift() ?? "none", expires_in: 3600, token_type: "Bearer" })
  }
}

const optionsFor = ({ url }: TokenServer): SmtpOAuth.Options => ({
  username: credentials.username,
  tokenUrl: url,
  grant: {
    _tag: "RefreshToken",
    refreshToken: Redacted.make("refresh"),
    client: { id: "app", secret: Redacted.make("secret") }
  }
})

const clients: Readonly<Record<string, Layer.Layer<HttpClient.HttpClient>>> = {
  fetch: FetchHttpClient.layer,
  "node:http": NodeHttpClient.layer,
  undici: NodeHttpClient.layerUndici
}

for (const [name, http] of Object.entries(clients)) {
  describe(`A token endpoint over ${name}`, () => {
    it.scopedLive("gives tokens for XOAUTH2, once more after a refusal, and once for all sessions", () =>
      Effect.gen(function* () {
        const server = yield* startSmtpServer({ token: "ya29.fresh" })
        const endpoint = yield* tokenServer(staleThenFresh())
        const oauth = yield* SmtpOAuth.make(optionsFor(endpoint))
        const open = SmtpSession.make({
          host: "127.0.0.1",
          port: server.port,
          tlsOptions: { ca: server.certificates.ca },
          auth: oauth.credentials
        })
        const sessions = yield* Effect.all([open, open, open], { concurrency: "unbounded" })
        for (const session of [...sessions, yield* open]) {
          yield* session.send({
            from: "a@x.test",
            to: "ann@example.test",
            content: "Subject: x\r\n\r\nx\r\n"
          })
        }
        expect((yield* server.accepted).map(({ user }) => user)).toEqual(Array(4).fill(credentials.username))
        expect(endpoint.forms.map((form) => form["grant_type"])).toEqual(["refresh_token", "refresh_token"])
      }).pipe(Effect.provide(Layer.merge(http, NodeSmtp.layer)))
    )

    it.scopedLive("refuses with code and description, which the session's error carries", () =>
      Effect.gen(function* () {
        const server = yield* startSmtpServer({ token: "x" })
        const endpoint = yield* tokenServer((response, form) =>
          say(response, 400, {
            error: "invalid_grant",
            error_description: `revoked: ${form["refresh_token"]}`
          })
        )
        const oauth = yield* SmtpOAuth.make(optionsFor(endpoint))
        const error = yield* Effect.flip(
          SmtpSession.make({
            host: "127.0.0.1",
            port: server.port,
            tlsOptions: { ca: server.certificates.ca },
            auth: oauth.credentials
          })
        )
        expect(error).toMatchObject({
          _tag: "AuthenticationError",
          reason: "Token",
          cause: { _tag: "OAuthError", code: "invalid_grant", status: 400, detail: "revoked: [redacted]" }
        })
        expect(yield* server.attempts).toEqual([])
      }).pipe(Effect.provide(Layer.merge(http, NodeSmtp.layer)))
    )

    it.scopedLive.each([302, 307, 308])(
      "that redirects by %i is not followed, and nothing is posted elsewhere",
      (status) =>
        Effect.gen(function* () {
          const elsewhere = yield* tokenServer((response) => say(response, 200, { access_token: "t" }))
          const endpoint = yield* tokenServer((response) => {
            response.writeHead(status, { location: elsewhere.url }).end()
          })
          const { token } = yield* SmtpOAuth.make(optionsFor(endpoint))
          expect(yield* Effect.flip(token())).toMatchObject({ reason: "Malformed", status })
          expect(elsewhere.forms).toEqual([])
        }).pipe(Effect.provide(http))
    )

    it.scopedLive("that is not there is Unreachable, with the reason and no secret", () =>
      Effect.gen(function* () {
        const gone = yield* Effect.scoped(tokenServer(() => undefined))
        const { token } = yield* SmtpOAuth.make(optionsFor(gone))
        const error = yield* Effect.flip(token())
        expect(error).toMatchObject({ reason: "Unreachable", isTransient: true })
        expect(error.message).toContain("ECONNREFUSED")
      }).pipe(Effect.provide(http))
    )

    const silent: Readonly<Record<string, Answer>> = {
      "never answers": () => undefined,
      "stops in its answer": (response) => void response.writeHead(200).write('{"access'),
      "never ends its answer": (response) => {
        const more = () => {
          if (!response.destroyed) response.write(Buffer.alloc(65_536), more)
        }
        more()
      }
    }
    for (const [what, answer] of Object.entries(silent)) {
      it.scopedLive(`that ${what} leaves nothing open`, () =>
        Effect.gen(function* () {
          let closed = 0
          const endpoint = yield* tokenServer((response, form, request) => {
            request.socket.once("close", () => closed++)
            answer(response, form, request)
          })
          const left = yield* resourcesLeftBy(
            Effect.scoped(
              Effect.gen(function* () {
                const { token } = yield* SmtpOAuth.make({ ...optionsFor(endpoint), timeout: "200 millis" })
                const error = yield* Effect.flip(token())
                expect(["Timeout", "Malformed"]).toContain(error.reason)
                while (closed === 0) yield* Effect.sleep("5 millis")
              })
            ).pipe(Effect.provide(http))
          )
          expect(left).toEqual({})
        })
      )
    }
  })
}

describe("A token endpoint", () => {
  it.scopedLive(
    "gives tokens for OAUTHBEARER, and another one after the server's error object (RFC 7628)",
    () =>
      Effect.gen(function* () {
        const endpoint = yield* tokenServer(staleThenFresh())
        const said: Array<string> = []
        const auth = (reply: SmtpTest.Script) =>
          SmtpTest.branch({}, (line) => {
            said.push(Buffer.from(line.replace("AUTH OAUTHBEARER ", ""), "base64").toString())
            return reply
          })
        const error = Buffer.from('{"status":"invalid_token"}').toString("base64")
        const met = yield* overTcp(
          SmtpTest.script(
            greeting,
            SmtpTest.expect(`EHLO ${clientName}`),
            SmtpTest.reply("250-mx.test", "250 AUTH OAUTHBEARER"),
            auth(SmtpTest.reply(`334 ${error}`)),
            SmtpTest.expect("AQ=="),
            SmtpTest.reply("535 5.7.8 no"),
            auth(SmtpTest.reply("235 2.7.0 welcome")),
            goodbye
          ),
          {},
          (options) =>
            Effect.flatMap(SmtpOAuth.make(optionsFor(endpoint)), ({ credentials: fromEndpoint }) =>
              SmtpSession.make({ ...options, tls: "none", allowInsecureAuth: true, auth: fromEndpoint })
            ).pipe(Effect.provide(FetchHttpClient.layer))
        )
        succeeded(met)
        expect(said.map((text) => /auth=Bearer (.*?)\u0001/.exec(text)?.[1])).toEqual([
          "ya29.stale",
          "ya29.fresh"
        ])
      })
  )
})
