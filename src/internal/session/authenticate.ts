/**
 * What protocol/sasl/Authentication asks for: tokens and mechanisms of the program, hashes and nonces of node:crypto,
 * SASLprep.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Reply } from "../../protocol/Reply.js"
import type { AuthenticationContext, AuthenticationMemory } from "../../protocol/sasl/Authentication.js"
import * as Authentications from "../../protocol/sasl/Authentication.js"
import type { Credentials as ReadableCredentials } from "../../protocol/sasl/Credentials.js"
import { fail, respond, wait } from "../../protocol/sasl/Mechanism.js"
import type { AuthenticationStep, MechanismEvent, Reaction, Secret, Step } from "../../protocol/SetUpStep.js"
import { failed } from "../../protocol/SetUpStep.js"
import type { Exchange, Token } from "../../SmtpAuth.js"
import type { AuthenticationError, InvalidArgument } from "../../SmtpError.js"
import { describeCause } from "../effect/cause.js"
import { problemOf } from "./credentials.js"
import { invalidArgument } from "./failure.js"
import type { KnownCredentials } from "./password.js"
import { obtain } from "./password.js"
import type { Crypto } from "./saslCrypto.js"
import { nodeCrypto } from "./saslCrypto.js"
import { saslPrep } from "./saslPrep.js"

/** What the runtime answers; the rest is for the capability cache. */
type Question<A> = Exclude<AuthenticationStep<A>, { readonly _tag: "ChannelBound" | "BindChannel" }>

/** One authentication: its first step, and the answers to what it asks for. */
export interface Authentication {
  /** Begins over a connection, or goes on over another one where `resumes` says so. */
  readonly begin: (context: AuthenticationContext) => Step<Reply>
  readonly resumes: Authentications.Authentication["resumes"]
  readonly answer: <A>(step: Question<A>) => Effect.Effect<Step<A>, AuthenticationError | InvalidArgument>
}

/** `tokenLimit` is how long the program may take to give a token. */
export const makeAuthentication = (
  credentials: KnownCredentials,
  tokenLimit: Duration.Duration,
  memory?: AuthenticationMemory,
  crypto: Crypto = nodeCrypto
): Authentication => {
  const token = credentials._tag === "OAuth2" ? credentials.token : Effect.dieMessage("there is no token")
  const react = makeProgramMechanism(
    credentials._tag === "ProgramMechanism" ? credentials.begin : Effect.dieMessage("there is no mechanism")
  )
  const authentication = new Authentications.Authentication(withSecrets(credentials), memory)
  return {
    begin: (context) => {
      const wrong = problemOf(credentials)
      return wrong === undefined ? authentication.begin(context) : failed(wrong)
    },
    resumes: (goodbye) => authentication.resumes(goodbye),
    answer: (step) => {
      switch (step._tag) {
        case "Nonce":
          return Effect.map(crypto.nonce, step.answered)
        case "Md5":
          return Effect.map(crypto.supports("MD5"), step.answered)
        case "Compute":
          return Effect.map(crypto.compute(step.request), step.answered)
        case "Prepare":
          return Effect.zipWith(
            saslPrep("username", step.username, "query"),
            saslPrep("password", step.password(), "stored"),
            (username, password) => step.answered({ username, password: () => password })
          ).pipe(Effect.mapError(invalidArgument))
        case "Token":
          return Effect.map(askForToken(token, step.refused, tokenLimit), (given) =>
            step.answered(() => Redacted.value(given))
          )
        case "Program":
          return Effect.map(react(step.event), step.answered)
      }
    }
  }
}

const withSecrets = (credentials: KnownCredentials): ReadableCredentials => {
  switch (credentials._tag) {
    case "Password":
      return { ...credentials, password: () => Redacted.value(credentials.password) }
    case "OAuth2":
      return { ...credentials, renewable: !Redacted.isRedacted(credentials.token) }
    default:
      return credentials
  }
}

const askForToken = (
  token: Token,
  refused: Secret | undefined,
  limit: Duration.Duration
): Effect.Effect<Redacted.Redacted, AuthenticationError> => {
  if (Redacted.isRedacted(token)) return Effect.succeed(token)
  const request = {
    refresh: refused !== undefined,
    refused: refused === undefined ? undefined : Redacted.make(refused())
  }
  return obtain(Effect.isEffect(token) ? token : Effect.suspend(() => token(request)), limit)
}

/** What a mechanism of the program makes of events. */
const makeProgramMechanism = (
  begin: Effect.Effect<Exchange, unknown>
): ((event: MechanismEvent) => Effect.Effect<Reaction>) => {
  let exchange: Exchange | undefined
  const toReaction = <A>(
    effect: Effect.Effect<A, unknown>,
    onSuccess: (value: A) => Reaction,
    reason: "Challenge" | "ServerNotVerified" = "Challenge"
  ): Effect.Effect<Reaction> =>
    Effect.match(effect, {
      onSuccess,
      onFailure: (cause): Reaction => {
        const what = reason === "Challenge" ? "the program's mechanism" : "the check"
        return { ...fail(reason, `${what} failed: ${describeCause(cause)}`), cause }
      }
    })
  const responded = (octets: Redacted.Redacted<Uint8Array> | undefined): Reaction =>
    octets === undefined ? wait : respond(Redacted.value(octets))
  return (event) => {
    if (event._tag === "Start" || exchange === undefined) {
      return toReaction(begin, (begun) => {
        exchange = begun
        return responded(begun.initialResponse)
      })
    }
    return event._tag === "Challenge"
      ? toReaction(exchange.respond(event.octets), responded)
      : toReaction(
          exchange.verified ?? Effect.succeed(true),
          (verified) =>
            verified ? wait : fail("ServerNotVerified", "the program's mechanism was not satisfied"),
          "ServerNotVerified"
        )
  }
}
