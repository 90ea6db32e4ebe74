import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as Tracer from "effect/Tracer"
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto"
import { inspect } from "node:util"
import * as SmtpOAuth from "../src/SmtpOAuth.js"
import { collectLogs } from "./support/logs.js"

const clientSecret = "s3cret&with=reserved"
const refreshToken = "1//refresh-token"

const client: SmtpOAuth.Client = { id: "app", secret: Redacted.make(clientSecret) }

const byRefreshToken: SmtpOAuth.Options = {
  username: "app@example.com",
  tokenUrl: "https://login.example.com/token?tenant=1",
  grant: { _tag: "RefreshToken", refreshToken: Redacted.make(refreshToken), client }
}

const byClientCredentials: SmtpOAuth.Options = {
  ...byRefreshToken,
  grant: { _tag: "ClientCredentials", client }
}

interface Asked {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly form: Readonly<Record<string, string>>
}

type Handle = (
  asked: Asked,
  request: HttpClientRequest.HttpClientRequest
) => Effect.Effect<Response, HttpClientError.HttpClientError>

/** An HTTP client that answers by itself, and keeps what it was asked. */
const fakeHttp = (handle: Handle) => {
  const requests: Array<Asked> = []
  const http = HttpClient.make((request, url) =>
    Effect.suspend(() => {
      const { body } = request
      const text = body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""
      const asked: Asked = {
        url: url.href,
        method: request.method,
        headers: request.headers,
        form: Object.fromEntries(new URLSearchParams(text))
      }
      requests.push(asked)
      return Effect.map(handle(asked, request), (response) => HttpClientResponse.fromWeb(request, response))
    })
  )
  return { http, requests }
}

const json = (value: unknown, status = 200): Effect.Effect<Response> =>
  Effect.sync(() => new Response(JSON.stringify(value), { status }))

/** Gives token-1, token-2 and so on, each for as many seconds. */
const numbered = (expiresIn: number | string | undefined, more: Readonly<Record<string, unknown>> = {}) => {
  let count = 0
  return fakeHttp(() =>
    Effect.suspend(() => {
      count++
      return json({ access_token: `token-${count}`, token_type: "Bearer", expires_in: expiresIn, ...more })
    })
  )
}

const make = (http: HttpClient.HttpClient, options: SmtpOAuth.Options = byClientCredentials) =>
  Effect.provideService(SmtpOAuth.make(options), HttpClient.HttpClient, http)

const valueOf = <E>(token: Effect.Effect<Redacted.Redacted, E>) => Effect.map(token, Redacted.value)

const failing = (response: Effect.Effect<Response, HttpClientError.HttpClientError>) =>
  Effect.scoped(
    Effect.flatMap(make(fakeHttp(() => response).http, byRefreshToken), ({ token }) => Effect.flip(token()))
  )

