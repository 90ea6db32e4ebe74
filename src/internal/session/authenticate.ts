/**
 * Drives AUTH (RFC 4954): which mechanisms are tried in which order, when to stop, and the exchange of base64
 * lines. It sees the session only through its port; the mechanisms themselves are in protocol/sasl, and their
 * computations in crypto.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Reply } from "../../protocol/Reply.js"
import { printable } from "../../protocol/Printable.js"
import { isPermanent, isRefusal, isTransient } from "../../protocol/Reply.js"
import { decode, encode } from "../../protocol/sasl/Base64.js"
import { oauthBearer, xoauth2 } from "../../protocol/sasl/Bearer.js"
import { cramMd5 } from "../../protocol/sasl/CramMd5.js"
import type { Binding } from "../../protocol/sasl/Gs2.js"
import type { Fail, Mechanism, Respond, Step } from "../../protocol/sasl/Mechanism.js"
import { respond } from "../../protocol/sasl/Mechanism.js"
import { anonymous, external, login, plain } from "../../protocol/sasl/Plain.js"
import { scram } from "../../protocol/sasl/Scram.js"
import { checkToken } from "../../protocol/sasl/Values.js"
import type {
  Credentials,
  Exchange,
  OAuth2,
  Password,
  PasswordMechanism,
  ProgramMechanism
} from "../../SmtpAuth.js"
import { oauth2Mechanisms, passwordMechanisms } from "../../SmtpAuth.js"
import type { Disconnection } from "../../SmtpError.js"
import { AuthenticationError, InvalidArgument } from "../../SmtpError.js"
import type { ChannelBinding } from "../../TlsUpgrade.js"
import { describeCause } from "../effect/cause.js"
import { problemOf } from "./credentials.js"
import type { Crypto } from "./saslCrypto.js"
import { nodeCrypto } from "./saslCrypto.js"
import { invalidArgument } from "./failure.js"
import { saslPrep } from "./saslPrep.js"

/** What the driver needs of a session. */
export interface Port {
  /** Sends one line, given without CRLF, and gives its reply. The line is a secret, and so is the 334's text. */
  readonly exchange: (line: string) => Effect.Effect<Reply, Disconnection>
  /** Ends the session because of a reply that has no place in the exchange. */
  readonly abandon: (reply: Reply, reason: string) => Effect.Effect<never, Disconnection>
  /** Keeps a secret out of all replies to come, and out of what `withhold` gives. */
  readonly guard: (secret: Redacted.Redacted) => void
  /** Text of the server without what it repeats of this exchange and of those before it. */
  readonly withhold: (text: string) => string
  /** The mechanisms of the latest EHLO. */
  readonly mechanisms: ReadonlyArray<string>
  readonly tls:
    { readonly verified: boolean; readonly channelBinding: ChannelBinding | undefined } | undefined
  /** For OAUTHBEARER, which names host and port; `undefined` where there are none, on a UNIX socket. */
  readonly endpoint: { readonly host: string; readonly port: number } | undefined
  readonly allowInsecureAuth: boolean
  /** How long the program may take to give a token. */
  readonly tokenLimit: Duration.Duration
}

/** AUTH commands in one authentication. */
export const maximumAttempts = 3

/** Challenges in one AUTH command. */
export const maximumChallenges = 16

// RFC 5321 section 4.5.3.1.4 for the command, RFC 4954 section 4 for the lines of the exchange; without CRLF.
const commandLength = 510
const lineLength = 12_286

const maximumExplanation = 200

/**
 * Whether the session must not be used after the error: the server at the other end may be a false one, or the
 * session counts as authenticated there and not here.
 */
export const endsSession = (error: AuthenticationError): boolean => error.reason === "ServerNotVerified"

/** One AUTH command's worth of a mechanism, whoever implements it. */
interface Responder {
  readonly initialResponse: Uint8Array | undefined
  readonly respond: (challenge: Uint8Array) => Effect.Effect<Respond, AuthenticationError>
  /** Run after a 235: fails if it is not to be believed. */
  readonly verify: (reply: Reply) => Effect.Effect<void, AuthenticationError>
}

