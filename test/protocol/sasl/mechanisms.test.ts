import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { encode } from "../../../src/protocol/sasl/Base64.js"
import { oauthBearer, xoauth2 } from "../../../src/protocol/sasl/Bearer.js"
import { cramMd5 } from "../../../src/protocol/sasl/CramMd5.js"
import { fail, make, respond, wait } from "../../../src/protocol/sasl/Mechanism.js"
import { passwordMechanismTable } from "../../../src/protocol/sasl/PasswordMechanisms.js"
import { anonymous, external, login, plain } from "../../../src/protocol/sasl/Plain.js"
import { replay, utf8 } from "./replay.js"

const tim = { username: "tim", password: "tanstaaftanstaaf" }
const bearer = {
  username: "user@example.com",
  token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
  endpoint: { host: "server.example.com", port: 587 }
}

describe("PLAIN (RFC 4616)", () => {
  it("says what section 4 says", () => {
    expect(replay(plain(tim), [])).toEqual([{ said: "\0tim\0tanstaaftanstaaf" }])
  })

  it("puts the authorization identity first, as in section 4's second example", () => {
    const options = { authorizationId: "Ursel", username: "Kurt", password: "xipj3plmq" }
    expect(replay(plain(options), [])).toEqual([{ said: "Ursel\0Kurt\0xipj3plmq" }])
  })

  it("says what RFC 4954 section 4.1 says", () => {
    const step = plain({ authorizationId: "test", username: "test", password: "1234" }).start()
    expect(step._tag === "Respond" && encode(step.octets)).toBe("dGVzdAB0ZXN0ADEyMzQ=")
  })

  it("says the same to a server that asks, and has nothing to say to a second challenge", () => {
    const [first, again, more] = replay(plain(tim), ["", ""])
    expect(again).toEqual(first)
    expect(more).toHaveProperty("reason", "Challenge")
  })

  it("believes success, which proves nothing of the server", () => {
    const mechanism = plain(tim)
    replay(mechanism, [])
    expect(mechanism.succeed()).toBeUndefined()
  })
})

describe("LOGIN", () => {
  it("gives name and password in turn, whatever the prompts say", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string(), FastCheck.string(), (first, second) => {
        expect(replay(login(tim), [first, second])).toEqual([
          "waits",
          { said: "tim" },
          { said: "tanstaaftanstaaf" }
        ])
      })
    )
  })

  it("has nothing to say to a third prompt", () => {
    expect(replay(login(tim), ["Username:", "Password:", "Username:"])[3]).toHaveProperty(
      "reason",
      "Challenge"
    )
  })
})

describe("CRAM-MD5 (RFC 2195)", () => {
  it("says what section 2 says", () => {
    expect(replay(cramMd5(tim), ["<1896.697170952@postoffice.reston.mci.net>"])).toEqual([
      "waits",
      { said: "tim b913a602c7eda7a495b4e6e7334d3890" }
    ])
  })

  it("does not answer an empty challenge, whose digest could be replayed", () => {
    expect(replay(cramMd5(tim), [""])[1]).toStrictEqual({
      _tag: "Fail",
      reason: "Challenge",
      detail: "the challenge is empty"
    })
  })
})

describe("EXTERNAL (RFC 4422 appendix A)", () => {
  it("says nothing for the identity of the certificate", () => {
    expect(replay(external({}), [])).toEqual([{ said: "" }])
  })

  it("says whom to act as", () => {
    expect(replay(external({ authorizationId: "fred@example.com" }), [])).toEqual([
      { said: "fred@example.com" }
    ])
  })
})

describe("ANONYMOUS (RFC 4505)", () => {
  it("says its trace, or nothing", () => {
    expect(replay(anonymous({ trace: "sirhc" }), [])).toEqual([{ said: "sirhc" }])
    expect(replay(anonymous({}), [])).toEqual([{ said: "" }])
  })
})

