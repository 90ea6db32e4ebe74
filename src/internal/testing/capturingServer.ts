/**
 * A small SMTP and LMTP server that keeps the messages it accepts. It implements the order of commands and as much of
 * RFC 5321, 2033, 2920, 3030, 3207 and 4954 as a client under test requires, and relays nothing.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { concat, toBytes, toText } from "./bytes.js"
import { makeInbox } from "./inbox.js"
import type { Credentials, Message, Path, ServerOptions, Service } from "./model.js"
import type { RecordedConnection, StepFailure } from "./recordedConnection.js"
import { readContent, readCount, readLine } from "./recordedConnection.js"
import { makeScripted } from "./scriptedServer.js"
import { unflushedStep } from "./steps.js"

export const defaultCapabilities: ReadonlyArray<string> = [
  "PIPELINING",
  "SIZE 26214400",
  "8BITMIME",
  "SMTPUTF8",
  "DSN",
  "CHUNKING",
  "ENHANCEDSTATUSCODES",
  "STARTTLS",
  "AUTH PLAIN"
]

export const makeCapturing = (options: ServerOptions = {}): Effect.Effect<Service, never, Scope.Scope> =>
  // A layer may be built several times: each server has messages of its own.
  Effect.suspend(() => {
    const { keep, ...inbox } = makeInbox()
    let accepted = 0
    const scripts = (index: number) =>
      unflushedStep("serve", (connection) => {
        const session = new MailSession(
          connection,
          options,
          (message) => {
            keep(message)
            accepted += 1
            return String(accepted)
          },
          index + 1
        )
        return serve(session)
      })
    return Effect.map(
      makeScripted(scripts, options),
      ({ accept, connections, layer, socket, transcript }) => ({
        socket,
        layer,
        accept,
        ...inbox,
        transcript,
        connections
      })
    )
  })

type Run = Effect.Effect<void, StepFailure>

/** Replies leave once there is nothing more to read, so that a pipelined group gets one write (RFC 2920). */
const serve = (session: MailSession): Run =>
  Effect.gen(function* () {
    const { connection } = session
    yield* session.greet()
    while (connection.isReading) {
      const line = yield* readLine(connection, "a command")
      if (line === undefined) return
      yield* session.command(toText(line))
    }
  }).pipe(
    // No script is waiting: a client may leave at any time.
    Effect.catchIf(
      ({ reason }) => reason === "ClientLeft",
      () => Effect.void
    )
  )

// A quoted local part may contain ">".
const pathPattern = /^(?:FROM|TO):\s*<((?:"(?:\\.|[^"\\])*"|[^">])*)>\s*(.*)$/i

const parsePath = (argument: string): Path | undefined => {
  const match = pathPattern.exec(argument)
  if (match === null) return undefined
  return { address: match[1] ?? "", parameters: (match[2] ?? "").split(" ").filter((word) => word !== "") }
}

/** RFC 4616: authorization identity, NUL, authentication identity, NUL, password. */
const parsePlain = (response: string): Credentials | undefined => {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(response) || response.length % 4 !== 0) return undefined
  const decoded = toText(Uint8Array.from(atob(response), (character) => character.charCodeAt(0)))
  const [authorizationId, username, password, ...rest] = decoded.split("\0")
  if (authorizationId === undefined || username === undefined || password === undefined || rest.length > 0) {
    return undefined
  }
  return { authorizationId, username, password: Redacted.make(password) }
}

const keyword = (capability: string): string => (capability.split(" ")[0] ?? "").toUpperCase()

const isPositive = (reply: string): boolean => reply.startsWith("2")

const replies = {
  badSequence: "503 5.5.1 bad sequence of commands",
  syntax: "501 5.5.4 syntax error in arguments",
  unknown: "500 5.5.2 command not recognised",
  tooLarge: "552 5.3.4 message too large",
  noRecipients: "554 5.5.1 no valid recipients"
}

const fixedReplies: ReadonlyMap<string, string> = new Map([
  ["NOOP", "250 2.0.0 ok"],
  ["VRFY", "252 2.1.5 send some mail and see"],
  ["EXPN", "502 5.5.1 EXPN is not offered"],
  ["HELP", "214 2.0.0 see RFC 5321"]
])

interface OpenTransaction {
  readonly sender: Path
  readonly recipients: Array<Path>
  readonly chunks: Array<Uint8Array>
}

