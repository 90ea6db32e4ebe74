/**
 * What a server makes of the octets of a client, written from RFC 5321, 3030 and 4954 and from nothing in this
 * library: which commands, which AUTH responses, which messages. It can be strict, or as careless about line ends as
 * the servers that smuggling is aimed at.
 */

/**
 * What ends a line: CRLF alone, as RFC 5321 section 2.3.8 has it; a bare LF too; or also a bare CR.
 */
export type LineEnds = "crlf" | "lf" | "any"

export interface DecodeOptions {
  /** The codes of the server's replies, the greeting's first. Default: everything is accepted. */
  readonly codes?: ReadonlyArray<number> | undefined
  readonly lineEnds?: LineEnds | undefined
}

export interface Command {
  readonly _tag: "Command"
  /** The line without its end. */
  readonly line: Uint8Array
  /** In capitals. */
  readonly verb: string
  readonly code: number
}

/** A response within AUTH, still in base64. */
export interface Response {
  readonly _tag: "Response"
  readonly line: Uint8Array
  readonly code: number
}

/** What followed 354, without transparency and without the final dot. */
export interface Content {
  readonly _tag: "Content"
  readonly octets: Uint8Array
  readonly code: number
}

/** What followed BDAT, octet for octet. */
export interface Chunk {
  readonly _tag: "Chunk"
  readonly octets: Uint8Array
  readonly last: boolean
  readonly code: number
}

/** The client stopped in the middle. */
export interface Unfinished {
  readonly _tag: "Unfinished"
  readonly what: "line" | "content" | "chunk"
  readonly octets: Uint8Array
}

export type Item = Command | Response | Content | Chunk | Unfinished

const CR = 13
const LF = 10
const DOT = 46

export const latin1 = (octets: Uint8Array): string => Buffer.from(octets).toString("latin1")

export const fromLatin1 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))

interface Line {
  readonly octets: Uint8Array
  readonly next: number
}

const readLine = (octets: Uint8Array, from: number, lineEnds: LineEnds): Line | undefined => {
  for (let at = from; at < octets.length; at++) {
    const octet = octets[at]
    if (octet === CR && octets[at + 1] === LF) return { octets: octets.slice(from, at), next: at + 2 }
    const bare = (octet === LF && lineEnds !== "crlf") || (octet === CR && lineEnds === "any")
    if (bare) return { octets: octets.slice(from, at), next: at + 1 }
  }
  return undefined
}

/** RFC 5321 section 4.5.2: a line that is a dot ends the content, of any other a first dot is taken away. */
const readContent = (octets: Uint8Array, from: number, lineEnds: LineEnds): Line | undefined => {
  const lines: Array<string> = []
  let at = from
  for (;;) {
    const line = readLine(octets, at, lineEnds)
    if (line === undefined) return undefined
    at = line.next
    if (line.octets.length === 1 && line.octets[0] === DOT) break
    const text = line.octets[0] === DOT ? line.octets.subarray(1) : line.octets
    lines.push(`${latin1(text)}\r\n`)
  }
  return { octets: fromLatin1(lines.join("")), next: at }
}

const defaultCode = (verb: string): number => {
  if (verb === "DATA") return 354
  return verb === "AUTH" ? 235 : 250
}

/** The client's octets as a server reads them, whose replies had the given codes. */
export const decode = (octets: Uint8Array, options: DecodeOptions = {}): ReadonlyArray<Item> => {
  const lineEnds = options.lineEnds ?? "crlf"
  const codes = [...(options.codes ?? [])].slice(1)
  const items: Array<Item> = []
  let at = 0
  let responding = false

  const nextCode = (verb: string): number => codes.shift() ?? defaultCode(verb)

  const unfinished = (what: Unfinished["what"]): ReadonlyArray<Item> => [
    ...items,
    { _tag: "Unfinished", what, octets: octets.slice(at) }
  ]

  while (at < octets.length) {
    const line = readLine(octets, at, lineEnds)
    if (line === undefined) return unfinished("line")
    at = line.next
    if (responding) {
      const code = nextCode("AUTH")
      items.push({ _tag: "Response", line: line.octets, code })
      responding = code === 334
      continue
    }
    const text = latin1(line.octets)
    const verb = (text.split(" ")[0] ?? "").toUpperCase()
    const code = nextCode(verb)
    items.push({ _tag: "Command", line: line.octets, verb, code })
    if (verb === "AUTH") responding = code === 334
    if (verb === "DATA" && code === 354) {
      const content = readContent(octets, at, lineEnds)
      if (content === undefined) return unfinished("content")
      at = content.next
      items.push({ _tag: "Content", octets: content.octets, code: nextCode("") })
    }
    // RFC 3030 section 2: the octets follow at once, whatever the reply will be.
    const chunk = /^BDAT (\d+)( LAST)?$/i.exec(text)
    if (chunk !== null) {
      const end = at + Number(chunk[1])
      if (end > octets.length) return unfinished("chunk")
      items.push({ _tag: "Chunk", octets: octets.slice(at, end), last: chunk[2] !== undefined, code })
      at = end
    }
  }
  return items
}

/** The codes of the replies in a server's octets (RFC 5321 section 4.2.1): those of the last line of each. */
export const replyCodes = (octets: Uint8Array): ReadonlyArray<number> =>
  latin1(octets)
    .split("\r\n")
    .filter((line) => /^\d{3}(?: |$)/.test(line))
    .map((line) => Number(line.slice(0, 3)))

export interface Parameter {
  readonly keyword: string
  readonly value: string | undefined
}

/** A MAIL or RCPT line, read by the grammar of RFC 5321 section 4.1.2 as RFC 6531 section 3.3 extends it. */
export interface Path {
  /** What is between the angle brackets. */
  readonly path: Uint8Array
  readonly parameters: ReadonlyArray<Parameter>
}