interface Candidate {
  readonly name: string
  readonly initialResponse: boolean
  /** The argument to blame for an initial response that no line can hold. */
  readonly field: string
  readonly begin: Effect.Effect<Responder, AuthenticationError | InvalidArgument>
  /** What no reply may quote. */
  readonly secrets: ReadonlyArray<Redacted.Redacted>
  /** Whether its responses, decoded, say only who somebody is, or what is among `secrets`. */
  readonly quotable: boolean
  /** What else to try after the credentials were refused. */
  readonly afterRefusal?:
    Effect.Effect<ReadonlyArray<Candidate>, AuthenticationError | InvalidArgument> | undefined
}

interface Outcome {
  readonly reply: Reply
  /** What the server said went wrong, inside the mechanism. */
  readonly remark: string | undefined
}

const failure = (mechanism: string, { detail, reason }: Fail, reply?: Reply): AuthenticationError =>
  new AuthenticationError({ reason, mechanism, reply, detail })

const challengeError = (mechanism: string, detail: string): AuthenticationError =>
  new AuthenticationError({ reason: "Challenge", mechanism, detail })

// Mechanisms of the library

const fromMachine = (crypto: Crypto, machine: Mechanism): Effect.Effect<Responder, AuthenticationError> => {
  const settle = (step: Step): Effect.Effect<Respond | undefined, AuthenticationError> => {
    switch (step._tag) {
      case "Respond":
        return Effect.succeed(step)
      case "Wait":
        return Effect.succeed(undefined)
      case "Request":
        return Effect.flatMap(crypto.compute(step.request), (octets) => settle(machine.answer(octets)))
      case "Fail":
        return Effect.fail(failure(machine.name, step))
    }
  }
  return Effect.map(
    Effect.suspend(() => settle(machine.start())),
    (first) => ({
      initialResponse: first?.octets,
      respond: (challenge) =>
        Effect.map(
          Effect.suspend(() => settle(machine.challenge(challenge))),
          (step) => step ?? respond(new Uint8Array(0))
        ),
      verify: (reply) =>
        Effect.suspend(() => {
          const fail = machine.succeed()
          return fail === undefined ? Effect.void : Effect.fail(failure(machine.name, fail, reply))
        })
    })
  )
}

// Mechanisms of a program

const fromProgram = (name: string, credentials: ProgramMechanism): Candidate["begin"] => {
  const programError = (cause: unknown): AuthenticationError =>
    new AuthenticationError({
      reason: "Challenge",
      mechanism: name,
      detail: `the program's mechanism failed: ${describeCause(cause)}`,
      cause
    })
  const toResponder = (exchange: Exchange): Responder => ({
    initialResponse:
      exchange.initialResponse === undefined ? undefined : Redacted.value(exchange.initialResponse),
    respond: (challenge) =>
      exchange
        .respond(challenge)
        .pipe(
          Effect.mapBoth({ onFailure: programError, onSuccess: (octets) => respond(Redacted.value(octets)) })
        ),
    verify: (reply) => {
      const unverified = (detail: string, cause?: unknown): AuthenticationError =>
        new AuthenticationError({ reason: "ServerNotVerified", mechanism: name, reply, detail, cause })
      return (exchange.verified ?? Effect.succeed(true)).pipe(
        Effect.mapError((cause) => unverified(`the check failed: ${describeCause(cause)}`, cause)),
        Effect.filterOrFail(
          (verified) => verified,
          () => unverified("the program's mechanism was not satisfied")
        ),
        Effect.asVoid
      )
    }
  })
  return Effect.mapBoth(credentials.begin, { onFailure: programError, onSuccess: toResponder })
}

// Passwords

const isPlus = (name: string): boolean => /^SCRAM-.+-PLUS$/i.test(name)
const isScram = (name: string): boolean => name.startsWith("SCRAM-")

