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
import type { Credentials, PasswordCredentials, TokenCredentials } from "./Credentials.js"
import type { Binding } from "./Gs2.js"
import type { Mechanism, Step as MechanismStep } from "./Mechanism.js"
import { wait } from "./Mechanism.js"
import type { PasswordMechanism } from "./PasswordMechanisms.js"
import { passwordMechanismTable } from "./PasswordMechanisms.js"
import { anonymous, external, login, plain } from "./Plain.js"
import type { MechanismKind } from "./Refusals.js"
import { meaningOf } from "./Refusals.js"
import { scram } from "./Scram.js"
import { checkToken } from "./Values.js"

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

/** What authentication learns of an endpoint, for the sessions to come. */
export interface AuthenticationMemory {
  /** The mechanisms that would be preferred to the one that has worked. */
  inVain: ReadonlyArray<string>
}

/** AUTH commands in one authentication. */
export const maximumAttempts = 3

/** Challenges in one AUTH command. */
export const maximumChallenges = 16

// RFC 5321 section 4.5.3.1.4 for the command, RFC 4954 section 4 for the lines of the exchange; without CRLF.
const commandLength = 510
const lineLength = 12_286

const maximumExplanation = 200

const bindingVanished =
  "a SCRAM-PLUS mechanism has worked at this endpoint before, and now only the password itself would do, as if somebody were in between; if the server has changed, name the mechanisms without -PLUS in the credentials"

const nowhere: AuthenticationContext = {
  mechanisms: [],
  tls: undefined,
  allowInsecureAuth: false,
  endpoint: undefined,
  secrets: { guard: () => undefined, withhold: (text) => text }
}

/** A mechanism that server and credentials have in common. */
interface Candidate {
  readonly name: string
  readonly kind: MechanismKind
  readonly needsNonce?: boolean
  /** `undefined` for a mechanism of the program. */
  readonly mechanism: (nonce: string) => Mechanism | undefined
  /** What no reply may quote. */
  readonly secrets: ReadonlyArray<Secret>
  /** Whether its responses, decoded, hold only an identity, or what is among `secrets`. */
  readonly quotable?: boolean
  /** What follows if the server has refused the token, and another can be had. */
  readonly renew?: ((refusal: Failed) => Step<Reply>) | undefined
  /** Whether it is bound to the TLS channel. */
  readonly binds?: boolean
  /** Whether it decodes challenges; the others answer whatever the server says. */
  readonly readsChallenges?: boolean
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

/** One authentication, which may go on over a further connection. */
export class Authentication {
  private context: AuthenticationContext = nowhere
  private announced: ReadonlyArray<string> = []
  private attempts = 0
  /** What the server has said of the credentials, which outranks how the connection ends. */
  private rejection: Failed | undefined
  private refusedToken: Secret | undefined
  /** The AUTH command under way. */
  private current: { readonly name: string; readonly hasNext: boolean } | undefined
  private readonly hungUpOn = new Set<string>()
  private hasResumed = false
  private preferred: ReadonlyArray<string> = []

  constructor(
    private readonly credentials: Credentials,
    private readonly memory: AuthenticationMemory = { inVain: [] }
  ) {}

  /** Authenticates, and gives the 235. */
  begin(context: AuthenticationContext): Step<Reply> {
    this.context = context
    this.announced = upperCase(context.mechanisms)
    if (context.tls === undefined && !context.allowInsecureAuth)
      return notAuthenticated({ reason: "Insecure" })
    if (this.announced.length === 0) return notAuthenticated({ reason: "NotOffered" })
    return this.start()
  }

  /**
   * Whether to go on over a further connection, after the server has hung up: with the next mechanism, or with a fresh token
   * if it had refused the first.
   */
  resumes(goodbye: Reply | undefined): boolean {
    const { current } = this
    this.current = undefined
    if (current === undefined || this.attempts === maximumAttempts) return false
    if (this.rejection !== undefined) {
      const isFirst = this.refusedToken !== undefined && !this.hasResumed
      this.hasResumed = true
      return isFirst
    }
    this.hungUpOn.add(current.name)
    return goodbye === undefined && current.hasNext
  }

  private start(): Step<Reply> {
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
    const wanted = upperCase(credentials.mechanisms ?? this.defaultOrder())
    const usable = wanted
      .flatMap((wantedName) => passwordMechanismTable.filter(({ name }) => name === wantedName))
      .filter(({ binds }) => binds !== true || this.context.tls?.channelBinding !== undefined)
      .filter(({ onlyOneself }) => onlyOneself !== true || credentials.authorizationId === undefined)
    const needsMd5 = ({ name }: PasswordMechanism): boolean => name === "CRAM-MD5" && this.announces(name)
    const choose = (rows: ReadonlyArray<PasswordMechanism>): Step<Reply> =>
      rows.some(needsMd5)
        ? {
            _tag: "Md5",
            answered: (allowed) =>
              this.choosePassword(credentials, allowed ? rows : rows.filter((row) => !needsMd5(row)))
          }
        : this.choosePassword(credentials, rows)
    const isPlus = (name: string): boolean =>
      passwordMechanismTable.some((row) => row.name === name && row.binds === true)
    const mayShowPassword = this.inCommon(usable).some(({ sendsPassword }) => sendsPassword === true)
    if (!mayShowPassword || !wanted.some(isPlus)) return choose(usable)
    return {
      _tag: "ChannelBound",
      answered: (bound) => {
        const hidden = bound ? usable.filter(({ sendsPassword }) => sendsPassword !== true) : usable
        return bound && this.inCommon(hidden).length === 0
          ? notAuthenticated({ reason: "NoCommonMechanism", detail: bindingVanished })
          : choose(hidden)
      }
    }
  }

