/**
 * A model of a server, without I/O, that knows what it has accepted, and the ways in which what it says can go wrong
 * on the wire. Octets are strings of characters up to U+00FF.
 */
import type { Random } from "./random.js"

export interface Acceptance {
  readonly content: string
  readonly recipient: string
  /** What the reply names. */
  readonly queueId: string
  /** How many octets of the client had come when it was accepted. */
  readonly octets: number
}

export interface Server {
  /** What it says of itself, before the client says anything. */
  readonly greet: () => string
  /** What it answers. */
  readonly receive: (octets: string) => string
  /** Whether it hangs up, once it has said what it gave. */
  readonly hasClosed: () => boolean
  readonly received: () => string
  readonly acceptances: ReadonlyArray<Acceptance>
  /** Whether every word that left was what the model meant, so that a client can know the truth from it. */
  readonly isHonest: () => boolean
}

type Mode = "command" | "data" | "octets" | "response"

const refusals = [
  "421 4.3.2 shutting down",
  "450 4.2.0 later",
  "451 4.3.0 error",
  "452 4.3.1 full",
  "500 5.5.1 what",
  "502 5.5.1 not here",
  "550 5.7.1 no",
  "552 5.2.2 full",
  "554 5.0.0 no",
  "530 who are you"
] as const

const reply = (random: Random, code: string, text: string): string =>
  random.chance(0.1) ? `${code}-${text}\r\n${code} ${text}\r\n` : `${code} ${text}\r\n`

const capabilities = (random: Random): ReadonlyArray<string> =>
  [
    ["PIPELINING", 0.8],
    ["8BITMIME", 0.7],
    ["SMTPUTF8", 0.3],
    ["SIZE 100000", 0.5],
    ["SIZE", 0.1],
    ["DSN", 0.3],
    ["CHUNKING", 0.5],
    ["ENHANCEDSTATUSCODES", 0.5],
    ["AUTH PLAIN LOGIN", 0.5],
    ["LIMITS RCPTMAX=2 MAILMAX=3", 0.15],
    ["STARTTLS", 0.6]
  ].flatMap(([line, probability]) =>
    typeof line === "string" && typeof probability === "number" && random.chance(probability) ? [line] : []
  )

