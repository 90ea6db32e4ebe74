/** The HttpClient of @effect/platform, loaded when it is first used: a program that provides one has loaded it already. */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

const response = (url: string) =>
  Effect.flatMap(
    Effect.promise(() => import("@effect/platform/HttpClient")),
    (module) => Effect.flatMap(module.HttpClient, (client) => module.filterStatusOk(client).get(url))
  )

/** The body of a response with a status of 2xx. */
export const download = (url: string): Stream.Stream<Uint8Array, HttpClientError, HttpClient> =>
  Stream.unwrap(Effect.map(response(url), ({ stream }) => stream))

/** Fails if the response has another status than 2xx. */
export const checkDownload = (url: string): Effect.Effect<void, HttpClientError, HttpClient> =>
  Effect.asVoid(response(url))
