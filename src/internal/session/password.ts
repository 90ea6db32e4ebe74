/** Secrets that the program obtains when they are needed, and passwords that may have changed since they were refused. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Credentials, Password } from "../../SmtpAuth.js"
import { AuthenticationError } from "../../SmtpError.js"
import type { Service, SetupError } from "../../SmtpSession.js"
import { withTimeLimit } from "../effect/timeLimit.js"

/** Credentials whose password is known. */
export type KnownCredentials =
  Exclude<Credentials, Password> | (Password & { readonly password: Redacted.Redacted })

const isKnown = (credentials: Credentials): credentials is KnownCredentials =>
  credentials._tag !== "Password" || !Effect.isEffect(credentials.password)

/** What an error says of itself, as those of SmtpOAuth do. */
const saysItMayPass = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "isTransient" in cause && cause.isTransient === true

/** Runs the effect that gives a token or a password, within a limit. */
export const obtain = (
  secret: Effect.Effect<Redacted.Redacted, unknown>,
  limit: Duration.Duration
): Effect.Effect<Redacted.Redacted, AuthenticationError> =>
  withTimeLimit(
    Effect.mapError(
      secret,
      (cause) =>
        new AuthenticationError({ reason: saysItMayPass(cause) ? "TokenUnavailable" : "Token", cause })
    ),
    limit,
    () =>
      new AuthenticationError({
        reason: "TokenUnavailable",
        detail: `the effect that gives it took more than ${Duration.format(limit)} (timeouts.auth)`
      })
  )

export const readPassword = (
  credentials: Credentials,
  limit: Duration.Duration
): Effect.Effect<KnownCredentials, AuthenticationError> => {
  if (isKnown(credentials)) return Effect.succeed(credentials)
  const { password } = credentials
  return Effect.isEffect(password)
    ? Effect.map(obtain(password, limit), (read) => ({ ...credentials, password: read }))
    : Effect.succeed({ ...credentials, password })
}

const secretOf = (credentials: KnownCredentials): string | undefined =>
  credentials._tag === "Password" ? Redacted.value(credentials.password) : undefined

/** Authenticates once more if the server has refused a password that has changed since. */
export const renewing =
  (auth: Credentials | undefined, used: KnownCredentials | undefined, limit: Duration.Duration) =>
  ({ authenticate }: Pick<Service, "authenticate">, error: SetupError): Effect.Effect<void, SetupError> => {
    const isRejected = error._tag === "AuthenticationError" && error.reason === "Rejected"
    if (!isRejected || auth === undefined || used === undefined || isKnown(auth)) return Effect.fail(error)
    return Effect.matchEffect(readPassword(auth, limit), {
      onFailure: () => Effect.fail(error),
      onSuccess: (next): Effect.Effect<void, SetupError> =>
        secretOf(next) === secretOf(used) ? Effect.fail(error) : Effect.asVoid(authenticate(next))
    })
  }
