import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import type { Command, Kind } from "../../src/protocol/Command.js"
import * as Commands from "../../src/protocol/Command.js"
import type { DialogueOptions, Event, State } from "../../src/protocol/Dialogue.js"
import { Dialogue } from "../../src/protocol/Dialogue.js"
import { isInvalid } from "../../src/protocol/Invalid.js"
import { runsOf } from "../support/runs.js"

const octets = (text: string): Uint8Array => new TextEncoder().encode(text)

const textOf = (parts: ReadonlyArray<Uint8Array>): string =>
  parts.map((part) => new TextDecoder().decode(part)).join("")

const show = (event: Event<string>): string => {
  switch (event._tag) {
    case "Replied":
      return `${event.owner}: ${event.command.kind} ${event.reply.code} ${event.meaning}${event.more ? ", more" : ""}`
    case "Goodbye":
      return `Goodbye ${event.reply.code}`
    case "Violated":
      return `${event.injection ? "Injection" : "Violated"}: ${event.reason}`
  }
}

const drain = (dialogue: Dialogue<string>): ReadonlyArray<string> => {
  const events: Array<string> = []
  for (let event = dialogue.next(); event !== undefined; event = dialogue.next()) events.push(show(event))
  return events
}

/** A dialogue between what the test writes and what it says in the server's place. */
interface Stage {
  readonly dialogue: Dialogue<string>
  /** Submits for `a`, or gives the reason why not. */
  readonly submit: (...commands: ReadonlyArray<Command>) => string | undefined
  readonly submitAs: (owner: string, ...commands: ReadonlyArray<Command>) => string | undefined
  /** What would be written now. */
  readonly take: () => string
  /** Takes what there is, lets the server say so much, and gives what happened. */
  readonly server: (text: string) => ReadonlyArray<string>
  /** The same without taking first: the server speaks out of turn. */
  readonly early: (text: string) => ReadonlyArray<string>
}

const stage = (options: DialogueOptions = { dialect: "smtp" }): Stage => {
  const dialogue = new Dialogue<string>("greeter", options)
  const submitAs: Stage["submitAs"] = (owner, ...commands) => dialogue.submit(owner, commands)?.reason
  const early: Stage["early"] = (text) => {
    dialogue.receive(octets(text))
    return drain(dialogue)
  }
  return {
    dialogue,
    submit: (...commands) => submitAs("a", ...commands),
    submitAs,
    take: () => textOf(dialogue.take()),
    early,
    server: (text) => {
      dialogue.take()
      return early(text)
    }
  }
}

const ehlo = Commands.ehlo("client.example")
const mail = Commands.mail("MAIL FROM:<>")
const rcpt = (name: string): Command => Commands.rcpt(`RCPT TO:<${name}@example.com>`)

/** After the greeting and an EHLO that announces `keywords`. */
const opened = (keywords = "PIPELINING", options?: DialogueOptions): Stage => {
  const on = stage(options)
  on.server("220 ready\r\n")
  on.submit(ehlo)
  on.server(
    ["250-mail.example", ...keywords.split(",").map((keyword) => `250-${keyword}`), "250 HELP\r\n"].join(
      "\r\n"
    )
  )
  return on
}

const lmtp = (keywords = "PIPELINING"): Stage => opened(keywords, { dialect: "lmtp" })

/** DATA was answered by 354; `recipients` were accepted before. */
const inData = (recipients: ReadonlyArray<string> = ["a"], on: Stage = opened()): Stage => {
  on.submit(mail, ...recipients.map(rcpt), Commands.data)
  on.server(`250 ok\r\n${recipients.map(() => "250 ok\r\n").join("")}354 go\r\n`)
  return on
}

const flowing = (recipients?: ReadonlyArray<string>, from?: Stage): Stage => {
  const on = inData(recipients, from)
  on.dialogue.beginContent("a")
  on.dialogue.content([octets("text\r\n")], false)
  on.take()
  return on
}

describe("the greeting (RFC 5321 section 3.1)", () => {
  it("nothing is written before its last line", () => {
    const on = stage()
    expect(on.submit(ehlo)).toBeUndefined()
    expect(on.take()).toBe("")
    expect(on.early("220-mail.example\r\n220-one moment\r\n220 re")).toStrictEqual([])
    expect(on.take()).toBe("")
    expect(on.early("ady\r\n")).toStrictEqual(["greeter: Greeting 220 Success"])
    expect(on.take()).toBe("EHLO client.example\r\n")
  })

  it("is expected from the start, by the greeter", () => {
    expect(stage().dialogue.head()).toMatchObject({
      owner: "greeter",
      command: { kind: "Greeting" },
      end: 0
    })
  })

  it("turns the client away if its last line does, whatever the first ones said", () => {
    const on = stage()
    expect(on.early("220-one moment\r\n554 no\r\n")).toStrictEqual(["greeter: Greeting 554 Refusal"])
    expect(on.dialogue.state()).toBe("Turned")
  })

  it.each(["199 wait", "200 hello", "250 hello", "354 go", "421 busy", "450 later", "554 no"])(
    "%s turns the client away: only QUIT passes",
    (greeting) => {
      const on = stage()
      on.submitAs("queued", ehlo)
      expect(on.early(`${greeting}\r\n`)).toStrictEqual([`greeter: Greeting ${greeting.slice(0, 3)} Refusal`])
      expect(on.dialogue.state()).toBe("Turned")
      expect(on.take()).toBe("")
      expect(on.submit(ehlo)).toMatch(/only QUIT may follow/)
      expect(on.submit(mail)).toMatch(/only QUIT may follow/)
      expect(on.submit()).toBeUndefined()
      expect(on.dialogue.state()).toBe("Turned")
      expect(on.submit(Commands.quit)).toBeUndefined()
      expect(on.take()).toBe("QUIT\r\n")
      expect(on.submit(Commands.noop)).toMatch(/only QUIT may follow/)
      expect(on.early("221 bye\r\n")).toStrictEqual(["a: Quit 221 Success"])
      expect(on.dialogue.state()).toBe("Closed")
    }
  )

  it("a refused QUIT does not open what the greeting has closed", () => {
    const on = stage()
    on.submitAs("queued", ehlo)
    on.early("554 no\r\n")
    on.submit(Commands.quit)
    expect(on.server("503 no\r\n")).toStrictEqual(["a: Quit 503 Refusal"])
    expect(on.dialogue.state()).toBe("Turned")
    expect(on.take()).toBe("")
    expect(on.submit(Commands.noop)).toMatch(/only QUIT may follow/)
  })
})

