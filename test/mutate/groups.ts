/**
 * What is changed, and which tests judge it: the pure protocol by its own tests, the rules of delivery also by tests
 * that run in memory.
 */
import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"

export interface Group {
  readonly modules: ReadonlyArray<string>
  /** In this order: a mutant that one kills is not shown to the next. */
  readonly tests: ReadonlyArray<string>
}

/** The files of a name's end among these and in these folders, all of which there have to be. */
export const filesOf = (root: string, paths: ReadonlyArray<string>, end: string): ReadonlyArray<string> =>
  paths
    .flatMap((path) =>
      statSync(join(root, path)).isFile()
        ? [path]
        : readdirSync(join(root, path), { recursive: true, encoding: "utf8" })
            .sort()
            .map((name) => join(path, name))
    )
    .filter((path) => path.endsWith(end))

/** Where the outcome of a message is decided, and who tries again where. */
const rules = [
  "src/internal/session/receipt.ts",
  "src/internal/session/message.ts",
  "src/internal/session/driver.ts",
  "src/internal/session/data.ts",
  "src/internal/client/send.ts",
  "src/internal/client/queue.ts",
  "src/internal/client/pool.ts",
  "src/internal/client/relays.ts",
  "src/internal/client/retry.ts",
  "src/internal/client/outcomes.ts"
]

const rulesTests = [
  "test/internal/driver.test.ts",
  "test/internal/client",
  "test/SmtpSession/commands.test.ts",
  "test/SmtpSession/lmtp.test.ts",
  "test/SmtpSession/chunking.test.ts",
  "test/SmtpSession/chunkLoss.test.ts",
  "test/SmtpSession/send.test.ts",
  "test/SmtpSession/overlap.test.ts",
  "test/SmtpSession/goodbyeInContent.test.ts",
  "test/SmtpSession/tooManyReplies.test.ts",
  "test/SmtpClient/send.test.ts",
  "test/SmtpClient/backoff.test.ts"
]

export const groups = (root: string): ReadonlyArray<Group> => [
  {
    modules: filesOf(root, ["src/protocol"], ".ts"),
    tests: filesOf(root, ["test/protocol", "test/internal/authenticate.test.ts"], ".test.ts")
  },
  { modules: filesOf(root, rules, ".ts"), tests: filesOf(root, rulesTests, ".test.ts") }
]
