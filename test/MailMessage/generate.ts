/**
 * Messages of every kind for property tests, as programs may give them.
 */
import * as FastCheck from "effect/FastCheck"
import type * as MailMessage from "../../src/MailMessage.js"

/** Any characters; text of the body takes them all. */
const anyText = FastCheck.oneof(
  FastCheck.string({ unit: "binary", maxLength: 200 }),
  FastCheck.string({ maxLength: 200 }),
  FastCheck.array(
    FastCheck.constantFrom(
      "word",
      " ",
      "\n",
      "\r\n",
      "\r",
      ".",
      "\n.\n",
      "From ",
      "--",
      "=",
      "=20",
      "\t",
      "Ä",
      "😀",
      "\0"
    ),
    { maxLength: 60 }
  ).map((pieces) => pieces.join("")),
  // Words that no line can hold.
  FastCheck.integer({ min: 70, max: 3000 }).map((length) => "x".repeat(length)),
  FastCheck.integer({ min: 70, max: 3000 }).map((length) => "Ä".repeat(length)),
  FastCheck.constant("")
)

const withoutControls = (text: string): string => text.replace(/(?:\p{Cc}|[\u2028\u2029])/gu, "")

/** What a field takes: white space anywhere, what looks like an encoded word, what would end a quoted string. */
const headerText = FastCheck.oneof(
  FastCheck.string({ unit: "binary", maxLength: 100 }).map(withoutControls),
  FastCheck.array(
    FastCheck.constantFrom(
      "word",
      " ",
      "  ",
      '"',
      "\\",
      "=?utf-8?Q?x?=",
      "=?",
      "?=",
      ",",
      ";",
      ":",
      "<",
      ">",
      "(",
      ")",
      "@",
      "ß",
      "日本語",
      "😀",
      "'",
      "%",
      "*"
    ),
    { maxLength: 40 }
  ).map((pieces) => pieces.join("")),
  FastCheck.integer({ min: 60, max: 2000 }).map((length) => "y".repeat(length)),
  FastCheck.integer({ min: 10, max: 100 }).map((length) => "word ".repeat(length))
)

const characters = (text: string, count: number): string => Array.from(text).slice(0, count).join("")

const displayName = headerText.filter((text) => text !== "").map((text) => characters(text, 300))

const wellFormed = (text: string): boolean => !/\p{Cs}/u.test(text)

const address = FastCheck.constantFrom(
  "ann@example.net",
  "bob.o'brien+tag@mail.example.org",
  '"a b"@example.com',
  "x@[192.0.2.1]",
  "jan@exämple.org",
  "a@xn--bcher-kva.example",
  "!#$%&'*+-/=?^_`{|}~@example.com"
)

const mailbox: FastCheck.Arbitrary<MailMessage.Mailbox> = FastCheck.oneof(
  FastCheck.record({ address }),
  FastCheck.record({ name: displayName.filter(wellFormed), address })
)

const group: FastCheck.Arbitrary<MailMessage.Group> = FastCheck.record({
  group: displayName.filter((name) => wellFormed(name) && name.trim() !== ""),
  members: FastCheck.array(mailbox, { maxLength: 3 })
})

const addresses = (maxLength: number) =>
  FastCheck.array(FastCheck.oneof({ weight: 4, arbitrary: mailbox }, { weight: 1, arbitrary: group }), {
    maxLength
  })

const fileName = FastCheck.oneof(
  headerText
    .map((text) => characters(text, 120))
    // Python takes quotes and angle brackets around a decoded value off.
    .filter((text) => text.trim() !== "" && wellFormed(text) && !/^(?:<.*>|".*")$/.test(text.trim())),
  FastCheck.constantFrom(
    "../../etc/passwd",
    "C:\\Users\\ann\\report.pdf",
    'a"; filename="b.exe',
    "naïve résumé – final (2).docx",
    "=?utf-8?B?eA==?=.txt",
    "%41%00.txt",
    "'quoted'.png",
    ".hidden",
    "ends with dot.",
    "a.tar.gz",
    "日本語のファイル名がとても長いときにどうなるかを確かめるための名前です.pdf"
  )
)

const contentType = FastCheck.constantFrom(
  "application/pdf",
  "application/octet-stream",
  "text/plain",
  'text/csv; header="present; yes"',
  "image/png",
  "application/x-custom+json"
)

const content = FastCheck.oneof(
  FastCheck.uint8Array({ maxLength: 300 }),
  FastCheck.uint8Array({ minLength: 0, maxLength: 0 })
)

const optional = <A>(arbitrary: FastCheck.Arbitrary<A>) => FastCheck.option(arbitrary, { nil: undefined })

/** Text that is shown inline is text of the message, to readers. */
const isText = ({ contentType, filename }: MailMessage.AttachmentInput): boolean =>
  contentType?.startsWith("text/") ?? /txt$/.test(filename ?? "")

const attachment: FastCheck.Arbitrary<MailMessage.AttachmentInput> = FastCheck.record({
  filename: optional(fileName),
  contentType: optional(contentType),
  disposition: optional(FastCheck.constantFrom("attachment" as const, "inline" as const)),
  content
}).map((item) => (isText(item) ? { ...item, disposition: "attachment" as const } : item))

const attachments = FastCheck.tuple(
  FastCheck.oneof(
    { weight: 5, arbitrary: FastCheck.array(attachment, { maxLength: 4 }) },
    { weight: 1, arbitrary: FastCheck.array(attachment, { minLength: 24, maxLength: 40 }) }
  ),
  FastCheck.integer({ min: 0, max: 2 })
).map(([list, ids]) =>
  list.map((item, index) =>
    index < ids && !isText(item) ? { ...item, cid: `part${index}@example.com` } : item
  )
)

const messageId = FastCheck.integer({ min: 0 }).map((number) => `<${number}.x@example.com>`)

const headers = FastCheck.array(
  FastCheck.record({
    name: FastCheck.constantFrom("X-One", "X-Two", "Comments", "Feedback-ID", "X-a!#$%&'*+-.^_`{|}~"),
    value: headerText.filter(wellFormed)
  }),
  { maxLength: 4 }
)

const isLikeEncodedWord = ({ filename }: MailMessage.AttachmentInput): boolean =>
  filename?.includes("=?") ?? false

/**
 * Whole messages. Some readers decode file names twice, and lose those that look like encoded words once they are
 * decoded.
 */
export const messages = ({ encodedWords = true } = {}): FastCheck.Arbitrary<MailMessage.Input> =>
  encodedWords
    ? input
    : input.map((given) => ({
        ...given,
        attachments: given.attachments?.filter((item) => !isLikeEncodedWord(item))
      }))

const input: FastCheck.Arbitrary<MailMessage.Input> = FastCheck.record({
  from: FastCheck.array(mailbox, { minLength: 1, maxLength: 2 }),
  sender: mailbox,
  replyTo: addresses(2),
  to: addresses(5),
  cc: addresses(3),
  bcc: addresses(2),
  subject: optional(headerText.filter(wellFormed)),
  date: FastCheck.date({ min: new Date("1900-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59Z") }),
  messageId: optional(messageId),
  inReplyTo: FastCheck.array(messageId, { maxLength: 2 }),
  references: FastCheck.array(messageId, { maxLength: 20 }),
  text: optional(anyText.filter(wellFormed)),
  html: optional(anyText.filter(wellFormed)),
  attachments,
  priority: optional(FastCheck.constantFrom("high" as const, "normal" as const, "low" as const)),
  headers
})
