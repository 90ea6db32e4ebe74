/**
 * A small SMTP and LMTP server on a scripted server's wire, which keeps the messages it accepts. It knows the
 * order of commands and as much of RFC 5321, 2033, 2920, 3030, 3207 and 4954 as clients under test need, and
 * relays nothing.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Failure, Wire } from "./scriptedServer.js"
import { concat, toOctets, toText } from "./scriptedServer.js"

/** A reverse-path or forward-path and the parameters that came with it. */
export interface Path {
  /** What stood between the angle brackets; empty for the null reverse-path. */
  readonly address: string
  /** As they were written, e.g. `SIZE=120`. */
  readonly parameters: ReadonlyArray<string>
}

export interface Message {
  /** The connection's number, from 1. */
  readonly connection: number
  readonly sender: Path
  /** The recipients that were accepted. */
  readonly recipients: ReadonlyArray<Path>
  /** The content without transparency. */
  readonly content: Uint8Array
  /** The content as UTF-8. */
  readonly text: string
  /** Who had authenticated. */
  readonly user: string | undefined
  /** Whether STARTTLS came before. */
  readonly secured: boolean
}

export interface Credentials {
  readonly authorizationId: string
  readonly username: string
  readonly password: Redacted.Redacted
}

export interface Policy {
  readonly hostname: string
  readonly protocol: "smtp" | "lmtp"
  readonly capabilities: ReadonlyArray<string>
  readonly authenticate: (credentials: Credentials) => boolean
  /** The reply; `undefined` accepts. */
  readonly acceptSender: (sender: Path) => string | undefined
  readonly accept: (recipient: Path) => string | undefined
  readonly acceptMessage: (message: Message, recipient: Path | undefined) => string | undefined
  /** Keeps an accepted message and gives its queue id. */
  readonly keep: (message: Message) => string
}

interface Transaction {
  readonly sender: Path
  readonly recipients: Array<Path>
  readonly chunks: Array<Uint8Array>
}

interface State {
  greeted: boolean
  secured: boolean
  user: string | undefined
  transaction: Transaction | undefined
}

type Run = Effect.Effect<void, Failure>

// A quoted local part may hold ">".
const pathPattern = /^(?:FROM|TO):\s*<((?:"(?:\\.|[^"\\])*"|[^">])*)>\s*(.*)$/i

const parsePath = (argument: string): Path | undefined => {
  const match = pathPattern.exec(argument)
  if (match === null) return undefined
  return { address: match[1] ?? "", parameters: (match[2] ?? "").split(" ").filter((word) => word !== "") }
}

const isPositive = (reply: string): boolean => reply.startsWith("2")

const keyword = (capability: string): string => (capability.split(" ")[0] ?? "").toUpperCase()