// Mechanisms that the server announced for an account whose secret it may hold in another form only.
const needsSecret = (name: string): boolean => isScram(name) || name === "CRAM-MD5"
const sendsPassword = (name: string): boolean => name === "PLAIN" || name === "LOGIN"

/** RFC 5802 section 6: `y` says that no -PLUS was seen, so it is never said to a server that announced one. */
const bindingFor = (name: string, port: Port): Binding => {
  const binding = port.tls?.channelBinding
  if (binding === undefined) return { _tag: "Unsupported" }
  if (isPlus(name)) return { _tag: "Bound", ...binding }
  return { _tag: port.mechanisms.some(isPlus) ? "Unsupported" : "NotOffered" }
}

const upperCase = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.map((name) => name.toUpperCase())

const announces = (port: Port, name: string): boolean => upperCase(port.mechanisms).includes(name)

const usablePasswordMechanisms = (
  credentials: Password,
  port: Port,
  crypto: Crypto
): Effect.Effect<ReadonlyArray<PasswordMechanism>> => {
  const wanted = upperCase(credentials.mechanisms ?? passwordMechanisms)
  const known = wanted.flatMap((name) => passwordMechanisms.filter((mechanism) => mechanism === name))
  return Effect.filter(known, (name) => {
    if (isPlus(name) && port.tls?.channelBinding === undefined) return Effect.succeed(false)
    if (credentials.authorizationId !== undefined && (name === "CRAM-MD5" || name === "LOGIN")) {
      return Effect.succeed(false)
    }
    // Asked only where it matters: to ask is to load node:crypto.
    return name === "CRAM-MD5" && announces(port, name) ? crypto.supports("MD5") : Effect.succeed(true)
  })
}

const scramAlgorithm = (name: string): "SHA-1" | "SHA-256" | "SHA-512" => {
  if (name.startsWith("SCRAM-SHA-512")) return "SHA-512"
  return name.startsWith("SCRAM-SHA-256") ? "SHA-256" : "SHA-1"
}

interface Prepared {
  readonly username: string
  readonly password: Redacted.Redacted
}

const prepare = (credentials: Password): Effect.Effect<Prepared, InvalidArgument> =>
  Effect.all({
    username: saslPrep("username", credentials.username, "query"),
    password: Effect.map(saslPrep("password", Redacted.value(credentials.password), "stored"), (password) =>
      Redacted.make(password)
    )
  }).pipe(Effect.mapError(invalidArgument))

const passwordMachine = (
  name: PasswordMechanism,
  credentials: Password,
  prepared: Prepared,
  port: Port,
  nonce: string
): Mechanism => {
  const { authorizationId, maximumIterations, username } = credentials
  const password = Redacted.value(credentials.password)
  switch (name) {
    case "PLAIN":
      return plain({ username, password, authorizationId })
    case "LOGIN":
      return login({ username, password })
    case "CRAM-MD5":
      return cramMd5({ username, password })
    default:
      return scram({
        algorithm: scramAlgorithm(name),
        username: prepared.username,
        password: Redacted.value(prepared.password),
        authorizationId,
        nonce,
        binding: bindingFor(name, port),
        maximumIterations
      })
  }
}

const passwordCandidates = (
  credentials: Password,
  port: Port,
  crypto: Crypto
): Effect.Effect<Arr.NonEmptyReadonlyArray<Candidate>, AuthenticationError | InvalidArgument> =>
  Effect.gen(function* () {
    const usable = yield* usablePasswordMechanisms(credentials, port, crypto)
    const common = yield* inCommon(usable, port)
    const prepared = common.some(isScram) ? yield* prepare(credentials) : credentials
    return Arr.map(common, (name) => ({
      name,
      initialResponse: credentials.initialResponse ?? true,
      field: "password",
      secrets: [credentials.password, prepared.password],
      quotable: name === "LOGIN",
      begin: Effect.flatMap(isScram(name) ? crypto.nonce : Effect.succeed(""), (nonce) =>
        fromMachine(crypto, passwordMachine(name, credentials, prepared, port, nonce))
      )
    }))
  })