class MailSession {
  private isGreeted = false
  private isSecured = false
  private user: string | undefined
  private transaction: OpenTransaction | undefined
  private readonly hostname: string
  private readonly isLmtp: boolean
  private readonly capabilities: ReadonlyArray<string>
  private readonly sizeLimit: number

  constructor(
    readonly connection: RecordedConnection,
    private readonly options: ServerOptions,
    /** Keeps an accepted message and returns its queue id. */
    private readonly keep: (message: Message) => string,
    private readonly connectionNumber: number
  ) {
    this.hostname = options.hostname ?? "mx.test"
    this.isLmtp = options.protocol === "lmtp"
    this.capabilities = options.capabilities ?? defaultCapabilities
    const size = this.capabilities.find((capability) => keyword(capability) === "SIZE")
    this.sizeLimit = Number(size?.split(" ")[1] ?? 0) || Number.POSITIVE_INFINITY
  }

  greet(): Run {
    return this.answer(`220 ${this.hostname} ${this.isLmtp ? "LMTP" : "ESMTP"}`)
  }

  command(line: string): Run {
    const [first = ""] = line.split(" ", 1)
    const verb = first.toUpperCase()
    const argument = line.slice(first.length).trim()
    switch (verb) {
      case "EHLO":
      case "HELO":
      case "LHLO":
        return this.hello(verb, argument)
      case "STARTTLS":
        return this.startTls()
      case "AUTH":
        return this.auth(argument)
      case "MAIL":
        return this.mail(argument)
      case "RCPT":
        return this.rcpt(argument)
      case "DATA":
        return this.data()
      case "BDAT":
        return this.bdat(argument)
      case "RSET":
        this.transaction = undefined
        return this.answer("250 2.0.0 ok")
      case "QUIT":
        return Effect.zipRight(this.answer("221 2.0.0 bye"), this.connection.close)
      default:
        return this.answer(fixedReplies.get(verb) ?? replies.unknown)
    }
  }

  private answer(reply: string): Run {
    this.connection.queue(toBytes(`${reply}\r\n`))
    return reply.startsWith("421") ? this.connection.close : Effect.void
  }

  private offers(name: string): boolean {
    return this.announced().some((capability) => keyword(capability) === name)
  }

  private announced(): ReadonlyArray<string> {
    return this.isSecured
      ? this.capabilities.filter((capability) => keyword(capability) !== "STARTTLS")
      : this.capabilities
  }

  private hello(verb: "EHLO" | "HELO" | "LHLO", argument: string): Run {
    if (this.isLmtp !== (verb === "LHLO")) return this.answer(replies.unknown)
    if (argument === "") return this.answer(replies.syntax)
    this.isGreeted = true
    this.transaction = undefined
    const lines = [this.hostname, ...(verb === "HELO" ? [] : this.announced())]
    return this.answer(
      lines.map((line, at) => `250${at === lines.length - 1 ? " " : "-"}${line}`).join("\r\n")
    )
  }

  private startTls(): Run {
    if (!this.offers("STARTTLS")) return this.answer("502 5.5.1 STARTTLS is not offered")
    return Effect.zipRight(this.answer("220 2.0.0 ready to start TLS"), this.connection.upgrade).pipe(
      Effect.map(() => {
        this.isGreeted = false
        this.isSecured = true
        this.user = undefined
        this.transaction = undefined
      }),
      // The client may refuse the certificate.
      Effect.catchIf(
        ({ reason }) => reason === "Effect",
        () => this.connection.close
      )
    )
  }

  private auth(argument: string): Run {
    const [mechanism = "", initialResponse] = argument.split(" ")
    if (!this.offers("AUTH")) return this.answer("502 5.5.1 AUTH is not offered")
    if (!this.isGreeted || this.user !== undefined || this.transaction !== undefined) {
      return this.answer(replies.badSequence)
    }
    if (mechanism.toUpperCase() !== "PLAIN") return this.answer("504 5.5.4 only PLAIN is understood")
    if (initialResponse !== undefined) return this.authPlain(initialResponse)
    return this.answer("334 ").pipe(
      Effect.zipRight(readLine(this.connection, "a response to the challenge")),
      Effect.flatMap((line) => this.authPlain(line === undefined ? "*" : toText(line)))
    )
  }