describe("groups (RFC 2920 section 3.1)", () => {
  it("without PIPELINING each command waits for the reply before it", () => {
    const on = opened("SIZE")
    on.submit(mail, rcpt("b"), Commands.data)
    expect(on.take()).toBe("MAIL FROM:<>\r\n")
    on.early("250 ok\r\n")
    expect(on.take()).toBe("RCPT TO:<b@example.com>\r\n")
    on.early("250 ok\r\n")
    expect(on.take()).toBe("DATA\r\n")
  })

  it("with PIPELINING a whole group leaves at once", () => {
    const on = opened()
    on.submit(Commands.rset, mail, rcpt("b"), rcpt("c"), Commands.data)
    expect(on.take()).toBe(
      "RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n"
    )
    expect(on.take()).toBe("")
  })

  it("after HELO there is no PIPELINING", () => {
    const on = opened()
    on.submit(Commands.helo("client.example"))
    on.server("250 mail.example\r\n")
    on.submit(mail, rcpt("b"))
    expect(on.take()).toBe("MAIL FROM:<>\r\n")
  })

  it.each([
    ehlo,
    Commands.helo("client.example"),
    Commands.startTls,
    Commands.auth("PLAIN AGEAYg=="),
    Commands.noop,
    Commands.vrfy("b"),
    Commands.expn("b"),
    Commands.help(""),
    Commands.quit
  ])("nothing is written behind $verb before its reply", (command) => {
    const on = opened()
    expect(on.submit(command)).toBeUndefined()
    on.submitAs("b", mail)
    expect(on.take()).toBe(`${command.line}\r\n`)
    expect(on.early("454-no\r\n")).toStrictEqual([])
    expect(on.take()).toBe("")
    expect(on.early("454 no\r\n")).toHaveLength(1)
    expect(on.take()).toBe("MAIL FROM:<>\r\n")
  })

  it("nothing is written behind DATA before its reply, nor in place of the content", () => {
    const on = opened()
    on.submit(mail, rcpt("b"), Commands.data)
    on.submitAs("b", Commands.rset)
    expect(on.take()).toMatch(/DATA\r\n$/)
    on.early("250 ok\r\n250 ok\r\n")
    expect(on.take()).toBe("")
    on.early("354 go\r\n")
    expect(on.take()).toBe("")
    expect(on.dialogue.state()).toBe("Content")
  })

  it.each([ehlo, Commands.startTls, Commands.auth("PLAIN"), Commands.data, Commands.noop, Commands.quit])(
    "$verb in mid-group is refused, and nothing of the group is sent",
    (command) => {
      const on = opened()
      expect(on.submit(mail, command, Commands.rset)).toBe(
        `has ${command.verb} before its end, where only the last command may stand`
      )
      expect(on.take()).toBe("")
      expect(on.dialogue.head() === undefined).toBe(true)
      expect(on.dialogue.mails()).toBe(0)
    }
  )

  it.each(["a\r\nQUIT", "a\rb", "a\nb", "a\0b"])("the line %j is refused", (argument) => {
    const on = opened()
    expect(on.submit(mail, Commands.vrfy(argument))).toBe("holds a line break or a NUL")
    expect(on.take()).toBe("")
  })

  it("a refused command names what stands in its way", () => {
    const fieldOf = (on: Stage, command: Command) => on.dialogue.submit("a", [command])?.field
    const responding = opened("AUTH LOGIN")
    responding.submit(Commands.auth("LOGIN"))
    responding.server("334 \r\n")
    const turned = stage()
    turned.server("554 no\r\n")
    const closed = opened()
    closed.dialogue.close()
    const secured = opened("STARTTLS")
    secured.submit(Commands.startTls)
    secured.server("220 go\r\n")
    secured.dialogue.upgraded()
    const authenticated = opened("AUTH PLAIN")
    authenticated.submit(Commands.auth("PLAIN AGEAYg=="))
    authenticated.server("235 ok\r\n")
    const inside = opened()
    inside.submit(mail)
    expect(fieldOf(opened(), Commands.noop)).toBeUndefined()
    expect(fieldOf(opened(), Commands.vrfy("a\nb"))).toBe("command")
    expect([
      fieldOf(opened(), Commands.authResponse("x")),
      fieldOf(responding, Commands.noop),
      fieldOf(turned, Commands.noop),
      fieldOf(closed, Commands.noop),
      fieldOf(secured, Commands.startTls),
      fieldOf(authenticated, Commands.auth("PLAIN")),
      fieldOf(inside, Commands.auth("PLAIN"))
    ]).toStrictEqual(Array.from({ length: 7 }, () => "session"))
  })

  it("what a reply has let go leaves with the next take, before anybody looks for more replies", () => {
    const on = opened("SIZE")
    on.submit(mail, rcpt("b"))
    on.take()
    on.dialogue.receive(octets("250 ok\r\n"))
    expect(on.dialogue.next()).toMatchObject({ _tag: "Replied" })
    expect(on.take()).toBe("RCPT TO:<b@example.com>\r\n")
  })

  it("the latest submission is told apart from those before it, whether they have left or not", () => {
    const on = opened("SIZE")
    on.submitAs("a", mail)
    on.submitAs("b", rcpt("b"))
    on.submitAs("c", rcpt("c"))
    on.submitAs("b", rcpt("d"))
    expect(["a", "b", "c"].map((owner) => on.dialogue.isLatest(owner))).toStrictEqual([false, true, false])
  })

  it("each owner has its own oldest and latest reply to wait for", () => {
    const on = opened()
    on.submitAs("a", mail, rcpt("b"))
    on.submitAs("b", rcpt("c"))
    on.submitAs("b", Commands.rset)
    const { dialogue } = on
    const kinds = ["a", "b", "c"].map((owner) => [dialogue.headOf(owner), dialogue.tailOf(owner)])
    expect(kinds.map((both) => both.map((expected) => expected?.command.kind))).toStrictEqual([
      ["Mail", "Rcpt"],
      ["Rcpt", "Rset"],
      [undefined, undefined]
    ])
  })

  it("an empty group is nothing", () => {
    const on = opened()
    expect(on.submit()).toBeUndefined()
    expect(on.take()).toBe("")
    expect(on.dialogue.head() === undefined).toBe(true)
  })

  it("owners are served in the order of their groups, and each gets its own replies", () => {
    const on = opened()
    on.submitAs("a", mail, rcpt("b"))
    on.submitAs("b", Commands.rset)
    on.submitAs("a", Commands.noop)
    expect(on.take()).toBe("MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRSET\r\nNOOP\r\n")
    expect(on.early("250 a\r\n550 b\r\n250 c\r\n250 d\r\n")).toStrictEqual([
      "a: Mail 250 Success",
      "a: Rcpt 550 Refusal",
      "b: Rset 250 Success",
      "a: Noop 250 Success"
    ])
  })

  it("replies are matched by count, whatever their texts say", () => {
    const on = opened()
    on.submit(mail, rcpt("b"), rcpt("c"))
    expect(on.server("250 RCPT ok\r\n550 MAIL refused\r\n251 will forward\r\n")).toStrictEqual([
      "a: Mail 250 Success",
      "a: Rcpt 550 Refusal",
      "a: Rcpt 251 Success"
    ])
  })

  it("BDAT carries its octets behind its line, and more may follow (RFC 3030 section 2)", () => {
    const on = opened("PIPELINING,CHUNKING")
    on.submit(
      mail,
      rcpt("b"),
      Commands.bdat([octets("one"), octets("")], false),
      Commands.bdat([octets("two")], true)
    )
    on.submit(Commands.rset, mail)
    expect(on.take()).toBe(
      "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nBDAT 3\r\noneBDAT 3 LAST\r\ntwoRSET\r\nMAIL FROM:<>\r\n"
    )
  })

  it("what has left is remembered without its octets", () => {
    const sent: Array<Command> = []
    const on = opened("PIPELINING,CHUNKING", { dialect: "smtp", sent: (command) => sent.push(command) })
    const chunk = Commands.bdat([octets("one")], true)
    on.submit(mail, rcpt("b"), chunk)
    const { octets: none, ...line } = on.dialogue.tailOf("a")?.command ?? chunk
    expect(none).toEqual([])
    expect(line).toEqual({
      kind: "BdatLast",
      verb: "BDAT",
      line: "BDAT 3 LAST",
      place: "Anywhere",
      phase: "final",
      secret: false
    })
    expect(sent.flatMap((command) => command.octets)).toEqual([])
    expect(on.take()).toMatch(/BDAT 3 LAST\r\none$/)
  })

  it("an owner that is done with is no longer the latest, and is held by nothing", () => {
    const on = opened()
    on.submit(mail)
    expect(on.dialogue.isLatest("a")).toBe(true)
    expect(on.dialogue.isLatest("b")).toBe(false)
    on.dialogue.forget("b")
    expect(on.dialogue.isLatest("a")).toBe(true)
    on.server("250 ok\r\n")
    on.dialogue.forget("a")
    expect(on.dialogue.isLatest("a")).toBe(false)
  })

  it.each(["500", "502"])("%s to BDAT: the chunk was read as commands, and nothing follows", (code) => {
    const on = opened()
    on.submit(mail, rcpt("b"), Commands.bdat([octets("one")], true))
    expect(on.server(`250 ok\r\n250 ok\r\n${code} what\r\n500 what\r\n400 what\r\n`)).toStrictEqual([
      "a: Mail 250 Success",
      "a: Rcpt 250 Success",
      `a: BdatLast ${code} Refusal`
    ])
    expect(on.dialogue.state()).toBe("Closed")
  })

  it.each(["250 ok", "354 go", "what"])(
    "500 to BDAT, and then %s: the server took a part of it",
    (behind) => {
      const on = opened()
      on.submit(mail, rcpt("b"), Commands.bdat([octets("one")], true))
      expect(on.server(`250 ok\r\n250 ok\r\n500 what\r\n${behind}\r\n`).at(-1)).toBe(
        "Violated: the server does not know BDAT, and read the content as commands"
      )
    }
  )
})

