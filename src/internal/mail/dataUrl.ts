/** Data within a URL (RFC 2397). */
import { Buffer } from "node:buffer"

export interface Data {
  readonly content: Uint8Array
  readonly contentType: string
}

const pattern = /^data:([^,;]*(?:;(?!base64,)[^,;]*)*)(;base64)?,/i

// What percent-encoding stands for, and anything else in UTF-8.
const unescaped = (text: string): Uint8Array =>
  Buffer.from(
    Buffer.from(text)
      .toString("latin1")
      .replace(/%([0-9A-Fa-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16))),
    "latin1"
  )

/** `undefined` if it is another URL, or its data is broken. */
export const dataUrl = (url: string): Data | undefined => {
  const [head, type = "", encoding] = pattern.exec(url) ?? []
  if (head === undefined) return undefined
  const bytes = unescaped(url.slice(head.length))
  const contentType =
    type === "" ? "text/plain;charset=US-ASCII" : type.startsWith(";") ? `text/plain${type}` : type
  if (encoding === undefined) return { content: bytes, contentType }
  const base64 = Buffer.from(bytes).toString("latin1").replace(/\s/g, "")
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(base64)
    ? { content: new Uint8Array(Buffer.from(base64, "base64")), contentType }
    : undefined
}
