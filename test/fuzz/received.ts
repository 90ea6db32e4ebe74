/**
 * What a client has sent, read without any knowledge of what the server made of it. Octets are characters up to U+00FF.
 */

const chunkHeader = /BDAT (\d+)( LAST)?\r\n/g

/** The contents that went by BDAT to their last octet. No content here holds a command. */
const byChunks = (received: string): ReadonlyArray<string> => {
  const contents: Array<string> = []
  const header = new RegExp(chunkHeader)
  let content = ""
  let end = 0
  for (let match = header.exec(received); match !== null; match = header.exec(received)) {
    // Chunks with commands in between belong to different messages.
    if (match.index !== end) content = ""
    const start = match.index + match[0].length
    end = start + Number(match[1])
    if (end > received.length) break
    content += received.slice(start, end)
    header.lastIndex = end
    if (match[2] === undefined) continue
    contents.push(content)
    content = ""
  }
  return contents
}

/** How all of the content, given in lines without transparency, has been sent; `undefined` if not all of it was. */
export const isComplete = (received: string, content: string): "DATA" | "BDAT" | undefined => {
  if (received.includes(`${content.replace(/^\./gm, "..")}.\r\n`)) return "DATA"
  return byChunks(received).includes(content) ? "BDAT" : undefined
}