describe("a token request", () => {
  it.scoped("sends the refresh token and the client in a form (RFC 6749 section 6)", () =>
    Effect.gen(function* () {
      const { http, requests } = numbered(3600)
      const { token } = yield* make(http, {
        ...byRefreshToken,
        scope: "mail smtp",
        parameters: { audience: "x" }
      })
      expect(yield* valueOf(token())).toBe("token-1")
      expect(requests).toMatchObject([
        {
          url: "https://login.example.com/token?tenant=1",
          method: "POST",
          headers: { "content-type": "application/x-www-form-urlencoded", accept: "application/json" }
        }
      ])
      expect(requests[0]?.form).toEqual({
        grant_type: "refresh_token",
        refresh_token: refreshToken,
        client_id: "app",
        client_secret: clientSecret,
        scope: "mail smtp",
        audience: "x"
      })
    })
  )

  it.scoped("sends the client's credentials (RFC 6749 section 4.4)", () =>
    Effect.gen(function* () {
      const { http, requests } = numbered(3600)
      yield* (yield* make(http)).token()
      expect(requests[0]?.form).toEqual({
        grant_type: "client_credentials",
        client_id: "app",
        client_secret: clientSecret
      })
    })
  )

  it.scoped(
    "sends form-encoded credentials by HTTP Basic when the client says so (RFC 6749 section 2.3.1)",
    () =>
      Effect.gen(function* () {
        const { http, requests } = numbered(3600)
        const grant = {
          _tag: "ClientCredentials",
          client: { id: "an app", secret: Redacted.make(clientSecret), authentication: "basic" }
        } as const
        yield* (yield* make(http, { ...byClientCredentials, grant })).token()
        const expected = Buffer.from("an+app:s3cret%26with%3Dreserved").toString("base64")
        expect(requests[0]?.headers["authorization"]).toBe(`Basic ${expected}`)
        expect(requests[0]?.form).toEqual({ grant_type: "client_credentials" })
      })
  )

  it.scoped("sends no secret for a public client", () =>
    Effect.gen(function* () {
      const { http, requests } = numbered(3600)
      const grant = { _tag: "RefreshToken", refreshToken: Redacted.make("r"), client: { id: "app" } } as const
      yield* (yield* make(http, { ...byRefreshToken, grant })).token()
      expect(requests[0]?.form).toEqual({ grant_type: "refresh_token", refresh_token: "r", client_id: "app" })
    })
  )

  const keys = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" }
  })

  it.scoped.each([keys.privateKey, keys.privateKey.replaceAll("\n", "\\n")])(
    "sends an assertion signed with the service account's key (RFC 7523)",
    (privateKey) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(1_700_000_000_500)
        const { http, requests } = numbered(3600)
        const options = SmtpOAuth.gmailServiceAccount({
          username: "app@example.com",
          clientEmail: "robot@project.iam.gserviceaccount.com",
          privateKey: Redacted.make(privateKey),
          privateKeyId: "key-1"
        })
        yield* (yield* make(http, options)).token()
        expect(requests[0]?.url).toBe("https://oauth2.googleapis.com/token")
        const { assertion = "", grant_type } = requests[0]?.form ?? {}
        expect(grant_type).toBe("urn:ietf:params:oauth:grant-type:jwt-bearer")
        const [head = "", claims = "", signature = ""] = assertion.split(".")
        const read = (part: string): unknown => JSON.parse(Buffer.from(part, "base64url").toString())
        expect(read(head)).toEqual({ alg: "RS256", typ: "JWT", kid: "key-1" })
        expect(read(claims)).toEqual({
          iss: "robot@project.iam.gserviceaccount.com",
          sub: "app@example.com",
          scope: "https://mail.google.com/",
          aud: "https://oauth2.googleapis.com/token",
          iat: 1_700_000_000,
          exp: 1_700_000_300
        })
        const genuine = verify(
          "sha256",
          Buffer.from(`${head}.${claims}`),
          createPublicKey(keys.publicKey),
          Buffer.from(signature, "base64url")
        )
        expect(genuine).toBe(true)
      })
  )

  it.scoped("uses the endpoints and scopes of Google and Microsoft", () =>
    Effect.gen(function* () {
      const { http, requests } = numbered(3600)
      const common = { username: "app@example.com", clientId: "app", clientSecret: Redacted.make("s") }
      const refresh = { refreshToken: Redacted.make("r") }
      const all = [
        SmtpOAuth.gmail({ ...common, ...refresh }),
        SmtpOAuth.microsoft365({ ...common, tenant: "example.com" }),
        SmtpOAuth.microsoft365({ ...common, ...refresh, tenant: "a/b" })
      ]
      for (const options of all) yield* (yield* make(http, options)).token()
      expect(requests.map(({ form, url }) => [url, form["grant_type"], form["scope"]])).toEqual([
        ["https://oauth2.googleapis.com/token", "refresh_token", undefined],
        [
          "https://login.microsoftonline.com/example.com/oauth2/v2.0/token",
          "client_credentials",
          "https://outlook.office365.com/.default"
        ],
        [
          "https://login.microsoftonline.com/a%2Fb/oauth2/v2.0/token",
          "refresh_token",
          "https://outlook.office.com/SMTP.Send offline_access"
        ]
      ])
    })
  )
})

