/** Images that HTML holds as `data:` URLs become attachments, which it refers to by their content IDs (RFC 2392). */
import { references } from "./contentIds.js"
import { dataUrl } from "./dataUrl.js"
import type { AttachmentInput } from "./model.js"

/** HTML whose images are attachments. */
export interface Embedded {
  readonly html: string
  readonly attachments: ReadonlyArray<AttachmentInput>
}

const extensionOf = (contentType: string): string => /^image\/([a-z0-9]+)/i.exec(contentType)?.[1] ?? "img"

/** Equal images are attached once. Images in style sheets, and those that cannot be read, stay as they are. */
export const embedImages = (html: string, unique: () => string): Embedded => {
  const attachments: Array<AttachmentInput> = []
  const known = new Map<string, string>()
  let replaced = ""
  let end = 0
  // Without the scan of all tags for messages that hold nothing of the kind.
  for (const { place, url } of /data:image\//i.test(html) ? references(html) : []) {
    const data = place === undefined || !/^data:image\//i.test(url) ? undefined : dataUrl(url)
    if (place === undefined || data === undefined) continue
    let cid = known.get(url)
    if (cid === undefined) {
      const { content, contentType } = data
      cid = `${unique()}@image${attachments.length + 1}`
      known.set(url, cid)
      attachments.push({
        filename: `image${attachments.length + 1}.${extensionOf(contentType)}`,
        contentType,
        content,
        cid
      })
    }
    replaced += `${html.slice(end, place[0])}"cid:${cid}"`
    end = place[1]
  }
  return { html: replaced + html.slice(end), attachments }
}
