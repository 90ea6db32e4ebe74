import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startServer } from "../../examples/support/server.js"
import { root } from "../../.ci/modules.js"
import { compiledExamples } from "./run.js"

const runExample = compiledExamples()

const seconds = (count: number) => count * 1_000

const secret = "correct horse battery staple"

/** The forms in which a password could come to light: as it is, and as it travels in PLAIN and LOGIN. */
const traces = (username: string, password: string): ReadonlyArray<string> => {
  const base64 = (text: string): string => Buffer.from(text).toString("base64")
  return [password, base64(password), base64(`\0${username}\0${password}`)]
}

const message = (): Promise<Buffer> => readFile(join(root, "examples", "message.eml"))

const directory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "effect-smtplib-demo-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** A server as the demo's user has one, and the file that holds its authority. */
const userServer = (options: { readonly implicitTls: boolean }) =>
  Effect.gen(function* () {
    const server = yield* startServer({
      username: "ann@example.net",
      password: "s3cret",
      unknown: ["nobody@example.org"],
      ...options
    })
    const ca = join(yield* directory, "ca.pem")
    yield* Effect.promise(() => writeFile(ca, server.ca))
    return { server, ca }
  })

/** A port of loopback where nobody listens. */
const closedPort = Effect.async<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address: AddressInfo | string | null = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => {
      resume(Effect.succeed(port))
    })
  })
})

describe("npm run demo", () => {
  it.live(
    "sends the message to its own server and prints transcript, receipt and check, no secret and no colours",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runExample("demo")
        expect(stderr).toBe("")
        for (const line of [
          "  C: STARTTLS",
          "  *: TLS: TLSv1.3, TLS_AES_256_GCM_SHA384",
          "  C: AUTH PLAIN [redacted]",
          "  C: RCPT TO:<nobody@example.org>",
          "  ann@example.net     accepted: 250 2.6.0 OK: queued as 1",
          "  bob@example.org     accepted: 250 2.6.0 OK: queued as 1",
          "  nobody@example.org  refused for good in phase rcpt: 550 5.1.1 No such user here"
        ]) {
          expect(stdout.split("\n")).toContain(line)
        }
        expect(stdout).toMatch(/received the \d+ octets of examples\/message\.eml, and no other/)
        for (const trace of traces("app", secret)) expect(stdout).not.toContain(trace)
        expect(stdout).not.toContain("\u001b[")
        expect(code).toBe(0)
      }),
    seconds(60)
  )

  it.live(
    "prints in colours with FORCE_COLOR",
    () =>
      Effect.gen(function* () {
        const { stdout } = yield* runExample("demo", [], { FORCE_COLOR: "1" })
        expect(stdout).toContain("\u001b[36mC:\u001b[0m EHLO")
      }),
    seconds(60)
  )
})