describe("a token", () => {
  it.scoped("is cached until a minute before it expires", () =>
    Effect.gen(function* () {
      const { http, requests } = numbered(3600)
      const { token } = yield* make(http)
      yield* token()
      yield* TestClock.adjust("3539 seconds")
      expect(yield* valueOf(token())).toBe("token-1")
      expect(requests.length).toBe(1)
      yield* TestClock.adjust("1 second")
      expect(yield* valueOf(token())).toBe("token-2")
      expect(requests.length).toBe(2)
    })
  )

  it.scoped("is cached for half of a short lifetime", () =>
    Effect.gen(function* () {
      const { http } = numbered(60)
      const { token } = yield* make(http)
      yield* token()
      yield* TestClock.adjust("29 seconds")
      expect(yield* valueOf(token())).toBe("token-1")
      yield* TestClock.adjust("1 second")
      expect(yield* valueOf(token())).toBe("token-2")
    })
  )

  it.scoped("with a lifetime of zero is returned to its waiters and not cached", () =>
    Effect.gen(function* () {
      const { http } = numbered(0)
      const { token } = yield* make(http)
      expect(yield* valueOf(token())).toBe("token-1")
      expect(yield* valueOf(token())).toBe("token-2")
    })
  )

  it.scoped("without a lifetime is cached for an hour or the option `lifetime`", () =>
    Effect.gen(function* () {
      const { http } = numbered(undefined)
      const { token } = yield* make(http, {
        ...byClientCredentials,
        lifetime: "10 minutes",
        refreshBefore: 0
      })
      yield* token()
      yield* TestClock.adjust("599 seconds")
      expect(yield* valueOf(token())).toBe("token-1")
      yield* TestClock.adjust("1 second")
      expect(yield* valueOf(token())).toBe("token-2")
    })
  )

  it.scoped("may have its lifetime as a string", () =>
    Effect.gen(function* () {
      const { http } = numbered("600")
      const { token } = yield* make(http)
      yield* token()
      yield* TestClock.adjust("540 seconds")
      expect(yield* valueOf(token())).toBe("token-2")
    })
  )

  it.scoped("expires counted from the request, not from the answer", () =>
    Effect.gen(function* () {
      const slow = numbered(3600)
      const http = HttpClient.transform(slow.http, (effect) => Effect.delay(effect, "8 seconds"))
      const { token } = yield* make(http)
      const first = yield* Effect.fork(valueOf(token()))
      yield* TestClock.adjust("8 seconds")
      expect(yield* Fiber.join(first)).toBe("token-1")
      yield* TestClock.adjust("3532 seconds")
      const second = yield* Effect.fork(valueOf(token()))
      yield* TestClock.adjust("8 seconds")
      expect(yield* Fiber.join(second)).toBe("token-2")
    })
  )

  it.scoped("that was refused is replaced, unless a newer one is already cached", () =>
    Effect.gen(function* () {
      const { http, requests } = numbered(3600)
      const { token } = yield* make(http)
      const refused = yield* token()
      const again = { refresh: true, refused }
      expect(yield* valueOf(token(again))).toBe("token-2")
      expect(yield* valueOf(token(again))).toBe("token-2")
      expect(requests.length).toBe(2)
      expect(yield* valueOf(token({ refresh: true }))).toBe("token-3")
    })
  )

  it.scoped("serves until it expires while the endpoint is unavailable", () =>
    Effect.gen(function* () {
      let down = false
      const { http } = fakeHttp(() =>
        Effect.suspend(() => (down ? json({}, 503) : json({ access_token: "t", expires_in: 3600 })))
      )
      const { token } = yield* make(http)
      const first = yield* token()
      down = true
      yield* TestClock.adjust("3599 seconds")
      expect(yield* valueOf(token())).toBe("t")
      expect(yield* Effect.flip(token({ refresh: true, refused: first }))).toMatchObject({ status: 503 })
      yield* TestClock.adjust("1 second")
      expect(yield* Effect.flip(token())).toMatchObject({ reason: "Unavailable", status: 503 })
    })
  )

  it.scoped("does not serve after the endpoint refuses to replace it", () =>
    Effect.gen(function* () {
      let revoked = false
      const { http } = fakeHttp(() =>
        Effect.suspend(() =>
          revoked ? json({ error: "invalid_grant" }, 400) : json({ access_token: "t", expires_in: 3600 })
        )
      )
      const { token } = yield* make(http)
      yield* token()
      revoked = true
      yield* TestClock.adjust("3545 seconds")
      expect(yield* Effect.flip(token())).toMatchObject({ reason: "Refused", code: "invalid_grant" })
    })
  )
})

