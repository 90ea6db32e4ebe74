/**
 * One dialogue between protocol/Dialogue with protocol/Transaction and a random server, without a runtime. Gives what
 * was wrong with it, if anything.
 */
import type { Command } from "../../src/protocol/Command.js"
import * as Commands from "../../src/protocol/Command.js"
import type { Event } from "../../src/protocol/Dialogue.js"
import * as Dialogues from "../../src/protocol/Dialogue.js"
import type { Plan, PlannedRecipient } from "../../src/protocol/Plan.js"
import * as Plans from "../../src/protocol/Plan.js"
import type { Step, Transaction } from "../../src/protocol/Transaction.js"
import * as Transactions from "../../src/protocol/Transaction.js"
import type { Random } from "./random.js"
import { isComplete } from "./received.js"
import { makeRandom } from "./random.js"
import type { Server } from "./server.js"
import { makeServer } from "./server.js"

const encode = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"))

const decode = (parts: ReadonlyArray<Uint8Array>): string =>
  parts.map((part) => Buffer.from(part).toString("latin1")).join("")

const names = ["a@x.test", "b@x.test", "c@y.test", "d@z.test"] as const

interface Message {
  readonly content: string
  readonly recipients: ReadonlyArray<PlannedRecipient>
  readonly machine: Transaction
  readonly framing: "data" | "bdat"
  readonly owner: string
  /** No further chunk of it leaves. */
  halted: boolean
  done: boolean
}

const isPlan = (plan: { readonly _tag: string }): plan is Plan => plan._tag === "Plan"

const planOf = (
  random: Random,
  dialogue: Dialogues.Dialogue<string>,
  dialect: "smtp" | "lmtp"
): Plan | undefined => {
  const to = names.slice(0, 1 + random.below(names.length)).map((address) => ({ address }))
  const envelope = Plans.readEnvelope(random.pick(["s@x.test", ""]), to, {})
  if ("_tag" in envelope) return undefined
  const facts = { octets: 40, eightBit: false, utf8Header: false }
  const plan = Plans.plan(envelope, facts, {
    capabilities: dialogue.capabilities(),
    dialect,
    verifiedTls: false,
    mails: dialogue.mails(),
    isAwake: random.chance(0.8),
    now: 0,
    pipelining: random.pick(["off", "envelope", "data"]),
    chunking: random.pick(["off", "on", "eager"]),
    recipients: random.pick(["any", "any", "all"])
  })
  return isPlan(plan) ? plan : undefined
}

const verdictsWrong = (server: Server, message: Message, cut: boolean): string | undefined => {
  const verdicts = message.machine.verdicts()
  if (verdicts.length !== message.recipients.length) return `${verdicts.length} verdicts`
  if (!server.isHonest()) {
    const accepted = verdicts.some(({ _tag }) => _tag === "Accepted")
    return accepted && isComplete(server.received(), message.content) === undefined
      ? "accepted, though not all of it was sent"
      : undefined
  }
  for (const [index, { _tag }] of verdicts.entries()) {
    const address = message.recipients[index]?.mailbox.source
    const times = server.acceptances.filter(
      ({ content, recipient }) => content === message.content && recipient === address
    ).length
    if (times > 1) return `${address} got it ${times} times`
    if ((_tag === "Accepted") !== (times === 1) && !(cut && _tag === "Open")) {
      return `${_tag} for ${address}, which the server accepted ${times} times`
    }
    if (_tag === "Open" && message.done && message.machine.progress() !== "Declined" && !cut) {
      return `done, and ${address} is open`
    }
  }
  return undefined
}

