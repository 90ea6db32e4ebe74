import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Inspectable from "effect/Inspectable"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import type { KeyObject } from "node:crypto"
import { generateKeyPairSync } from "node:crypto"
import * as Dkim from "../src/Dkim.js"
import * as MailMessage from "../src/MailMessage.js"
import * as NodeSmtp from "../src/NodeSmtp.js"
import type { Content } from "../src/SmtpContent.js"
import * as SmtpContent from "../src/SmtpContent.js"
import * as SmtpSession from "../src/SmtpSession.js"
import { messages } from "./MailMessage/generate.js"
import { suite } from "./servers/availability.js"
import { start } from "./servers/postfix.js"
import { bob, user } from "./servers/running.js"
import type { PythonMail } from "./support/pythonMail.js"
import { startPythonMail } from "./support/pythonMail.js"
import { startSmtpServer } from "./support/smtpServer.js"
import { untyped } from "./support/untyped.js"
import { runsOf } from "./support/runs.js"

// What vitest calls any.
const containing = (text: string): unknown => expect.stringContaining(text)

const pem = (key: KeyObject): string => key.export({ format: "pem", type: "pkcs8" }).toString()

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 })
const ed25519 = generateKeyPairSync("ed25519")

const rsaKey = Dkim.key({
  domain: "example.com",
  selector: "rsa",
  privateKey: Redacted.make(pem(rsa.privateKey))
})
const edKey = Dkim.key({
  domain: "exämple.com",
  selector: "ed.2026",
  privateKey: Redacted.make(pem(ed25519.privateKey))
})

const spki = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" })

/** What the DNS would say. */
const records = {
  "rsa._domainkey.example.com": `v=DKIM1; k=rsa; p=${spki(rsa.publicKey).toString("base64")}`,
  "ed.2026._domainkey.xn--exmple-cua.com": `v=DKIM1; k=ed25519; p=${spki(ed25519.publicKey).subarray(-32).toString("base64")}`
}

const bothKeys = Effect.all([rsaKey, edKey])

const eml = (...lines: ReadonlyArray<string>): string => lines.join("\r\n")

const simple = eml("From: app@example.com", "To: ann@example.net", "Subject: x", "", "Hello.", "")

const octetsOf = <E, R>(content: Content<E, R>): Effect.Effect<Uint8Array, E, R> => {
  if (typeof content === "string") return Effect.succeed(new TextEncoder().encode(content))
  if (content instanceof Uint8Array) return Effect.succeed(content)
  if (!("_tag" in content)) return Effect.die("no such content here")
  if (content._tag === "Streamed") {
    return Effect.map(
      Stream.runCollect(content.stream),
      (chunks) => new Uint8Array(Buffer.concat([...chunks]))
    )
  }
  return Effect.succeed(content._tag === "Bytes" ? content.octets : new TextEncoder().encode(content.text))
}

const signed = <E = never, R = never>(content: Content<E, R>, options: Omit<Dkim.Options, "keys"> = {}) =>
  Effect.gen(function* () {
    const keys = yield* bothKeys
    return yield* octetsOf(yield* Dkim.signContent(content, { keys, ...options }))
  })

const textOf = (octets: Uint8Array): string => Buffer.from(octets).toString("latin1")

/** The tags of each signature, without white space. */
const signatures = (octets: Uint8Array): ReadonlyArray<Readonly<Record<string, string>>> =>
  [...textOf(octets).matchAll(/^DKIM-Signature: ((?:.*\r\n[ \t])*.*)\r\n/gm)].map((found) =>
    Object.fromEntries(
      (found[1] ?? "")
        .replace(/\s+/g, "")
        .split(";")
        .map((tag) => [tag.slice(0, tag.indexOf("=")), tag.slice(tag.indexOf("=") + 1)])
    )
  )