  private authPlain(response: string): Run {
    if (response === "*") return this.answer("501 5.7.0 authentication cancelled")
    const credentials = parsePlain(response)
    if (credentials === undefined) return this.answer("501 5.5.2 the response cannot be decoded")
    if (this.options.authenticate?.(credentials) === false) {
      return this.answer("535 5.7.8 authentication failed")
    }
    this.user = credentials.username
    return this.answer("235 2.7.0 authenticated")
  }

  private mail(argument: string): Run {
    const sender = parsePath(argument)
    if (!this.isGreeted || this.transaction !== undefined) return this.answer(replies.badSequence)
    if (sender === undefined) return this.answer(replies.syntax)
    const size = sender.parameters.find((parameter) => parameter.toUpperCase().startsWith("SIZE="))
    if (size !== undefined && Number(size.slice(5)) > this.sizeLimit) return this.answer(replies.tooLarge)
    const reply = this.options.acceptSender?.(sender) ?? "250 2.1.0 sender ok"
    if (isPositive(reply)) this.transaction = { sender, recipients: [], chunks: [] }
    return this.answer(reply)
  }

  private rcpt(argument: string): Run {
    const recipient = parsePath(argument)
    const { transaction } = this
    if (transaction === undefined || transaction.chunks.length > 0) return this.answer(replies.badSequence)
    if (recipient === undefined) return this.answer(replies.syntax)
    const reply = this.options.accept?.(recipient) ?? "250 2.1.5 recipient ok"
    if (isPositive(reply)) transaction.recipients.push(recipient)
    return this.answer(reply)
  }

  private data(): Run {
    const { transaction } = this
    if (transaction === undefined || transaction.chunks.length > 0) return this.answer(replies.badSequence)
    if (transaction.recipients.length === 0) return this.answer(replies.noRecipients)
    return this.answer("354 end with a dot on a line of its own").pipe(
      Effect.zipRight(readContent(this.connection)),
      Effect.flatMap(({ octets }) => this.finish(transaction, octets))
    )
  }

  /** RFC 3030 section 2: the client sends the bytes whatever the reply will be. */
  private bdat(argument: string): Run {
    const match = /^(\d{1,15})( LAST)?$/i.exec(argument)
    if (match === null) return this.answer(replies.syntax)
    const [, count = "", last] = match
    return Effect.flatMap(
      readCount(this.connection, Number(count), `${count} bytes behind BDAT`),
      (octets) => {
        const { transaction } = this
        if (!this.offers("CHUNKING")) return this.answer(replies.unknown)
        if (transaction === undefined) return this.answer(replies.badSequence)
        if (transaction.recipients.length === 0) return this.answer(replies.noRecipients)
        transaction.chunks.push(octets)
        return last === undefined
          ? this.answer(`250 2.0.0 ${octets.length} octets received`)
          : this.finish(transaction, concat(transaction.chunks))
      }
    )
  }

  private finish({ recipients, sender }: OpenTransaction, content: Uint8Array): Run {
    this.transaction = undefined
    const message: Message = {
      connection: this.connectionNumber,
      sender,
      recipients: [...recipients],
      content,
      source: toText(content),
      user: this.user,
      secured: this.isSecured
    }
    return this.isLmtp ? this.finishEach(message) : this.finishOnce(message)
  }

  /** The reply, or `undefined` for the default one. */
  private judge(message: Message, recipient: Path | undefined): string | undefined {
    if (message.content.length > this.sizeLimit) return replies.tooLarge
    return this.options.acceptMessage?.(message, recipient)
  }

  private finishOnce(message: Message): Run {
    const reply = this.judge(message, undefined)
    if (reply !== undefined && !isPositive(reply)) return this.answer(reply)
    const queueId = this.keep(message)
    return this.answer(reply ?? `250 2.0.0 queued as ${queueId}`)
  }

  /** RFC 2033 section 4.2: a reply for each recipient, in order. */
  private finishEach(message: Message): Run {
    const judged = message.recipients.map((recipient) => ({
      recipient,
      reply: this.judge(message, recipient)
    }))
    const recipients = judged
      .filter(({ reply }) => reply === undefined || isPositive(reply))
      .map(({ recipient }) => recipient)
    const queueId = recipients.length === 0 ? "" : this.keep({ ...message, recipients })
    return Effect.forEach(judged, ({ reply }) => this.answer(reply ?? `250 2.0.0 queued as ${queueId}`), {
      discard: true
    })
  }
}
