/**
 * A session over TCP against a script, for tests of TLS and AUTH: what the client came to, what the script came to,
 * what was on the wire, and that neither side leaves anything open.
 */
import { expect } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { CapabilityCache } from "../../src/CapabilityCache.js"
import * as NodeSmtp from "../../src/NodeSmtp.js"
import type * as SmtpSession from "../../src/SmtpSession.js"
import type { SmtpSocket } from "../../src/SmtpSocket.js"
import * as SmtpTest from "../../src/SmtpTest.js"
import type { TlsUpgrade } from "../../src/TlsUpgrade.js"
import type { Certificate } from "../servers/certificates.js"
import type { Handshake, Listening, ListenOptions } from "../support/listen.js"
import { listen } from "../support/listen.js"
import { resourcesLeftBy } from "../support/resources.js"
import { clientName } from "./oneSession.js"

export type Services = SmtpSocket | TlsUpgrade | CapabilityCache

export interface Ended<A, E> {
  readonly result: Either.Either<A, E>
  readonly script: Either.Either<void, SmtpTest.ScriptFailure>
  /** Everything that the client said, outside TLS as inside. */
  readonly received: string
  readonly handshakes: ReadonlyArray<Handshake>
}

/** The options that lead to the listening server by address. */
const optionsFor = (listening: Listening): SmtpSession.Options => ({
  host: "127.0.0.1",
  port: listening.port,
  clientName
})

/** The server's part of TLS. */
export const serverTls = ({ certificate, key }: Certificate): ListenOptions => ({
  tls: { cert: certificate, key }
})

/** Runs a client against a listening server until both are done. */
const runAt = <A, E>(
  listening: Listening,
  client: Effect.Effect<A, E, Services | Scope.Scope>,
  layer: Layer.Layer<Services> = NodeSmtp.layer
): Effect.Effect<Ended<A, E>> =>
  Effect.gen(function* () {
    const result = yield* Effect.either(Effect.scoped(client)).pipe(Effect.provide(layer))
    const script = yield* Effect.either(listening.server.done)
    return {
      result,
      script,
      received: yield* listening.server.receivedText,
      handshakes: yield* listening.handshakes
    }
  })

/** As `runAt`, with a server of its own that is gone afterwards; fails the test if anything stays open. */
export const overTcp = <A, E>(
  scripts: SmtpTest.Scripts,
  listenOptions: ListenOptions,
  client: (options: SmtpSession.Options) => Effect.Effect<A, E, Services | Scope.Scope>,
  layer?: Layer.Layer<Services>
): Effect.Effect<Ended<A, E>> =>
  Effect.gen(function* () {
    let ended: Ended<A, E> | undefined
    const left = yield* resourcesLeftBy(
      Effect.scoped(
        Effect.gen(function* () {
          const listening = yield* listen(scripts, listenOptions)
          ended = yield* runAt(listening, client(optionsFor(listening)), layer)
        })
      )
    )
    expect(left).toEqual({})
    return ended ?? (yield* Effect.dieMessage("the client did not run"))
  })

/** Both sides came to their end as they should. */
export const succeeded = <A, E>(ended: Ended<A, E>): A => {
  expect(ended.script).toEqual(Either.right(undefined))
  return Either.getOrThrowWith(ended.result, (error) => error)
}

/** The script came to its end, and the client to an error. */
export const failedAsScripted = <A, E>(ended: Ended<A, E>): E => {
  expect(ended.script).toEqual(Either.right(undefined))
  return failed(ended)
}

/** The client came to an error, wherever that left the script. */
export const failed = <A, E>(ended: Ended<A, E>): E =>
  Either.getOrThrowWith(Either.flip(ended.result), () => new Error(`no error; received:\n${ended.received}`))

export const startTls = SmtpTest.script(
  SmtpTest.expect("STARTTLS"),
  SmtpTest.reply("220 go ahead"),
  SmtpTest.upgrade
)