  // Servers announce CRAM-MD5 without a secret for the user, which costs a failed log-in; on verified TLS the password
  // itself is as safe.
  private defaultOrder(): ReadonlyArray<string> {
    const names = passwordMechanismTable.map(({ name }) => name)
    if (this.context.tls?.verified !== true) return names
    return [...names.filter((name) => name !== "CRAM-MD5"), "CRAM-MD5"]
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
          binds: row.binds === true,
          readsChallenges: row.sendsPassword !== true,
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
    const beginWith = (names: ReadonlyArray<string>): Step<Reply> =>
      askForToken(this.refusedToken, (token) => {
        const refused = this.refusedToken
        if (this.rejection !== undefined && refused?.() === token()) return this.rejection
        const renew = (name: string) => (refusal: Failed) => {
          this.refusedToken = token
          this.rejection = refusal
          return beginWith(names.slice(names.indexOf(name)))
        }
        return this.tryFirst(
          names.map((name) =>
            candidate(name, token, renewable && refused === undefined ? renew(name) : undefined)
          ),
          this.rejection ?? noneInCommon
        )
      })
    return beginWith(common.map(({ name }) => name))
  }

  private startSingle(name: string, quotable: boolean, mechanism: Candidate["mechanism"]): Step<Reply> {
    const readsChallenges = mechanism("") === undefined
    const candidate: Candidate = { name, kind: "Other", mechanism, secrets: [], quotable, readsChallenges }
    return this.tryFirst(this.inCommon([candidate]), this.noneInCommon([candidate]))
  }

  private announces(name: string): boolean {
    return this.announced.includes(name)
  }

  private inCommon<Row extends { readonly name: string }>(usable: ReadonlyArray<Row>): ReadonlyArray<Row> {
    const announced = usable.filter(
      ({ name }, index) => this.announces(name) && usable.findIndex((other) => other.name === name) === index
    )
    this.preferred = announced.map(({ name }) => name)
    const common = announced.filter(({ name }) => !this.hungUpOn.has(name))
    if (this.context.tls?.verified !== true) return common
    const isInVain = ({ name }: Row): boolean => this.memory.inVain.includes(name)
    return [...common.filter((row) => !isInVain(row)), ...common.filter(isInVain)]
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
    this.current = { name: candidate.name, hasNext: rest.length > 0 }
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
      submit(command, (reply) => this.replied({ ...exchange, unsent }, reply), this.rejection)
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
        reaction._tag === "Fail"
          ? mechanismFailed(exchange, reaction, reply)
          : this.succeeded(exchange, reply)
      )
    }
    if (isRefusal(reply)) return this.refused(exchange, reply)
    return { _tag: "Violated", reply, reason: "the reply has no place in an AUTH exchange" }
  }

  private succeeded({ candidate: { binds, name } }: Exchange, reply: Reply): Step<Reply> {
    this.current = undefined
    this.memory.inVain = this.preferred.slice(0, Math.max(0, this.preferred.indexOf(name)))
    return binds === true ? { _tag: "BindChannel", answered: () => done(reply) } : done(reply)
  }

  private challenged({ unsent, ...before }: Exchange, { lines }: Reply): Step<Reply> {
    const exchange = { ...before, challenges: before.challenges + 1 }
    const text = lines.join("\n").trim()
    const decoded = decode(text)
    const octets =
      decoded === undefined && exchange.candidate.readsChallenges !== true
        ? new TextEncoder().encode(text)
        : decoded
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
      : submit(Commands.authResponse(encoded), (reply) => this.replied(exchange, reply), this.rejection)
  }

  /** `undefined` if no line can hold it. */
  private encodeResponse({ candidate }: Exchange, octets: Uint8Array): string | undefined {
    if (candidate.quotable !== true) this.context.secrets.guard(new TextDecoder().decode(octets))
    const encoded = encode(octets)
    return encoded.length > lineLength ? undefined : encoded
  }

  private refused({ candidate, remark, rest }: Exchange, reply: Reply): Step<Reply> {
    const { kind, name, renew } = candidate
    const { next, reason } = meaningOf(reply, kind, renew !== undefined)
    const explanation = remark === "" ? undefined : remark
    const detail = reply.code === 504 ? `it announced ${name} and does not know it` : explanation
    const refusal = notAuthenticated({ reason, mechanism: name, reply, detail })
    if (this.attempts === maximumAttempts) return refusal
    switch (next) {
      case "Nothing":
        return refusal
      case "NextMechanism":
        return this.tryFirst(rest, refusal)
      case "SendPassword": {
        if (this.context.tls?.verified !== true) return refusal
        this.rejection = refusal
        return this.tryFirst(
          rest.filter((other) => other.kind === "Password"),
          refusal
        )
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
