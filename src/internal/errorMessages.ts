/** The messages of errors, in one form: what happened, its detail, and what to do next. */
import type { Phase } from "../protocol/Command.js"
import { deliveryOf } from "../protocol/Outcome.js"
import type { Reply } from "../protocol/Reply.js"
import { format, isTransient } from "../protocol/Reply.js"
import type {
  AuthenticationError,
  ClientUnavailable,
  ConnectError,
  SmtpError,
  TlsError
} from "../SmtpError.js"
import { describeCause } from "./effect/cause.js"

type Messages = { readonly [Tag in SmtpError["_tag"]]: (error: Extract<SmtpError, { _tag: Tag }>) => string }

/** What happened, and what to do next, for each reason of an error. */
type Reasons<E extends { readonly reason: string }> = Readonly<
  Record<E["reason"], readonly [what: string, advice: string]>
>

/** `what: detail. advice`, without the details that are absent. */
const say = (
  [what, advice]: readonly [what: string, advice: string],
  ...details: ReadonlyArray<string | undefined>
): string => {
  const given = details.filter((detail) => detail !== undefined && detail !== "")
  return `${[what, ...given].join(": ").replace(/[.\s]+$/, "")}. ${advice}`
}

const causeOf = (cause: unknown): string | undefined =>
  cause === undefined ? undefined : describeCause(cause)

const replyOf = (reply: Reply | undefined): string | undefined =>
  reply === undefined ? undefined : format(reply)

const refusal = (reply: Reply): string =>
  isTransient(reply)
    ? "The refusal is temporary: try again later."
    : reply.code === 530
      ? "Set auth, or SMTP_USERNAME and SMTP_PASSWORD; if the reply asks for STARTTLS, set tls."
      : "The refusal is permanent: trying again does not help."

const refused = (what: string, reply: Reply): string => say([what, refusal(reply)], format(reply))

/** When it happened. */
const during: Readonly<Record<Phase, string>> = {
  greeting: "while waiting for the greeting",
  ehlo: "during EHLO",
  starttls: "during STARTTLS",
  auth: "during authentication",
  mail: "after MAIL",
  rcpt: "after RCPT",
  data: "after DATA",
  content: "while the message was being sent",
  bdat: "after BDAT",
  final: "after the whole message was sent",
  rset: "after RSET",
  noop: "after NOOP",
  vrfy: "after VRFY",
  expn: "after EXPN",
  help: "after HELP",
  quit: "after QUIT",
  command: "after a command",
  idle: "while the session was idle"
}

const unknown = "The server may have accepted the message: sending it again may deliver it twice."

const checkTls = 'Check that the option tls suits the port: "implicit" usually is 465, "starttls" 587.'

// A firewall or a server that announces PIPELINING may drop what comes behind the first command of a group.
const pipelined = ' If it does not answer commands that are sent together, set pipelining to "off".'

const checkClientName = "Set clientName to a name that it accepts."

const checkTraffic = "Someone may be tampering with the traffic."

/** The codes are those of Node's and OpenSSL's verification. */
const certificateAdvice = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  switch (code) {
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return "Ask the operator of the server to renew it, or correct the clock of this machine."
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "Connect to a name that it is valid for, or set tlsOptions.servername to one."
    default:
      return "Set tlsOptions.ca to its authority, or tlsOptions.servername to its name."
  }
}

const connect = (endpoint: string, reply: Reply | undefined): Reasons<ConnectError> => ({
  Unreachable: [`Cannot connect to ${endpoint}`, "Check host and port."],
  Timeout: [`Cannot connect to ${endpoint} within timeouts.connect`, "Check host, port and firewall."],
  Greeting: [
    `${endpoint} refused the session`,
    reply === undefined ? "Check that it is an SMTP server." : refusal(reply)
  ]
})

const tls = (endpoint: string, cause: unknown): Reasons<TlsError> => ({
  Handshake: [`The TLS handshake with ${endpoint} failed`, checkTls],
  Disconnected: [
    `The connection to ${endpoint} was lost during the TLS handshake`,
    `Try again later. ${checkTls}`
  ],
  Certificate: [`The certificate of ${endpoint} is not accepted`, certificateAdvice(cause)],
  Timeout: [`The TLS handshake with ${endpoint} took longer than timeouts.tls`, checkTls],
  Injection: [`${endpoint} sent plaintext after its reply to STARTTLS: the session is closed`, checkTraffic],
  OfferVanished: [
    `${endpoint} offered STARTTLS before and does not now: nothing was sent in clear`,
    checkTraffic
  ],
  Configuration: [`Cannot use the TLS options for ${endpoint}`, "Check tlsOptions."]
})

const authentication = (how: string): Reasons<AuthenticationError> => ({
  Rejected: [`The server rejected the credentials${how}`, "Check the user name and the password or token."],
  Temporary: [`The server temporarily cannot authenticate${how}`, "Try again later."],
  NoCommonMechanism: [
    "The server offers no mechanism that suits these credentials",
    "Use credentials of another kind, or check that TLS is on."
  ],
  NotOffered: [
    "The server does not offer AUTH",
    "Check that this is the submission port and that TLS is on, or give no user name and password."
  ],
  Insecure: [
    "Credentials were not sent: the session has no TLS with a verified certificate",
    'Set tls to "starttls" or "implicit", or set allowInsecureAuth; a local catcher needs no user name and password.'
  ],
  Token: ["Cannot obtain the token or password", "Check the effect that obtains it."],
  TokenUnavailable: ["Cannot obtain the token or password at the moment", "Try again later."],
  Challenge: [`Cannot answer the server's challenge${how}`, "Use another mechanism."],
  ServerNotVerified: [`The server did not prove its identity${how}`, "Do not trust this connection."]
})

