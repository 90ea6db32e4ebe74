/**
 * The server's side of one connection as a function from octets to replies: enough of SMTP for every peer, and as
 * cheap as it can be, so that the sink is not what is measured. It opens no socket and knows no time.
 *
 * RFC 5321, RFC 2920 (PIPELINING), RFC 3030 (CHUNKING; chunks that are refused are read to their end), RFC 3207
 * (STARTTLS), RFC 4954 (AUTH PLAIN).
 */
import type { Verifier } from "./verifier.js"

export interface Offer {
  readonly startTls: boolean
  /** The response of PLAIN that is accepted, in base64; AUTH is offered with it. */
  readonly plain: string | undefined
}

export interface Receiver {
  /** Takes octets, and gives the replies that they cause. */
  readonly read: (octets: Buffer) => string
  /** Whether something was begun and not ended: a command line, a chunk, content. */
  readonly isMidway: () => boolean
  /** What becomes of the connection when the replies have been written. */
  readonly next: () => "Read" | "Secure" | "Close"
}

/** The envelope that every message is to have. */
export interface Envelope {
  readonly sender: string
  readonly recipients: ReadonlyArray<string>
}

/** What the receiver has seen of an envelope. */
export interface SeenEnvelope {
  readonly recipients: number
  /** The first command that named somebody else. */
  readonly strange: string | undefined
}

/** What the receiver tells of a message that has come to its end. */
export type OnMessage = (verdict: ReturnType<Verifier["finish"]>, envelope: SeenEnvelope) => void

const longestLine = 65_536
const lineFeed = 10
const dot = 46
const carriageReturn = 13
const dotAfterLine = Buffer.from("\r\n.")

/** The first two letters of a verb, in upper case, as one number. */
const verb = (letters: string): number => Buffer.from(letters).readUInt16BE(0)
const verbs = {
  mail: verb("MA"),
  rcpt: verb("RC"),
  rset: verb("RS"),
  data: verb("DA"),
  bdat: verb("BD"),
  ehlo: verb("EH"),
  helo: verb("HE"),
  noop: verb("NO"),
  quit: verb("QU"),
  starttls: verb("ST"),
  auth: verb("AU")
}

const space = 32

const ok = "250 OK\r\n"
const notYet = "530 first STARTTLS, then AUTH\r\n"
const outOfOrder = "503 out of order\r\n"

/** The greeting that opens a connection. */
export const greeting = "220 sink.test ESMTP\r\n"

const hello = (offer: Offer): string => {
  const keywords = [
    "PIPELINING",
    "8BITMIME",
    "SMTPUTF8",
    "SIZE 4294967296",
    ...(offer.startTls ? ["STARTTLS"] : []),
    ...(offer.plain === undefined ? [] : ["AUTH PLAIN"]),
    "CHUNKING"
  ]
  return ["sink.test", ...keywords]
    .map((line, index) => `250${index === keywords.length ? " " : "-"}${line}\r\n`)
    .join("")
}

type Mode = "Commands" | "Credentials" | "Content" | "Chunk"

/** A path as it is on the wire. */
const pathOf = (address: string): Buffer => Buffer.from(`<${address}>`, "latin1")