describe("replies out of turn", () => {
  const moments: ReadonlyArray<readonly [string, () => Stage]> = [
    [
      "EHLO",
      () => {
        const on = stage()
        on.server("220 hi\r\n")
        on.submit(ehlo)
        return on
      }
    ],
    [
      "MAIL",
      () => {
        const on = opened()
        on.submit(mail)
        return on
      }
    ],
    [
      "RCPT",
      () => {
        const on = opened()
        on.submit(mail, rcpt("b"))
        on.server("250 ok\r\n")
        return on
      }
    ],
    [
      "DATA",
      () => {
        const on = opened()
        on.submit(Commands.data)
        return on
      }
    ],
    ["the content", () => flowing()],
    [
      "BDAT",
      () => {
        const on = opened()
        on.submit(Commands.bdat([], true))
        return on
      }
    ],
    [
      "STARTTLS",
      () => {
        const on = opened()
        on.submit(Commands.startTls)
        return on
      }
    ],
    [
      "AUTH",
      () => {
        const on = opened()
        on.submit(Commands.auth("PLAIN"))
        return on
      }
    ],
    [
      "QUIT",
      () => {
        const on = opened()
        on.submit(Commands.quit)
        return on
      }
    ],
    ["nothing", () => opened()],
    ["354 while the content is not yet begun", () => inData()]
  ]
  it.each(moments)("421 in answer to %s is a goodbye", (_, at) => {
    const on = at()
    expect(on.server("421 shutting down\r\n250 more\r\n")).toStrictEqual(["Goodbye 421"])
    expect(on.dialogue.hasEnded()).toBe(true)
    expect(on.take()).toBe("")
  })

  it("421 at each index of a group: the replies before it are kept", () => {
    for (let index = 0; index < 4; index++) {
      const on = opened()
      on.submit(mail, rcpt("b"), rcpt("c"), Commands.data)
      const events = on.server(`${"250 ok\r\n".repeat(index)}421 bye\r\n`)
      expect(events).toHaveLength(index + 1)
      expect(events.at(-1)).toBe("Goodbye 421")
      expect(on.dialogue.head()?.command.kind).toBe(["Mail", "Rcpt", "Rcpt", "Data"][index])
    }
  })

  it.each(["400", "421", "451", "554"])("an unsolicited %s is a goodbye", (code) => {
    expect(opened().early(`${code} idle too long\r\n`)).toStrictEqual([`Goodbye ${code}`])
  })

  it("a reply that had begun before its command left is not the answer to it, however it is cut", () => {
    const on = opened()
    on.early("250 str")
    on.submit(Commands.rset)
    expect(on.server("ay\r\n")).toStrictEqual(["Violated: a reply came that no command asked for"])
  })

  it("a reply that came whole behind half of another answers what had left by then", () => {
    const on = opened()
    on.submit(Commands.rset)
    on.server("250 o")
    on.submitAs("b", Commands.rset)
    expect(on.server("k\r\n250 ok\r\n")).toStrictEqual(["a: Rset 250 Success", "b: Rset 250 Success"])
  })

  it.each(["150", "250", "334", "354"])("an unsolicited %s is a violation", (code) => {
    expect(opened().early(`${code} what\r\n`)).toStrictEqual([
      "Violated: a reply came that no command asked for"
    ])
  })

  it("one reply too many is no answer to a command that has not left yet", () => {
    const on = opened()
    on.submit(Commands.rset)
    on.take()
    on.dialogue.receive(octets("250 ok\r\n250 one too many\r\n"))
    expect(on.dialogue.next()).toMatchObject({ _tag: "Replied" })
    on.submit(mail)
    expect(drain(on.dialogue)).toStrictEqual(["Violated: a reply came that no command asked for"])
  })

  it("a refusal before the command has left is a goodbye, and its owner still waits", () => {
    const on = opened()
    on.submit(mail)
    expect(on.early("451 idle too long\r\n")).toStrictEqual(["Goodbye 451"])
    expect(on.dialogue.headOf("a")?.command.kind).toBe("Mail")
  })

  it("a recipient accepted after its sender was refused (TRANSACTIONS 4)", () => {
    const on = opened()
    on.submit(mail, rcpt("b"))
    expect(on.server("550 no\r\n250 ok\r\n")).toStrictEqual([
      "a: Mail 550 Refusal",
      "Violated: a recipient was accepted after the sender was refused"
    ])
    expect(on.dialogue.state()).toBe("Closed")
  })

  it("a recipient of the next envelope may be accepted after a refused sender and RSET", () => {
    const on = opened()
    on.submit(mail, rcpt("b"), Commands.rset, mail, rcpt("c"))
    expect(on.server("550 no\r\n503 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n").at(-1)).toBe("a: Rcpt 250 Success")
    expect(on.dialogue.recipients()).toBe(1)
  })

  it.each(["150", "250", "334", "355"])("%s to DATA opens no content", (code) => {
    const on = opened()
    on.submit(mail, rcpt("b"), Commands.data)
    expect(on.server(`250 ok\r\n250 ok\r\n${code} what\r\n`).at(-1)).toBe(
      "Violated: DATA was answered by a reply that does not belong there"
    )
    expect(isInvalid(on.dialogue.beginContent("a"))).toBe(true)
  })

  it("octets that are no reply", () => {
    expect(opened().early("hello\r\n")).toStrictEqual([
      "Violated: a reply line does not begin with a code from 100 to 599"
    ])
  })

  it("the limits of replies are those of the options", () => {
    const limits = { lineLength: 20, lines: 2, replyLength: 40 }
    const on = stage({ dialect: "smtp", limits })
    expect(on.early(`220 ${"a".repeat(20)}\r\n`)).toStrictEqual([
      "Violated: a reply line is longer than 20 bytes"
    ])
  })
})

/*
 * - before, behind: the commands that have left when the goodbye comes, and the replies behind it
 * - reads on: whether those replies may still say what became of a message
 */
const goodbyes = `
  before                | sent | goodbye     | behind           | reads on | answers
  ----------------------|------|-------------|------------------|----------|-------------------------------
  LAST                  | all  | 421 bye     |                  | yes      | a: BdatLast 421
  LAST                  | all  | 421 bye     | 25               | yes      | a: BdatLast 421
  LAST                  | all  | 421 bye     | 250 queued as A1 | yes      |
  LAST                  | none | 421 bye     |                  | no       |
  RCPT LAST             | all  | 421 bye     | 250 queued as A1 | yes      | a: Rcpt 421, a: BdatLast 250
  RCPT LAST             | all  | 421 bye     | 250 ok           | yes      |
  RCPT LAST             | all  | 221 bye     | 250 queued as A1 | no       |
  RCPT LAST             | all  | 421 bye     | what             | yes      |
  RCPT LAST             | all  | 421 bye     |                  | yes      |
  RCPT                  | all  | 421 bye     | 250 ok           | no       |
  LAST LAST             | all  | 421 bye     |                  | yes      | a: BdatLast 421
  LAST RSET             | all  | 421 bye     |                  | yes      | a: BdatLast 421
`

describe("a goodbye while messages are on their way", () => {
  const rows = goodbyes
    .split("\n")
    .filter((line) => line.includes("|") && !line.includes("--|"))
    .slice(1)
    .map((line) => line.split("|").map((cell) => cell.trim()))
  const commands: Readonly<Record<string, Command>> = {
    RCPT: rcpt("c"),
    LAST: Commands.bdat([octets("one")], true),
    RSET: Commands.rset
  }
  const begun = (): Stage => {
    const on = opened("PIPELINING,CHUNKING")
    on.submit(mail, rcpt("b"))
    on.server("250 ok\r\n250 ok\r\n")
    return on
  }
  const answersOf = (on: Stage, handed = on.dialogue.taken()): string =>
    on.dialogue
      .readPast(handed)
      .map(({ pending, reply }) => `${pending.owner}: ${pending.command.kind} ${reply.code}`)
      .join(", ")

  it.each(rows)("%s, sent: %s: %s %s", (before = "", sent, goodbye = "", behind = "", readsOn, answers) => {
    const on = begun()
    on.submit(...before.split(" ").flatMap((name) => commands[name] ?? []))
    if (sent === "all") on.take()
    on.dialogue.receive(octets(`${goodbye}\r\n${behind}${behind.length > 2 ? "\r\n" : ""}`))
    expect(on.dialogue.next()).toMatchObject({ _tag: "Goodbye", readOn: readsOn === "yes" })
    expect(on.dialogue.state()).toBe(readsOn === "yes" ? "Parting" : "Closed")
    expect(on.submit(Commands.noop)).toBe("is closed")
    expect(drain(on.dialogue)).toStrictEqual([])
    expect(answersOf(on)).toBe(answers)
  })

  it("a goodbye that answers nothing makes nothing certain", () => {
    const on = begun()
    on.early("42")
    on.submit(Commands.bdat([octets("one")], true))
    on.take()
    on.dialogue.receive(octets("1 bye\r\n"))
    expect(on.dialogue.next()).toMatchObject({ _tag: "Goodbye", readOn: true })
    expect(answersOf(on)).toBe("")
  })

  it("only messages that were handed over whole count, and only their owners are told", () => {
    const on = begun()
    on.submitAs("b", rcpt("c"))
    on.submit(Commands.bdat([octets("one")], true))
    const end = on.dialogue.tailOf("a")?.end ?? 0
    on.submitAs("b", Commands.rset)
    on.take()
    on.early("421 bye\r\n250 queued as A1\r\n")
    expect([answersOf(on, end - 1), answersOf(on, end)]).toStrictEqual(["", "a: BdatLast 250"])
    on.early("250 reset\r\n")
    expect([answersOf(on), answersOf(on, end)]).toStrictEqual(["a: BdatLast 250", ""])
  })

  it("two messages of different owners are told both", () => {
    const on = begun()
    on.submit(rcpt("c"), Commands.bdat([octets("one")], true))
    on.submitAs("b", Commands.rset, mail, rcpt("d"), Commands.bdat([octets("two")], true))
    on.take()
    on.early("421 bye\r\n250 queued as A1\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 queued as A2\r\n")
    expect(answersOf(on)).toBe(
      "a: Rcpt 421, a: BdatLast 250, b: Rset 250, b: Mail 250, b: Rcpt 250, b: BdatLast 250"
    )
  })

  it("where all have their replies nothing is told", () => {
    expect(opened().dialogue.readPast(0)).toStrictEqual([])
  })
})