const atext = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\x80-\\xff-]"
const dotString = `${atext}+(?:\\.${atext}+)*`
const quotedString = `"(?:[ !#-\\[\\]-~\\x80-\\xff]|\\\\[ -~])*"`
// The underscore is none of RFC 5321's, and many a host name's.
const subDomain = "[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
const literal = "\\[[!-Z^-~]+\\]"
const domain = `(?:${subDomain}(?:\\.${subDomain})*|${literal})`
const mailbox = `(?:${dotString}|${quotedString})@${domain}`
const parameter = "[A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~]+)?"
const parameters = `((?: ${parameter})*)`
const mailPattern = new RegExp(`^MAIL FROM:<(|${mailbox})>${parameters}$`, "i")
const rcptPattern = new RegExp(`^RCPT TO:<(postmaster|${mailbox})>${parameters}$`, "i")

/** `undefined` for a line that the grammar does not know. */
export const readPath = (line: Uint8Array): Path | undefined => {
  const text = latin1(line)
  const match = mailPattern.exec(text) ?? rcptPattern.exec(text)
  if (match === null) return undefined
  const words = (match[2] ?? "").split(" ").filter((word) => word !== "")
  return {
    path: fromLatin1(match[1] ?? ""),
    parameters: words.map((word) => {
      const at = word.indexOf("=")
      return at === -1
        ? { keyword: word, value: undefined }
        : { keyword: word.slice(0, at), value: word.slice(at + 1) }
    })
  }
}

/** A message that the server has taken, with the lines that made its envelope. */
export interface Message {
  readonly mail: Uint8Array
  readonly rcpts: ReadonlyArray<Uint8Array>
  readonly content: Uint8Array
}

const isSuccess = (code: number): boolean => code >= 200 && code < 300

interface Open {
  readonly mail: Uint8Array
  readonly rcpts: Array<Uint8Array>
  readonly chunks: Array<Uint8Array>
}

/** The messages among the items, in the order of their acceptance. */
export const messages = (items: ReadonlyArray<Item>): ReadonlyArray<Message> => {
  const taken: Array<Message> = []
  let open: Open | undefined

  const close = (code: number): void => {
    if (open !== undefined && isSuccess(code)) {
      taken.push({ mail: open.mail, rcpts: open.rcpts, content: Buffer.concat(open.chunks) })
    }
    open = undefined
  }

  for (const item of items) {
    switch (item._tag) {
      case "Command": {
        if (!isSuccess(item.code)) break
        if (["EHLO", "HELO", "LHLO", "RSET"].includes(item.verb)) open = undefined
        if (item.verb === "MAIL") open = { mail: item.line, rcpts: [], chunks: [] }
        if (item.verb === "RCPT") open?.rcpts.push(item.line)
        break
      }
      case "Content":
        open?.chunks.push(item.octets)
        close(item.code)
        break
      case "Chunk":
        if (isSuccess(item.code)) open?.chunks.push(item.octets)
        if (item.last) close(item.code)
        break
      default:
        break
    }
  }
  return taken
}

/** xtext (RFC 3461 section 4) as octets; `undefined` for what is none. */
export const readXtext = (text: string): Uint8Array | undefined => {
  if (!/^(?:[!-*,-<>-~]|\+[0-9A-F]{2})*$/.test(text)) return undefined
  return fromLatin1(
    text.replaceAll(/\+(..)/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)))
  )
}

// What each parameter adds to the 512 octets of a line, by the RFC that defines it for MAIL or for RCPT.
const additionsOfMail: Readonly<Record<string, number>> = {
  SIZE: 26,
  BODY: 17,
  SMTPUTF8: 10,
  RET: 8,
  ENVID: 107,
  AUTH: 500,
  REQUIRETLS: 11,
  "MT-PRIORITY": 15,
  BY: 17,
  HOLDFOR: 34,
  HOLDUNTIL: 34
}

const additionsOfRecipient: Readonly<Record<string, number>> = { NOTIFY: 28, ORCPT: 500, RRVS: 33 }

/**
 * How many octets a command line may have with its CRLF: 512 (RFC 5321 section 4.5.3.1.4), and what its parameters
 * add. A parameter that no known RFC defines for the command has room for itself.
 */
export const lineLimit = (line: Uint8Array): number => {
  const additions = /^RCPT/i.test(latin1(line)) ? additionsOfRecipient : additionsOfMail
  return (readPath(line)?.parameters ?? []).reduce((sum, { keyword, value }) => {
    const own = 1 + keyword.length + (value === undefined ? 0 : 1 + value.length)
    return sum + (additions[keyword.toUpperCase()] ?? own)
  }, 512)
}

/** What is wrong with lines that went out, by the letter of RFC 5321 and RFC 4954. */
export const faults = (items: ReadonlyArray<Item>): ReadonlyArray<string> =>
  items.flatMap((item) => {
    switch (item._tag) {
      case "Command":
      case "Response": {
        const limit = item._tag === "Command" ? lineLimit(item.line) : 12_288
        const text = latin1(item.line)
        return [
          ...(/[\r\n\0]/.test(text) ? [`a CR, LF or NUL within a line: ${JSON.stringify(text)}`] : []),
          ...(text.length + 2 > limit ? [`a line of ${text.length + 2} octets, where ${limit} may be`] : []),
          ...(item._tag === "Response" && !/^(?:\*|[A-Za-z0-9+/]*={0,2})$/.test(text)
            ? [`no base64: ${JSON.stringify(text)}`]
            : [])
        ]
      }
      case "Content":
        return /(?:^|[^\r])\n|\r(?!\n)/.test(latin1(item.octets)) ? ["a bare CR or LF within content"] : []
      default:
        return []
    }
  })
