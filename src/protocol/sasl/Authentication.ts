/**
 * Authentication (RFC 4954) without I/O: which mechanisms are tried in which order, the exchange of base64 lines, what a
 * refusal means and when to stop. The mechanisms know nothing of SMTP; hashes, nonces and tokens are asked for.
 */
import type { Command } from "../Command.js"
import * as Commands from "../Command.js"
import { invalid } from "../Invalid.js"
import { printable } from "../Printable.js"
import type { Reply } from "../Reply.js"
import { isRefusal } from "../Reply.js"
import type { Secrets } from "../Secrets.js"
import type {
  Failed,
  MechanismEvent,
  NotAuthenticated,
  PreparedPassword,
  Reaction,
  Secret,
  Step
} from "../SetUpStep.js"
import { done, failed, isUntrusted, submit } from "../SetUpStep.js"
import { decode, encode } from "./Base64.js"
import { oauthBearer, xoauth2 } from "./Bearer.js"
import { cramMd5 } from "./CramMd5.js"
import type { Binding } from "./Gs2.js"
import type { Mechanism, Step as MechanismStep } from "./Mechanism.js"
import { wait } from "./Mechanism.js"
import type { PasswordMechanism } from "./PasswordMechanisms.js"
import { passwordMechanismTable } from "./PasswordMechanisms.js"
import { anonymous, external, login, plain } from "./Plain.js"
import { scram } from "./Scram.js"
import { checkToken } from "./Values.js"

/** Well-formed credentials. The names of mechanisms are in any letter case, in the order of preference. */
export type Credentials =
  | PasswordCredentials
  | TokenCredentials
  | (CommonCredentials & { readonly _tag: "External"; readonly authorizationId?: string | undefined })
  | (CommonCredentials & { readonly _tag: "Anonymous"; readonly trace?: string | undefined })
  | (CommonCredentials & { readonly _tag: "ProgramMechanism"; readonly name: string })

interface CommonCredentials {
  /** Whether the AUTH line may hold the initial response. Default true. */
  readonly initialResponse?: boolean | undefined
}

interface PasswordCredentials extends CommonCredentials, PreparedPassword {
  readonly _tag: "Password"
  readonly authorizationId?: string | undefined
  readonly mechanisms?: ReadonlyArray<string> | undefined
  readonly maximumIterations?: number | undefined
}

interface TokenCredentials extends CommonCredentials {
  readonly _tag: "OAuth2"
  readonly username: string
  readonly mechanisms?: ReadonlyArray<string> | undefined
  /** Whether another token can be had after the first was refused. */
  readonly renewable: boolean
}

/** The state of the session that authenticates. */
export interface AuthenticationContext {
  /** The mechanisms of the latest EHLO. */
  readonly mechanisms: ReadonlyArray<string>
  readonly tls:
    | {
        readonly verified: boolean
        readonly channelBinding: { readonly type: string; readonly data: Uint8Array } | undefined
      }
    | undefined
  readonly allowInsecureAuth: boolean
  /** For OAUTHBEARER; `undefined` on a UNIX socket. */
  readonly endpoint: { readonly host: string; readonly port: number } | undefined
  readonly secrets: Pick<Secrets, "guard" | "withhold">
}

/** AUTH commands in one authentication. */
export const maximumAttempts = 3

/** Challenges in one AUTH command. */
export const maximumChallenges = 16

// RFC 5321 section 4.5.3.1.4 for the command, RFC 4954 section 4 for the lines of the exchange; without CRLF.
const commandLength = 510
const lineLength = 12_286

const maximumExplanation = 200

interface RefusalRule {
  readonly reply: RegExp
  /** The mechanisms that the rule is for, if not all. */
  readonly of?: Candidate["kind"]
  /** Whether the server has told the mechanism what is wrong. */
  readonly explained?: true
  readonly reason: NotAuthenticated["reason"]
  readonly next: "Nothing" | "NextMechanism" | "SendPassword" | "FreshToken"
}

