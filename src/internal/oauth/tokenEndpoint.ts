/**
 * One request to a token endpoint and its answer (RFC 6749 sections 4.4, 5 and 6): no memory, no repetition. Nothing
 * that is sent or received here reaches an error but status, error code and description, without their secrets.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { encode } from "../../protocol/sasl/Base64.js"
import { checkToken } from "../../protocol/sasl/Values.js"
import { describeCause } from "../effect/cause.js"
import { OAuthError } from "./error.js"

/** What is posted, apart from the endpoint itself. */
export interface Form {
  readonly fields: ReadonlyArray<readonly [name: string, value: string | Redacted.Redacted]>
  /** The client that authenticates by HTTP Basic (RFC 6749 section 2.3.1). */
  readonly basic: { readonly id: string; readonly secret: Redacted.Redacted } | undefined
}

export interface Answer {
  readonly accessToken: Redacted.Redacted
  /** In seconds, if the endpoint says. */
  readonly expiresIn: number | undefined
  /** The next refresh token, where the endpoint replaces them. */
  readonly refreshToken: Redacted.Redacted | undefined
}

// A token endpoint answers with a few hundred octets; more than this is no answer of one.
const maximumOctets = 262_144

/** Posts the form. It has no time limit of its own; interruption ends the request. */
export const post = (
  client: HttpClient.HttpClient,
  url: URL,
  form: Form
): Effect.Effect<Answer, OAuthError> => {
  const endpoint = url.origin + url.pathname
  const say = sayWithout(secretsOf(form))
  // Its spans end with its errors, which hold the request: the span of this module says the same without it.
  return HttpClient.withTracerDisabledWhen(client, () => true)
    .execute(requestOf(url, form))
    .pipe(
      Effect.flatMap((response) => Effect.zip(Effect.succeed(response.status), readText(response))),
      withoutRedirects,
      // What the client reports holds the request, and the request holds the secrets: only words go on. A client that
      // dies is no better than one that fails.
      Effect.catchAllCause((cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.interrupt
          : Effect.fail(failureOf(endpoint, Cause.squash(cause), say))
      ),
      Effect.tap(([status]) => Effect.annotateCurrentSpan("http.response.status_code", status)),
      Effect.flatMap(([status, text]) => read(endpoint, status, text, say)),
      Effect.withSpan("SmtpOAuth.token", {
        kind: "client",
        captureStackTrace: false,
        attributes: {
          "http.request.method": "POST",
          "server.address": url.hostname,
          "server.port": portOf(url),
          "url.full": endpoint
        }
      })
    )
}

const requestOf = (url: URL, { basic, fields }: Form): HttpClientRequest.HttpClientRequest => {
  const body = new URLSearchParams()
  for (const [name, value] of fields) body.append(name, textOf(value))
  const request = HttpClientRequest.post(url).pipe(
    HttpClientRequest.acceptJson,
    HttpClientRequest.bodyText(body.toString(), "application/x-www-form-urlencoded")
  )
  return basic === undefined
    ? request
    : HttpClientRequest.setHeader(request, "authorization", `Basic ${basicOf(basic)}`)
}

const portOf = ({ port, protocol }: URL): number =>
  port !== "" ? Number(port) : protocol === "https:" ? 443 : 80

const textOf = (value: string | Redacted.Redacted): string =>
  typeof value === "string" ? value : Redacted.value(value)

const formEncode = (text: string): string => new URLSearchParams([["", text]]).toString().slice(1)

const basicOf = ({ id, secret }: NonNullable<Form["basic"]>): string =>
  encode(new TextEncoder().encode(`${formEncode(id)}:${formEncode(Redacted.value(secret))}`))

/** A token endpoint does not redirect, and whoever followed would carry the secrets elsewhere. */
const withoutRedirects = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.serviceOption(FetchHttpClient.RequestInit), (init) =>
    Effect.provideService(use, FetchHttpClient.RequestInit, {
      ...Option.getOrElse(init, () => ({})),
      redirect: "manual"
    })
  )

class TooLong extends Error {}

const readText = (
  response: HttpClientResponse.HttpClientResponse
): Effect.Effect<string, HttpClientError.ResponseError | TooLong> =>
  Effect.suspend(() => {
    const parts: Array<Uint8Array> = []
    let octets = 0
    return Effect.as(
      Stream.runForEach(response.stream, (part) => {
        parts.push(part)
        octets += part.length
        return octets > maximumOctets
          ? Effect.fail(new TooLong(`the answer is longer than ${maximumOctets} octets`))
          : Effect.void
      }),
      parts
    )
  }).pipe(
    Effect.map((parts) => {
      const decoder = new TextDecoder()
      return parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode()
    })
  )