describe("concurrent callers", () => {
  /** Answers when the gate opens. */
  const gated = Effect.map(Deferred.make<Response, HttpClientError.HttpClientError>(), (gate) => ({
    ...fakeHttp(() => Deferred.await(gate)),
    open: Effect.flatMap(json({ access_token: "shared", expires_in: 60 }), (response) =>
      Deferred.succeed(gate, response)
    ),
    refuse: Effect.flatMap(json({ error: "invalid_client" }, 401), (response) =>
      Deferred.succeed(gate, response)
    )
  }))

  it.scoped("share one request", () =>
    Effect.gen(function* () {
      const { http, open, requests } = yield* gated
      const { token } = yield* make(http)
      const callers = yield* Effect.forkAll(Array.from({ length: 100 }, () => valueOf(token())))
      yield* Effect.yieldNow()
      yield* open
      expect(new Set(yield* Fiber.join(callers))).toEqual(new Set(["shared"]))
      expect(requests.length).toBe(1)
    })
  )

  it.scoped("share its failure, and the next caller sends a new request", () =>
    Effect.gen(function* () {
      const { http, refuse, requests } = yield* gated
      const { token } = yield* make(http)
      const callers = yield* Effect.forkAll(Array.from({ length: 10 }, () => Effect.flip(token())))
      yield* Effect.yieldNow()
      yield* refuse
      expect((yield* Fiber.join(callers)).map(({ code }) => code)).toEqual(Array(10).fill("invalid_client"))
      expect(requests.length).toBe(1)
      yield* Effect.flip(token())
      expect(requests.length).toBe(2)
    })
  )

  it.scoped("go on when one of them is interrupted, even the first", () =>
    Effect.gen(function* () {
      const { http, open, requests } = yield* gated
      const { token } = yield* make(http)
      const first = yield* Effect.fork(token())
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(valueOf(token()))
      const third = yield* Effect.fork(token())
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(first)
      yield* Fiber.interrupt(third)
      yield* open
      expect(yield* Fiber.join(second)).toBe("shared")
      expect(requests.length).toBe(1)
    })
  )

  it.scoped("that are all interrupted leave the request running, and the next caller gets its token", () =>
    Effect.gen(function* () {
      const { http, open, requests } = yield* gated
      const { token } = yield* make(http)
      const only = yield* Effect.fork(token())
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(only)
      yield* open
      yield* Effect.yieldNow()
      expect(yield* valueOf(token())).toBe("shared")
      expect(requests.length).toBe(1)
    })
  )

  it.effect("fail when the scope closes, which ends the request", () =>
    Effect.gen(function* () {
      let interrupted = false
      const begun = yield* Deferred.make<undefined>()
      const { http } = fakeHttp(() =>
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sync(() => (interrupted = true)))
        )
      )
      const scope = yield* Scope.make()
      const { token } = yield* Scope.extend(make(http), scope)
      const waiting = yield* Effect.fork(Effect.flip(token()))
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "OAuthError", reason: "Closed" })
      expect(interrupted).toBe(true)
      expect(yield* Effect.flip(token())).toMatchObject({ reason: "Closed", isTransient: false })
    })
  )
})

describe("refresh tokens", () => {
  /** Takes each refresh token once, and gives the next with it. */
  const rotating = () => {
    let valid = refreshToken
    let count = 0
    return fakeHttp(({ form }) =>
      Effect.suspend(() => {
        if (form["refresh_token"] !== valid) return json({ error: "invalid_grant" }, 400)
        valid = `rotated-${++count}`
        return json({ access_token: `token-${count}`, expires_in: 60, refresh_token: valid })
      })
    )
  }

  it.scoped("that replace earlier ones are used from then on and passed to onRefreshToken", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const { token } = yield* make(rotating().http, {
        ...byRefreshToken,
        onRefreshToken: (next) => Effect.sync(() => told.push(Redacted.value(next)))
      })
      yield* token()
      yield* TestClock.adjust("1 hour")
      expect(yield* valueOf(token())).toBe("token-2")
      expect(told).toEqual(["rotated-1", "rotated-2"])
    })
  )

  it.scoped("that onRefreshToken fails to store are logged without the token, and fail nothing", () =>
    Effect.gen(function* () {
      const logs = yield* collectLogs
      const { token } = yield* make(rotating().http, {
        ...byRefreshToken,
        onRefreshToken: (next) => Effect.fail(new Error(`cannot store ${Redacted.value(next)}`))
      })
      expect(yield* valueOf(Effect.provide(token(), logs.layer))).toBe("token-1")
      const entries = yield* logs.entries
      expect(entries.map(({ level }) => level)).toEqual(["WARN"])
      expect(JSON.stringify(entries)).not.toContain("rotated")
    })
  )

  it.scoped("do not wait for onRefreshToken beyond the time limit", () =>
    Effect.gen(function* () {
      const { token } = yield* make(rotating().http, {
        ...byRefreshToken,
        onRefreshToken: () => Effect.never
      })
      const waiting = yield* Effect.fork(valueOf(token()))
      yield* TestClock.adjust("10 seconds")
      expect(yield* Fiber.join(waiting)).toBe("token-1")
    })
  )
})