/**
 * What a refusal means (RFC 4954 section 6) and what is tried next, with three AUTH commands at most. The first rule that
 * fits counts. `SendPassword` is for servers that announce mechanisms for which they hold no secret, and needs verified
 * TLS. `FreshToken` comes once.
 */
const refusalRules: ReadonlyArray<RefusalRule> = [
  { reply: /^4/, reason: "Temporary", next: "Nothing" },
  { reply: /^504/, reason: "NoCommonMechanism", next: "NextMechanism" },
  { reply: /^534/, reason: "Rejected", next: "Nothing" },
  { reply: /^535/, of: "Hash", reason: "Rejected", next: "SendPassword" },
  { reply: /^535/, of: "Token", reason: "Rejected", next: "FreshToken" },
  { reply: /^5/, of: "Token", explained: true, reason: "Rejected", next: "FreshToken" }
]

const otherwise: RefusalRule = { reply: /^/, reason: "Rejected", next: "Nothing" }

/** A mechanism that server and credentials have in common. */
interface Candidate {
  readonly name: string
  /** `Hash` proves a password that is not sent; the server needs a secret of the mechanism's own kind for it. */
  readonly kind: "Hash" | "Password" | "Token" | "Other"
  readonly needsNonce?: boolean
  /** `undefined` for a mechanism of the program. */
  readonly mechanism: (nonce: string) => Mechanism | undefined
  /** What no reply may quote. */
  readonly secrets: ReadonlyArray<Secret>
  /** Whether its responses, decoded, hold only an identity, or what is among `secrets`. */
  readonly quotable?: boolean
  /** What follows if the server has refused the token, and another can be had. */
  readonly renew?: ((refusal: Failed) => Step<Reply>) | undefined
}

/** One AUTH command under way. */
interface Exchange {
  readonly candidate: Candidate
  /** What may be tried after it. */
  readonly rest: ReadonlyArray<Candidate>
  readonly mechanism: Mechanism | undefined
  readonly challenges: number
  /** The initial response, if the AUTH line does not hold it. */
  readonly unsent?: Uint8Array | undefined
  /** What the server has told the mechanism is wrong. */
  readonly remark?: string | undefined
}

const notAuthenticated = (about: Omit<NotAuthenticated, "_tag">): Failed =>
  failed({ _tag: "NotAuthenticated", ...about })

const upperCase = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.map((name) => name.toUpperCase())

const list = (names: ReadonlyArray<string>): string => (names.length === 0 ? "none" : names.join(", "))

/** Authenticates, and gives the 235. */
export const authenticate = (credentials: Credentials, context: AuthenticationContext): Step<Reply> => {
  if (context.tls === undefined && !context.allowInsecureAuth) return notAuthenticated({ reason: "Insecure" })
  if (context.mechanisms.length === 0) return notAuthenticated({ reason: "NotOffered" })
  return new Authentication(credentials, context).start()
}

class Authentication {
  private readonly announced: ReadonlyArray<string>
  private attempts = 0

  constructor(
    private readonly credentials: Credentials,
    private readonly context: AuthenticationContext
  ) {
    this.announced = upperCase(context.mechanisms)
  }

  start(): Step<Reply> {
    const { credentials } = this
    switch (credentials._tag) {
      case "Password":
        return this.startPassword(credentials)
      case "OAuth2":
        return this.startToken(credentials)
      case "External":
        return this.startSingle("EXTERNAL", true, () => external(credentials))
      case "Anonymous":
        return this.startSingle("ANONYMOUS", true, () => anonymous(credentials))
      case "ProgramMechanism":
        return this.startSingle(credentials.name.toUpperCase(), false, () => undefined)
    }
  }