const decodeBase64 = (text: string): Uint8Array | undefined => {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

// RFC 4616: authorization identity, NUL, authentication identity, NUL, password.
const parsePlain = (response: string): Credentials | undefined => {
  const octets = decodeBase64(response)
  const parts = octets === undefined ? [] : toText(octets).split("\0")
  const [authorizationId, username, password, ...rest] = parts
  if (authorizationId === undefined || username === undefined || password === undefined || rest.length > 0) {
    return undefined
  }
  return { authorizationId, username, password: Redacted.make(password) }
}

const replies = {
  ok: "250 2.0.0 ok",
  again: "503 5.5.1 bad sequence of commands",
  syntax: "501 5.5.4 syntax error in arguments",
  unknown: "500 5.5.2 command not recognised",
  tooLarge: "552 5.3.4 message too large",
  noRecipients: "554 5.5.1 no valid recipients"
}

/**
 * Serves one client until it quits or leaves. Replies leave when there is nothing more to read, so that a
 * pipelined group is answered in one write (RFC 2920).
 */
export const serveMail = (wire: Wire, policy: Policy, connection: number): Run => {
  const state: State = { greeted: false, secured: false, user: undefined, transaction: undefined }

  const answer = (reply: string): Run =>
    Effect.suspend(() => {
      wire.queue(toOctets(`${reply}\r\n`))
      return reply.startsWith("421") ? wire.close : Effect.void
    })

  const announced = (): ReadonlyArray<string> =>
    state.secured
      ? policy.capabilities.filter((capability) => keyword(capability) !== "STARTTLS")
      : policy.capabilities

  const has = (name: string): boolean => announced().some((capability) => keyword(capability) === name)

  const sizeLimit = (): number => {
    const size = policy.capabilities.find((capability) => keyword(capability) === "SIZE")
    const limit = Number(size?.split(" ")[1] ?? 0)
    return limit === 0 ? Number.POSITIVE_INFINITY : limit
  }

  const hello = (verb: string, argument: string): Run => {
    const dialect = policy.protocol === "lmtp" ? ["LHLO"] : ["EHLO", "HELO"]
    if (!dialect.includes(verb)) return answer(replies.unknown)
    if (argument === "") return answer(replies.syntax)
    state.greeted = true
    state.transaction = undefined
    const lines = [policy.hostname, ...(verb === "HELO" ? [] : announced())]
    return answer(lines.map((line, at) => `250${at === lines.length - 1 ? " " : "-"}${line}`).join("\r\n"))
  }

  const startTls = (): Run => {
    if (!has("STARTTLS")) return answer("502 5.5.1 STARTTLS is not offered")
    return Effect.zipRight(answer("220 2.0.0 ready to start TLS"), wire.upgrade).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          state.greeted = false
          state.secured = true
          state.user = undefined
          state.transaction = undefined
        })
      ),
      // A client may refuse the certificate.
      Effect.catchIf(
        ({ reason }) => reason === "Effect",
        () => wire.close
      )
    )
  }

  const authenticate = (argument: string): Run =>
    Effect.gen(function* () {
      const [mechanism, initial] = argument.split(" ")
      if (!has("AUTH")) return yield* answer("502 5.5.1 AUTH is not offered")
      if (!state.greeted || state.user !== undefined || state.transaction !== undefined) {
        return yield* answer(replies.again)
      }
      if (mechanism?.toUpperCase() !== "PLAIN") return yield* answer("504 5.5.4 only PLAIN is understood")
      let response = initial
      if (response === undefined) {
        yield* answer("334 ")
        const line = yield* wire.readLine("a response to the challenge")
        response = line === undefined ? "*" : toText(line)
      }
      if (response === "*") return yield* answer("501 5.7.0 authentication cancelled")
      const credentials = parsePlain(response)
      if (credentials === undefined) return yield* answer("501 5.5.2 the response cannot be decoded")
      if (!policy.authenticate(credentials)) return yield* answer("535 5.7.8 authentication failed")
      state.user = credentials.username
      return yield* answer("235 2.7.0 authenticated")
    })

  const mail = (argument: string): Run => {
    const sender = parsePath(argument)
    if (!state.greeted || state.transaction !== undefined) return answer(replies.again)
    if (sender === undefined) return answer(replies.syntax)
    const declared = sender.parameters.find((parameter) => parameter.toUpperCase().startsWith("SIZE="))
    if (declared !== undefined && Number(declared.slice(5)) > sizeLimit()) return answer(replies.tooLarge)
    const reply = policy.acceptSender(sender) ?? "250 2.1.0 sender ok"
    if (isPositive(reply)) state.transaction = { sender, recipients: [], chunks: [] }
    return answer(reply)
  }

  const rcpt = (argument: string): Run => {
    const recipient = parsePath(argument)
    const transaction = state.transaction
    if (transaction === undefined || transaction.chunks.length > 0) return answer(replies.again)
    if (recipient === undefined) return answer(replies.syntax)
    const reply = policy.accept(recipient) ?? "250 2.1.5 recipient ok"
    if (isPositive(reply)) transaction.recipients.push(recipient)
    return answer(reply)
  }

  const judge = (message: Message, recipient: Path | undefined): string => {
    if (message.content.length > sizeLimit()) return replies.tooLarge
    return policy.acceptMessage(message, recipient) ?? ""
  }

  const finish = (transaction: Transaction, content: Uint8Array): Run => {
    state.transaction = undefined
    const message: Message = {
      connection,
      sender: transaction.sender,
      recipients: [...transaction.recipients],
      content,
      text: toText(content),
      user: state.user,
      secured: state.secured
    }
    return policy.protocol === "lmtp" ? finishEach(message) : finishOnce(message)
  }

  const finishOnce = (message: Message): Run => {
    const reply = judge(message, undefined)
    if (reply !== "" && !isPositive(reply)) return answer(reply)
    const queueId = policy.keep(message)
    return answer(reply === "" ? `250 2.0.0 queued as ${queueId}` : reply)
  }

  // RFC 2033 section 4.2: a reply for each recipient, in order.
  const finishEach = (message: Message): Run => {
    const judged = message.recipients.map((recipient) => ({ recipient, reply: judge(message, recipient) }))
    const kept = judged.filter(({ reply }) => reply === "" || isPositive(reply))
    const queueId =
      kept.length === 0 ? "" : policy.keep({ ...message, recipients: kept.map(({ recipient }) => recipient) })
    return Effect.forEach(
      judged,
      ({ reply }) => answer(reply === "" ? `250 2.0.0 queued as ${queueId}` : reply),
      {
        discard: true
      }
    )
  }

  const data = (): Run => {
    const transaction = state.transaction
    if (transaction === undefined || transaction.chunks.length > 0) return answer(replies.again)
    if (transaction.recipients.length === 0) return answer(replies.noRecipients)
    return answer("354 end with a dot on a line of its own").pipe(
      Effect.zipRight(wire.readContent),
      Effect.flatMap(({ octets }) => finish(transaction, octets))
    )
  }

  // RFC 3030 section 2: the octets are on their way, whatever the reply will be.
  const bdat = (argument: string): Run =>
    Effect.gen(function* () {
      const match = /^(\d{1,15})( LAST)?$/i.exec(argument)
      if (match === null) return yield* answer(replies.syntax)
      const octets = yield* wire.readOctets(Number(match[1]), `${match[1] ?? ""} octets behind BDAT`)
      const transaction = state.transaction
      if (!has("CHUNKING")) return yield* answer(replies.unknown)
      if (transaction === undefined) return yield* answer(replies.again)
      if (transaction.recipients.length === 0) return yield* answer(replies.noRecipients)
      transaction.chunks.push(octets)
      if (match[2] === undefined) return yield* answer(`250 2.0.0 ${octets.length} octets received`)
      return yield* finish(transaction, concat(transaction.chunks))
    })

  const resetTransaction = (): Run => {
    state.transaction = undefined
    return answer(replies.ok)
  }

  const commands: Readonly<Record<string, (argument: string) => Run>> = {
    EHLO: (argument) => hello("EHLO", argument),
    HELO: (argument) => hello("HELO", argument),
    LHLO: (argument) => hello("LHLO", argument),
    STARTTLS: startTls,
    AUTH: authenticate,
    MAIL: mail,
    RCPT: rcpt,
    DATA: data,
    BDAT: bdat,
    RSET: resetTransaction,
    NOOP: () => answer(replies.ok),
    VRFY: () => answer("252 2.1.5 send some mail and see"),
    EXPN: () => answer("502 5.5.1 EXPN is not offered"),
    HELP: () => answer("214 2.0.0 see RFC 5321"),
    QUIT: () => Effect.zipRight(answer("221 2.0.0 bye"), wire.close)
  }

  const command = (line: string): Run => {
    const space = line.indexOf(" ")
    const verb = (space === -1 ? line : line.slice(0, space)).toUpperCase()
    const run = Object.hasOwn(commands, verb) ? commands[verb] : undefined
    return run === undefined ? answer(replies.unknown) : run(space === -1 ? "" : line.slice(space + 1).trim())
  }

  return Effect.gen(function* () {
    yield* answer(`220 ${policy.hostname} ${policy.protocol === "lmtp" ? "LMTP" : "ESMTP"}`)
    while (wire.isReading()) {
      const line = yield* wire.readLine("a command")
      if (line === undefined) return
      yield* command(toText(line))
    }
  }).pipe(
    // No script is at stake: a client may leave when it likes.
    Effect.catchIf(
      ({ reason }) => reason === "ClientLeft",
      () => Effect.void
    )
  )
}