describe("errors of the endpoint", () => {
  it.effect.each([
    [400, { error: "invalid_grant", error_description: "Token has been\nrevoked." }, "Refused", false],
    [401, { error: "invalid_client" }, "Refused", false],
    [400, { error: "temporarily_unavailable" }, "Unavailable", true],
    [429, { error: "rate_limited" }, "Unavailable", true],
    [500, "oops", "Unavailable", true],
    [503, { error: 7 }, "Unavailable", true],
    [404, "<html>", "Malformed", false],
    [400, { error: 'in"valid' }, "Malformed", false],
    [400, [], "Malformed", false],
    [302, {}, "Malformed", false],
    [200, "<html>", "Malformed", false],
    [200, null, "Malformed", false],
    [200, {}, "Malformed", false],
    [200, { access_token: "" }, "Malformed", false],
    [200, { access_token: "a b" }, "Malformed", false],
    [200, { access_token: 7 }, "Malformed", false],
    [200, { access_token: "t", token_type: "mac" }, "Malformed", false],
    [200, { access_token: "t", expires_in: -1 }, "Malformed", false],
    [200, { access_token: "t", expires_in: "soon" }, "Malformed", false]
  ] as const)("by status %i and body %j are %s", ([status, body, reason, isTransient]) =>
    Effect.gen(function* () {
      const text = typeof body === "string" ? body : JSON.stringify(body)
      const error = yield* failing(Effect.sync(() => new Response(text, { status })))
      expect(error).toMatchObject({
        _tag: "OAuthError",
        endpoint: "https://login.example.com/token",
        reason,
        status,
        isTransient
      })
      expect(error.message).toMatch(/^The token endpoint https:\/\/login\.example\.com\/token .*; \S.*$/)
    })
  )

  it.effect("contain code and description on one line", () =>
    Effect.gen(function* () {
      const body = { error: "invalid_grant", error_description: "Token has been\r\nrevoked." }
      const error = yield* failing(json(body, 400))
      expect(error).toMatchObject({ code: "invalid_grant", detail: "Token has been revoked." })
      expect(error.message).toBe(
        "The token endpoint https://login.example.com/token refused with invalid_grant (status 400): Token has been revoked.; the refresh token or the assertion has expired or was revoked: ask the user for consent again"
      )
    })
  )

  it.effect("are bounded in length", () =>
    Effect.gen(function* () {
      let taken = 0
      const endless = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          taken += 65_536
          controller.enqueue(new Uint8Array(65_536))
        }
      })
      const error = yield* failing(Effect.sync(() => new Response(endless)))
      expect(error).toMatchObject({ reason: "Malformed", detail: "the answer is longer than 262144 bytes" })
      expect(taken).toBeLessThan(1_000_000)
      const wordy = yield* failing(json({ error: "x", error_description: "y".repeat(10_000) }, 400))
      expect(wordy.message.length).toBeLessThan(1000)
    })
  )

  it.scoped("are Timeout when it does not answer in time, which ends the request", () =>
    Effect.gen(function* () {
      let ended = 0
      const { http } = fakeHttp(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => ended++)))
      const { token } = yield* make(http, { ...byClientCredentials, timeout: "3 seconds" })
      const waiting = yield* Effect.fork(Effect.flip(token()))
      yield* TestClock.adjust("2999 millis")
      expect(yield* Fiber.poll(waiting)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(waiting)).toMatchObject({ reason: "Timeout", isTransient: true })
      expect(ended).toBe(1)
    })
  )

  it.scoped("are Timeout when the body does not end in time", () =>
    Effect.gen(function* () {
      let cancelled = false
      const body = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) })
      const { http } = fakeHttp(() => Effect.sync(() => new Response(body)))
      const { token } = yield* make(http)
      const waiting = yield* Effect.fork(Effect.flip(token()))
      yield* TestClock.adjust("10 seconds")
      expect(yield* Fiber.join(waiting)).toMatchObject({ reason: "Timeout" })
      expect(cancelled).toBe(true)
    })
  )

  it.effect("are Unreachable when the client fails, and when it dies", () =>
    Effect.gen(function* () {
      const { http } = fakeHttp((_, request) =>
        Effect.fail(
          new HttpClientError.RequestError({
            request,
            reason: "Transport",
            cause: new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED 127.0.0.1:1") })
          })
        )
      )
      const failed = yield* Effect.scoped(Effect.flatMap(make(http), ({ token }) => Effect.flip(token())))
      expect(failed).toMatchObject({ reason: "Unreachable", detail: "connect ECONNREFUSED 127.0.0.1:1" })
      expect(yield* failing(Effect.dieMessage("no such client"))).toMatchObject({
        reason: "Unreachable",
        detail: "no such client"
      })
    })
  )
})