describe("a key", () => {
  const key = (options: Partial<Dkim.KeyOptions>) =>
    Dkim.key({
      domain: "example.com",
      selector: "s",
      privateKey: Redacted.make(pem(ed25519.privateKey)),
      ...options
    })

  it.effect("is read from PEM of either kind, encrypted or not, and from the octets of an Ed25519 key", () =>
    Effect.gen(function* () {
      expect((yield* rsaKey).algorithm).toBe("rsa-sha256")
      expect((yield* edKey).algorithm).toBe("ed25519-sha256")
      const pkcs1 = rsa.privateKey.export({ format: "pem", type: "pkcs1" }).toString()
      expect((yield* key({ privateKey: Redacted.make(pkcs1) })).algorithm).toBe("rsa-sha256")
      const encrypted = ed25519.privateKey
        .export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "open" })
        .toString()
      const opened = yield* key({ privateKey: Redacted.make(encrypted), passphrase: Redacted.make("open") })
      expect(opened.algorithm).toBe("ed25519-sha256")
      const seed = ed25519.privateKey
        .export({ format: "der", type: "pkcs8" })
        .subarray(-32)
        .toString("base64")
      expect((yield* key({ privateKey: Redacted.make(seed) })).algorithm).toBe("ed25519-sha256")
    })
  )

  it.effect("is read from a PEM whose line ends are written out, as an environment variable gives it", () =>
    Effect.gen(function* () {
      for (const lineEnd of ["\\n", "\\r\\n"]) {
        for (const { privateKey } of [rsa, ed25519]) {
          const written = pem(privateKey).replaceAll("\n", lineEnd)
          const read = yield* key({ privateKey: Redacted.make(written) })
          expect(Redacted.value(read.privateKey).equals(privateKey)).toBe(true)
        }
      }
    })
  )

  it.effect("that cannot sign is refused, and its text is in no error", () =>
    Effect.gen(function* () {
      const secret = "MC4CAQAwBQYDK2VwBCIEIsecretsecret"
      const wrong = (options: Partial<Dkim.KeyOptions>) => Effect.flip(key(options))
      const broken = yield* wrong({
        privateKey: Redacted.make(`-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----\n`)
      })
      expect(broken).toMatchObject({ field: "privateKey", reason: containing("not a private key") })
      expect(`${Inspectable.format(broken)} ${broken.message}`).not.toContain("secret")
      const ec = generateKeyPairSync("ec", { namedCurve: "P-256" })
      expect(yield* wrong({ privateKey: Redacted.make(pem(ec.privateKey)) })).toMatchObject({
        reason: "is neither an RSA key nor an Ed25519 key"
      })
      const small = generateKeyPairSync("rsa", { modulusLength: 512 })
      expect(yield* wrong({ privateKey: Redacted.make(pem(small.privateKey)) })).toMatchObject({
        reason: containing("512 bits")
      })
      expect(yield* wrong({ privateKey: Redacted.make("") })).toMatchObject({ field: "privateKey" })
      expect(yield* wrong({ passphrase: Redacted.make("x"), privateKey: Redacted.make("x") })).toMatchObject({
        field: "privateKey"
      })
      expect(yield* wrong({ domain: "[192.0.2.1]" })).toMatchObject({ field: "domain" })
      expect(yield* wrong({ domain: "a b" })).toMatchObject({ field: "domain" })
      expect(yield* wrong({ selector: "-" })).toMatchObject({ field: "selector" })
      expect(yield* wrong({ selector: "s1._domainkey.example.com" })).toMatchObject({
        field: "selector",
        reason: containing("give the part before ._domainkey")
      })
      expect(yield* wrong({ privateKey: Redacted.make("/srv/dkim.pem") })).toMatchObject({
        field: "privateKey",
        reason: containing("not its path")
      })
      expect(yield* wrong({ selector: "s".repeat(64) })).toMatchObject({ field: "selector" })
      const domain = Array.from({ length: 4 }, () => "d".repeat(60)).join(".")
      expect(yield* wrong({ domain })).toMatchObject({ field: "selector", reason: containing("DNS") })
    })
  )

  it.effect("from plain JavaScript, which knows no types, is an error that names the field", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(key({ domain: untyped(undefined) }))).toMatchObject({ field: "domain" })
      const shown = yield* Effect.flip(key({ privateKey: untyped("a secret") }))
      expect(shown).toMatchObject({ field: "privateKey", reason: "is not a Redacted string" })
      expect(yield* Effect.flip(key({ privateKey: Redacted.make(untyped(5)) }))).toMatchObject({
        field: "privateKey"
      })
      expect(yield* Effect.flip(key({ passphrase: untyped("x") }))).toMatchObject({ field: "passphrase" })
    })
  )

  it.effect("is not shown", () =>
    Effect.gen(function* () {
      const all = yield* bothKeys
      expect(Inspectable.format(all)).toContain("<redacted>")
      expect(JSON.stringify(all)).not.toMatch(/PRIVATE|"d"/)
    })
  )

  it.live("is read from a file, whose errors are those of the platform", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const folder = yield* files.makeTempDirectoryScoped()
      yield* files.writeFileString(`${folder}/key.pem`, pem(ed25519.privateKey))
      const name = { domain: "example.com", selector: "s" }
      expect((yield* Dkim.keyFromFile({ ...name, path: `${folder}/key.pem` })).algorithm).toBe(
        "ed25519-sha256"
      )
      expect(yield* Effect.flip(Dkim.keyFromFile({ ...name, path: `${folder}/none` }))).toMatchObject({
        _tag: "SystemError",
        reason: "NotFound"
      })
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))
  )
})