describe("OAUTHBEARER (RFC 7628)", () => {
  it("says what section 4.3 says", () => {
    const step = oauthBearer(bearer).start()
    expect(step._tag === "Respond" && encode(step.octets)).toBe(
      "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRj" +
        "Mk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
  })

  it("answers the error with U+0001, AQ== in base64, and keeps it (section 3.2.3)", () => {
    const error = '{"status":"invalid_token","scope":"example_scope"}'
    expect(replay(oauthBearer(bearer), [error])[1]).toEqual({ said: "\u0001", remark: error })
    expect(encode(utf8("\u0001"))).toBe("AQ==")
  })

  it("has nothing more to say after that", () => {
    expect(replay(oauthBearer(bearer), ["{}", "{}"])[2]).toHaveProperty("reason", "Challenge")
  })

  it("escapes the name as GS2 demands, and leaves out an endpoint that has no host", () => {
    expect(replay(oauthBearer({ username: "a,b=c", token: "t", endpoint: undefined }), [])).toEqual([
      { said: "n,a=a=2Cb=3Dc,\u0001auth=Bearer t\u0001\u0001" }
    ])
  })
})

describe("XOAUTH2", () => {
  it("says what Google's documentation says", () => {
    const options = {
      username: "someuser@example.com",
      token: "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    }
    const step = xoauth2(options).start()
    expect(step._tag === "Respond" && encode(step.octets)).toBe(
      "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0" +
        "Q2cBAQ=="
    )
  })

  it("answers the error with an empty line and keeps it", () => {
    const error = '{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}'
    expect(replay(xoauth2(bearer), [error])[1]).toEqual({ said: "", remark: error })
  })
})

describe("a machine", () => {
  const twoSteps = () =>
    make({
      name: "X-TEST",
      provesServer: false,
      *script() {
        const first = yield wait
        return respond(first)
      }
    })

  const failure = (detail: string, reason = "Challenge") => ({ _tag: "Fail", reason, detail })

  it("fails for good when it is started twice", () => {
    const mechanism = twoSteps()
    mechanism.start()
    const failed = mechanism.start()
    expect(failed).toStrictEqual(failure("X-TEST was given a start out of turn"))
    expect(mechanism.challenge(utf8("x"))).toBe(failed)
  })

  it("fails when it is challenged before it is started", () => {
    expect(twoSteps().challenge(utf8("x"))).toStrictEqual(failure("X-TEST was given a challenge out of turn"))
  })

  it("fails when it is given an answer it did not ask for", () => {
    const mechanism = twoSteps()
    mechanism.start()
    expect(mechanism.answer(utf8("x"))).toStrictEqual(failure("X-TEST was given a answer out of turn"))
  })

  it("fails when it is given more than it asks for", () => {
    const mechanism = twoSteps()
    expect([mechanism.start(), mechanism.challenge(utf8("x"))]).toStrictEqual([wait, respond(utf8("x"))])
    expect(mechanism.answer(utf8("x"))).toStrictEqual(failure("X-TEST was given a answer out of turn"))
    const other = twoSteps()
    other.start()
    other.challenge(utf8("x"))
    expect(other.challenge(utf8("x"))).toStrictEqual(
      failure("the server asks for more than X-TEST has to say")
    )
  })

  const proving = (last: ReturnType<typeof respond> | ReturnType<typeof fail>) =>
    make({
      name: "X-PROOF",
      provesServer: true,
      *script() {
        yield wait
        return last
      }
    })
  const early = "it announced success before it had proved that it knows the password"

  it("believes a success once the server has proved itself, and not before", () => {
    const mechanism = proving(respond(utf8("")))
    expect(mechanism.succeed()).toStrictEqual(failure(early, "ServerNotVerified"))
    mechanism.start()
    expect(mechanism.succeed()).toStrictEqual(failure(early, "ServerNotVerified"))
    mechanism.challenge(utf8("x"))
    expect(mechanism.succeed()).toBeUndefined()
  })

  it("says why a success is not believed, if it knows", () => {
    for (const reason of ["ServerNotVerified", "Challenge"] as const) {
      const mechanism = proving(fail(reason, "the proof is wrong"))
      mechanism.start()
      mechanism.challenge(utf8("x"))
      expect(mechanism.succeed()).toStrictEqual(
        failure(reason === "Challenge" ? early : "the proof is wrong", "ServerNotVerified")
      )
    }
  })

  it("that needs no proof believes success even after a failure", () => {
    const mechanism = twoSteps()
    expect(mechanism.challenge(utf8("x"))._tag).toBe("Fail")
    expect(mechanism.succeed()).toBeUndefined()
  })

  it("has a remark in its response only if there is one", () => {
    expect(respond(utf8("x"))).toStrictEqual({ _tag: "Respond", octets: utf8("x") })
    expect(respond(utf8("x"), "why")).toStrictEqual({ _tag: "Respond", octets: utf8("x"), remark: "why" })
  })

  it("has the name in the registry", () => {
    const names = [plain(tim), login(tim), cramMd5(tim), external({}), anonymous({}), oauthBearer(bearer)]
    expect([...names, xoauth2(bearer)].map(({ name }) => name)).toStrictEqual([
      "PLAIN",
      "LOGIN",
      "CRAM-MD5",
      "EXTERNAL",
      "ANONYMOUS",
      "OAUTHBEARER",
      "XOAUTH2"
    ])
  })
})

describe("the password mechanisms", () => {
  it("are these, in the order of preference", () => {
    expect(passwordMechanismTable).toStrictEqual([
      { name: "SCRAM-SHA-512-PLUS", scram: "SHA-512", binds: true },
      { name: "SCRAM-SHA-256-PLUS", scram: "SHA-256", binds: true },
      { name: "SCRAM-SHA-1-PLUS", scram: "SHA-1", binds: true },
      { name: "SCRAM-SHA-512", scram: "SHA-512" },
      { name: "SCRAM-SHA-256", scram: "SHA-256" },
      { name: "SCRAM-SHA-1", scram: "SHA-1" },
      { name: "CRAM-MD5", onlyOneself: true },
      { name: "PLAIN", sendsPassword: true },
      { name: "LOGIN", sendsPassword: true, onlyOneself: true }
    ])
  })
})