describe("invalid options", () => {
  it.effect.each<[string, Partial<SmtpOAuth.Options>]>([
    ["tokenUrl", { tokenUrl: "login" }],
    ["tokenUrl", { tokenUrl: "http://login.example.com/token" }],
    ["tokenUrl", { tokenUrl: "http://127.0.0.1.example.com/token" }],
    ["tokenUrl", { tokenUrl: "ftp://127.0.0.1/token" }],
    ["tokenUrl", { tokenUrl: "https://app:secret@login.example.com/token" }],
    ["tokenUrl", { tokenUrl: "https://login.example.com/token#x" }],
    ["username", { username: "" }],
    ["username", { username: "a\u0001b" }],
    ["timeout", { timeout: 0 }],
    ["grant.client.id", { grant: { _tag: "ClientCredentials", client: { ...client, id: "" } } }],
    ["grant.client.secret", { grant: { _tag: "ClientCredentials", client: { id: "app" } } }],
    [
      "grant.client.secret",
      { grant: { _tag: "ClientCredentials", client: { id: "app", secret: Redacted.make("") } } }
    ],
    ["grant.refreshToken", { grant: { _tag: "RefreshToken", client, refreshToken: Redacted.make("") } }],
    ["grant.issuer", { grant: { _tag: "ServiceAccount", issuer: "", privateKey: Redacted.make("x") } }],
    [
      "grant.privateKey",
      { grant: { _tag: "ServiceAccount", issuer: "x", privateKey: Redacted.make("no key") } }
    ]
  ])("fail with InvalidArgument that names %s", ([field, wrong]) =>
    Effect.gen(function* () {
      const { http, requests } = numbered(60)
      const error = yield* Effect.flip(Effect.scoped(make(http, { ...byClientCredentials, ...wrong })))
      expect(error).toMatchObject({ _tag: "InvalidArgument", field })
      expect(error.message).not.toMatch(/secret@|no key/)
      expect(requests).toEqual([])
    })
  )
})

describe("secrets", () => {
  const print = (value: unknown): string =>
    [
      inspect(value, { depth: Infinity, showHidden: true, getters: true, maxStringLength: null }),
      JSON.stringify([value], (_, part: unknown) => (typeof part === "bigint" ? String(part) : part)),
      Inspectable.toStringUnknown(value),
      ...(value instanceof Error ? [value.message, String(value.stack), String(value.cause)] : [])
    ].join("\n")

  const forms = [clientSecret, refreshToken].flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams([["", secret]]).toString().slice(1),
    Buffer.from(secret)
      .toString("hex")
      .replace(/(..)(?=.)/g, "$1 ")
  ])
  const basic = Buffer.from("app:s3cret%26with%3Dreserved").toString("base64")

  const answers: Readonly<Record<string, Handle>> = {
    "a refusal that repeats the form": ({ form }) =>
      json({ error: "invalid_request", error_description: new URLSearchParams({ ...form }).toString() }, 400),
    "a refusal that repeats them": ({ form, headers }) =>
      json(
        {
          error: form["client_secret"] ?? "x",
          error_description: `${JSON.stringify(form)} ${headers["authorization"]}`
        },
        400
      ),
    "an invalid answer": ({ form }) => json({ access_token: `${form["refresh_token"]} x` }),
    "a failure with the request": (_, request) =>
      Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause: request })),
    "a failure that repeats the form": ({ form }, request) =>
      Effect.fail(
        new HttpClientError.RequestError({
          request,
          reason: "Transport",
          cause: new Error(JSON.stringify(form))
        })
      ),
    "a failure that describes the form": ({ form }, request) =>
      Effect.fail(
        new HttpClientError.RequestError({ request, reason: "Encode", description: JSON.stringify(form) })
      ),
    "a client that dies with the request": (_, request) => Effect.die(request),
    "a token": () => json({ access_token: "hunter2", refresh_token: "hunter3", expires_in: 3600 })
  }

  for (const [name, handle] of Object.entries(answers)) {
    for (const authentication of ["post", "basic"] as const) {
      it.effect(`do not appear in anything printed about ${name} (${authentication})`, () =>
        Effect.gen(function* () {
          const spans: Array<Tracer.Span> = []
          const tracer = Tracer.make({
            span: (name, parent, context, links, startTime, kind) => {
              const span = new RecordedSpan(name, parent, context, links, startTime, kind)
              spans.push(span)
              return span
            },
            context: (use) => use()
          })
          const logs = yield* collectLogs
          const options: SmtpOAuth.Options = {
            ...byRefreshToken,
            grant: {
              _tag: "RefreshToken",
              refreshToken: Redacted.make(refreshToken),
              client: { ...client, authentication }
            }
          }
          const texts = [print(options)]
          yield* Effect.gen(function* () {
            const oauth = yield* make(fakeHttp(handle).http, options)
            const exit = yield* Effect.exit(Effect.withSpan(oauth.token(), "test"))
            if (Exit.isFailure(exit)) yield* Effect.logError("failed", exit.cause)
            texts.push(print(oauth), print(exit))
            if (Exit.isFailure(exit)) {
              texts.push(Cause.pretty(exit.cause, { renderErrorCause: true }))
              texts.push(...[...Cause.failures(exit.cause)].map(print))
            }
          }).pipe(Effect.scoped, Effect.withTracer(tracer), Effect.provide(logs.layer))
          texts.push(print(yield* logs.entries))
          expect(spans.map(({ name: spanName }) => spanName)).toEqual(["test", "SmtpOAuth.token"])
          texts.push(...spans.map(print))
          const printed = texts.join("\n")
          for (const form of [...forms, basic, "hunter2", "hunter3"]) expect(printed).not.toContain(form)
        })
      )
    }
  }
})

class RecordedSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly spanId = "span"
  readonly traceId = "trace"
  readonly sampled = true
  readonly attributes = new Map<string, unknown>()
  readonly events: Array<unknown> = []
  readonly links: Array<Tracer.SpanLink> = []
  status: Tracer.SpanStatus
  constructor(
    readonly name: string,
    readonly parent: Tracer.Span["parent"],
    readonly context: Tracer.Span["context"],
    links: ReadonlyArray<Tracer.SpanLink>,
    startTime: bigint,
    readonly kind: Tracer.SpanKind
  ) {
    this.links.push(...links)
    this.status = { _tag: "Started", startTime }
  }
  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    this.status = { _tag: "Ended", startTime: 0n, endTime, exit }
  }
  attribute(key: string, value: unknown): void {
    this.attributes.set(key, value)
  }
  event(...event: ReadonlyArray<unknown>): void {
    this.events.push(event)
  }
  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    this.links.push(...links)
  }
}

describe("config", () => {
  const read = (values: Readonly<Record<string, string>>) =>
    Effect.withConfigProvider(
      Effect.suspend(() => SmtpOAuth.config("MAIL")),
      ConfigProvider.fromMap(new Map(Object.entries(values).map(([name, value]) => [`MAIL_${name}`, value])))
    )

  it.effect("reads every option of an endpoint", () =>
    Effect.gen(function* () {
      const options = yield* read({
        USERNAME: "app@example.com",
        TOKEN_URL: "https://login.example.com/token",
        CLIENT_ID: "app",
        CLIENT_SECRET: clientSecret,
        CLIENT_AUTHENTICATION: "basic",
        SCOPE: "smtp",
        TIMEOUT: "3 seconds",
        REFRESH_BEFORE: "2 minutes",
        LIFETIME: "30 minutes"
      })
      const { http, requests } = numbered(undefined)
      const { token } = yield* make(http, options)
      yield* token()
      yield* TestClock.adjust("27 minutes")
      yield* token()
      expect(requests.length).toBe(1)
      yield* TestClock.adjust("1 minute")
      yield* token()
      expect(requests.length).toBe(2)
      expect(requests[0]).toMatchObject({
        url: "https://login.example.com/token",
        form: { grant_type: "client_credentials", scope: "smtp" },
        headers: { authorization: `Basic ${basicOfApp}` }
      })
      expect(JSON.stringify(options)).not.toContain(clientSecret)
    }).pipe(Effect.scoped)
  )

  it.effect("reads the presets", () =>
    Effect.gen(function* () {
      const common = { USERNAME: "a@x.test", CLIENT_ID: "app", CLIENT_SECRET: "s" }
      const gmail = yield* read({ ...common, PROVIDER: "gmail", REFRESH_TOKEN: "r" })
      expect(gmail).toMatchObject({
        tokenUrl: "https://oauth2.googleapis.com/token",
        grant: { _tag: "RefreshToken" }
      })
      const microsoft = yield* read({ ...common, PROVIDER: "microsoft365", TENANT: "x.test" })
      expect(microsoft).toMatchObject({
        grant: { _tag: "ClientCredentials" },
        scope: "https://outlook.office365.com/.default"
      })
      const account = yield* read({
        USERNAME: "a@x.test",
        PROVIDER: "gmail",
        ISSUER: "robot",
        PRIVATE_KEY: "k"
      })
      expect(account).toMatchObject({ grant: { _tag: "ServiceAccount", subject: "a@x.test" } })
      const other = yield* read({
        USERNAME: "a@x.test",
        TOKEN_URL: "https://x.test/",
        ISSUER: "robot",
        PRIVATE_KEY: "k",
        KEY_ID: "1",
        SUBJECT: "b@x.test"
      })
      expect(other).toMatchObject({ grant: { _tag: "ServiceAccount", keyId: "1", subject: "b@x.test" } })
    })
  )

  it.effect.each<[string, Readonly<Record<string, string>>]>([
    ["MAIL_USERNAME", {}],
    ["MAIL_TOKEN_URL", { CLIENT_ID: "app", CLIENT_SECRET: "s" }],
    ["MAIL_TOKEN_URL", { TOKEN_URL: "http://x.test/", CLIENT_ID: "app", CLIENT_SECRET: "s" }],
    ["MAIL_PROVIDER", { PROVIDER: "yahoo", CLIENT_ID: "app", CLIENT_SECRET: "s" }],
    ["MAIL_CLIENT_ID", { TOKEN_URL: "https://x.test/" }],
    ["MAIL_CLIENT_SECRET", { TOKEN_URL: "https://x.test/", CLIENT_ID: "app" }],
    ["MAIL_CLIENT_SECRET", { TOKEN_URL: "https://x.test/", CLIENT_ID: "app", CLIENT_SECRET: "" }],
    ["MAIL_ISSUER", { TOKEN_URL: "https://x.test/", PRIVATE_KEY: "k" }],
    ["MAIL_REFRESH_TOKEN", { PROVIDER: "gmail", CLIENT_ID: "app", CLIENT_SECRET: "s" }],
    ["MAIL_TENANT", { PROVIDER: "microsoft365", CLIENT_ID: "app", CLIENT_SECRET: "s" }],
    ["MAIL_TIMEOUT", { TOKEN_URL: "https://x.test/", CLIENT_ID: "app", CLIENT_SECRET: "s", TIMEOUT: "soon" }]
  ])("fails with a ConfigError that names %s", ([key, values]) =>
    Effect.gen(function* () {
      const username = key === "MAIL_USERNAME" ? {} : { USERNAME: "a@x.test" }
      const error = yield* Effect.flip(read({ ...username, ...values }))
      expect(JSON.stringify(error)).toContain(key)
    })
  )

  it.effect("can be passed to layerConfig, as can any Config of the options", () =>
    Effect.gen(function* () {
      const { http } = numbered(60)
      const layer = SmtpOAuth.layerConfig({
        username: Config.succeed("app@example.com"),
        tokenUrl: Config.string("TOKEN_URL"),
        grant: Config.map(Config.redacted("SECRET"), (secret) => ({
          _tag: "ClientCredentials" as const,
          client: { id: "app", secret }
        }))
      })
      const token = yield* Effect.flatMap(SmtpOAuth.SmtpOAuth, ({ token: ask }) => valueOf(ask())).pipe(
        Effect.provide(layer),
        Effect.provideService(HttpClient.HttpClient, http),
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["TOKEN_URL", "https://x.test/"],
              ["SECRET", "s"]
            ])
          )
        )
      )
      expect(token).toBe("token-1")
      const missing = yield* Effect.either(
        Effect.provide(SmtpOAuth.SmtpOAuth, SmtpOAuth.layerConfig(SmtpOAuth.config("MAIL"))).pipe(
          Effect.provideService(HttpClient.HttpClient, http),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map()))
        )
      )
      expect(Either.isLeft(missing)).toBe(true)
    })
  )
})

const basicOfApp = Buffer.from("app:s3cret%26with%3Dreserved").toString("base64")