export const makeReceiver = (
  offer: Offer,
  envelope: Envelope,
  verifier: Verifier,
  onMessage: OnMessage
): Receiver => {
  const helloReply = hello(offer)
  const reversePath = pathOf(envelope.sender)
  const forwardPaths = envelope.recipients.map(pathOf)
  let mayMail = !offer.startTls && offer.plain === undefined
  let mode: Mode = "Commands"
  let next: ReturnType<Receiver["next"]> = "Read"
  let octets: Buffer = Buffer.alloc(0)
  let position = 0
  let replies = ""
  let hasSender = false
  let recipients = 0
  let strange: string | undefined
  let atLineStart = true
  let contentBegun = false
  let chunkLeft = 0
  let chunkIsLast = false
  let chunkRefused = false

  const reset = (): void => {
    hasSender = false
    recipients = 0
    strange = undefined
    verifier.forget()
  }

  const finishMessage = (): void => {
    onMessage(verifier.finish(), { recipients, strange })
    reset()
    replies += ok
  }

  // -- content behind DATA

  const endContent = (): true => {
    position += 3
    mode = "Commands"
    finishMessage()
    return true
  }

  /** At the beginning of a line: the end of the content, a stuffed dot, or neither. False if that cannot be told yet. */
  const readLineStart = (): boolean => {
    if (octets[position] !== dot) {
      atLineStart = false
      return true
    }
    if (octets.length - position < 3) return false
    if (octets[position + 1] === carriageReturn && octets[position + 2] === lineFeed) return endContent()
    position++
    atLineStart = false
    return true
  }

  const takeContent = (end: number): void => {
    verifier.take(octets, position, end)
    position = end
  }

  /** To the next line that begins with a dot, or to the end of what has come; a last CR may be half of a line end. */
  const readLines = (): boolean => {
    const found = octets.indexOf(dotAfterLine, position)
    if (found >= 0) {
      takeContent(found + 2)
      atLineStart = true
      return true
    }
    const last = octets[octets.length - 1]
    const end = last === carriageReturn ? octets.length - 1 : octets.length
    atLineStart = last === lineFeed && octets[octets.length - 2] === carriageReturn
    takeContent(end)
    return false
  }

  const readContent = (): boolean => {
    contentBegun = true
    return atLineStart ? readLineStart() : readLines()
  }

  const beginContent = (): string => {
    if (recipients === 0) return outOfOrder
    mode = "Content"
    atLineStart = true
    contentBegun = false
    return "354 go on\r\n"
  }

  // -- chunks

  const readSize = (begin: number, end: number): number => {
    let size = 0
    for (let at = begin; at < end; at++) {
      const digit = (octets[at] ?? 0) - 48
      if (digit < 0 || digit > 9) break
      size = size * 10 + digit
    }
    return size
  }

  /** `BDAT size` or `BDAT size LAST`, whose line ends in T. */
  const beginChunk = (begin: number, end: number): string => {
    chunkLeft = readSize(begin + 5, end)
    chunkIsLast = ((octets[end - 1] ?? 0) & 0xdf) === 84
    chunkRefused = recipients === 0
    mode = "Chunk"
    return ""
  }

  const readChunk = (): boolean => {
    const length = Math.min(chunkLeft, octets.length - position)
    if (!chunkRefused) verifier.take(octets, position, position + length)
    position += length
    chunkLeft -= length
    if (chunkLeft > 0) return false
    mode = "Commands"
    if (chunkRefused) replies += outOfOrder
    else if (chunkIsLast) finishMessage()
    else replies += ok
    return true
  }

  // -- commands

  const authenticate = (response: string): string => {
    mode = "Commands"
    mayMail = response === offer.plain
    return mayMail ? "235 welcome\r\n" : "535 who?\r\n"
  }

  const beginAuth = (begin: number, end: number): string => {
    const [, mechanism, response] = octets.toString("latin1", begin, end).split(" ")
    if (offer.plain === undefined || mechanism?.toUpperCase() !== "PLAIN") return "504 PLAIN only\r\n"
    if (response !== undefined) return authenticate(response)
    mode = "Credentials"
    return "334 \r\n"
  }

  /** Whether the path stands at a place of the line, with nothing or parameters behind it. */
  const isAt = (path: Buffer, begin: number, end: number): boolean => {
    const behind = begin + path.length
    if (behind > end || (behind < end && octets[behind] !== space)) return false
    for (let at = 0; at < path.length; at++) if (octets[begin + at] !== path[at]) return false
    return true
  }

  const compare = (path: Buffer | undefined, begin: number, verbLength: number, end: number): void => {
    if (path === undefined || isAt(path, begin + verbLength, end)) return
    strange ??= octets.toString("latin1", begin, end)
  }

  const mail = (begin: number, end: number): string => {
    if (!mayMail) return notYet
    if (hasSender) return outOfOrder
    hasSender = true
    compare(reversePath, begin, "MAIL FROM:".length, end)
    return ok
  }

  // Those that are too many are counted.
  const rcpt = (begin: number, end: number): string => {
    if (!hasSender) return outOfOrder
    compare(forwardPaths[recipients], begin, "RCPT TO:".length, end)
    recipients++
    return ok
  }

  const secure = (): string => {
    if (!offer.startTls) return outOfOrder
    next = "Secure"
    return "220 go on\r\n"
  }

  const quit = (): string => {
    next = "Close"
    return "221 bye\r\n"
  }

  const respond = (begin: number, end: number): string => {
    switch (end - begin < 4 ? 0 : octets.readUInt16BE(begin) & 0xdfdf) {
      case verbs.mail:
        return mail(begin, end)
      case verbs.rcpt:
        return rcpt(begin, end)
      case verbs.bdat:
        return beginChunk(begin, end)
      case verbs.data:
        return beginContent()
      case verbs.ehlo:
      case verbs.helo:
        reset()
        return helloReply
      case verbs.rset:
        reset()
        return ok
      case verbs.noop:
        return ok
      case verbs.starttls:
        return secure()
      case verbs.auth:
        return beginAuth(begin, end)
      case verbs.quit:
        return quit()
      default:
        return "500 what?\r\n"
    }
  }

  const readLine = (): boolean => {
    const begin = position
    const found = octets.indexOf(lineFeed, begin)
    if (found < 0) return false
    position = found + 1
    const end = found > begin && octets[found - 1] === carriageReturn ? found - 1 : found
    replies +=
      mode === "Credentials" ? authenticate(octets.toString("latin1", begin, end)) : respond(begin, end)
    return true
  }

  const readers: Record<Mode, () => boolean> = {
    Commands: readLine,
    Credentials: readLine,
    Content: readContent,
    Chunk: readChunk
  }

  return {
    read: (arrived) => {
      octets = position < octets.length ? Buffer.concat([octets.subarray(position), arrived]) : arrived
      position = 0
      replies = ""
      // A chunk of no octets is complete without any.
      while ((position < octets.length || (mode === "Chunk" && chunkLeft === 0)) && next === "Read") {
        if (!readers[mode]()) break
      }
      if (octets.length - position > longestLine) next = "Close"
      return replies
    },
    isMidway: () =>
      position < octets.length || (mode === "Content" && contentBegun) || (mode === "Chunk" && chunkLeft > 0),
    next: () => next
  }
}