// Tokens

/** What an error says of itself, as those of SmtpOAuth do. */
const saysItMayPass = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "isTransient" in cause && cause.isTransient === true

const tookTooLong = (limit: Duration.Duration): AuthenticationError =>
  new AuthenticationError({
    reason: "TokenUnavailable",
    detail: `the effect that gives it took more than ${Duration.format(limit)} (timeouts.auth)`
  })

const askForToken = (
  credentials: OAuth2,
  { tokenLimit }: Port,
  refused: Redacted.Redacted | undefined
): Effect.Effect<Redacted.Redacted, AuthenticationError | InvalidArgument> => {
  const { token } = credentials
  const asked = (effect: Effect.Effect<Redacted.Redacted, unknown>) =>
    effect.pipe(
      Effect.mapError(
        (cause) =>
          new AuthenticationError({ reason: saysItMayPass(cause) ? "TokenUnavailable" : "Token", cause })
      ),
      // So that the limit holds in an uninterruptible region too.
      Effect.interruptible,
      Effect.timeoutFail({ duration: tokenLimit, onTimeout: () => tookTooLong(tokenLimit) })
    )
  const given = Redacted.isRedacted(token)
    ? Effect.succeed(token)
    : asked(
        Effect.isEffect(token)
          ? token
          : Effect.suspend(() => token({ refresh: refused !== undefined, refused }))
      )
  return given.pipe(
    Effect.tap((value) => {
      const wrong = checkToken("token", Redacted.value(value))
      return wrong === undefined ? Effect.void : Effect.fail(invalidArgument(wrong))
    })
  )
}

const tokenCandidates = (
  credentials: OAuth2,
  port: Port,
  crypto: Crypto
): Effect.Effect<Arr.NonEmptyReadonlyArray<Candidate>, AuthenticationError | InvalidArgument> =>
  Effect.gen(function* () {
    const wanted = upperCase(credentials.mechanisms ?? oauth2Mechanisms)
    const common = yield* inCommon(wanted, port)
    const first = yield* askForToken(credentials, port, undefined)
    const candidate = (name: string, token: Redacted.Redacted): Candidate => ({
      name,
      initialResponse: credentials.initialResponse ?? true,
      field: "token",
      secrets: [token],
      quotable: false,
      begin: Effect.suspend(() => {
        const options = { username: credentials.username, token: Redacted.value(token) }
        return fromMachine(
          crypto,
          name === "OAUTHBEARER" ? oauthBearer({ ...options, endpoint: port.endpoint }) : xoauth2(options)
        )
      })
    })
    const refreshed = (name: string): Candidate["afterRefusal"] =>
      Redacted.isRedacted(credentials.token)
        ? undefined
        : Effect.map(askForToken(credentials, port, first), (token) =>
            Redacted.value(token) === Redacted.value(first) ? [] : [candidate(name, token)]
          )
    return Arr.map(common, (name) => ({ ...candidate(name, first), afterRefusal: refreshed(name) }))
  })

// Choosing

const list = (names: ReadonlyArray<string>): string => (names.length === 0 ? "none" : names.join(", "))

const inCommon = <Name extends string>(
  usable: ReadonlyArray<Name>,
  port: Port
): Effect.Effect<Arr.NonEmptyReadonlyArray<Name>, AuthenticationError> => {
  const common = usable.filter((name, index) => announces(port, name) && usable.indexOf(name) === index)
  return Arr.isNonEmptyReadonlyArray(common)
    ? Effect.succeed(common)
    : Effect.fail(
        new AuthenticationError({
          reason: "NoCommonMechanism",
          detail: `it announces ${printable(list(upperCase(port.mechanisms)))}; usable here: ${list(usable)}`
        })
      )
}

