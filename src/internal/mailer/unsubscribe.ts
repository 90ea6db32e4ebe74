/** One-click unsubscription (RFC 8058): links with a signed token, and their verification. */
import * as Redacted from "effect/Redacted"
import { Buffer } from "node:buffer"
import { createHmac, timingSafeEqual } from "node:crypto"
import type { ListFieldsInput } from "../mail/model.js"
import { accept, isObject, refusal } from "../mail/refuse.js"
import * as Mailboxes from "../../protocol/Mailbox.js"
import type { Subscription, Unsubscribe } from "./model.js"

type Secrets = Unsubscribe["secret"]

const isSeveral = (secret: Secrets): secret is ReadonlyArray<Redacted.Redacted> => Array.isArray(secret)

// Half of what HMAC-SHA256 can use.
const leastLength = 16

const readSecrets = (secret: Secrets, field: string): ReadonlyArray<string> => {
  const secrets = isSeveral(secret) ? secret : [secret]
  if (secrets.length === 0) throw refusal(field, "is empty; give at least one secret")
  return secrets.map((each) => {
    const text: unknown = Redacted.isRedacted(each) ? Redacted.value(each) : undefined
    if (typeof text !== "string") throw refusal(field, "is not a Redacted string")
    if (text.length < leastLength) throw refusal(field, `has fewer than ${leastLength} characters`)
    return text
  })
}

// The purpose is signed too: no other token of the same secret is one of these.
const signature = (secret: string, payload: string): Buffer =>
  createHmac("sha256", secret).update(`List-Unsubscribe\0${payload}`).digest()

const readUrl = (url: string): URL => {
  const parsed = typeof url === "string" && URL.canParse(url) ? new URL(url) : undefined
  if (parsed?.protocol !== "https:")
    throw refusal("unsubscribe.url", "is not an https URL, which RFC 8058 requires")
  return parsed
}

/** Throws if it is invalid. */
export const checkUnsubscribe = ({ mailto, secret, url }: Unsubscribe): void => {
  readUrl(url)
  readSecrets(secret, "unsubscribe.secret")
  if (mailto !== undefined) accept(Mailboxes.parse(mailto, "unsubscribe.mailto"))
}

/** The link for one recipient. Throws. */
export const link = ({ secret, url }: Unsubscribe, { address, topic }: Subscription): string => {
  accept(Mailboxes.parse(address, "address"))
  const [first = ""] = readSecrets(secret, "unsubscribe.secret")
  const payload = Buffer.from(JSON.stringify(topic === undefined ? [address] : [address, topic])).toString(
    "base64url"
  )
  const target = readUrl(url)
  target.searchParams.set("token", `${payload}.${signature(first, payload).toString("base64url")}`)
  return target.href
}

const parsed = (payload: string): unknown => {
  try {
    return JSON.parse(Buffer.from(payload, "base64url").toString())
  } catch {
    return undefined
  }
}

const isTexts = (value: unknown): value is ReadonlyArray<string> =>
  Array.isArray(value) && value.every((each) => typeof each === "string")

/** What a token says. Throws if no secret has signed it. */
export const verify = (token: string, secret: Secrets): Subscription => {
  const [, payload = "", mac = ""] =
    (typeof token === "string" ? /^([\w-]+)\.([\w-]{43})$/.exec(token) : null) ?? []
  const given = Buffer.from(mac, "base64url")
  const isSigned = readSecrets(secret, "secret").some((each) => {
    const wanted = signature(each, payload)
    return given.length === wanted.length && timingSafeEqual(given, wanted)
  })
  const value = isSigned ? parsed(payload) : undefined
  const [address, topic] = isTexts(value) ? value : []
  if (address === undefined) throw refusal("token", "is not one that this secret has signed")
  return { address, ...(topic === undefined ? {} : { topic }) }
}

// RFC 6068 section 2: what ends the address of the URL is encoded, and its at sign is not.
const mailtoOf = (address: string): string => encodeURIComponent(address).replace(/%40(?!.*%40)/, "@")

/** The list fields of a message to one recipient. Throws. */
export const listOf = (
  list: ListFieldsInput | undefined,
  wanted: boolean | string,
  options: Unsubscribe | undefined,
  to: ReadonlyArray<string>
): ListFieldsInput => {
  if (options === undefined) throw refusal("unsubscribe", "requires the option `unsubscribe` of the mailer")
  if (list !== undefined && isObject(list) && list.unsubscribe !== undefined) {
    throw refusal("unsubscribe", "and list.unsubscribe are given both; leave one out")
  }
  const [address, ...others] = to
  if (address === undefined || others.length > 0) {
    throw refusal(
      "unsubscribe",
      "names one subscriber, and the message has several recipients; send one to each"
    )
  }
  const topic = typeof wanted === "string" ? wanted : undefined
  const { mailto } = options
  return {
    ...list,
    unsubscribe: [
      link(options, { address, ...(topic === undefined ? {} : { topic }) }),
      ...(mailto === undefined ? [] : [`mailto:${mailtoOf(mailto)}?subject=unsubscribe`])
    ],
    oneClick: true
  }
}
