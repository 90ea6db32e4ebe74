import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { createHash, createHmac, pbkdf2Sync } from "node:crypto"
import type { Fail } from "../../../src/protocol/sasl/Mechanism.js"
import type { ScramOptions } from "../../../src/protocol/sasl/Scram.js"
import { scram } from "../../../src/protocol/sasl/Scram.js"
import { runsOf } from "../../support/runs.js"
import { replay, settle, utf8 } from "./replay.js"

const user = { username: "user", password: "pencil", binding: { _tag: "Unsupported" } } as const

const sha1: ScramOptions = { ...user, algorithm: "SHA-1", nonce: "fyko+d2lbbFgONRv9qkxdawL" }
const sha256: ScramOptions = { ...user, algorithm: "SHA-256", nonce: "rOprNGfwEbeRWgbNEkqO" }
const sha512: ScramOptions = { ...sha256, algorithm: "SHA-512" }

const serverFirst = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
const clientFinal = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
const serverFinal = "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="

/** A server of its own make, for exchanges that no RFC publishes. */
const answerAs = (
  algorithm: ScramOptions["algorithm"],
  password: string,
  clientFirst: string,
  nonce: string
) => {
  const name = algorithm.toLowerCase().replace("-", "")
  const salt = "c2FsdHNhbHQ="
  const [flag = "", authorizationId = "", ...bare] = clientFirst.split(",")
  const first = `r=${nonce},s=${salt},i=4096`
  const hmac = (key: Uint8Array, data: string) => createHmac(name, key).update(data).digest()
  const length = createHash(name).digest().length
  const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), 4096, length, name)
  return {
    first,
    final: (channelBindingData: string) => {
      const header = Buffer.concat([
        Buffer.from(`${flag},${authorizationId},`),
        Buffer.from(channelBindingData)
      ])
      const withoutProof = `c=${header.toString("base64")},r=${nonce}`
      const message = `${bare.join(",")},${first},${withoutProof}`
      const clientKey = hmac(salted, "Client Key")
      const signature = hmac(createHash(name).update(clientKey).digest(), message)
      const proof = Buffer.from(clientKey.map((octet, index) => octet ^ (signature[index] ?? 0)))
      return {
        expected: `${withoutProof},p=${proof.toString("base64")}`,
        verifier: `v=${hmac(hmac(salted, "Server Key"), message).toString("base64")}`
      }
    }
  }
}

const reason = (step: unknown): string | undefined =>
  typeof step === "object" && step !== null && "reason" in step ? String(step.reason) : undefined

const afterServerFirst = (message: string, options: ScramOptions = sha1) =>
  replay(scram(options), [message])[1]