const single = (
  name: string,
  credentials: Credentials,
  port: Port,
  begin: Candidate["begin"]
): Effect.Effect<Arr.NonEmptyReadonlyArray<Candidate>, AuthenticationError> =>
  Effect.as(inCommon([name], port), [
    {
      name,
      initialResponse: credentials.initialResponse ?? true,
      field: "initialResponse",
      secrets: [],
      quotable: credentials._tag !== "ProgramMechanism",
      begin
    }
  ])

const candidates = (
  credentials: Credentials,
  port: Port,
  crypto: Crypto
): Effect.Effect<Arr.NonEmptyReadonlyArray<Candidate>, AuthenticationError | InvalidArgument> => {
  switch (credentials._tag) {
    case "Password":
      return passwordCandidates(credentials, port, crypto)
    case "OAuth2":
      return tokenCandidates(credentials, port, crypto)
    case "External":
      return single("EXTERNAL", credentials, port, fromMachine(crypto, external(credentials)))
    case "Anonymous":
      return single("ANONYMOUS", credentials, port, fromMachine(crypto, anonymous(credentials)))
    case "ProgramMechanism": {
      const name = credentials.name.toUpperCase()
      return single(name, credentials, port, fromProgram(name, credentials))
    }
  }
}

// One AUTH command

// The error that led here tells more than what becomes of the cancellation, so it outlives a lost connection.
const cancel = (
  error: AuthenticationError,
  port: Port
): Effect.Effect<never, AuthenticationError | Disconnection> =>
  Effect.matchEffect(port.exchange("*"), {
    onFailure: () => Effect.fail(error),
    onSuccess: (reply): Effect.Effect<never, AuthenticationError | Disconnection> =>
      isRefusal(reply) || endsSession(error)
        ? Effect.fail(error)
        : port.abandon(reply, "the server did not end the AUTH exchange that was cancelled")
  })

const guardResponse = ({ quotable }: Candidate, octets: Uint8Array, port: Port): void => {
  if (!quotable) port.guard(Redacted.make(new TextDecoder().decode(octets)))
}

// Cut last: part of a secret would not be known as one.
const explanation = (remark: string, port: Port): string =>
  printable(port.withhold(remark)).slice(0, maximumExplanation)

const attempt = (
  candidate: Candidate,
  port: Port
): Effect.Effect<Outcome, AuthenticationError | InvalidArgument | Disconnection> =>
  Effect.gen(function* () {
    const { name } = candidate
    candidate.secrets.forEach(port.guard)
    const responder = yield* candidate.begin
    const initial = responder.initialResponse
    if (initial !== undefined) guardResponse(candidate, initial, port)
    if (initial !== undefined && encode(initial).length > lineLength) {
      const reason = `is too long: no line of AUTH may exceed ${lineLength + 2} octets`
      return yield* new InvalidArgument({ field: candidate.field, reason })
    }
    const bare = `AUTH ${name}`
    const full = initial === undefined ? bare : `${bare} ${initial.length === 0 ? "=" : encode(initial)}`
    const line = candidate.initialResponse && full.length <= commandLength ? full : bare
    let reply = yield* port.exchange(line)
    let unsent = line === full ? undefined : initial
    let remark: string | undefined
    for (let challenges = 1; reply.code === 334; challenges++) {
      const [text, ...more] = reply.lines
      const challenge = more.length === 0 ? decode(text ?? "") : undefined
      if (challenge === undefined) {
        return yield* cancel(challengeError(name, "the challenge is not base64"), port)
      }
      if (challenges > maximumChallenges) {
        const detail = `the server sent more than ${maximumChallenges} challenges`
        return yield* cancel(challengeError(name, detail), port)
      }
      const response: Respond =
        unsent === undefined
          ? yield* Effect.catchAll(responder.respond(challenge), (error) => cancel(error, port))
          : respond(unsent)
      unsent = undefined
      remark = response.remark === undefined ? remark : explanation(response.remark, port)
      guardResponse(candidate, response.octets, port)
      const encoded = encode(response.octets)
      if (encoded.length > lineLength) {
        return yield* cancel(challengeError(name, "the response is too long for a line of AUTH"), port)
      }
      reply = yield* port.exchange(encoded)
    }
    if (reply.code === 235) yield* responder.verify(reply)
    return { reply, remark }
  })