  private startPassword(credentials: PasswordCredentials): Step<Reply> {
    const wanted = upperCase(credentials.mechanisms ?? passwordMechanismTable.map(({ name }) => name))
    const usable = wanted
      .flatMap((wantedName) => passwordMechanismTable.filter(({ name }) => name === wantedName))
      .filter(({ binds }) => binds !== true || this.context.tls?.channelBinding !== undefined)
      .filter(({ onlyOneself }) => onlyOneself !== true || credentials.authorizationId === undefined)
    const needsMd5 = ({ name }: PasswordMechanism): boolean => name === "CRAM-MD5" && this.announces(name)
    const choose = (allowed: boolean): Step<Reply> =>
      this.choosePassword(credentials, allowed ? usable : usable.filter((row) => !needsMd5(row)))
    return usable.some(needsMd5) ? { _tag: "Md5", answered: choose } : choose(true)
  }

  private choosePassword(
    credentials: PasswordCredentials,
    usable: ReadonlyArray<PasswordMechanism>
  ): Step<Reply> {
    const common = this.inCommon(usable)
    const next = (prepared: PreparedPassword): Step<Reply> =>
      this.tryFirst(
        common.map((row) => ({
          name: row.name,
          kind: row.sendsPassword === true ? "Password" : "Hash",
          needsNonce: row.scram !== undefined,
          mechanism: (nonce) => this.passwordMechanism(row, credentials, prepared, nonce),
          secrets: [credentials.password, prepared.password],
          quotable: row.name === "LOGIN"
        })),
        this.noneInCommon(usable)
      )
    return common.some((row) => row.scram !== undefined)
      ? { _tag: "Prepare", username: credentials.username, password: credentials.password, answered: next }
      : next(credentials)
  }

  private passwordMechanism(
    { binds, name, scram: algorithm }: PasswordMechanism,
    { authorizationId, maximumIterations, ...given }: PasswordCredentials,
    prepared: PreparedPassword,
    nonce: string
  ): Mechanism {
    if (algorithm !== undefined) {
      const { username } = prepared
      const password = prepared.password()
      const binding = this.bindingFor(binds === true)
      return scram({ algorithm, username, password, authorizationId, nonce, binding, maximumIterations })
    }
    const options = { username: given.username, password: given.password(), authorizationId }
    if (name === "PLAIN") return plain(options)
    return name === "LOGIN" ? login(options) : cramMd5(options)
  }

  private bindingFor(binds: boolean): Binding {
    const binding = this.context.tls?.channelBinding
    if (binding === undefined) return { _tag: "Unsupported" }
    if (binds) return { _tag: "Bound", ...binding }
    const offered = this.announced.some((name) => /^SCRAM-.+-PLUS$/.test(name))
    return { _tag: offered ? "Unsupported" : "NotOffered" }
  }

  private startToken({ mechanisms, renewable, username }: TokenCredentials): Step<Reply> {
    const usable = upperCase(mechanisms ?? ["OAUTHBEARER", "XOAUTH2"]).map((name) => ({ name }))
    const common = this.inCommon(usable)
    const noneInCommon = this.noneInCommon(usable)
    if (common.length === 0) return noneInCommon
    const candidate = (name: string, token: Secret, renew?: Candidate["renew"]): Candidate => ({
      name,
      kind: "Token",
      mechanism: () =>
        name === "OAUTHBEARER"
          ? oauthBearer({ username, token: token(), endpoint: this.context.endpoint })
          : xoauth2({ username, token: token() }),
      secrets: [token],
      renew
    })
    return askForToken(undefined, (first) => {
      const renew = (name: string) => (refusal: Failed) =>
        askForToken(first, (token) =>
          token() === first() ? refusal : this.tryFirst([candidate(name, token)], refusal)
        )
      const candidates = common.map(({ name }) => candidate(name, first, renewable ? renew(name) : undefined))
      return this.tryFirst(candidates, noneInCommon)
    })
  }

  private startSingle(name: string, quotable: boolean, mechanism: Candidate["mechanism"]): Step<Reply> {
    const candidate: Candidate = { name, kind: "Other", mechanism, secrets: [], quotable }
    return this.tryFirst(this.inCommon([candidate]), this.noneInCommon([candidate]))
  }