describe("a signature", () => {
  it.effect("is one for each key, before the message, which stays as it was", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_123)
      const all = yield* signed(simple, { expiresIn: "7 days" })
      expect(textOf(all).endsWith(`\r\n${simple}`)).toBe(true)
      const common = { v: "1", c: "relaxed/relaxed", t: "1700000000", x: "1700604800" }
      expect(signatures(all)).toMatchObject([
        { ...common, a: "rsa-sha256", d: "example.com", s: "rsa" },
        { ...common, a: "ed25519-sha256", d: "xn--exmple-cua.com", s: "ed.2026" }
      ])
    })
  )

  it.effect("covers the usual fields, and what nobody may add", () =>
    Effect.gen(function* () {
      const names = (text: string, options: Omit<Dkim.Options, "keys"> = {}) =>
        Effect.map(signed(text, options), (all) => signatures(all)[0]?.["h"]?.split(":"))
      expect(yield* names(simple)).toEqual([
        ...["from", "from", "reply-to", "to", "to", "cc", "subject", "subject"],
        ...["content-type", "content-transfer-encoding"]
      ])
      expect(yield* names(eml("From: a@example.com", "date: x", "Mime-Version: 1.0", "", ""))).toEqual([
        ...["from", "from", "reply-to", "cc", "subject", "date", "date", "mime-version", "mime-version"],
        ...["content-type", "content-transfer-encoding"]
      ])
      const all = { oversigned: Dkim.defaultOversigned }
      expect(yield* names(simple, all)).toEqual([
        ...["from", "from", "reply-to", "to", "to", "cc", "subject", "subject", "date", "message-id"],
        ...["mime-version", "content-type", "content-transfer-encoding"]
      ])
      expect(yield* names(simple, { fields: ["Subject", "X-None"], oversigned: ["Subject", "Cc"] })).toEqual([
        "from",
        "subject",
        "subject",
        "cc"
      ])
    })
  )

  it.effect("is made of what goes on the wire", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(0)
      const all = yield* signed(simple)
      expect(yield* signed(simple.replaceAll("\r\n", "\n"))).toEqual(all)
      expect(yield* signed(simple.slice(0, -2))).toEqual(all)
      expect(yield* signed(new TextEncoder().encode(simple))).toEqual(all)
      expect(yield* signed(SmtpContent.string(simple))).toEqual(all)
      expect(yield* signed(Stream.make(new TextEncoder().encode(simple)))).toEqual(all)
      expect(yield* signed(SmtpContent.once(Stream.make(new TextEncoder().encode(simple))))).toEqual(all)
    })
  )

  it.effect("is refused where there is nothing to sign, or nothing to sign with", () =>
    Effect.gen(function* () {
      const keys = yield* bothKeys
      const wrong = (options: Partial<Dkim.Options>, content = simple) =>
        Effect.flip(Dkim.signContent(content, { keys, ...options }))
      expect(yield* wrong({ keys: [] })).toMatchObject({ field: "keys" })
      expect(yield* wrong({}, "To: ann@example.net\r\n\r\n")).toMatchObject({ field: "content" })
      expect(yield* wrong({}, "")).toMatchObject({ field: "content" })
      expect(yield* wrong({}, "From: \ud800\r\n\r\n")).toMatchObject({ field: "content" })
      expect(yield* wrong({ fields: ["a:b"] })).toMatchObject({ field: "fields[0]" })
      expect(yield* wrong({ oversigned: ["From", "DKIM-Signature"] })).toMatchObject({
        field: "oversigned[1]"
      })
      expect(yield* wrong({ expiresIn: 0 })).toMatchObject({ field: "expiresIn" })
      expect(yield* wrong({ bufferLimit: -1 })).toMatchObject({ field: "bufferLimit" })
      expect(yield* wrong({ expiresIn: "400000000 days" })).toMatchObject({ field: "expiresIn" })
      const endless = Stream.repeatValue(new TextEncoder().encode(`X-Long: ${"x".repeat(60_000)}\r\n`))
      expect(yield* Effect.flip(Dkim.signContent(endless, { keys }))).toMatchObject({
        _tag: "ContentError",
        reason: "TooLarge"
      })
    })
  )
})