describe("npm run demo -- --url", () => {
  it.scopedLive(
    "sends to a server with TLS from the first octet, and a password from the environment",
    () =>
      Effect.gen(function* () {
        const { ca, server } = yield* userServer({ implicitTls: true })
        const url = `smtps://ann%40example.net@${server.host}:${server.port}`
        const to = "bob@example.org,carol@example.org"
        const { code, stderr, stdout } = yield* runExample(
          "demo",
          ["--url", url, "--from", "ann@example.net", "--to", to, "--ca", ca],
          { SMTP_PASSWORD: "s3cret" }
        )
        expect(stderr).toBe("")
        expect(stdout).toContain("  carol@example.org  accepted: 250 2.6.0 OK: queued as 1")
        for (const trace of traces("ann@example.net", "s3cret")) expect(stdout).not.toContain(trace)
        expect(code).toBe(0)
        expect(server.messages.map((octets) => Buffer.from(octets).toString("latin1"))).toStrictEqual([
          (yield* Effect.promise(message)).toString("latin1")
        ])
      }),
    seconds(60)
  )

  it.scopedLive(
    "sends the file that it is given, and ends with 1 when a recipient was refused",
    () =>
      Effect.gen(function* () {
        const { ca, server } = yield* userServer({ implicitTls: false })
        const file = join(yield* directory, "own.eml")
        yield* Effect.promise(() => writeFile(file, "Subject: Own\r\n\r\nMine.\r\n"))
        const url = `smtp://ann%40example.net@${server.host}:${server.port}`
        const recipients = ["--to", "bob@example.org", "--to", "nobody@example.org"]
        const { code, stderr, stdout } = yield* runExample(
          "demo",
          ["--url", url, "--from", "ann@example.net", ...recipients, "--ca", ca, file],
          { SMTP_PASSWORD: "s3cret" }
        )
        expect(stdout).toContain("  nobody@example.org  refused for good in phase rcpt: 550 5.1.1")
        expect(stderr).toBe("Not every recipient was accepted\n")
        expect(code).toBe(1)
        expect(server.messages.map((octets) => Buffer.from(octets).toString())).toStrictEqual([
          "Subject: Own\r\n\r\nMine.\r\n"
        ])
      }),
    seconds(60)
  )

  it.scopedLive(
    "says that the password is wrong, behind the transcript so far, and not what it was",
    () =>
      Effect.gen(function* () {
        const { ca, server } = yield* userServer({ implicitTls: false })
        const url = `smtp://ann%40example.net@${server.host}:${server.port}`
        const { code, stderr, stdout } = yield* runExample(
          "demo",
          ["--url", url, "--from", "ann@example.net", "--to", "bob@example.org", "--ca", ca],
          { SMTP_PASSWORD: "mistyped" }
        )
        expect(stdout).toContain("  S: 535 5.7.8 Authentication credentials invalid")
        expect(stderr).toMatch(
          /^The server rejected the credentials .*\. Check the user name and the password/
        )
        expect(stderr.trimEnd().split("\n")).toHaveLength(1)
        for (const trace of traces("ann@example.net", "mistyped")) {
          expect(stdout + stderr).not.toContain(trace)
        }
        expect(code).toBe(1)
      }),
    seconds(60)
  )

  it.scopedLive(
    "sends nothing to a server whose certificate nobody vouches for",
    () =>
      Effect.gen(function* () {
        const { server } = yield* userServer({ implicitTls: true })
        const url = `smtps://ann%40example.net@${server.host}:${server.port}`
        const { code, stderr } = yield* runExample(
          "demo",
          ["--url", url, "--from", "ann@example.net", "--to", "bob@example.org"],
          { SMTP_PASSWORD: "s3cret" }
        )
        expect(stderr).toContain("The certificate of 127.0.0.1")
        expect(stderr).toContain("tlsOptions.ca")
        expect(code).toBe(1)
        expect(server.messages).toStrictEqual([])
      }),
    seconds(60)
  )

  it.live(
    "says in one line that a server cannot be reached, and ends with 1",
    () =>
      Effect.gen(function* () {
        const port = yield* closedPort
        const url = `smtp://127.0.0.1:${port}`
        const { code, stderr } = yield* runExample("demo", ["--url", url, "--from", "a@b.c", "--to", "d@e.f"])
        expect(stderr).toMatch(/^Cannot connect to 127\.0\.0\.1:\d+: .*\. Check host and port\.\n$/)
        expect(code).toBe(1)
      }),
    seconds(60)
  )

  it.live.each([
    { args: ["--colour"], problem: "Unknown option '--colour'" },
    {
      args: ["--url", "smtp://ann@mail.example.com", "--from", "a@b.c", "--to", "d@e.f"],
      problem: "give the password in SMTP_PASSWORD"
    }
  ])(
    "ends with 2 and a word of advice: $problem",
    ({ args, problem }) =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runExample("demo", args)
        expect(stderr).toContain(problem)
        expect(stderr).toContain("usage: npm run demo")
        expect(stderr).not.toMatch(/^ {4}at /m)
        expect(stdout).toBe("")
        expect(code).toBe(2)
      }),
    seconds(60)
  )

  it.live(
    "explains itself with --help",
    () =>
      Effect.gen(function* () {
        const { code, stdout } = yield* runExample("demo", ["--help"])
        expect(stdout).toMatch(/^usage: npm run demo/)
        expect(code).toBe(0)
      }),
    seconds(60)
  )
})

describe("examples/message.eml", () => {
  it("has CRLF line ends alone, encoded words, an attachment and lines that begin with dots", async () => {
    const text = (await message()).toString("latin1")
    expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/)
    expect(text).toMatch(/^Subject: =\?UTF-8\?Q\?/m)
    expect(text).toContain("Content-Disposition: attachment")
    for (const line of [".", ".a line that begins with a dot", "..a line that begins with two"]) {
      expect(text.split("\r\n")).toContain(line)
    }
  })
})