  private announces(name: string): boolean {
    return this.announced.includes(name)
  }

  private inCommon<Row extends { readonly name: string }>(usable: ReadonlyArray<Row>): ReadonlyArray<Row> {
    return usable.filter(
      ({ name }, index) => this.announces(name) && usable.findIndex((other) => other.name === name) === index
    )
  }

  private noneInCommon(usable: ReadonlyArray<{ readonly name: string }>): Failed {
    const ours = list(usable.map(({ name }) => name))
    const detail = `it announces ${printable(list(this.announced))}; usable here: ${ours}`
    return notAuthenticated({ reason: "NoCommonMechanism", detail })
  }

  /** Says AUTH with the first candidate; ends with `refusal` if there is none, or if three were tried. */
  private tryFirst([candidate, ...rest]: ReadonlyArray<Candidate>, refusal: Failed): Step<Reply> {
    if (candidate === undefined || this.attempts === maximumAttempts) return refusal
    this.attempts++
    for (const secret of candidate.secrets) this.context.secrets.guard(secret())
    const begin = (nonce: string): Step<Reply> => {
      const exchange = { candidate, rest, mechanism: candidate.mechanism(nonce), challenges: 0 }
      return tell(exchange, { _tag: "Start" }, (reaction) =>
        reaction._tag === "Fail"
          ? mechanismFailed(exchange, reaction)
          : this.command(exchange, reaction._tag === "Respond" ? reaction.octets : undefined)
      )
    }
    return candidate.needsNonce === true ? { _tag: "Nonce", answered: begin } : begin("")
  }

  private command(exchange: Exchange, initial: Uint8Array | undefined): Step<Reply> {
    const { kind, name } = exchange.candidate
    const say = (command: Command, unsent: Uint8Array | undefined): Step<Reply> =>
      submit(command, (reply) => this.replied({ ...exchange, unsent }, reply))
    const bare = Commands.auth(name)
    if (initial === undefined) return say(bare, undefined)
    const encoded = this.encodeResponse(exchange, initial)
    if (encoded === undefined) {
      const field = { Hash: "password", Password: "password", Token: "token", Other: "initialResponse" }
      const reason = `is too long: no line of AUTH may exceed ${lineLength + 2} bytes`
      return failed(invalid(field[kind], reason))
    }
    const full = Commands.auth(`${name} ${encoded === "" ? "=" : encoded}`)
    const fits = full.line.length <= commandLength && this.credentials.initialResponse !== false
    return fits ? say(full, undefined) : say(bare, initial)
  }

  private replied(exchange: Exchange, reply: Reply): Step<Reply> {
    if (reply.code === 334) return this.challenged(exchange, reply)
    if (reply.code === 235) {
      return tell(exchange, { _tag: "Success" }, (reaction) =>
        reaction._tag === "Fail" ? mechanismFailed(exchange, reaction, reply) : done(reply)
      )
    }
    if (isRefusal(reply)) return this.refused(exchange, reply)
    return { _tag: "Violated", reply, reason: "the reply has no place in an AUTH exchange" }
  }

  private challenged({ unsent, ...before }: Exchange, { lines }: Reply): Step<Reply> {
    const exchange = { ...before, challenges: before.challenges + 1 }
    const octets = lines.length === 1 ? decode(lines[0] ?? "") : undefined
    if (octets === undefined) return cancelChallenge(exchange, "the challenge is not base64")
    if (exchange.challenges > maximumChallenges) {
      return cancelChallenge(exchange, `the server sent more than ${maximumChallenges} challenges`)
    }
    if (unsent !== undefined) return this.respond(exchange, unsent)
    return tell(exchange, { _tag: "Challenge", octets }, (reaction) => {
      if (reaction._tag === "Fail") return cancel(mechanismFailed(exchange, reaction))
      if (reaction._tag === "Wait") return this.respond(exchange, new Uint8Array(0))
      // Cut last: part of a secret would not be known as one.
      const explain = (remark: string): string =>
        printable(this.context.secrets.withhold(remark)).slice(0, maximumExplanation)
      const remark = reaction.remark === undefined ? exchange.remark : explain(reaction.remark)
      return this.respond({ ...exchange, remark }, reaction.octets)
    })
  }