/** A server that keeps to the RFCs and refuses what it likes. */
const makeModel = (random: Random, dialect: "smtp" | "lmtp"): Server => {
  const offered = capabilities(random)
  const refusal = random.pick([0, 0, 0, 0.02, 0.1, 0.4])
  const mostRecipients = random.pick([1, 2, 100, 100, 100])
  const acceptances: Array<Acceptance> = []
  let mode: Mode = "command"
  let input = ""
  let received = ""
  let output = ""
  let closed = false
  let secured = false
  let sender = false
  let recipients: Array<string> = []
  let chunks = ""
  let awaitedOctets = 0
  let isLast = false
  let responses = 0
  // After how many octets it breaks in on the content, if it does.
  let patience = Number.POSITIVE_INFINITY

  const say = (code: string, text = "ok"): void => {
    output += reply(random, code, text)
  }

  const refuse = (): boolean => {
    if (!random.chance(refusal)) return false
    const line = random.pick(refusals)
    output += `${line}\r\n`
    if (line.startsWith("421")) closed = true
    return true
  }

  const reset = (): void => {
    sender = false
    recipients = []
    chunks = ""
  }

  const accept = (content: string, of: ReadonlyArray<string>): void => {
    const queueId = `4A6B7${acceptances.length}`
    // What has come and is not read yet is not what was accepted.
    const octets = received.length - input.length
    acceptances.push(...of.map((recipient) => ({ content, recipient, queueId, octets })))
    say("250", `2.0.0 ok queued as ${queueId}.`)
  }

  const judge = (content: string): void => {
    if (recipients.length === 0) {
      if (random.chance(0.5)) say("250", "for nobody")
      else say("554", "no recipients")
      reset()
      return
    }
    if (dialect === "smtp") {
      if (!refuse()) accept(content, recipients)
    } else {
      for (const recipient of recipients) {
        if (closed || refuse()) continue
        accept(content, [recipient])
      }
    }
    reset()
  }

  const rcpt = (line: string): void => {
    if (!sender) say("503", "5.5.1 MAIL first")
    else if (recipients.length >= mostRecipients) say("452", "4.5.3 too many recipients")
    else if (!refuse()) {
      recipients.push(/<(.*)>/.exec(line)?.[1] ?? "")
      say("250")
    }
  }

  const data = (): void => {
    if (recipients.length === 0 && (dialect === "lmtp" || random.chance(0.5))) {
      say("554", "5.5.1 no recipients")
      return
    }
    if (refuse()) return
    say("354", "go")
    mode = "data"
    patience = random.chance(refusal / 2) ? random.below(60) : Number.POSITIVE_INFINITY
  }

  const bdat = (line: string): void => {
    const match = /^BDAT (\d+)( LAST)?$/.exec(line)
    awaitedOctets = Number(match?.[1] ?? 0)
    isLast = match?.[2] !== undefined
    mode = "octets"
  }

  const chunkEnded = (octets: string): void => {
    mode = "command"
    if (!sender || recipients.length === 0) {
      say("503", "5.5.1 no recipients")
      reset()
      return
    }
    chunks += octets
    if (isLast) judge(chunks)
    else if (refuse()) reset()
    else say("250")
  }

  const authenticate = (line: string): void => {
    responses = line.startsWith("AUTH LOGIN") ? 2 : line.split(" ").length > 2 ? 0 : 1
    if (refuse()) return
    if (responses === 0) say("235")
    else {
      mode = "response"
      output += "334 VXNlcm5hbWU6\r\n"
    }
  }

  const responded = (line: string): void => {
    responses--
    mode = "command"
    if (line === "*") say("501", "cancelled")
    else if (refuse()) return
    else if (responses === 0) say("235")
    else {
      mode = "response"
      output += "334 \r\n"
    }
  }

  const hello = (): void => {
    if (refuse()) return
    reset()
    const lines = ["mx.test", ...offered.filter((line) => line !== "STARTTLS" || !secured)]
    output += lines.map((line, index) => `250${index < lines.length - 1 ? "-" : " "}${line}\r\n`).join("")
  }

  const command = (line: string): void => {
    const verb = /^[A-Za-z]*/.exec(line)?.[0].toUpperCase() ?? ""
    switch (verb) {
      case "EHLO":
      case "LHLO":
        hello()
        return
      case "HELO":
        if (refuse()) return
        reset()
        say("250", "mx.test")
        return
      case "STARTTLS":
        if (refuse()) return
        secured = true
        reset()
        output += "220 go\r\n"
        return
      case "AUTH":
        authenticate(line)
        return
      case "MAIL":
        if (sender) say("503", "5.5.1 nested MAIL")
        else if (!refuse()) {
          sender = true
          say("250")
        }
        return
      case "RCPT":
        rcpt(line)
        return
      case "DATA":
        data()
        return
      case "BDAT":
        bdat(line)
        return
      case "RSET":
        reset()
        if (random.chance(refusal / 4)) {
          say("554", "5.7.0 too many nonmail commands")
          closed = true
        } else if (random.chance(0.95) || !refuse()) say("250")
        return
      case "QUIT":
        if (random.chance(0.95) || !refuse()) {
          say("221", "bye")
          closed = true
        }
        return
      default:
        if (!refuse()) say(verb === "NOOP" ? "250" : "252")
    }
  }

  const takeLine = (): string | undefined => {
    const end = input.indexOf("\r\n")
    if (end === -1) return undefined
    const line = input.slice(0, end)
    input = input.slice(end + 2)
    return line
  }

  const takeContent = (): boolean => {
    const end = input.startsWith(".\r\n") ? 0 : input.indexOf("\r\n.\r\n") + 2
    if (end === 1) {
      if (input.length <= patience) return false
      output += "452 4.3.1 full\r\n"
      closed = true
      return false
    }
    const content = input.slice(0, end).replace(/^\./gm, "")
    input = input.slice(end + 3)
    mode = "command"
    judge(content)
    return true
  }

  const takeOctets = (): boolean => {
    if (input.length < awaitedOctets) return false
    const octets = input.slice(0, awaitedOctets)
    input = input.slice(awaitedOctets)
    chunkEnded(octets)
    return true
  }

  const advance = (): boolean => {
    if (closed) return false
    if (mode === "data") return takeContent()
    if (mode === "octets") return takeOctets()
    const line = takeLine()
    if (line === undefined) return false
    if (mode === "response") responded(line)
    else command(line)
    return true
  }

  const take = (): string => {
    const taken = output
    output = ""
    return taken
  }

  return {
    greet: () => {
      if (!refuse()) say("220", "mx.test")
      return take()
    },
    receive: (octets) => {
      received += octets
      input += octets
      while (advance());
      return take()
    },
    hasClosed: () => closed,
    received: () => received,
    acceptances,
    isHonest: () => true
  }
}