describe("SCRAM against published exchanges", () => {
  it("says what RFC 5802 section 5 says with SHA-1", () => {
    const mechanism = scram(sha1)
    expect(mechanism.name).toBe("SCRAM-SHA-1")
    expect(replay(mechanism, [serverFirst, serverFinal])).toEqual([
      { said: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL" },
      { said: clientFinal },
      { said: "" }
    ])
    expect(mechanism.succeed()).toBeUndefined()
  })

  it("says what RFC 7677 section 3 says with SHA-256", () => {
    const mechanism = scram(sha256)
    expect(
      replay(mechanism, [
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
      ])
    ).toEqual([
      { said: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO" },
      {
        said:
          "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
          "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
      },
      { said: "" }
    ])
    expect(mechanism.succeed()).toBeUndefined()
  })

  it("says what other clients say with SHA-512", () => {
    const mechanism = scram(sha512)
    const nonce = "rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865"
    expect(
      replay(mechanism, [
        `r=${nonce},s=Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=,i=4096`,
        "v=BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw=="
      ])
    ).toEqual([
      { said: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO" },
      {
        said:
          `c=biws,r=${nonce},` +
          "p=Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A=="
      },
      { said: "" }
    ])
    expect(mechanism.succeed()).toBeUndefined()
  })
})

describe("channel binding (RFC 5802 section 6)", () => {
  it.each(["SHA-1", "SHA-256", "SHA-512"] as const)("binds SCRAM-%s-PLUS to the channel", (algorithm) => {
    const options: ScramOptions = {
      ...user,
      algorithm,
      nonce: "clientnonce",
      binding: { _tag: "Bound", type: "tls-exporter", data: utf8("exported keying material") }
    }
    const mechanism = scram(options)
    const first = "p=tls-exporter,,n=user,r=clientnonce"
    const server = answerAs(algorithm, "pencil", first, "clientnonceservernonce")
    const { expected, verifier } = server.final("exported keying material")
    expect(mechanism.name).toBe(`SCRAM-${algorithm}-PLUS`)
    expect(replay(mechanism, [server.first, verifier])).toEqual([
      { said: first },
      { said: expected },
      { said: "" }
    ])
  })

  it("says y when it could bind and the server did not offer it, and repeats that under its proof", () => {
    const [first, final] = replay(scram({ ...sha1, binding: { _tag: "NotOffered" } }), [serverFirst])
    expect(first).toEqual({ said: "y,,n=user,r=fyko+d2lbbFgONRv9qkxdawL" })
    expect(final).toHaveProperty("said", expect.stringMatching(/^c=eSws,/))
  })

  it.each(["server-does-support-channel-binding", "channel-bindings-dont-match"])(
    "does not trust a server that reports %s",
    (error) => {
      expect(reason(replay(scram(sha1), [serverFirst, `e=${error}`])[2])).toBe("ServerNotVerified")
    }
  )
})

describe("names", () => {
  it("escapes the comma and the equals sign of both identities (RFC 5802 section 5.1)", () => {
    const options = { ...sha1, username: "a,b=c", authorizationId: "x=y,z", nonce: "N" }
    const mechanism = scram(options)
    expect(settle(mechanism, mechanism.start())).toEqual({ said: "n,a=x=3Dy=2Cz,n=a=2Cb=3Dc,r=N" })
  })

  it("sends them in UTF-8", () => {
    const mechanism = scram({ ...sha1, username: "Jürgen", nonce: "N" })
    expect(settle(mechanism, mechanism.start())).toEqual({ said: "n,,n=Jürgen,r=N" })
  })
})

describe("the server's first message (RFC 5802 sections 5.1 and 7)", () => {
  const nonce = "fyko+d2lbbFgONRv9qkxdawL3rfc"

  it.each([
    ["is empty", ""],
    ["has a nonce of its own", "r=3rfcNHYJY1ZVvWVs7jfyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096"],
    ["adds nothing to the nonce", "r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096"],
    ["has a space in the nonce", `r=${nonce} x,s=QSXCR+Q6sek8bf92,i=4096`],
    ["has a salt that is not base64", `r=${nonce},s=QSXCR+Q6sek8bf9,i=4096`],
    ["has no salt", `r=${nonce},s=,i=4096`],
    ["has its attributes in another order", `s=QSXCR+Q6sek8bf92,r=${nonce},i=4096`],
    ["has no count", `r=${nonce},s=QSXCR+Q6sek8bf92`],
    ["has a count that is not a number", `r=${nonce},s=QSXCR+Q6sek8bf92,i=4096x`],
    ["has a negative count", `r=${nonce},s=QSXCR+Q6sek8bf92,i=-4096`],
    ["has a low count", `r=${nonce},s=QSXCR+Q6sek8bf92,i=4095`],
    ["has a high count", `r=${nonce},s=QSXCR+Q6sek8bf92,i=2000001`],
    ["has an absurd count", `r=${nonce},s=QSXCR+Q6sek8bf92,i=99999999999999999999`]
  ])("is refused when it %s", (_, message) => {
    expect(reason(afterServerFirst(message))).toBe("Challenge")
  })

  it("is refused for a mandatory extension, and says so", () => {
    expect(afterServerFirst(`m=x,r=${nonce},s=QSXCR+Q6sek8bf92,i=4096`)).toHaveProperty(
      "detail",
      "the server demands an extension of SCRAM that is not supported"
    )
  })

  it("is refused when it is not UTF-8", () => {
    const mechanism = scram(sha1)
    mechanism.start()
    expect(mechanism.challenge(Uint8Array.of(0x72, 0x3d, 0xff))).toHaveProperty("reason", "Challenge")
  })

  const salt = "s=QSXCR+Q6sek8bf92"
  it.each([
    ["", "the server's first message is not one of SCRAM"],
    [`x${serverFirst}`, "the server's first message is not one of SCRAM"],
    [`r=${nonce},${salt},i=x4096`, "the server's first message is not one of SCRAM"],
    [`r=other,${salt},i=4096`, "the server's nonce does not continue the client's"],
    [
      `r=${nonce},${salt},i=4095`,
      "the server asks for 4095 iterations, fewer than the 4096 that keep a password safe"
    ],
    [`r=${nonce},${salt},i=1000001`, "the server asks for 1000001 iterations; at most 1000000 are allowed"]
  ])("%j: %s", (message, detail) => {
    expect(afterServerFirst(message)).toStrictEqual({ _tag: "Fail", reason: "Challenge", detail })
  })

  it.each([
    [Uint8Array.of(0xff), "the server's first message is not UTF-8"],
    [Uint8Array.of(0xef, 0xbb, 0xbf, 0x72, 0x3d), "the server's first message is not one of SCRAM"]
  ])("%j: %s", (octets, detail) => {
    const mechanism = scram(sha1)
    mechanism.start()
    expect(mechanism.challenge(octets)).toStrictEqual({ _tag: "Fail", reason: "Challenge", detail })
  })

  it("may carry extensions that are not mandatory", () => {
    expect(afterServerFirst(`${serverFirst},x=more`)).toHaveProperty("said")
  })

  it("may ask for a million iterations and no more, where the program says nothing", () => {
    const asked = (count: number) => {
      const mechanism = scram(sha1)
      mechanism.start()
      return mechanism.challenge(utf8(`r=${nonce},s=QSXCR+Q6sek8bf92,i=${count}`))._tag
    }
    expect(asked(1_000_000)).toBe("Request")
    expect(asked(1_000_001)).toBe("Fail")
  })

  it("may ask for as many iterations as the program allows and no more", () => {
    const ask = (count: number) =>
      afterServerFirst(`r=${nonce},s=QSXCR+Q6sek8bf92,i=${count}`, { ...sha1, maximumIterations: 5000 })
    expect(ask(5000)).toHaveProperty("said")
    expect(reason(ask(5001))).toBe("Challenge")
  })

  it("is answered with nothing when it is an error, and its refusal awaited", () => {
    const mechanism = scram(sha1)
    expect(replay(mechanism, ["e=other-error"])[1]).toEqual({ said: "", remark: "other-error" })
    expect(mechanism.succeed()).toHaveProperty("reason", "ServerNotVerified")
  })
})

describe("the server's proof", () => {
  it("is missed when success comes after the first message", () => {
    const mechanism = scram(sha1)
    replay(mechanism, [])
    expect(mechanism.succeed()).toHaveProperty("reason", "ServerNotVerified")
  })

  it("is missed when success comes after the client's proof", () => {
    const mechanism = scram(sha1)
    replay(mechanism, [serverFirst])
    expect(mechanism.succeed()).toHaveProperty("reason", "ServerNotVerified")
  })

  it.each([
    ["wrong", "v=rmF9pqV8S7suAoZWja4dJRkFsKR="],
    ["of another length", "v=rmF9"],
    ["empty", "v="],
    ["not base64", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ"],
    ["absent", "x=rmF9pqV8S7suAoZWja4dJRkFsKQ="]
  ])("is not accepted when it is %s", (_, message) => {
    const mechanism = scram(sha1)
    expect(reason(replay(mechanism, [serverFirst, message])[2])).toBe("ServerNotVerified")
    expect(mechanism.succeed()).toHaveProperty("reason", "ServerNotVerified")
  })

  it.each([
    ["x=y", "its last message holds no signature"],
    ["v=", "its last message holds no signature"],
    ["v=rmF9pqV8S7suAoZWja4dJRkFsKR=", "its last message holds no signature"],
    ["v=rmF9pqV8S7suAoZWja4dJRkFsKA=", "its signature is wrong"],
    ["v=rmF9", "its signature is wrong"],
    [
      "e=channel-bindings-dont-match",
      "the server says channel-bindings-dont-match, as if someone had changed the exchange"
    ]
  ])("%s: %s", (message, detail) => {
    expect(replay(scram(sha1), [serverFirst, message])[2]).toStrictEqual({
      _tag: "Fail",
      reason: "ServerNotVerified",
      detail
    })
  })

  it("is no proof in bytes that are not UTF-8", () => {
    const mechanism = scram(sha1)
    replay(mechanism, [serverFirst])
    expect(mechanism.challenge(Uint8Array.of(0xff))).toHaveProperty("reason", "ServerNotVerified")
  })

  it("differs for every other password, so that only a server that knows it is believed", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ minLength: 1, maxLength: 20 }), (password) => {
        FastCheck.pre(password !== "pencil")
        const server = answerAs("SHA-1", password, "n,,n=user,r=N", "NS")
        const mechanism = scram({ ...sha1, nonce: "N" })
        const { expected, verifier } = server.final("")
        const steps = replay(mechanism, [server.first, verifier])
        expect(steps[1]).not.toEqual({ said: expected })
        expect(reason(steps[2])).toBe("ServerNotVerified")
      }),
      { numRuns: runsOf(20) }
    )
  })

  it("is accepted for any identity and password that both sides share", () => {
    const name = FastCheck.string({ unit: "grapheme", minLength: 1, maxLength: 20 })
    FastCheck.assert(
      FastCheck.property(name, name, name, (username, password, authorizationId) => {
        const mechanism = scram({ ...sha256, username, password, authorizationId, nonce: "N" })
        const first = settle(mechanism, mechanism.start())
        const said = typeof first === "object" && "said" in first ? first.said : ""
        const server = answerAs("SHA-256", password, said, "NS")
        const { expected, verifier } = server.final("")
        expect(settle(mechanism, mechanism.challenge(utf8(server.first)))).toEqual({ said: expected })
        expect(settle(mechanism, mechanism.challenge(utf8(verifier)))).toEqual({ said: "" })
        expect(mechanism.succeed()).toBeUndefined()
      }),
      { numRuns: runsOf(30) }
    )
  })

  it("counts for nothing once the server asks for more", () => {
    const mechanism = scram(sha1)
    const steps = replay(mechanism, [serverFirst, serverFinal, ""])
    expect(reason(steps[3])).toBe("Challenge")
    expect(mechanism.succeed()).toHaveProperty("reason", "ServerNotVerified")
  })
})