describe("content (RFC 5321 section 4.1.1.4)", () => {
  it("can begin only where 354 asked for it, and once", () => {
    const on = opened()
    expect(isInvalid(on.dialogue.beginContent("a"))).toBe(true)
    inData(["b"], on)
    expect(on.dialogue.beginContent("a")).toBeUndefined()
    expect(on.dialogue.beginContent("a")).toMatchObject({
      field: "content",
      reason: "was not asked for by a 354 reply"
    })
  })

  it("puts nothing on the wire before it has begun, after its end, or on a closed dialogue", () => {
    const before = stage()
    before.dialogue.content([octets("x")], false)
    expect(before.take()).toBe("")
    const notBegun = inData()
    notBegun.dialogue.content([octets("x")], true)
    expect(notBegun.take()).toBe("")
    expect(notBegun.dialogue.state()).toBe("Content")
    const ended = flowing()
    ended.dialogue.content([octets(".\r\n")], true)
    ended.dialogue.content([octets("x")], false)
    expect(ended.take()).toBe(".\r\n")
    const closed = flowing()
    closed.dialogue.close()
    closed.dialogue.content([octets("x")], true)
    expect(closed.take()).toBe("")
    expect(closed.dialogue.state()).toBe("Closed")
  })

  it("commands submitted while it flows leave with its end, in one write", () => {
    const on = flowing()
    expect(on.submitAs("b", Commands.rset, mail, rcpt("c"))).toBeUndefined()
    expect(on.take()).toBe("")
    on.dialogue.content([octets("end\r\n"), octets(".\r\n")], true)
    expect(on.take()).toBe("end\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<c@example.com>\r\n")
    expect(on.early("250 queued\r\n250 reset\r\n250 ok\r\n550 no\r\n")).toStrictEqual([
      "a: Final 250 Success",
      "b: Rset 250 Success",
      "b: Mail 250 Success",
      "b: Rcpt 550 Refusal"
    ])
  })

  it("without PIPELINING they wait for the final reply", () => {
    const on = opened("SIZE")
    for (const [command, reply] of [
      [mail, "250 ok\r\n"],
      [rcpt("b"), "250 ok\r\n"],
      [Commands.data, "354 go\r\n"]
    ] as const) {
      on.submit(command)
      on.server(reply)
    }
    on.dialogue.beginContent("a")
    on.submitAs("b", Commands.rset)
    on.dialogue.content([octets(".\r\n")], true)
    expect(on.take()).toBe(".\r\n")
    on.early("250 queued\r\n")
    expect(on.take()).toBe("RSET\r\n")
  })

  it("the final reply is expected from its beginning, and overdue only once its end has left", () => {
    const on = flowing()
    expect(on.dialogue.head()).toMatchObject({ owner: "a", command: { kind: "Final" }, end: Infinity })
    on.dialogue.content([octets(".\r\n")], true)
    const { end } = on.dialogue.head() ?? { end: 0 }
    expect(end).toBe(on.dialogue.taken() + 3)
    on.take()
    expect(end).toBe(on.dialogue.taken())
  })

  it("an end without octets of its own is due as soon as what came before it has left", () => {
    const on = flowing()
    on.dialogue.content([], true)
    expect(on.take()).toBe("")
    expect(on.dialogue.head()?.end).toBe(on.dialogue.taken())
    expect(on.early("250 queued\r\n")).toStrictEqual(["a: Final 250 Success"])
  })

  it("2yz before its end is a violation (TRANSACTIONS 20)", () => {
    expect(flowing().early("250 queued\r\n")).toStrictEqual([
      "Violated: the message was accepted before its end was sent"
    ])
  })

  it("2yz behind 354, before the end was handed out, is a violation", () => {
    const on = opened()
    on.submit(mail, rcpt("b"), Commands.data)
    on.take()
    on.dialogue.receive(octets("250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n"))
    for (let replies = 0; replies < 3; replies++) expect(on.dialogue.next()?._tag).toBe("Replied")
    on.dialogue.beginContent("a")
    on.dialogue.content([octets(".\r\n")], true)
    expect(drain(on.dialogue)).toStrictEqual(["Violated: the message was accepted before its end was sent"])
    expect(on.take()).toBe("")
  })

  it.each(["452", "552"])("%s before its end is its answer, and ends the dialogue", (code) => {
    const on = flowing()
    expect(on.early(`${code} full\r\n`)).toStrictEqual([`a: Final ${code} Refusal`])
    expect(on.dialogue.state()).toBe("Closed")
    on.dialogue.content([octets("more")], true)
    expect(on.take()).toBe("")
  })

  it.each(["250", "452", "552"])("%s after its end is its answer, and the dialogue goes on", (code) => {
    const on = flowing()
    on.dialogue.content([octets(".\r\n")], true)
    on.server(`${code} so\r\n`)
    expect(on.dialogue.state()).toBe("Open")
    expect(on.dialogue.head() === undefined).toBe(true)
  })

  it("1yz and 3yz are no verdict", () => {
    for (const code of [150, 354]) {
      const on = flowing()
      on.dialogue.content([octets(".\r\n")], true)
      expect(on.server(`${code} go on\r\n`)).toStrictEqual([
        "Violated: the content was answered by a reply that does not belong there"
      ])
    }
  })
})

describe("STARTTLS (RFC 3207)", () => {
  const requested = (): Stage => {
    const on = opened("PIPELINING,STARTTLS,ENHANCEDSTATUSCODES,SIZE 1000")
    on.submit(Commands.startTls)
    on.take()
    return on
  }
  const upgrading = (): Stage => {
    const on = requested()
    on.early("220 go\r\n")
    return on
  }
  const injection = ["Injection: plaintext follows the reply to STARTTLS"]

  it("after 220 nothing is written before the handshake", () => {
    const on = upgrading()
    on.submit(ehlo)
    expect(on.dialogue.state()).toBe("Upgrading")
    expect(on.take()).toBe("")
    on.dialogue.upgraded()
    expect(on.take()).toBe("EHLO client.example\r\n")
    expect(on.dialogue.secured()).toBe(true)
  })

  it.each(["250 injected\r\n", "2", "\r\n", "250-", "\0"])("%j behind the 220 is an injection", (text) => {
    const on = requested()
    expect(on.early(`220 go\r\n${text}`)).toStrictEqual(injection)
    expect(on.dialogue.state()).toBe("Closed")
  })

  it.each(["250 injected\r\n", "2", "\r\n", "250-", "\0", "421 bye\r\n"])(
    "%j in a later receive is an injection",
    (text) => {
      const on = upgrading()
      expect(on.early(text)).toStrictEqual(injection)
      expect(on.dialogue.state()).toBe("Closed")
      on.dialogue.upgraded()
      expect(on.dialogue.state()).toBe("Closed")
    }
  )

  it("plaintext that nobody has looked at before the handshake never becomes part of a reply", () => {
    const on = upgrading()
    on.dialogue.receive(octets("250-injected"))
    on.dialogue.upgraded()
    expect(drain(on.dialogue)).toStrictEqual(injection)
    expect(on.submit(ehlo)).toBe("is closed")
  })

  it.each(["454 not now", "501 no", "503 no"])("%s leaves the dialogue as it was", (reply) => {
    const on = requested()
    expect(on.early(`${reply}\r\n`)).toStrictEqual([`a: StartTls ${reply.slice(0, 3)} Refusal`])
    expect(on.dialogue.state()).toBe("Open")
    expect(on.dialogue.secured()).toBe(false)
    expect(on.dialogue.capabilities().pipelining).toBe(true)
  })

  it.each(["235", "250", "354"])("%s begins no handshake", (code) => {
    expect(requested().early(`${code} what\r\n`)).toStrictEqual([
      "Violated: STARTTLS was answered by a reply that does not belong there"
    ])
  })

  it("all that was known from before is forgotten (section 4.2)", () => {
    const on = opened("PIPELINING,STARTTLS,ENHANCEDSTATUSCODES,AUTH PLAIN")
    on.submit(Commands.auth("PLAIN AGEAYg=="))
    on.server("235 ok\r\n")
    on.submit(mail)
    on.server("250 ok\r\n")
    on.submit(Commands.startTls)
    on.server("220 go\r\n")
    on.dialogue.upgraded()
    expect(on.dialogue.capabilities().rawLines).toStrictEqual([])
    expect(on.dialogue.authenticated()).toBe(false)
    expect(on.dialogue.inTransaction()).toBe(false)
    on.submit(Commands.noop)
    on.take()
    on.dialogue.receive(octets("250 2.0.0 ok\r\n"))
    expect(on.dialogue.next()).toMatchObject({ reply: { enhancedCode: { advertised: false } } })
    on.submit(mail, rcpt("b"))
    expect(on.take()).toBe("MAIL FROM:<>\r\n")
  })

  it("is refused on TLS", () => {
    const on = upgrading()
    on.dialogue.upgraded()
    expect(on.submit(Commands.startTls)).toBe("has TLS already")
  })

  it("a handshake that ends after the dialogue does not revive it", () => {
    const on = upgrading()
    on.dialogue.close()
    on.dialogue.upgraded()
    expect(on.dialogue.state()).toBe("Closed")
    expect(on.submit(ehlo)).toBe("is closed")
  })
})

describe("capabilities (RFC 5321 section 4.1.1.1)", () => {
  it("those of the second EHLO replace those of the first", () => {
    const on = opened("PIPELINING,SIZE 1000,STARTTLS")
    on.submit(ehlo)
    on.server("250-mail.example\r\n250 SIZE 2000\r\n")
    const { size, starttls, pipelining } = on.dialogue.capabilities()
    expect({ size, starttls, pipelining }).toStrictEqual({ size: 2000, starttls: false, pipelining: false })
  })

  it("say that the server was greeted, until TLS begins", () => {
    const on = stage()
    on.server("220 hi\r\n")
    on.submit(ehlo)
    on.server("504 no\r\n")
    expect(on.dialogue.greeted()).toBe(false)
    on.submit(ehlo)
    on.server("250-mail.example\r\n250 STARTTLS\r\n")
    expect(on.dialogue.greeted()).toBe(true)
    on.submit(Commands.startTls)
    on.server("220 go\r\n")
    on.dialogue.upgraded()
    expect(on.dialogue.greeted()).toBe(false)
  })

  it("HELO empties them", () => {
    const on = opened("SIZE 1000")
    on.submit(Commands.helo("client.example"))
    on.server("250-mail.example\r\n250 SIZE 2000\r\n")
    expect(on.dialogue.capabilities().rawLines).toStrictEqual([])
  })

  it("a refused EHLO changes nothing", () => {
    const on = opened("SIZE 1000")
    on.submit(ehlo)
    on.server("504 no\r\n")
    expect(on.dialogue.capabilities().size).toBe(1000)
  })

  it("enhanced codes are advertised from the reply after the EHLO that announces them", () => {
    const on = opened("ENHANCEDSTATUSCODES")
    const advertised = (): unknown => {
      on.submit(Commands.noop)
      on.take()
      on.dialogue.receive(octets("250 2.0.0 ok\r\n"))
      const event = on.dialogue.next()
      return event?._tag === "Replied" ? event.reply.enhancedCode?.advertised : event
    }
    expect(advertised()).toBe(true)
    on.submit(Commands.helo("client.example"))
    on.server("250 mail.example\r\n")
    expect(advertised()).toBe(false)
  })
})