const strayLines = [
  "250 ok\r\n",
  "250-\r\n",
  "354 go\r\n",
  "334 \r\n",
  "421 bye\r\n",
  "451 no\r\n",
  "220 hi\r\n",
  "199 what\r\n",
  "999 what\r\n",
  "250 2.0.0 ok\n",
  "\r\n",
  "2",
  "\0\0\r\n"
] as const

const replaceAt = (text: string, at: number, by: string): string =>
  text.slice(0, at) + by + text.slice(at + 1)

const mutate = (random: Random, text: string): string => {
  const lines = text.split(/(?<=\r\n)/)
  const index = random.below(lines.length)
  const line = lines[index] ?? ""
  const at = random.below(text.length)
  switch (random.below(8)) {
    case 0:
      return replaceAt(text, at, String.fromCharCode(random.below(256)))
    case 1:
      return replaceAt(text, at, String.fromCharCode(text.charCodeAt(at) ^ (1 << random.below(8))))
    case 2:
      return lines.filter((_, other) => other !== index).join("")
    case 3:
      return [...lines.slice(0, index), line, ...lines.slice(index)].join("")
    case 4:
      return [...lines].reverse().join("")
    case 5:
      return text.slice(0, at)
    case 6:
      return [...lines.slice(0, index), random.pick(strayLines), ...lines.slice(index)].join("")
    default:
      return replaceAt(text, 0, String.fromCharCode(49 + random.below(5)))
  }
}

/** The model, of whose words some are changed on their way. */
const makeLiar = (random: Random, dialect: "smtp" | "lmtp"): Server => {
  const model = makeModel(random, dialect)
  const rate = random.pick([0.02, 0.1, 0.5])
  let honest = true
  const change = (text: string): string => {
    if (text === "" || !random.chance(rate)) return text
    const changed = mutate(random, text)
    if (changed !== text) honest = false
    return changed
  }
  return {
    ...model,
    greet: () => change(model.greet()),
    receive: (octets) => change(model.receive(octets)),
    isHonest: () => honest
  }
}

const noise = (random: Random): string => {
  const parts: Array<string> = []
  for (let count = random.below(4); count > 0; count--) {
    if (random.chance(0.7)) parts.push(random.pick(strayLines))
    else parts.push(String.fromCharCode(...Array.from({ length: random.below(40) }, () => random.below(256))))
  }
  return parts.join("")
}

/** Something that never was a mail server. */
const makeNoise = (random: Random): Server => {
  let received = ""
  return {
    greet: () => (random.chance(0.7) ? "220 hi\r\n" : noise(random)),
    receive: (octets) => {
      received += octets
      return noise(random)
    },
    hasClosed: () => random.chance(0.02),
    received: () => received,
    acceptances: [],
    isHonest: () => false
  }
}

export const makeServer = (random: Random, dialect: "smtp" | "lmtp"): Server => {
  const kind = random.below(10)
  if (kind < 5) return makeModel(random, dialect)
  return kind < 9 ? makeLiar(random, dialect) : makeNoise(random)
}
