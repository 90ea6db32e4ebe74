/** The links of a message, in order: those of the HTML, then those that only the text has. In linear time. */

const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }

const fromCodePoint = (code: number): string => (code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd")

const decoded = (attribute: string): string =>
  attribute.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(amp|lt|gt|quot|apos));/gi, (entity, hex, decimal, name) => {
    if (typeof hex === "string") return fromCodePoint(Number.parseInt(hex, 16))
    if (typeof decimal === "string") return fromCodePoint(Number(decimal))
    return named[String(name).toLowerCase()] ?? entity
  })

// What is not closed ends with the document, so that no text is searched twice.
const anchors = /<!--[^]*?(?:-->|$)|<a(?=\s)((?:"[^"]*(?:"|$)|'[^']*(?:'|$)|[^>"'])*)/gi
const attributes = /([^\s"'/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+)))?/g

const ofHtml = (html: string): ReadonlyArray<string> =>
  [...html.matchAll(anchors)].flatMap(([, anchor = ""]) => {
    const href = [...anchor.matchAll(attributes)].find(([, name]) => name?.toLowerCase() === "href")
    return href === undefined ? [] : [decoded(href[2] ?? href[3] ?? href[4] ?? "").trim()]
  })

const count = (text: string, character: string): number => text.split(character).length - 1

/** Without the punctuation of the sentence around it. A closing bracket stays if the link has opened it. */
const trimmed = (url: string): string => {
  const unopened = new Map([
    [")", count(url, ")") - count(url, "(")],
    ["]", count(url, "]") - count(url, "[")]
  ])
  let end = url.length
  for (; end > 0; end--) {
    const last = url.charAt(end - 1)
    const brackets = unopened.get(last) ?? 0
    if (brackets > 0) unopened.set(last, brackets - 1)
    else if (!".,;:!?'*_".includes(last)) break
  }
  return url.slice(0, end)
}

const ofText = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/\bhttps?:\/\/[^\s<>"]+/gi)].map(([url]) => trimmed(url))

export const linksOf = (html = "", text = ""): ReadonlyArray<string> => [
  ...new Set([...ofHtml(html), ...ofText(text)])
]