// RFC 4954 section 6: the credentials may be right.
const needsTls = (how: string): readonly [what: string, advice: string] => [
  `The server authenticates on an encrypted connection only${how}`,
  'Set tls to "starttls" or "implicit".'
]

const unavailable: Reasons<ClientUnavailable> = {
  QueueFull: ["The client's queue of waiting messages is full", "Send fewer at once, or raise maxWaiting."],
  Timeout: ["No session was free within the timeout of the send", "Raise maxSessions or the timeout."],
  RateLimit: [
    "The rate limit has no place for the message within the timeout of the send",
    "Send more slowly, or raise the limit."
  ],
  RateLimitStore: ["Cannot check the rate limit", "Try again later."],
  Closed: ["The client is closed", "Send before its scope ends."]
}

const unreached = "Check host, port, firewall and the option tls, or raise the timeout."

export const messages: Messages = {
  ConnectError: ({ cause, endpoint, reason, reply }) =>
    say(connect(endpoint, reply)[reason], replyOf(reply), causeOf(cause)),

  TlsError: ({ cause, endpoint, reason }) => say(tls(endpoint, cause)[reason], causeOf(cause)),

  ServerDisconnected: (error) => {
    const { cause, isFirstEhlo, phase, reply } = error
    if (reply !== undefined) {
      const advice = isFirstEhlo === true ? ` ${checkClientName}` : ""
      return `${refused(`The server closed the connection ${during[phase]}`, reply)}${advice}`
    }
    const advice =
      deliveryOf(error) === "Unknown" ? unknown : phase === "greeting" ? checkTls : "Connect again."
    return say([`The connection was lost ${during[phase]}`, advice], causeOf(cause))
  },

  ReplyTimeout: (error) => {
    const { isOfSend, limitMillis, limitPhase, phase } = error
    const isUnknown = deliveryOf(error) === "Unknown"
    if (isOfSend === true) {
      const advice = isUnknown ? unknown : "The message was not sent to this recipient: raise the timeout."
      return say([`The timeout of the send, ${limitMillis} ms, ran out ${during[phase]}`, advice])
    }
    if (limitPhase !== undefined) {
      const what = `The server did not answer another command within ${limitMillis} ms (timeouts.${limitPhase}) ${during[phase]}`
      return say([what, isUnknown ? unknown : `Try again later, or raise timeouts.${limitPhase}.`])
    }
    if (phase === "idle") {
      return say([
        `The server did not answer an earlier command within ${limitMillis} ms`,
        "Try again later."
      ])
    }
    const what = phase === "content" ? "made no progress" : "did not answer"
    const advice =
      phase === "greeting"
        ? 'Check that it is an SMTP server. A port with TLS from the first byte, usually 465, requires tls "implicit".'
        : `Try again later, or raise timeouts.${phase}.${phase === "rcpt" || phase === "data" ? pipelined : ""}`
    return say([`The server ${what} within ${limitMillis} ms ${during[phase]}`, isUnknown ? unknown : advice])
  },

  ProtocolError: (error) => {
    const { phase, reason, reply } = error
    const advice =
      phase === "greeting"
        ? "Check that host and port are those of an SMTP server."
        : "Report it to the operator of the server."
    return say(
      [`The server broke the protocol ${during[phase]}`, deliveryOf(error) === "Unknown" ? unknown : advice],
      reply === undefined ? reason : `${reason} (${format(reply)})`
    )
  },

  HeloError: ({ command, reply }) => `${refused(`The server refused ${command}`, reply)} ${checkClientName}`,

  CommandRefused: ({ command, reply }) => refused(`The server refused ${command}`, reply),

  AuthenticationError: ({ cause, detail, mechanism, reason, reply }) => {
    const how = mechanism === undefined ? "" : ` with ${mechanism}`
    const [what, advice] = reply?.code === 538 ? needsTls(how) : authentication(how)[reason]
    return say([what, advice], replyOf(reply), causeOf(cause), detail)
  },

  NotSupported: ({ extension, reason }) =>
    say(
      [`The server cannot do what was requested (${extension})`, "Request less, or use another server."],
      reason
    ),

  SenderRefused: ({ reply, sender }) => refused(`The server refused the sender <${sender}>`, reply),

  RecipientsRefused: ({ policy, recipients }) => {
    const shown = recipients.slice(0, 5).map(({ address, reply }) => `<${address}>: ${format(reply)}`)
    const rest = recipients.length - shown.length
    const what = policy === "all" ? "The server refused a recipient" : "The server refused every recipient"
    const isTemporary = recipients.some(({ reply }) => isTransient(reply))
    return say(
      [what, isTemporary ? "Try again later." : "Check the addresses."],
      [...shown, ...(rest > 0 ? [`and ${rest} more`] : [])].join("; ")
    )
  },

  DataError: ({ phase, reply }) => refused(`The server refused the message ${during[phase]}`, reply),

  ContentError: ({ detail }) => `Cannot send the content: ${detail}`,

  InvalidArgument: ({ field, reason }) => `Invalid ${field}: it ${reason}`,

  ClientUnavailable: ({ cause, detail, reason }) =>
    detail === undefined
      ? say(unavailable[reason], causeOf(cause))
      : say(["No session was open within the timeout of the send", unreached], detail)
}

/**
 * An error as plain data for JSON, which goes to logs and other processes: of a cause, which may be any value of the
 * program, only the message.
 */
export const toPlain = (error: Error): unknown =>
  Object.assign(
    {},
    error,
    { message: error.message },
    error.cause === undefined ? undefined : { cause: describeCause(error.cause) }
  )