// All attempts

const refusal = (candidate: Candidate, { remark, reply }: Outcome): AuthenticationError => {
  const base = { mechanism: candidate.name, reply, detail: remark === "" ? undefined : remark }
  if (isTransient(reply)) return new AuthenticationError({ ...base, reason: "Temporary" })
  if (reply.code === 504) {
    return new AuthenticationError({
      ...base,
      reason: "NoCommonMechanism",
      detail: `it announced ${candidate.name} and does not know it`
    })
  }
  return new AuthenticationError({ ...base, reason: "Rejected" })
}

/** What to try after a refusal, in order; nothing, if it is final. */
const following = (
  candidate: Candidate,
  { remark, reply }: Outcome,
  rest: ReadonlyArray<Candidate>,
  port: Port
): Effect.Effect<ReadonlyArray<Candidate>, AuthenticationError | InvalidArgument> => {
  if (reply.code === 504) return Effect.succeed(rest)
  if (candidate.afterRefusal !== undefined) {
    const refused = reply.code === 535 || (remark !== undefined && isPermanent(reply) && reply.code !== 534)
    return refused ? candidate.afterRefusal : Effect.succeed([])
  }
  const again = reply.code === 535 && needsSecret(candidate.name) && port.tls?.verified === true
  return Effect.succeed(again ? rest.filter(({ name }) => sendsPassword(name)) : [])
}

const attempts = (
  untried: Arr.NonEmptyReadonlyArray<Candidate>,
  port: Port,
  made: number
): Effect.Effect<Reply, AuthenticationError | InvalidArgument | Disconnection> =>
  Effect.gen(function* () {
    const [candidate, ...rest] = untried
    const outcome = yield* attempt(candidate, port)
    const { reply } = outcome
    if (reply.code === 235) return reply
    if (!isRefusal(reply)) return yield* port.abandon(reply, "the reply has no place in an AUTH exchange")
    if (made + 1 === maximumAttempts) return yield* refusal(candidate, outcome)
    const next = yield* following(candidate, outcome, rest, port)
    return Arr.isNonEmptyReadonlyArray(next)
      ? yield* attempts(next, port, made + 1)
      : yield* refusal(candidate, outcome)
  })

/**
 * Authenticates by the rules of RFC 4954, with the computations that are given.
 *
 * Whatever is wrong with the credentials is found before a line is sent. Then the mechanisms that server and
 * credentials have in common are tried, at most three times in all: the next one after 504; PLAIN or LOGIN after
 * SCRAM or CRAM-MD5 was refused with 535 on verified TLS; a fresh token after a token was refused. Everything
 * else is final. A challenge that cannot be used is cancelled, and the answer to the cancellation read.
 *
 * The session stays in step after every error but those for which `endsSession` holds. Interruption in the middle
 * of an exchange leaves it open, and is the session's to deal with.
 */
export const authenticateWith =
  (crypto: Crypto) =>
  (
    credentials: Credentials,
    port: Port
  ): Effect.Effect<Reply, AuthenticationError | InvalidArgument | Disconnection> =>
    Effect.suspend(() => {
      const wrong = problemOf(credentials)
      if (wrong !== undefined) return Effect.fail(invalidArgument(wrong))
      if (port.tls === undefined && !port.allowInsecureAuth) {
        return Effect.fail(new AuthenticationError({ reason: "Insecure" }))
      }
      if (port.mechanisms.length === 0) {
        return Effect.fail(new AuthenticationError({ reason: "NotOffered" }))
      }
      return Effect.flatMap(candidates(credentials, port, crypto), (found) => attempts(found, port, 0))
    })

/** Authenticates with the computations of node:crypto. */
export const authenticate = authenticateWith(nodeCrypto)