describe("AUTH (RFC 4954)", () => {
  it("goes on with responses until its end; nothing else passes in between", () => {
    const on = opened("PIPELINING,AUTH LOGIN")
    expect(on.submit(Commands.authResponse("x"))).toBe("is in no authentication exchange")
    on.submit(Commands.auth("LOGIN"))
    on.submitAs("b", mail)
    expect(on.submit(Commands.authResponse("x"))).toBe("is in no authentication exchange")
    expect(on.server("334 VXNlcg==\r\n")).toStrictEqual(["a: Auth 334 Intermediate"])
    expect(on.dialogue.state()).toBe("Responding")
    expect(on.submit(Commands.noop)).toBe("is in the middle of an authentication exchange")
    expect(on.submit()).toBeUndefined()
    expect(on.take()).toBe("")
    on.submit(Commands.authResponse("YQ=="))
    expect(on.take()).toBe("YQ==\r\n")
    expect(on.early("334 UGFzcw==\r\n")).toStrictEqual(["a: AuthResponse 334 Intermediate"])
    on.submit(Commands.authResponse(""))
    expect(on.take()).toBe("\r\n")
    expect(on.dialogue.authenticated()).toBe(false)
    expect(on.early("235 ok\r\n")).toStrictEqual(["a: AuthResponse 235 Success"])
    expect(on.dialogue.authenticated()).toBe(true)
    expect(on.take()).toBe("MAIL FROM:<>\r\n")
  })

  it("a cancelled exchange leaves the dialogue open and not authenticated", () => {
    const on = opened("AUTH LOGIN")
    on.submit(Commands.auth("LOGIN"))
    on.server("334 \r\n")
    on.submit(Commands.authResponse("*"))
    expect(on.server("501 cancelled\r\n")).toStrictEqual(["a: AuthResponse 501 Refusal"])
    expect(on.dialogue.state()).toBe("Open")
    expect(on.dialogue.authenticated()).toBe(false)
  })

  it("is refused after success and inside a transaction (section 4)", () => {
    const on = opened("AUTH PLAIN")
    on.submit(mail)
    expect(on.submit(Commands.auth("PLAIN"))).toBe("is in a mail transaction")
    on.server("550 no\r\n")
    expect(on.submit(Commands.auth("PLAIN AGEAYg=="))).toBeUndefined()
    on.server("235 ok\r\n")
    expect(on.submit(Commands.auth("PLAIN"))).toBe("is authenticated already")
  })

  it("its secrets are withheld from replies, and nothing else is", () => {
    const textOfNext = (on: Stage, text: string): string | undefined => {
      on.take()
      on.dialogue.receive(octets(text))
      const event = on.dialogue.next()
      return event?._tag === "Replied" ? event.reply.text : event?._tag
    }
    const on = opened("AUTH PLAIN")
    on.submit(Commands.mail("MAIL FROM:<longish.name@example.com>"))
    expect(textOfNext(on, "501 no MAIL FROM:<longish.name@example.com>\r\n")).toBe(
      "no MAIL FROM:<longish.name@example.com>"
    )
    on.submit(Commands.auth("PLAIN AGFubgBzZWNyZXQtd29yZA=="))
    expect(textOfNext(on, "535 no AGFubgBzZWNyZXQtd29yZA==\r\n")).not.toContain("zZWNyZXQtd29")
    on.submit(Commands.auth("PLAIN AGFubgBzZWNyZXQtd29yZB=="))
    expect(textOfNext(on, "334 AGFubgBzZWNyZXQtd29yZB==\r\n")).toBe("AGFubgBzZWNyZXQtd29yZB==")
    on.submit(Commands.authResponse("*"))
    expect(textOfNext(on, "334 AGFubgBzZWNyZXQtd29yZB==\r\n")).not.toContain("zZWNyZXQtd29")
  })

  it("a refusal may be followed by another attempt", () => {
    const on = opened("AUTH PLAIN")
    on.submit(Commands.auth("PLAIN AGEAYg=="))
    on.server("535 no\r\n")
    expect(on.submit(Commands.auth("PLAIN AGEAYw=="))).toBeUndefined()
    expect(on.take()).toBe("AUTH PLAIN AGEAYw==\r\n")
  })
})

describe("QUIT", () => {
  it("its reply closes the dialogue, and what came behind it is never sent", () => {
    const on = opened()
    on.submit(Commands.quit)
    on.submitAs("b", mail)
    expect(on.server("221 bye\r\n")).toStrictEqual(["a: Quit 221 Success"])
    expect(on.dialogue.state()).toBe("Closed")
    expect(on.take()).toBe("")
    expect(on.submit(Commands.noop)).toBe("is closed")
    expect(on.early("250 more\r\n")).toStrictEqual([])
  })

  it("a refused one leaves it open", () => {
    const on = opened()
    on.submit(Commands.quit)
    on.server("503 no\r\n")
    expect(on.dialogue.state()).toBe("Open")
  })
})