describe("options from plain JavaScript, which knows no types,", () => {
  it.effect.each([
    ['{ "canonicalization": "relaxed" }', "canonicalization"],
    ['{ "canonicalization": "relaxed/relaxed/x" }', "canonicalization"],
    ['{ "canonicalization": "toString" }', "canonicalization"],
    ['{ "canonicalization": 5 }', "canonicalization"],
    ['{ "fields": "Subject" }', "fields"],
    ['{ "oversigned": {} }', "oversigned"],
    ['{ "keys": null }', "keys"],
    ['{ "keys": [null] }', "keys[0]"],
    ['{ "keys": [{ "privateKey": "x" }] }', "keys[0]"]
  ] as const)("such as %s are an error that names %s", ([json, field]) =>
    Effect.gen(function* () {
      const wrong: unknown = JSON.parse(json)
      const options = Object.assign({ keys: yield* bothKeys }, wrong)
      expect(yield* Effect.flip(Dkim.signContent(simple, options))).toMatchObject({
        _tag: "InvalidArgument",
        field
      })
    })
  )
})

describe("a stream", () => {
  const text = new TextEncoder()

  it.effect("is signed before it flows, with its size known", () =>
    Effect.gen(function* () {
      const keys = yield* bothKeys
      const content = yield* Dkim.signContent(Stream.make(text.encode(`${simple}\xe4`)), { keys })
      const all = yield* octetsOf(content)
      expect(content).toMatchObject({
        _tag: "Streamed",
        size: all.length,
        content7bit: false,
        replayable: true
      })
      expect(yield* octetsOf(content)).toEqual(all)
    })
  )

  it.effect("of octet after octet is signed in a time in proportion to its length", () =>
    Effect.gen(function* () {
      const whole = text.encode(`From: a@example.com\r\n${"X: y\r\n".repeat(10_000)}\r\n`)
      const content = Stream.fromIterable(whole).pipe(Stream.map((octet) => Uint8Array.of(octet)))
      const all = yield* octetsOf(yield* Dkim.signContent(content, { keys: yield* bothKeys }))
      expect(all.subarray(-whole.length)).toEqual(whole)
    })
  )

  it.effect("that changes after it was signed ends in an error, before it has ended", () =>
    Effect.gen(function* () {
      const keys = yield* bothKeys
      let run = 0
      const changing = Stream.suspend(() => Stream.make(text.encode(`${simple}${run++}\r\n`)))
      const content = yield* Dkim.signContent(changing, { keys })
      expect(yield* Effect.flip(octetsOf(content))).toMatchObject({ _tag: "ContentError", reason: "Changed" })
    })
  )

  it.effect("that can be run only once is held within its bound, and used once", () =>
    Effect.gen(function* () {
      const keys = yield* bothKeys
      const once = SmtpContent.once(Stream.make(text.encode(simple)))
      expect(yield* Dkim.signContent(once, { keys })).toMatchObject({ _tag: "Bytes" })
      expect(yield* Effect.flip(Dkim.signContent(once, { keys }))).toMatchObject({ reason: "UsedTwice" })
      const large = SmtpContent.once(Stream.repeatValue(text.encode(simple)))
      expect(yield* Effect.flip(Dkim.signContent(large, { keys, bufferLimit: 1000 }))).toMatchObject({
        _tag: "ContentError",
        reason: "TooLarge"
      })
    })
  )

  it.effect("fails with its own error", () =>
    Effect.gen(function* () {
      const keys = yield* bothKeys
      const failing = Stream.concat(Stream.make(text.encode(simple)), Stream.fail("broken" as const))
      expect(yield* Effect.flip(Dkim.signContent(failing, { keys }))).toBe("broken")
    })
  )
})

