import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SmtpTest from "../src/SmtpTest.js"

const endpoint = { _tag: "Tcp", host: "mx.test", port: 25 } as const
const encoder = new TextEncoder()
const decoder = new TextDecoder()

const dial = (server: SmtpTest.Scripted) => server.socket.dial(endpoint, { timeout: Duration.seconds(5) })

type Client = Effect.Effect.Success<ReturnType<typeof dial>>

const say = (client: Client, ...texts: ReadonlyArray<string>) =>
  client.write(texts.map((text) => encoder.encode(text)))

const hear = (client: Client) =>
  Effect.map(client.pull, (octets) => (octets === undefined ? "(end)" : decoder.decode(octets)))

describe("a scripted dialogue", () => {
  it.scoped("comes to its end when the client follows it", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(
          SmtpTest.reply("220 mx.test ESMTP"),
          SmtpTest.expect("EHLO client.test"),
          SmtpTest.reply("250-mx.test", "250 PIPELINING"),
          SmtpTest.expectGroup("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("250 ok"),
          SmtpTest.reply("354 go"),
          SmtpTest.expectContent("Subject: hi\r\n\r\n.hello\r\n"),
          SmtpTest.reply("250 2.0.0 queued as 42"),
          SmtpTest.expect("QUIT"),
          SmtpTest.reply("221 bye"),
          SmtpTest.expectEnd
        )
      )
      const client = yield* dial(server)
      expect(yield* hear(client)).toBe("220 mx.test ESMTP\r\n")
      yield* say(client, "EHLO client.test\r\n")
      expect(yield* hear(client)).toBe("250-mx.test\r\n250 PIPELINING\r\n")
      yield* say(client, "MAIL FROM:<a@x.test>\r\nRCPT TO:", "<b@y.test>\r\nDATA\r\n")
      expect(yield* hear(client)).toBe("250 ok\r\n250 ok\r\n354 go\r\n")
      yield* say(client, "Subject: hi\r\n\r\n..hello\r\n.\r\n")
      expect(yield* hear(client)).toBe("250 2.0.0 queued as 42\r\n")
      yield* say(client, "QUIT\r\n")
      expect(yield* hear(client)).toBe("221 bye\r\n")
      yield* client.destroy
      yield* server.done
      expect((yield* server.transcript).split("\n")).toEqual([
        "S: 220 mx.test ESMTP",
        "C: EHLO client.test",
        "S: 250-mx.test",
        "S: 250 PIPELINING",
        "C: MAIL FROM:<a@x.test>",
        "C: RCPT TO:<b@y.test>",
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 354 go",
        "C: Subject: hi",
        "C: ",
        "C: ..hello",
        "C: .",
        "S: 250 2.0.0 queued as 42",
        "C: QUIT",
        "S: 221 bye",
        "-- the client ended its stream"
      ])
    })
  )

  it.scoped("fails with both lines and the transcript when the client says something else", () =>
    Effect.gen(function* () {
      const server = yield* SmtpTest.scripted(
        SmtpTest.script(SmtpTest.reply("220 mx.test ESMTP"), SmtpTest.expect("EHLO client.test"))
      )
      const client = yield* dial(server)
      yield* hear(client)
      yield* say(client, "EHLO other.test\r\n")
      const failure = yield* Effect.flip(server.done)
      expect(failure.message).toBe(
        [
          "Connection 1, at expect EHLO client.test: the client sent something else, from octet 6 on",
          "  expected: EHLO client.test",
          "  received: EHLO other.test",
          "Transcript:",
          "  S: 220 mx.test ESMTP",
          "  C: EHLO other.test"
        ].join("\n")
      )
    })
  )
})