describe("errors of the server (RFC 5802 section 7)", () => {
  it("are answered with nothing, kept as a remark, and followed by a refusal only", () => {
    const mechanism = scram(sha1)
    const steps = replay(mechanism, [serverFirst, "e=invalid-proof", ""])
    expect(steps[2]).toEqual({ said: "", remark: "invalid-proof" })
    expect(steps[3]).toHaveProperty("detail", "the server goes on after an error")
    expect(reason(steps[3])).toBe("Challenge")
  })

  it("never show the password", () => {
    const all = [serverFirst.replace("4096", "1"), "m=", "", "e=invalid-proof"].map((message) =>
      JSON.stringify(replay(scram({ ...sha1, password: "hunter2" }), [message]))
    )
    for (const shown of all) expect(shown).not.toContain("hunter2")
  })
})

describe("any octets from the server", () => {
  it("never make it throw or believe a success", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.uint8Array({ maxLength: 60 }), { maxLength: 4 }),
        (all) => {
          const mechanism = scram(sha1)
          settle(mechanism, mechanism.start())
          for (const octets of all) settle(mechanism, mechanism.challenge(octets))
          const verdict: Fail | undefined = mechanism.succeed()
          expect(verdict?.reason).toBe("ServerNotVerified")
        }
      )
    )
  })
})