describe("LMTP (RFC 2033 section 4.2)", () => {
  it("the end of the content has one reply for each accepted recipient", () => {
    const on = lmtp()
    on.submit(mail, rcpt("b"), rcpt("c"), rcpt("d"), Commands.data)
    on.server("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    on.dialogue.beginContent("a")
    on.dialogue.content([octets(".\r\n")], true)
    expect(on.server("250 b\r\n452 d\r\n")).toStrictEqual([
      "a: Final 250 Success, more",
      "a: Final 452 Refusal"
    ])
    expect(on.dialogue.head() === undefined).toBe(true)
  })

  it("so has BDAT LAST, and the chunks before it one each", () => {
    const on = lmtp("PIPELINING,CHUNKING")
    on.submit(mail, rcpt("b"), rcpt("c"), Commands.bdat([octets("x")], false), Commands.bdat([], true))
    expect(on.server("250 ok\r\n250 ok\r\n250 ok\r\n250 1\r\n250 b\r\n250 c\r\n")).toStrictEqual([
      "a: Mail 250 Success",
      "a: Rcpt 250 Success",
      "a: Rcpt 250 Success",
      "a: Bdat 250 Success",
      "a: BdatLast 250 Success, more",
      "a: BdatLast 250 Success"
    ])
  })

  it("content without an envelope has one reply", () => {
    const on = lmtp("PIPELINING,CHUNKING")
    on.submit(Commands.bdat([], true))
    expect(on.server("503 no\r\n")).toStrictEqual(["a: BdatLast 503 Refusal"])
  })

  it("content with nobody accepted has one reply", () => {
    const on = lmtp("PIPELINING,CHUNKING")
    on.submit(mail, rcpt("b"), Commands.bdat([], true))
    expect(on.server("250 ok\r\n550 no\r\n503 no\r\n").at(-1)).toBe("a: BdatLast 503 Refusal")
    expect(on.dialogue.head() === undefined).toBe(true)
  })

  it("one reply beyond the last is not taken for the answer to a later command", () => {
    const on = flowing(["b", "c"], lmtp())
    on.dialogue.content([octets(".\r\n")], true)
    expect(on.server("250 b\r\n250 c\r\n250 d\r\n").at(-1)).toBe(
      "Violated: a reply came that no command asked for"
    )
  })

  it("nothing is written past the content before its last reply (TRANSACTIONS 13)", () => {
    const on = flowing(["b", "c"], lmtp())
    on.submitAs("b", mail, rcpt("d"))
    on.dialogue.content([octets(".\r\n")], true)
    expect(on.take()).toBe(".\r\n")
    on.early("250 b\r\n")
    expect(on.take()).toBe("")
    on.early("250 c\r\n")
    expect(on.take()).toBe("MAIL FROM:<>\r\nRCPT TO:<d@example.com>\r\n")
  })

  it("nor past BDAT LAST", () => {
    const on = lmtp("PIPELINING,CHUNKING")
    on.submit(mail, rcpt("b"), Commands.bdat([], true), Commands.rset)
    expect(on.take()).toMatch(/BDAT 0 LAST\r\n$/)
    on.early("250 ok\r\n250 ok\r\n250 b\r\n")
    expect(on.take()).toBe("RSET\r\n")
  })

  it("a refusal in the middle of the content is one for all", () => {
    const on = flowing(["b", "c"], lmtp())
    expect(on.early("452 full\r\n")).toStrictEqual(["a: Final 452 Refusal"])
    expect(on.dialogue.state()).toBe("Closed")
  })

  it("421 among the final replies is a goodbye", () => {
    const on = flowing(["b", "c"], lmtp())
    on.dialogue.content([octets(".\r\n")], true)
    expect(on.server("250 b\r\n421 bye\r\n")).toStrictEqual(["a: Final 250 Success, more", "Goodbye 421"])
    expect(on.dialogue.headOf("a")?.command.kind).toBe("Final")
  })
})

describe("withdraw", () => {
  it("drops what has not left, and says whether a reply is missing", () => {
    const on = opened("SIZE")
    on.submitAs("a", mail, rcpt("b"))
    on.submitAs("b", Commands.rset)
    on.take()
    expect(on.dialogue.withdraw("a")).toBe(false)
    expect(on.dialogue.withdraw("c")).toBe(true)
    expect(on.early("250 ok\r\n")).toStrictEqual(["a: Mail 250 Success"])
    expect(on.take()).toBe("RSET\r\n")
    expect(on.dialogue.withdraw("a")).toBe(true)
  })

  it("of a group that nothing has left of leaves no trace", () => {
    const on = opened()
    on.submitAs("b", Commands.noop)
    on.submitAs("a", mail)
    expect(on.dialogue.withdraw("a")).toBe(true)
    on.server("250 ok\r\n")
    expect(on.take()).toBe("")
    expect(on.dialogue.mails()).toBe(0)
    expect(on.dialogue.head() === undefined).toBe(true)
  })
})

describe("places on the wire", () => {
  it("a take gives everything once, and every expectation ends with the last octet of its command", () => {
    const on = opened()
    const before = on.dialogue.taken()
    expect(on.dialogue.take()).toStrictEqual([])
    expect(on.dialogue.taken()).toBe(before)
    on.submit(mail, rcpt("b"))
    expect(on.dialogue.head()?.end).toBe(before + "MAIL FROM:<>\r\n".length)
    expect(on.dialogue.taken()).toBe(before)
    on.take()
    const envelope = "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n".length
    expect(on.dialogue.taken()).toBe(before + envelope)
    on.submit(rcpt("c"))
    on.early("250 ok\r\n250 ok\r\n")
    expect(on.dialogue.head()?.end).toBe(before + envelope + "RCPT TO:<c@example.com>\r\n".length)
    expect(on.dialogue.put()).toBe(on.dialogue.head()?.end)
  })

  it.each(["é", "€", "\u{1F600}", "aé€\u{1F600}"])("they count octets and not characters: %s", (name) => {
    const on = opened()
    const before = on.dialogue.put()
    on.submit(rcpt(name))
    expect(on.dialogue.put() - before).toBe(octets(`RCPT TO:<${name}@example.com>\r\n`).length)
  })

  it("what was taken does not change afterwards", () => {
    const on = opened()
    const empty = on.dialogue.take()
    on.submit(mail)
    const first = on.dialogue.take()
    on.submit(rcpt("b"))
    on.dialogue.take()
    expect(textOf(empty)).toBe("")
    expect(textOf(first)).toBe("MAIL FROM:<>\r\n")
  })

  it("tells of each command as it is given to the wire, in order", () => {
    const sent: Array<string> = []
    const on = stage({ dialect: "smtp", sent: ({ kind }) => sent.push(kind) })
    on.submit(ehlo)
    expect(sent).toStrictEqual([])
    on.early("220 hi\r\n")
    on.server("250 mail.example\r\n")
    on.submit(mail, rcpt("b"))
    expect(sent).toStrictEqual(["Ehlo", "Mail"])
  })
})

describe("the envelope", () => {
  it("every MAIL on the wire counts, refused ones too (RFC 9422 section 4)", () => {
    const on = opened()
    on.submit(mail, Commands.rset, mail)
    on.server("250 ok\r\n250 ok\r\n550 no\r\n")
    on.submit(ehlo)
    on.server("250 mail.example\r\n")
    expect(on.dialogue.mails()).toBe(2)
  })

  it("stands from MAIL on, pending or accepted, until RSET, EHLO or the end of the content", () => {
    const on = opened()
    expect(on.dialogue.inTransaction()).toBe(false)
    on.submit(mail)
    expect(on.dialogue.inTransaction()).toBe(true)
    on.server("250 ok\r\n")
    expect(on.dialogue.inTransaction()).toBe(true)
    on.submit(Commands.rset)
    expect(on.dialogue.inTransaction()).toBe(false)
    on.server("250 ok\r\n")
    on.submit(mail)
    on.server("550 no\r\n")
    expect(on.dialogue.inTransaction()).toBe(false)
    on.submit(mail)
    on.server("250 ok\r\n")
    on.submit(ehlo)
    on.server("250-mail.example\r\n250 PIPELINING\r\n")
    expect(on.dialogue.inTransaction()).toBe(false)
    flowing(["b"], on)
    expect(on.dialogue.inTransaction()).toBe(true)
    on.dialogue.content([octets(".\r\n")], true)
    expect(on.dialogue.inTransaction()).toBe(false)
  })

  it("ends with the last chunk", () => {
    const on = opened("PIPELINING,CHUNKING")
    on.submit(mail, rcpt("b"), Commands.bdat([], false))
    expect(on.dialogue.inTransaction()).toBe(true)
    on.submit(Commands.bdat([], true))
    expect(on.dialogue.inTransaction()).toBe(false)
  })

  it.each([
    ["MAIL", false, true, false],
    ["MAIL RSET", false, false, true],
    ["MAIL RSET MAIL", false, true, false],
    ["NOOP", false, false, false],
    ["RSET", false, false, true],
    ["MAIL NOOP", false, true, false],
    ["NOOP", true, true, false],
    ["RSET", true, false, true],
    ["RSET NOOP", true, false, false],
    ["RSET MAIL", true, true, false]
  ])("that %s waits to leave, and MAIL has been accepted: %s", (waiting, isBegun, inside, resetting) => {
    const on = opened("SIZE")
    if (isBegun) {
      on.submit(mail)
      on.server("250 ok\r\n")
    }
    on.submit(Commands.vrfy("b"))
    for (const name of waiting.split(" "))
      on.submit(name === "MAIL" ? mail : name === "RSET" ? Commands.rset : Commands.noop)
    expect([on.dialogue.inTransaction(), on.dialogue.resetting()]).toStrictEqual([inside, resetting])
  })

  it("is being reset while the reply to RSET is missing, and nothing comes behind it", () => {
    const on = opened()
    expect(on.dialogue.resetting()).toBe(false)
    on.submit(mail, Commands.rset)
    expect(on.dialogue.resetting()).toBe(true)
    on.submit(mail)
    expect(on.dialogue.resetting()).toBe(false)
    on.server("250 ok\r\n250 ok\r\n250 ok\r\n")
    expect(on.dialogue.resetting()).toBe(false)
  })

  it("of another MAIL stands though the one before it is refused", () => {
    const on = opened()
    on.submit(mail, Commands.rset, mail)
    on.server("550 no\r\n")
    expect(on.dialogue.inTransaction()).toBe(true)
  })

  it("stands though a MAIL inside it is refused (RFC 5321 section 4.1.4)", () => {
    const on = opened()
    on.submit(mail, rcpt("b"), mail)
    on.server("250 ok\r\n250 ok\r\n503 nested\r\n")
    expect([on.dialogue.inTransaction(), on.dialogue.recipients()]).toStrictEqual([true, 1])
  })

  it("counts the recipients that were accepted", () => {
    const on = opened()
    expect(on.dialogue.recipients()).toBe(0)
    on.submit(mail, rcpt("b"), rcpt("c"), rcpt("d"))
    on.server("250 ok\r\n250 ok\r\n550 no\r\n")
    expect(on.dialogue.recipients()).toBe(1)
    on.early("251 forwards\r\n")
    expect(on.dialogue.recipients()).toBe(2)
  })
})

describe("close", () => {
  it("ends everything; what was expected stays visible", () => {
    const on = opened()
    on.submit(mail, rcpt("b"))
    on.take()
    on.submit(Commands.noop)
    on.dialogue.close()
    expect(on.dialogue.state()).toBe("Closed")
    expect(on.take()).toBe("")
    expect(on.early("250 ok\r\n")).toStrictEqual([])
    expect(on.submit(Commands.quit)).toBe("is closed")
    expect(on.dialogue.headOf("a")?.command.kind).toBe("Mail")
  })
})

describe("every state, command and class of reply", () => {
  const replies = ["150", "220", "250", "334", "354", "355", "421", "450", "500", "550"] as const
  const open = (): Stage => opened("PIPELINING,STARTTLS,CHUNKING,AUTH LOGIN")
  const responding = (): Stage => {
    const on = open()
    on.submit(Commands.auth("LOGIN"))
    on.server("334 \r\n")
    return on
  }
  const turned = (): Stage => {
    const on = stage()
    on.server("554 no\r\n")
    return on
  }
  const put =
    (command: Command, from: () => Stage = open) =>
    (): Stage => {
      const on = from()
      expect(on.submit(command)).toBeUndefined()
      return on
    }
  const ended = (): Stage => {
    const on = flowing()
    on.dialogue.content([octets(".\r\n")], true)
    return on
  }

  const O: State = "Open"
  const X: State = "Closed"
  const P: State = "Parting"
  // 150 220 250 334 354 355 421 450 500 550
  const completion: ReadonlyArray<State> = [X, O, O, X, X, X, X, O, O, O]
  const rows: ReadonlyArray<readonly [string, () => Stage, State, ReadonlyArray<State>]> = [
    [
      "Greeting: the greeting",
      stage,
      "Greeting",
      ["Turned", O, "Turned", "Turned", "Turned", "Turned", "Turned", "Turned", "Turned", "Turned"]
    ],
    [
      "Turned: QUIT",
      put(Commands.quit, turned),
      "Waiting",
      [X, X, X, X, X, X, X, "Turned", "Turned", "Turned"]
    ],
    ["Open: EHLO", put(ehlo), "Waiting", completion],
    ["Open: HELO", put(Commands.helo("c.example")), "Waiting", completion],
    ["Open: STARTTLS", put(Commands.startTls), "Waiting", [X, "Upgrading", X, X, X, X, X, O, O, O]],
    ["Open: AUTH", put(Commands.auth("LOGIN")), "Waiting", [X, O, O, "Responding", X, X, X, O, O, O]],
    [
      "Responding: a response",
      put(Commands.authResponse("YQ=="), responding),
      "Waiting",
      [X, O, O, "Responding", X, X, X, O, O, O]
    ],
    ["Open: MAIL", put(mail), O, completion],
    ["Open: RCPT", put(rcpt("b")), O, completion],
    ["Open: DATA", put(Commands.data), "Waiting", [X, X, X, X, "Content", X, X, O, O, O]],
    ["Content: a final reply before the end", () => flowing(), "Content", [X, X, X, X, X, X, X, X, X, X]],
    ["Open: the final reply", ended, O, [X, X, O, X, X, X, P, O, O, O]],
    ["Open: BDAT", put(Commands.bdat([], false)), O, [X, X, O, X, X, X, X, O, X, O]],
    ["Open: BDAT LAST", put(Commands.bdat([], true)), O, [X, X, O, X, X, X, P, O, X, O]],
    ["Open: RSET", put(Commands.rset), O, completion],
    ["Open: NOOP", put(Commands.noop), "Waiting", completion],
    ["Open: VRFY", put(Commands.vrfy("b")), "Waiting", completion],
    ["Open: EXPN", put(Commands.expn("b")), "Waiting", completion],
    ["Open: HELP", put(Commands.help("")), "Waiting", completion],
    ["Open: QUIT", put(Commands.quit), "Waiting", [X, X, X, X, X, X, X, O, O, O]],
    ["Open: nothing", open, O, [X, X, X, X, X, X, X, X, X, X]],
    ["Content: nothing", () => inData(), "Content", [X, X, X, X, X, X, X, X, X, X]]
  ]
  for (const [name, arrange, before, after] of rows) {
    it(name, () => {
      const reached = replies.map((code) => {
        const on = arrange()
        expect(on.dialogue.state()).toBe(before)
        on.server(`${code} so\r\n`)
        return on.dialogue.state()
      })
      expect(reached).toStrictEqual(after)
    })
  }

  const upgrading = (): Stage => {
    const on = open()
    on.submit(Commands.startTls)
    on.server("220 go\r\n")
    return on
  }
  const closed = (): Stage => {
    const on = open()
    on.dialogue.close()
    return on
  }
  const commands: ReadonlyArray<readonly [Kind, Command]> = [
    ["Ehlo", ehlo],
    ["Helo", Commands.helo("c.example")],
    ["StartTls", Commands.startTls],
    ["Auth", Commands.auth("LOGIN")],
    ["AuthResponse", Commands.authResponse("YQ==")],
    ["Mail", mail],
    ["Rcpt", rcpt("b")],
    ["Data", Commands.data],
    ["Bdat", Commands.bdat([], false)],
    ["BdatLast", Commands.bdat([], true)],
    ["Rset", Commands.rset],
    ["Noop", Commands.noop],
    ["Vrfy", Commands.vrfy("b")],
    ["Expn", Commands.expn("b")],
    ["Help", Commands.help("")],
    ["Quit", Commands.quit]
  ]
  const states: ReadonlyArray<
    readonly [State, () => Stage, "written" | "queued" | "refused", Partial<Record<Kind, string>>]
  > = [
    ["Greeting", stage, "queued", { AuthResponse: "refused" }],
    ["Turned", turned, "refused", { Quit: "written" }],
    ["Open", open, "written", { AuthResponse: "refused" }],
    ["Waiting", put(Commands.noop), "queued", { AuthResponse: "refused" }],
    ["Responding", responding, "refused", { AuthResponse: "written" }],
    ["Content", inData, "queued", { AuthResponse: "refused", Auth: "refused" }],
    ["Upgrading", upgrading, "queued", { AuthResponse: "refused" }],
    ["Closed", closed, "refused", {}]
  ]
  for (const [state, arrange, otherwise, exceptions] of states) {
    it(`${state}: which commands pass`, () => {
      for (const [kind, command] of commands) {
        const on = arrange()
        on.take()
        expect(on.dialogue.state()).toBe(state)
        const refused = on.submit(command) !== undefined
        const outcome = refused ? "refused" : on.take() === "" ? "queued" : "written"
        expect(`${kind}: ${outcome}`).toBe(`${kind}: ${exceptions[kind] ?? otherwise}`)
      }
    })
  }
})

// How often each property below is tried. A long search: FUZZ_RUNS=100000.
const runs = runsOf(500)

type Move =
  | { readonly _tag: "Submit"; readonly owner: string; readonly group: number; readonly recipients: number }
  | { readonly _tag: "Take" }
  /** The server answers as many of the commands that have reached it as there are picks. */
  | { readonly _tag: "Answer"; readonly take: boolean; readonly picks: ReadonlyArray<number> }
  | { readonly _tag: "Content"; readonly last: boolean }
  | { readonly _tag: "Upgraded" }
  | { readonly _tag: "Withdraw"; readonly owner: string }
  | { readonly _tag: "Noise"; readonly octets: Uint8Array }
  | { readonly _tag: "Close" }

const pick = FastCheck.nat({ max: 63 })
const ownerName = FastCheck.constantFrom("a", "b", "c")

const validMove: FastCheck.Arbitrary<Move> = FastCheck.oneof(
  {
    weight: 4,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Submit" as const),
      owner: ownerName,
      group: FastCheck.nat({ max: 27 }),
      recipients: FastCheck.nat({ max: 4 })
    })
  },
  { weight: 4, arbitrary: FastCheck.constant({ _tag: "Take" as const }) },
  {
    weight: 10,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Answer" as const),
      take: FastCheck.boolean(),
      picks: FastCheck.array(pick, { minLength: 1, maxLength: 12, size: "max" })
    })
  },
  {
    weight: 3,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Content" as const), last: FastCheck.boolean() })
  },
  { weight: 1, arbitrary: FastCheck.constant({ _tag: "Upgraded" as const }) },
  {
    weight: 1,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Withdraw" as const), owner: ownerName })
  }
)

