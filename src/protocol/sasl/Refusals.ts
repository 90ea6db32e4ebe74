/** What a refusal of AUTH means, and what is tried next. */
import type { Reply } from "../Reply.js"
import { hasDetail } from "../Reply.js"
import type { NotAuthenticated } from "../SetUpStep.js"

/** `Hash` proves a password that is not sent; the server needs a secret of the mechanism's own kind for it. */
export type MechanismKind = "Hash" | "Password" | "Token" | "Other"

interface RefusalRule {
  readonly codes: ReadonlyArray<number>
  /** Only for a reply with this enhanced status subject and detail. */
  readonly detail?: readonly [subject: number, detail: number]
  /** The mechanisms that the rule is for, if not all. */
  readonly of?: MechanismKind
  readonly reason: NotAuthenticated["reason"]
  readonly next: "Nothing" | "NextMechanism" | "SendPassword" | "FreshToken"
}

const codesOf = (first: number, last: number): ReadonlyArray<number> =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

/**
 * What a refusal means (RFC 4954 section 6) and what is tried next, with three AUTH commands at most. The first rule that
 * fits counts.
 *
 * - 432 4.7.12: the user has to authenticate once by PLAIN, after which this mechanism works
 * - 454, and other 4yz: a temporary failure, which says nothing of the credentials
 * - 500 to 504: the line, the mechanism or the order of commands does not suit the server, and another mechanism may
 * - 534: the mechanism is too weak for the user; those that would follow are no stronger
 * - 535: the credentials are invalid
 * - 538: the mechanism needs encryption; so would those that follow
 *
 * `SendPassword` is for servers that announce mechanisms for which they hold no secret, and needs verified TLS.
 * `FreshToken` comes once, since servers say in many ways that a token has expired; then the rules behind it count.
 */
const refusalRules: ReadonlyArray<RefusalRule> = [
  { codes: [432], detail: [7, 12], of: "Hash", reason: "Temporary", next: "SendPassword" },
  { codes: codesOf(400, 499), reason: "Temporary", next: "Nothing" },
  { codes: [504], reason: "NoCommonMechanism", next: "NextMechanism" },
  { codes: codesOf(500, 599), of: "Token", reason: "Rejected", next: "FreshToken" },
  { codes: codesOf(500, 503), reason: "Rejected", next: "NextMechanism" },
  { codes: [534], reason: "Rejected", next: "Nothing" },
  { codes: [535], of: "Hash", reason: "Rejected", next: "SendPassword" },
  { codes: [538], reason: "Rejected", next: "Nothing" }
]

export const meaningOf = (
  reply: Reply,
  kind: MechanismKind,
  mayRefresh: boolean
): Pick<RefusalRule, "reason" | "next"> =>
  refusalRules.find(
    ({ codes, detail, next, of }) =>
      codes.includes(reply.code) &&
      (detail === undefined || hasDetail(reply, ...detail)) &&
      (of ?? kind) === kind &&
      (next !== "FreshToken" || mayRefresh)
  ) ?? { reason: "Rejected", next: "Nothing" }