export const runDialogue = (seed: number): string | undefined => {
  const random = makeRandom(seed)
  const dialect = random.pick(["smtp", "smtp", "lmtp"])
  const server = makeServer(random, dialect)
  const dialogue = new Dialogues.Dialogue<string>("0", { dialect })
  const messages: Array<Message> = []
  let wanted = 1 + random.below(3)
  let current: Message | undefined
  let cut = false
  let problem: string | undefined

  const submit = (commands: ReadonlyArray<Command>): void => {
    const refused = dialogue.submit(String(messages.length), commands)
    if (refused !== undefined && dialogue.state() !== "Closed" && server.isHonest()) {
      problem = `cannot submit: ${refused.reason}`
    }
    if (refused !== undefined) dialogue.close()
  }

  const write = (text: string): void => {
    const refused = dialogue.beginContent(String(messages.length))
    if (refused !== undefined) {
      problem = `cannot begin content: ${refused.reason}`
      return
    }
    current?.machine.contentBegun()
    const pieces = random.cut(text)
    for (const [index, piece] of pieces.entries()) {
      const last = index === pieces.length - 1
      dialogue.content([encode(piece)], last)
      if (last) current?.machine.contentComplete()
      else if (random.chance(0.5)) exchange()
      if (dialogue.state() === "Closed") return
    }
  }

  const writeChunks = (message: Message): void => {
    message.machine.contentBegun()
    // Without PIPELINING a chunk waits for the reply to the one before.
    const { pipelining } = dialogue.capabilities()
    const pieces = pipelining ? random.cut(message.content) : [message.content]
    for (const [index, piece] of pieces.entries()) {
      if (message.halted || message.done || dialogue.state() === "Closed") return
      const last = index === pieces.length - 1
      submit([Commands.bdat([encode(piece)], last)])
      if (last) message.machine.contentComplete()
      else if (random.chance(0.5)) exchange()
    }
  }

  const end = (message: Message, reset: boolean): void => {
    message.done = true
    current = undefined
    if (reset) submit([Commands.rset])
    nextMessage()
  }

  const endOnceAnswered = (message: Message): void => {
    if (message.halted && dialogue.headOf(message.owner) === undefined) end(message, true)
  }

  const follow = (message: Message, step: Step): void => {
    switch (step._tag) {
      case "Submit":
        submit(step.commands)
        return
      case "Offer":
        submit(step.commands)
        writeChunks(message)
        return
      case "Halt":
        message.halted = true
        endOnceAnswered(message)
        return
      case "Wait":
        endOnceAnswered(message)
        return
      case "Content":
        if (message.framing === "bdat") writeChunks(message)
        else write(`${message.content}.\r\n`)
        return
      case "Decline":
        write(".\r\n")
        return
      case "Done":
        end(message, step.reset)
        return
      case "Stopped":
      case "Violated":
        dialogue.close()
        return
    }
  }

  const nextMessage = (): void => {
    if (dialogue.state() === "Closed") return
    if (wanted-- === 0) {
      submit([Commands.quit])
      return
    }
    const plan = planOf(random, dialogue, dialect)
    const batch = plan?.batches[0]
    if (plan === undefined || batch === undefined) {
      wanted = 0
      nextMessage()
      return
    }
    const content = `Message-ID: ${seed}.${messages.length}\r\n\r\nhello\r\n`
    current = {
      content,
      recipients: batch,
      machine: new Transactions.Transaction(plan, batch, dialect),
      framing: plan.framing,
      owner: String(messages.length + 1),
      halted: false,
      done: false
    }
    messages.push(current)
    follow(current, current.machine.start())
  }

  const handle = (event: Event<string>): void => {
    if (event._tag !== "Replied") {
      cut = true
      return
    }
    const { command, meaning, more, reply } = event
    if (command.kind === "Greeting") submit([meaning === "Success" ? Commands.ehlo("c.test") : Commands.quit])
    else if (command.kind === "Ehlo") {
      if (meaning === "Success") nextMessage()
      else submit([Commands.quit])
    } else if (command.kind !== "Rset" && command.kind !== "Quit" && current !== undefined) {
      follow(current, current.machine.replied(command, reply, meaning, more))
    }
  }

  const hear = (text: string): void => {
    for (const piece of random.cut(text)) {
      dialogue.receive(encode(piece))
      for (let event = dialogue.next(); event !== undefined; event = dialogue.next()) handle(event)
    }
  }

  const exchange = (): boolean => {
    const taken = dialogue.take()
    if (taken.length === 0) return false
    const answers = random.cut(decode(taken)).map((piece) => server.receive(piece))
    hear(answers.join(""))
    return true
  }

  hear(server.greet())
  let rounds = 0
  while (!server.hasClosed() && exchange()) {
    if (++rounds > 200) return "it does not end"
  }
  cut ||= dialogue.state() === "Closed" || server.hasClosed()
  if (!cut && server.isHonest() && dialogue.head() !== undefined)
    return `an honest server is waited for in state ${dialogue.state()}`
  for (const message of messages) problem ??= verdictsWrong(server, message, cut)
  return problem
}
