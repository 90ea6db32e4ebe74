/** A captured message as its reader sees it, by postal-mime, an optional peer that is loaded with the first message. */
import * as Effect from "effect/Effect"
import type { Address as ParsedAddress, Attachment as ParsedAttachment, Email } from "postal-mime"
import { toBytes } from "./bytes.js"
import { InboxError } from "./inboxError.js"
import { linksOf } from "./links.js"
import type { Attachment, Mailbox, Message, ParsedMessage } from "./model.js"

const parser = Effect.tryPromise({
  try: () => import("postal-mime"),
  catch: (cause) =>
    new InboxError({
      reason: "ParserMissing",
      detail:
        "Cannot parse the message: the package postal-mime is not installed. Run `npm install --save-dev postal-mime@4`, or read `source` of `messages`.",
      cause
    })
})

const mailboxes = (address: ParsedAddress): ReadonlyArray<Mailbox> =>
  (address.group ?? [address]).map(({ address: bare, name }) =>
    name === "" ? { address: bare } : { name, address: bare }
  )

const attachmentOf = ({ content, contentId, filename, mimeType }: ParsedAttachment): Attachment => ({
  filename: filename ?? undefined,
  contentType: mimeType,
  cid: contentId?.replace(/^<(.*)>$/, "$1"),
  content: content instanceof ArrayBuffer ? new Uint8Array(content) : toBytes(content)
})

const parsed = (
  message: Message,
  { attachments, cc = [], from, headers, html, replyTo = [], subject, text, to = [] }: Email
): ParsedMessage => ({
  ...message,
  subject,
  from: from === undefined ? undefined : mailboxes(from)[0],
  to: to.flatMap(mailboxes),
  cc: cc.flatMap(mailboxes),
  replyTo: replyTo.flatMap(mailboxes),
  headers: headers.map(({ key, value }) => ({ name: key, value })),
  text,
  html,
  links: linksOf(html, text),
  attachments: attachments.map(attachmentOf)
})

export const parse = (message: Message): Effect.Effect<ParsedMessage, InboxError> =>
  Effect.flatMap(parser, ({ default: PostalMime }) =>
    Effect.tryPromise({
      try: () => PostalMime.parse(message.content, { forceRfc822Attachments: true }),
      catch: (cause) =>
        new InboxError({
          reason: "Unreadable",
          detail: `Cannot parse the message from <${message.sender.address}>: ${String(cause)}. Read its \`source\`.`,
          cause
        })
    })
  ).pipe(Effect.map((email) => parsed(message, email)))
