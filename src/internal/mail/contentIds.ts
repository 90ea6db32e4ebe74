/** Content IDs of attachments, and what HTML refers to by them (RFC 2392). */
import type { AttachmentOptions, MessageFields } from "./model.js"
import { refusal } from "./refuse.js"

/** Checks that no two attachments have the same content ID. */
export const checkContentIds = (
  attachments: ReadonlyArray<AttachmentOptions>,
  field: (position: number) => string
): void => {
  const seen = new Map<string, number>()
  for (const [position, { cid }] of attachments.entries()) {
    if (cid === undefined) continue
    const first = seen.get(cid)
    if (first !== undefined)
      throw refusal(`${field(position)}.cid`, `is the content ID of ${field(first)} too`)
    seen.set(cid, position)
  }
}

const entities: Readonly<Record<string, string>> = { amp: "&", quot: '"', apos: "'", "#39": "'", "#34": '"' }

const decoded = (text: string): string =>
  text.replace(/&(amp|quot|apos|#39|#34);/g, (_, name: string) => entities[name] ?? "")

const urlsOf = (style: string): ReadonlyArray<string> =>
  Array.from(style.matchAll(/url\(\s*["']?([^"')]*)/gi), ([, url = ""]) => url)

// Elements whose content is text without tags.
const isRaw = (name: string): boolean => /^(?:style|script|title|textarea|xmp)$/.test(name)

const tagPattern = /<(!--|[a-z][^\s/>]*)/gi
const attributePattern = /[\s/]*([^\s/>=]+)(?:\s*=\s*("([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?/y

/** A URL, and where the value of its attribute begins and ends, quotes included, if it has one of its own. */
interface Reference {
  readonly url: string
  readonly place?: readonly [number, number]
}

/** The URLs of `src`, `background` and `url()`. Text that only looks like a tag is none. */
export const references = (html: string): ReadonlyArray<Reference> => {
  const urls: Array<Reference> = []
  const addStyle = (style: string): void => {
    urls.push(...urlsOf(style).map((url) => ({ url })))
  }
  // The end of what goes on to `delimiter`.
  const endOf = (delimiter: RegExp, start: number): number => {
    delimiter.lastIndex = start
    return delimiter.exec(html)?.index ?? html.length
  }
  tagPattern.lastIndex = 0
  for (let tag = tagPattern.exec(html); tag !== null; tag = tagPattern.exec(html)) {
    const name = (tag[1] ?? "").toLowerCase()
    let position = tagPattern.lastIndex
    if (name === "!--") {
      tagPattern.lastIndex = endOf(/-->/g, position)
      continue
    }
    attributePattern.lastIndex = position
    for (let found = attributePattern.exec(html); found !== null; found = attributePattern.exec(html)) {
      position = attributePattern.lastIndex
      const [, attribute = "", written = "", double, single, bare] = found
      const value = decoded(double ?? single ?? bare ?? "")
      if (/^(?:src|background)$/i.test(attribute)) {
        urls.push({ url: value.trim(), place: [position - written.length, position] })
      }
      if (/^style$/i.test(attribute)) addStyle(value)
    }
    if (isRaw(name)) {
      const end = endOf(new RegExp(`</${name}`, "gi"), position)
      if (name === "style") addStyle(html.slice(position, end))
      position = end
    }
    tagPattern.lastIndex = position
  }
  return urls
}

const unescaped = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Checks that every part that HTML refers to by `cid:` is among the attachments. */
export const checkReferences = (
  { alternatives, html }: MessageFields,
  attachments: ReadonlyArray<AttachmentOptions>
): void => {
  const cids = new Set(attachments.map(({ cid }) => cid))
  const check = (text: string, field: string): void => {
    if (!/cid:/i.test(text)) return
    for (const { url } of references(text)) {
      const cid = /^cid:(.+)$/i.exec(url)?.[1]
      if (cid === undefined || cids.has(cid) || cids.has(unescaped(cid))) continue
      throw refusal(field, `refers to cid:${cid}, and no attachment has this cid; attach it`)
    }
  }
  if (html !== undefined) check(html, "html")
  for (const [position, { content, contentType }] of alternatives.entries()) {
    if (/^text\/html\b/i.test(contentType)) check(content, `alternatives[${position}].content`)
  }
}