const noise: FastCheck.Arbitrary<Uint8Array> = FastCheck.oneof(
  FastCheck.uint8Array({ maxLength: 12 }),
  FastCheck.constantFrom(
    "250 ok\r\n",
    "250-ok\r\n",
    "354 go\r\n",
    "334 \r\n",
    "220 go\r\n",
    "421 bye\r\n",
    "550 no\r\n",
    "25",
    "\r\n",
    "\n"
  ).map(octets)
)

const wildMove: FastCheck.Arbitrary<Move> = FastCheck.oneof(
  { weight: 60, arbitrary: validMove },
  { weight: 2, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Noise" as const), octets: noise }) },
  { weight: 1, arbitrary: FastCheck.constant({ _tag: "Close" as const }) }
)

/**
 * What reaches a server, read without the help of the code under test: command lines, chunks, and the lines of
 * content, which all begin with a bar here.
 */
const makeDecoder = (): ((octets: string) => ReadonlyArray<string>) => {
  let rest = ""
  return (text) => {
    rest += text
    const items: Array<string> = []
    for (let end = rest.indexOf("\r\n"); end !== -1; end = rest.indexOf("\r\n")) {
      const line = rest.slice(0, end)
      const chunk = Number(/^BDAT (\d+)/.exec(line)?.[1] ?? 0)
      if (rest.length < end + 2 + chunk) break
      rest = rest.slice(end + 2 + chunk)
      if (!line.startsWith("|")) items.push(line)
    }
    expect(rest).toBe("")
    return items
  }
}

/** A server that keeps to the rules; `pick` chooses among what it may say. */
const makeServer = (dialect: "smtp" | "lmtp"): ((item: string, pick: number) => string) => {
  let accepted = 0
  let refusedSender = true
  const ending = (pick: number): string => {
    const verdicts = dialect === "lmtp" ? Math.max(1, accepted) : 1
    accepted = 0
    refusedSender = true
    return Array.from({ length: verdicts }, (_, index) =>
      (pick >> (index % 6)) & 1 ? "250-2.0.0 queued\r\n250 2.0.0 as 1\r\n" : "452 4.2.2 full\r\n"
    ).join("")
  }
  return (item, pick) => {
    const verb = /^[A-Z]*/.exec(item)?.[0] ?? ""
    const yes = pick % 4 !== 0
    switch (verb) {
      case "EHLO":
        accepted = 0
        if (!yes) return "502 no\r\n"
        return `250-mail.example\r\n${pick % 8 > 3 ? "250-PIPELINING\r\n" : ""}250 ENHANCEDSTATUSCODES\r\n`
      case "RSET":
        accepted = 0
        refusedSender = true
        return "250 ok\r\n"
      case "MAIL":
        accepted = 0
        refusedSender = !yes
        return yes ? "250 ok\r\n" : "550 no\r\n"
      case "RCPT":
        if (refusedSender) return "503 no\r\n"
        if (yes) accepted++
        return yes ? "251 forwards\r\n" : "450 later\r\n"
      case "DATA":
        return (dialect === "smtp" || accepted > 0) && yes ? "354 go\r\n" : "503 no\r\n"
      case "BDAT":
        if (item.endsWith("LAST")) return ending(pick)
        return yes ? "250 ok\r\n" : "552 no\r\n"
      case "STARTTLS":
        return yes ? "220 go\r\n" : "454 no\r\n"
      case "AUTH":
      case "R":
        return yes ? "334 bW9yZQ==\r\n" : pick % 8 > 3 ? "235 ok\r\n" : "535 no\r\n"
      case "QUIT":
        return "221 bye\r\n"
      case "":
        return ending(pick)
      default:
        return "250 ok\r\n"
    }
  }
}

// Queue jumpers are numbered too, but their numbers are not compared with those of commands that wait.
const groupOf = (group: number, recipients: number, id: () => number): ReadonlyArray<Command> => {
  const transaction = (...ending: ReadonlyArray<Command>): ReadonlyArray<Command> => [
    Commands.rset,
    Commands.mail(`MAIL FROM:<${id()}@x.example>`),
    ...Array.from({ length: recipients }, () => Commands.rcpt(`RCPT TO:<${id()}@y.example>`)),
    ...ending
  ]
  const chunk = octets("BDAT 99\r\n250 ok")
  switch (group) {
    case 0:
      return [{ ...Commands.quit }]
    case 1:
      return [{ ...Commands.startTls }]
    case 2:
      return [Commands.auth(`LOGIN ${id()}`)]
    case 3:
    case 4:
    case 12:
      return [Commands.authResponse("R")]
    case 5:
    case 6:
      return [Commands.ehlo(`${id()}.example`)]
    case 7:
      return [Commands.vrfy(`${id()}`)]
    case 8:
      return []
    case 9:
      return transaction(
        Commands.bdat([chunk], false),
        Commands.bdat([], false),
        Commands.bdat([chunk], true)
      )
    case 10:
      return transaction(Commands.bdat([chunk, chunk], true))
    case 11:
      return transaction()
    default:
      return transaction({ ...Commands.data })
  }
}

interface Course {
  readonly events: ReadonlyArray<string>
  readonly output: string
}

/** Plays the moves and checks, after each of them, what has to hold whatever the server does. */
const play = (
  dialect: "smtp" | "lmtp",
  moves: ReadonlyArray<Move>,
  split: (octets: Uint8Array) => ReadonlyArray<Uint8Array>
): Course => {
  const sent: Array<Command> = []
  const dialogue = new Dialogue<string>("greeter", {
    dialect,
    sent: (command) => sent.push(command)
  })
  const decode = makeDecoder()
  const answer = makeServer(dialect)
  const events: Array<string> = []
  const arrived: Array<string> = ["greeting"]
  const lines: Array<string> = []
  const repliesTo = new Map<Command, number>()
  const expectedOf = new Map<string, number>([["greeter", 1]])
  const repliedTo = new Map<string, number>()
  let output = ""
  let greeted = false
  let ids = 0
  let accepted = 0

  const check = (event: Event<string>): void => {
    events.push(show(event))
    if (event._tag !== "Replied") {
      expect(dialogue.state()).toBe(event._tag === "Goodbye" && event.readOn ? "Parting" : "Closed")
      return
    }
    const { command, owner } = event
    if (command.kind === "Greeting") greeted = true
    else if (command.kind !== "Final") expect(lines).toContain(command.line)
    if (command.kind === "Mail") accepted = 0
    if (command.kind === "Rcpt" && event.meaning === "Success") accepted++
    const verdict = command.kind === "Final" || command.kind === "BdatLast"
    const count = (repliesTo.get(command) ?? 0) + 1
    if (!verdict && command.line.includes("example")) expect(count).toBe(1)
    if (verdict)
      expect(event.more).toBe(dialect === "lmtp" && count < accepted && dialogue.state() !== "Closed")
    repliesTo.set(command, verdict && !event.more ? 0 : count)
    if (!event.more) repliedTo.set(owner, (repliedTo.get(owner) ?? 0) + 1)
    expect(repliedTo.get(owner) ?? 0).toBeLessThanOrEqual(expectedOf.get(owner) ?? 0)
  }

  const receive = (received: Uint8Array): void => {
    for (const part of split(received)) {
      dialogue.receive(part)
      for (let event = dialogue.next(); event !== undefined; event = dialogue.next()) check(event)
    }
  }

  const take = (): void => {
    const before = dialogue.taken()
    const text = textOf(dialogue.take())
    if (text !== "") expect(greeted).toBe(true)
    expect(dialogue.taken()).toBe(before + octets(text).length)
    output += text
    const items = decode(text)
    arrived.push(...items)
    const decoded = items.filter((item) => item !== ".")
    const given = sent.slice(lines.length, lines.length + decoded.length)
    expect(decoded).toStrictEqual(given.map(({ line }) => line))
    lines.push(...decoded)
    if (!dialogue.hasEnded()) expect(lines).toHaveLength(sent.length)
    // Nothing stands behind a command that has to be the last of its group before its reply.
    const unanswered = sent.findIndex((command) => command.place === "Last" && !repliesTo.has(command))
    expect([-1, sent.length - 1]).toContain(unanswered)
  }

  const expectMore = (owner: string, count: number): void => {
    expectedOf.set(owner, (expectedOf.get(owner) ?? 0) + count)
  }

  const apply = (move: Move): void => {
    switch (move._tag) {
      case "Submit": {
        const commands = groupOf(move.group, move.recipients, () => ++ids)
        const closed = dialogue.state() === "Closed"
        const problem = dialogue.submit(move.owner, commands)
        if (closed && commands.length > 0) expect(problem).toBeDefined()
        if (problem === undefined) expectMore(move.owner, commands.length)
        return
      }
      case "Take":
        take()
        return
      case "Answer":
        if (move.take) take()
        for (const choice of move.picks) {
          const item = arrived.shift()
          if (item === undefined) return
          const greeting = choice === 0 ? "554 no\r\n" : "220-hi\r\n220 ready\r\n"
          receive(octets(item === "greeting" ? greeting : answer(item, choice)))
        }
        return
      case "Content":
        if (dialogue.beginContent("a") === undefined) expectMore("a", 1)
        dialogue.content([octets("|text\r\n")], false)
        if (move.last) dialogue.content([octets("|end\r\n"), octets(".\r\n")], true)
        return
      case "Upgraded":
        dialogue.upgraded()
        return
      case "Withdraw":
        dialogue.withdraw(move.owner)
        return
      case "Noise":
        receive(move.octets)
        return
      case "Close":
        dialogue.close()
        return
    }
  }

  for (const move of moves) {
    const closed = dialogue.state() === "Closed"
    const [eventsBefore, outputBefore, sentBefore] = [events.length, output, sent.length]
    apply(move)
    if (closed) {
      expect(dialogue.state()).toBe("Closed")
      expect([events.length, output, sent.length]).toStrictEqual([eventsBefore, outputBefore, sentBefore])
    }
  }
  const numbers = lines
    .filter((line) => /^(?:MAIL|RCPT|EHLO|VRFY|AUTH) /.test(line))
    .map((line) => Number(/\d+/.exec(line)?.[0]))
  expect(numbers).toStrictEqual([...numbers].sort((left, right) => left - right))
  expect(new Set(numbers).size).toBe(numbers.length)
  return { events, output }
}

const whole = (text: Uint8Array): ReadonlyArray<Uint8Array> => [text]
const singly = (text: Uint8Array): ReadonlyArray<Uint8Array> =>
  Array.from({ length: text.length }, (_, index) => text.subarray(index, index + 1))

const dialects = FastCheck.constantFrom("smtp" as const, "lmtp" as const)
const courseOf = (move: FastCheck.Arbitrary<Move>): FastCheck.Arbitrary<ReadonlyArray<Move>> =>
  FastCheck.tuple(
    FastCheck.boolean(),
    FastCheck.array(move, { minLength: 10, maxLength: 80, size: "max" })
  ).map(([opened, moves]) => (opened ? [...opening, ...moves] : moves))

// The greeting, and EHLO answered by PIPELINING.
const opening: ReadonlyArray<Move> = [
  { _tag: "Answer", take: false, picks: [1] },
  { _tag: "Submit", owner: "a", group: 5, recipients: 0 },
  { _tag: "Answer", take: true, picks: [5] }
]

describe(`random dialogues, ${runs} of each`, { timeout: 20_000 + runs * 20 }, () => {
  it("with a server that keeps to the rules nothing is ever violated", () => {
    FastCheck.assert(
      FastCheck.property(dialects, courseOf(validMove), (dialect, moves) => {
        const { events } = play(dialect, moves, whole)
        expect(events.filter((event) => !/^\w+: \w+ \d{3} /.test(event))).toStrictEqual([])
      }),
      { numRuns: runs }
    )
  })

  it("with a server that does not, and a client that stops at any time, the rules of this side hold", () => {
    FastCheck.assert(
      FastCheck.property(dialects, courseOf(wildMove), (dialect, moves) => {
        play(dialect, moves, whole)
      }),
      { numRuns: runs }
    )
  })

  it("how the received octets are split changes nothing", () => {
    // Plaintext behind the 220 of STARTTLS in one receive replaces its reply: nobody begins a handshake.
    const comparable = (events: ReadonlyArray<string>): ReadonlyArray<string> =>
      events.filter(
        (event, index) =>
          !(event.includes("StartTls 220") && events[index + 1]?.startsWith("Injection") === true)
      )
    FastCheck.assert(
      FastCheck.property(dialects, courseOf(wildMove), (dialect, moves) => {
        const once = play(dialect, moves, whole)
        const octetwise = play(dialect, moves, singly)
        expect(comparable(octetwise.events)).toStrictEqual(comparable(once.events))
        expect(octetwise.output).toBe(once.output)
      }),
      { numRuns: runs }
    )
  })

  it("pure noise ends in silence, goodbye or a violation, and nothing is written", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(FastCheck.uint8Array({ maxLength: 40 })), (parts) => {
        const on = stage()
        on.submit(ehlo)
        for (const part of parts) {
          on.dialogue.receive(part)
          drain(on.dialogue)
        }
        expect(on.take()).toBe("")
      }),
      { numRuns: runs }
    )
  })
})