// Words without secrets

type Say = (text: string) => string

/** In the forms in which an endpoint or a client may repeat them. */
const secretsOf = ({ basic, fields }: Form): ReadonlyArray<string> => {
  const plain = [basic?.secret, ...fields.map(([, value]) => value)]
    .filter((value) => typeof value !== "string" && value !== undefined)
    .map((value) => Redacted.value(value))
  return [
    ...plain,
    ...plain.map(formEncode),
    ...plain.map(encodeURIComponent),
    ...(basic === undefined ? [] : [basicOf(basic)])
  ].filter((secret) => secret !== "")
}

const sayWithout =
  (secrets: ReadonlyArray<string>): Say =>
  (text) =>
    secrets
      .reduce((words, secret) => words.replaceAll(secret, "[redacted]"), text)
      .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
      .trim()
      .slice(0, 500)

const failureOf = (endpoint: string, failure: unknown, say: Say): OAuthError => {
  if (failure instanceof TooLong)
    return new OAuthError({ reason: "Malformed", endpoint, detail: failure.message })
  const cause = HttpClientError.isHttpClientError(failure) ? (failure.cause ?? failure.description) : failure
  return new OAuthError({ reason: "Unreachable", endpoint, detail: say(describeCause(innermost(cause))) })
}

/** fetch says only that it failed, and its cause says why. */
const innermost = (cause: unknown): unknown =>
  cause instanceof Error && cause.cause instanceof Error ? innermost(cause.cause) : cause

// Answers

type Fields = ReadonlyMap<string, unknown>

const read = (
  endpoint: string,
  status: number,
  text: string,
  say: Say
): Effect.Effect<Answer, OAuthError> => {
  const fields = fieldsOf(text)
  const malformed = (detail: string) =>
    Effect.fail(new OAuthError({ reason: "Malformed", endpoint, status, detail }))
  if (status >= 300 && status < 400) return malformed("it redirects, which is not followed")
  if (status >= 200 && status < 300) {
    if (fields === undefined) return malformed("it is no JSON object")
    const answer = answerOf(fields)
    return typeof answer === "string" ? malformed(answer) : Effect.succeed(answer)
  }
  const code = codeOf(fields?.get("error"))
  const description = fields?.get("error_description")
  const detail = typeof description === "string" && description !== "" ? say(description) : undefined
  const reason = isForNow(status, code) ? "Unavailable" : code === undefined ? "Malformed" : "Refused"
  return Effect.fail(new OAuthError({ reason, endpoint, status, code: code && say(code), detail }))
}

// The codes are those of RFC 6749 section 4.1.2.1 and RFC 8628 section 3.5, which some endpoints give here too.
const isForNow = (status: number, code: string | undefined): boolean =>
  status === 429 ||
  status >= 500 ||
  code === "temporarily_unavailable" ||
  code === "server_error" ||
  code === "slow_down"

const fieldsOf = (text: string): Fields | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? new Map<string, unknown>(Object.entries(value))
      : undefined
  } catch {
    return undefined
  }
}

/** RFC 6749 section 5.2. */
const codeOf = (code: unknown): string | undefined =>
  typeof code === "string" && /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,100}$/.test(code) ? code : undefined

/** RFC 6749 section 5.1; a string says what is wrong. */
const answerOf = (fields: Fields): Answer | string => {
  const accessToken = fields.get("access_token")
  if (typeof accessToken !== "string") return "it has no access_token"
  const wrong = checkToken("access_token", accessToken)
  if (wrong !== undefined) return `its ${wrong.field} ${wrong.reason}`
  const type = fields.get("token_type") ?? "Bearer"
  if (typeof type !== "string" || type.toLowerCase() !== "bearer") return "its token_type is not Bearer"
  const expiresIn = secondsOf(fields.get("expires_in"))
  if (Number.isNaN(expiresIn)) return "its expires_in is not a number of seconds"
  const refreshToken = fields.get("refresh_token")
  return {
    accessToken: Redacted.make(accessToken),
    expiresIn,
    refreshToken:
      typeof refreshToken === "string" && refreshToken !== "" ? Redacted.make(refreshToken) : undefined
  }
}

/** Some endpoints write the number as a string. */
const secondsOf = (value: unknown): number | undefined => {
  if (value === undefined || value === null) return undefined
  const seconds = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value
  return typeof seconds === "number" && seconds >= 0 && Number.isFinite(seconds) ? seconds : Number.NaN
}
