/**
 * One request to a token endpoint and its answer (RFC 6749 sections 4.4, 5 and 6), without cache or retry. Errors hold
 * status, error code and description, without the secrets of the request.
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

export interface TokenForm {
  readonly fields: ReadonlyArray<readonly [name: string, value: string | Redacted.Redacted]>
  /** The client's credentials for HTTP Basic (RFC 6749 section 2.3.1). */
  readonly basic: { readonly id: string; readonly secret: Redacted.Redacted } | undefined
}

export interface TokenResponse {
  readonly accessToken: Redacted.Redacted
  /** Seconds. */
  readonly expiresIn: number | undefined
  /** The refresh token that replaces the one of the request. */
  readonly refreshToken: Redacted.Redacted | undefined
}

const maximumBytes = 262_144

/** Posts the form, without a time limit. Interruption ends the request. */
export const postForm = (
  client: HttpClient.HttpClient,
  url: URL,
  form: TokenForm
): Effect.Effect<TokenResponse, OAuthError> => {
  const endpoint = url.origin + url.pathname
  const sanitize = sanitizerOf(form)
  // The client's own span would hold the request in its error; the span below carries the same attributes without it.
  return HttpClient.withTracerDisabledWhen(client, () => true)
    .execute(requestOf(url, form))
    .pipe(
      Effect.flatMap((response) => Effect.zip(Effect.succeed(response.status), readText(response))),
      withoutRedirects,
      // The client's errors and defects hold the request with its secrets, so only their text is kept.
      Effect.catchAllCause((cause) =>
        Cause.isInterruptedOnly(cause) ? Effect.interrupt : failureOf(endpoint, Cause.squash(cause), sanitize)
      ),
      Effect.tap(([status]) => Effect.annotateCurrentSpan("http.response.status_code", status)),
      Effect.flatMap(([status, text]) => readResponse(endpoint, status, text, sanitize)),
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

const requestOf = (url: URL, { basic, fields }: TokenForm): HttpClientRequest.HttpClientRequest => {
  const body = new URLSearchParams()
  for (const [name, value] of fields) {
    body.append(name, typeof value === "string" ? value : Redacted.value(value))
  }
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

const formEncode = (text: string): string => new URLSearchParams([["", text]]).toString().slice(1)

const basicOf = ({ id, secret }: NonNullable<TokenForm["basic"]>): string =>
  encode(new TextEncoder().encode(`${formEncode(id)}:${formEncode(Redacted.value(secret))}`))

/** A redirect would carry the secrets to another server. */
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
    const decoder = new TextDecoder()
    let text = ""
    let length = 0
    return Stream.runForEach(response.stream, (part) => {
      text += decoder.decode(part, { stream: true })
      length += part.length
      return length > maximumBytes
        ? Effect.fail(new TooLong(`the answer is longer than ${maximumBytes} bytes`))
        : Effect.void
    }).pipe(Effect.map(() => text + decoder.decode()))
  })

type Sanitize = (text: string) => string

/** Removes the secrets of the form, in every encoding in which an endpoint or a client may repeat them. */
const sanitizerOf = ({ basic, fields }: TokenForm): Sanitize => {
  const plain = [basic?.secret, ...fields.map(([, value]) => value)]
    .filter((value) => typeof value !== "string" && value !== undefined)
    .map((value) => Redacted.value(value))
  const secrets = [
    ...plain,
    ...plain.map(formEncode),
    ...plain.map(encodeURIComponent),
    ...(basic === undefined ? [] : [basicOf(basic)])
  ].filter((secret) => secret !== "")
  return (text) =>
    secrets
      .reduce((words, secret) => words.replaceAll(secret, "[redacted]"), text)
      .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
      .trim()
      .slice(0, 500)
}

const failureOf = (endpoint: string, failure: unknown, sanitize: Sanitize): OAuthError => {
  if (failure instanceof TooLong)
    return new OAuthError({ reason: "Malformed", endpoint, detail: failure.message })
  const cause = HttpClientError.isHttpClientError(failure) ? (failure.cause ?? failure.description) : failure
  return new OAuthError({
    reason: "Unreachable",
    endpoint,
    detail: sanitize(describeCause(innermost(cause)))
  })
}

/** `fetch` gives the reason only in the cause of its error. */
const innermost = (cause: unknown): unknown =>
  cause instanceof Error && cause.cause instanceof Error ? innermost(cause.cause) : cause

const readResponse = (
  endpoint: string,
  status: number,
  text: string,
  sanitize: Sanitize
): Effect.Effect<TokenResponse, OAuthError> => {
  const fields = fieldsOf(text)
  if (status >= 200 && status < 400) {
    const response = status >= 300 ? "redirects are not followed" : tokenOf(fields)
    return typeof response === "string"
      ? new OAuthError({ reason: "Malformed", endpoint, status, detail: response })
      : Effect.succeed(response)
  }
  const code = codeOf(fields?.get("error"))
  const description = fields?.get("error_description")
  const detail = typeof description === "string" && description !== "" ? sanitize(description) : undefined
  const reason = isTemporary(status, code) ? "Unavailable" : code === undefined ? "Malformed" : "Refused"
  return new OAuthError({ reason, endpoint, status, code: code && sanitize(code), detail })
}

// RFC 6749 section 4.1.2.1 and RFC 8628 section 3.5: codes of other endpoints, which some send here too.
const temporaryCodes: ReadonlySet<string> = new Set(["temporarily_unavailable", "server_error", "slow_down"])

const isTemporary = (status: number, code: string | undefined): boolean =>
  status === 429 || status >= 500 || (code !== undefined && temporaryCodes.has(code))

type Fields = ReadonlyMap<string, unknown>

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
const tokenOf = (fields: Fields | undefined): TokenResponse | string => {
  if (fields === undefined) return "it is not a JSON object"
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