describe("a submission", () => {
  it.effect("keeps its envelope, and its word on line ends", () =>
    Effect.gen(function* () {
      const keys = yield* bothKeys
      const submission = {
        from: "a@example.com",
        to: "b@example.net",
        content: simple,
        timeout: "1 minute"
      } as const
      expect(yield* Dkim.sign(submission, { keys })).toMatchObject({
        from: "a@example.com",
        to: "b@example.net",
        timeout: "1 minute"
      })
      const bare = { ...submission, content: simple.replaceAll("\r\n", "\n"), lineEnds: "refuse" } as const
      expect(yield* Effect.flip(Dkim.sign(bare, { keys }))).toMatchObject({
        _tag: "ContentError",
        reason: "LineEnds"
      })
    })
  )
})

/** Python with dkimpy for the length of a test. */
const withPython = async (use: (python: PythonMail) => Promise<void>): Promise<void> => {
  const scope = await Effect.runPromise(Scope.make())
  const python = await Effect.runPromise(Scope.extend(startPythonMail, scope))
  await use(python).finally(() => Effect.runPromise(Scope.close(scope, Exit.void)))
}

const forms = ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] as const

suite("signatures to dkimpy", ["dkimpy"], () => {
  it("are good, for any composed message and in any form", { timeout: 600_000 }, () =>
    withPython((python) =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          messages(),
          FastCheck.constantFrom(...forms),
          async (given, canonicalization) => {
            const message = await Effect.runPromise(MailMessage.make(given))
            const content = await Effect.runPromise(
              MailMessage.content(message).pipe(
                Stream.runCollect,
                Effect.map((chunks) => Buffer.concat([...chunks]))
              )
            )
            const all = await Effect.runPromise(signed(content, { canonicalization }))
            expect(await python.verify(all, records)).toEqual([true, true])
          }
        ),
        { numRuns: runsOf(60) }
      )
    )
  )

  const line = FastCheck.constantFrom(
    "a",
    " ",
    "\t",
    "  b  c\t",
    "",
    "",
    ".",
    "ä",
    "\r\n",
    "\r\n\r\n",
    "x".repeat(100)
  )

  it("are good, for any raw message, as octets and as a stream of any pieces", { timeout: 600_000 }, () =>
    withPython((python) =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(line, { maxLength: 12 }),
          FastCheck.constantFrom(...forms),
          FastCheck.integer({ min: 1, max: 60 }),
          async (body, canonicalization, length) => {
            const raw = Buffer.from(
              eml("From: a@example.com ", "X-Fold: 1\r\n\t2  3", "x-fold:again ", "", body.join(""))
            )
            const pieces = Array.from({ length: Math.ceil(raw.length / length) }, (_, index) =>
              raw.subarray(index * length, (index + 1) * length)
            )
            const fields = ["From", "X-Fold", "Subject"]
            const whole = await Effect.runPromise(signed(raw, { canonicalization, fields }))
            const streamed = await Effect.runPromise(
              signed(Stream.fromIterable(pieces), { canonicalization, fields })
            )
            expect(await python.verify(whole, records)).toEqual([true, true])
            expect(await python.verify(streamed, records)).toEqual([true, true])
          }
        ),
        { numRuns: runsOf(60) }
      )
    )
  )

  it("break when a signed field is changed, or one is added that nobody may add", () =>
    withPython(async (python) => {
      const all = textOf(await Effect.runPromise(signed(simple)))
      const verdicts = (text: string) => python.verify(Buffer.from(text, "latin1"), records)
      expect(await verdicts(all)).toEqual([true, true])
      expect(await verdicts(all.replace("Hello.", "Hello?"))).toEqual([false, false])
      expect(await verdicts(all.replace("Subject: x", "Subject: y"))).toEqual([false, false])
      expect(await verdicts(all.replace("Subject: x", "Subject:   x"))).toEqual([true, true])
      for (const added of [
        "From: eve@example.com",
        "Subject: y",
        "Cc: eve@example.com",
        "Content-Type: text/html"
      ]) {
        expect(await verdicts(`${added}\r\n${all}`)).toEqual([false, false])
      }
      expect(await verdicts(`Received: by somebody\r\n${all}`)).toEqual([true, true])
    }))

  it("stay good when a submission server completes the header, and break when a replay does", () =>
    withPython(async (python) => {
      const bare = eml("From: app@example.com", "", "Hello.", "")
      const all = textOf(await Effect.runPromise(signed(bare)))
      const complete = eml(
        "Date: Tue, 01 Dec 2026 10:00:00 +0000",
        "Message-ID: <1@example.com>",
        "To: undisclosed-recipients:;",
        "MIME-Version: 1.0",
        all
      )
      const verdicts = (text: string) => python.verify(Buffer.from(text, "latin1"), records)
      expect(await verdicts(complete)).toEqual([true, true])
      for (const name of ["From", "Reply-To", "Cc", "Subject", "Content-Type", "Content-Transfer-Encoding"]) {
        expect(await verdicts(`${name}: x\r\n${all}`), name).toEqual([false, false])
      }
      const dated = textOf(
        await Effect.runPromise(signed(`Date: Tue, 01 Dec 2026 10:00:00 +0000\r\n${bare}`))
      )
      expect(await verdicts(`Date: Wed, 02 Dec 2026 10:00:00 +0000\r\n${dated}`)).toEqual([false, false])
    }))

  it.scopedLive("are good when a server has got the message", () =>
    Effect.gen(function* () {
      const server = yield* startSmtpServer()
      const smtp = yield* SmtpSession.make({ host: "127.0.0.1", port: server.port, tls: "none" }).pipe(
        Effect.provide(NodeSmtp.layer)
      )
      const keys = yield* bothKeys
      const message = yield* MailMessage.make({
        from: "app@example.com",
        to: "ann@example.net",
        subject: "Grüße",
        text: ".\n..\n. dots \n\n\n",
        list: { unsubscribe: "https://example.com/u", oneClick: true }
      })
      const attachments = [MailMessage.streamed(Stream.make(new Uint8Array(100_000)), { filename: "x" })]
      for (const options of [{}, { attachments }]) {
        const submission = yield* MailMessage.submission(message, options)
        const receipt = yield* smtp.send(yield* Dkim.sign(submission, { keys }))
        expect(receipt.content?.changed).toBe(false)
      }
      const python = yield* startPythonMail
      for (const { octets } of yield* server.accepted) {
        expect(signatures(octets)[0]?.["h"]).toContain("list-unsubscribe:list-unsubscribe-post")
        expect(yield* Effect.promise(() => python.verify(octets, records))).toEqual([true, true])
      }
    })
  )
})

suite("signatures of a message that Postfix completes", ["Postfix", "dkimpy"], () => {
  it.scopedLive("stay good", () =>
    Effect.gen(function* () {
      // As Postfix does by default for clients of its own host.
      const { awaitMessages, host, port } = yield* start({
        overrides: { local_header_rewrite_clients: "permit_inet_interfaces" }
      })
      const smtp = yield* SmtpSession.make({ host, port, tls: "none" }).pipe(Effect.provide(NodeSmtp.layer))
      const content = eml("From: app@example.com", "Subject: x", "", "Hello.", "")
      const submission = { from: bob, to: user(340), content }
      yield* smtp.send(yield* Dkim.sign(submission, { keys: yield* bothKeys }))
      const [delivered] = yield* awaitMessages(user(340))
      const octets = delivered?.content ?? new Uint8Array(0)
      expect(textOf(octets)).toMatch(/^Date:/m)
      expect(textOf(octets)).toMatch(/^Message-Id:/im)
      const python = yield* startPythonMail
      expect(yield* Effect.promise(() => python.verify(octets, records))).toEqual([true, true])
    })
  )
})
