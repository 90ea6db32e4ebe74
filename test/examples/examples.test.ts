import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readdirSync } from "node:fs"
import { root } from "../../.ci/modules.js"
import { runExample } from "./run.js"

/** Each program, and lines that show it has done its work. */
const programs: Readonly<Record<string, ReadonlyArray<string>>> = {
  commands: [
    "The server refused a recipient: <bob@example.org>: 550 5.1.1 No such user here. Check the addresses.",
    "A group: 250, 250, 550",
    "  C: QUIT"
  ],
  http: [
    'ann@example.net: {"outcome":"accepted","queueId":"1"}',
    'new@example.org: {"outcome":"accepted","queueId":"2"}',
    'nobody@example.org: {"detail":"550 5.1.1 No such user here","_tag":"Refused"}',
    expect.stringMatching(/^not an address: .*"_tag":"BadMessage"/)
  ],
  mailing: ["44 to be sent", "     42  accepted", expect.stringMatching(/^ {6}2 {2}refused for good: /)],
  message: [
    expect.stringMatching(/^ {2}archive@shop\.example\.com {2}accepted/),
    expect.stringContaining("octets, unchanged"),
    "  DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;",
    "  To: =?UTF-8?Q?J=C3=B6rg_=3CJoe=3E_M=C3=BCller?= <joerg@example.net>",
    "  List-Unsubscribe-Post: List-Unsubscribe=One-Click"
  ],
  observe: [
    expect.stringMatching(
      /^ {4}SmtpClient send {2,}\d+\.\d ms {2}smtp\.recipients\.accepted=2 {2}smtp\.recipients\.refused=0/
    ),
    expect.stringMatching(
      /^ {6}SMTP send {2,}\d+\.\d ms {2}smtp\.recipients\.accepted=1 {2}smtp\.recipients\.refused=1/
    ),
    expect.stringMatching(/^ {8}SMTP RCPT .* smtp\.reply\.code=450/),
    expect.stringMatching(/^ {2}SMTP STARTTLS .* smtp\.reply\.code=220/),
    expect.stringMatching(/^ {2}smtp\.client\.send\.recipients accepted +2$/),
    expect.stringMatching(/^ {2}smtp\.client\.replies 450 +1$/)
  ],
  renderers: [
    "Eta: WELCOME, ANN <ANN@EXAMPLE.NET>",
    "React Email: WELCOME, ANN <ANN@EXAMPLE.NET>",
    "MJML: Welcome, Ann <ann@example.net>"
  ],
  service: ["ann@example.net: Delivered", "nobody@example.org: BadAddress"],
  sigterm: ["SIGTERM", "  200 of 200 are accounted for"],
  signup: [
    '  ann@example.net: {"welcome":"sent"}',
    '  gone@example.net: {"welcome":"suppressed"}',
    '  nobody@example.org: {"detail":"550 5.1.1 No such user here","_tag":"BadSignUp"}',
    expect.stringMatching(/^ {2}not an address: .*"_tag":"BadSignUp"/),
    "  arrived: Subject: Welcome, Ann",
    "  arrived: Subject: [ann@example.net] Welcome, Ann"
  ],
  testing: [
    '  captured: "Subject: Disk full\\r\\n\\r\\nPlease look.\\r\\n"',
    expect.stringMatching(/^ {2}ann@example\.net {5}unknown: .*sending it again may deliver it twice\.$/)
  ]
}

describe("the examples", () => {
  it.live.each(Object.entries(programs))(
    "%s: runs by one command and ends with 0",
    ([name, lines]) =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runExample(name)
        expect(stderr).toBe("")
        expect(stdout.split("\n")).toEqual(expect.arrayContaining([...lines]))
        expect(code).toBe(0)
      }),
    60_000
  )

  it("are all tested", () => {
    const files = readdirSync(`${root}examples`).filter((name) => name.endsWith(".ts"))
    expect(files).toStrictEqual([...Object.keys(programs), "demo"].sort().map((name) => `${name}.ts`))
  })
})