  private respond(exchange: Exchange, octets: Uint8Array): Step<Reply> {
    const encoded = this.encodeResponse(exchange, octets)
    return encoded === undefined
      ? cancelChallenge(exchange, "the response is too long for a line of AUTH")
      : submit(Commands.authResponse(encoded), (reply) => this.replied(exchange, reply))
  }

  /** `undefined` if no line can hold it. */
  private encodeResponse({ candidate }: Exchange, octets: Uint8Array): string | undefined {
    if (candidate.quotable !== true) this.context.secrets.guard(new TextDecoder().decode(octets))
    const encoded = encode(octets)
    return encoded.length > lineLength ? undefined : encoded
  }

  private refused({ candidate, remark, rest }: Exchange, reply: Reply): Step<Reply> {
    const { kind, name, renew } = candidate
    const fits = (rule: RefusalRule): boolean =>
      rule.reply.test(String(reply.code)) &&
      (rule.of ?? kind) === kind &&
      (rule.explained !== true || remark !== undefined)
    const { next, reason } = refusalRules.find(fits) ?? otherwise
    const explanation = remark === "" ? undefined : remark
    const detail = next === "NextMechanism" ? `it announced ${name} and does not know it` : explanation
    const refusal = notAuthenticated({ reason, mechanism: name, reply, detail })
    if (this.attempts === maximumAttempts) return refusal
    switch (next) {
      case "Nothing":
        return refusal
      case "NextMechanism":
        return this.tryFirst(rest, refusal)
      case "SendPassword": {
        const sending = rest.filter((other) => other.kind === "Password")
        return this.context.tls?.verified === true ? this.tryFirst(sending, refusal) : refusal
      }
      case "FreshToken":
        return renew?.(refusal) ?? refusal
    }
  }
}

const askForToken = (refused: Secret | undefined, then: (token: Secret) => Step<Reply>): Step<Reply> => ({
  _tag: "Token",
  refused,
  answered: (token) => {
    const wrong = checkToken("token", token())
    return wrong === undefined ? then(token) : failed(wrong)
  }
})

/** Tells the mechanism what has happened. */
const tell = (
  { mechanism }: Exchange,
  event: MechanismEvent,
  then: (reaction: Reaction) => Step<Reply>
): Step<Reply> => {
  if (mechanism === undefined) return { _tag: "Program", event, answered: then }
  const settle = (step: MechanismStep): Step<Reply> =>
    step._tag === "Request"
      ? { _tag: "Compute", request: step.request, answered: (octets) => settle(mechanism.answer(octets)) }
      : then(step)
  switch (event._tag) {
    case "Start":
      return settle(mechanism.start())
    case "Challenge":
      return settle(mechanism.challenge(event.octets))
    case "Success":
      return then(mechanism.succeed() ?? wait)
  }
}

const mechanismFailed = (
  { candidate }: Exchange,
  { cause, detail, reason }: Extract<Reaction, { readonly _tag: "Fail" }>,
  reply?: Reply
): Failed => notAuthenticated({ reason, mechanism: candidate.name, reply, detail, cause })

const cancelChallenge = ({ candidate }: Exchange, detail: string): Step<Reply> =>
  cancel(notAuthenticated({ reason: "Challenge", mechanism: candidate.name, detail }))

// The error tells more than what becomes of the cancellation, so it outlives a lost connection.
const cancel = (error: Failed): Step<Reply> =>
  submit(
    Commands.authResponse("*"),
    (reply) =>
      isRefusal(reply) || isUntrusted(error.failure)
        ? error
        : { _tag: "Violated", reply, reason: "the server did not end the AUTH exchange that was cancelled" },
    error
  )
