/**
 * The account of one measurement as the sink sees it: what came whole, what did not, and how long, how much CPU of the
 * sink and how many round trips lie between the last message of the warm-up and the last of all.
 */
import type { Envelope, SeenEnvelope } from "./receiver.js"
import type { Verdict } from "./verifier.js"

/** What a measurement is to bring. */
export interface Expectation extends Envelope {
  /** Messages that are sent before the counted ones. */
  readonly warmUp: number
  /** Messages that are counted. */
  readonly messages: number
  /** Whether each message has a number of its own; a program that sends one file over and over cannot do that. */
  readonly numbered: boolean
}

/** What a measurement has brought. */
export interface Account {
  /** Messages that came whole, the warm-up included. */
  readonly messages: number
  /** Messages that were to be counted. */
  readonly counted: number
  /** What was wrong, in words: a row with problems is void. */
  readonly problems: ReadonlyArray<string>
  readonly connections: number
  /** Round trips of the counted messages. */
  readonly trips: number
  /** Seconds that the counted messages took, from end to end. */
  readonly seconds: number
  /** CPU seconds of the sink's own process in that time. */
  readonly cpu: number
}

export interface Tally {
  readonly connected: () => void
  readonly message: (verdict: Verdict, envelope: SeenEnvelope) => void
  readonly trips: (count: number) => void
  readonly account: () => Account
}

interface Mark {
  readonly at: number
  readonly cpu: number
  readonly trips: number
}

const enoughProblems = 10

const cpuSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1_000_000
}

export const makeTally = (expectation: Expectation): Tally => {
  const total = expectation.warmUp + expectation.messages
  const seen = new Uint8Array(expectation.numbered ? total : 0)
  const problems: Array<string> = []
  let connections = 0
  let messages = 0
  let trips = 0

  const mark = (): Mark => ({ at: performance.now(), cpu: cpuSeconds(), trips })
  let begun = mark()
  let ended = begun

  const problem = (text: string): void => {
    if (problems.length < enoughProblems) problems.push(text)
  }

  const takeNumber = (number: number): void => {
    if (number >= total) problem(`message ${number} was never to be sent`)
    else if (seen[number] === 1) problem(`message ${number} came twice`)
    else seen[number] = 1
  }

  const message = (verdict: Verdict, { recipients, strange }: SeenEnvelope): void => {
    messages++
    if (verdict._tag === "Altered") problem(`message ${messages} is altered at octet ${verdict.position}`)
    else if (expectation.numbered) takeNumber(verdict.number)
    const expected = expectation.recipients.length
    if (recipients !== expected) {
      problem(`message ${messages} has ${recipients} recipients instead of ${expected}`)
    }
    if (strange !== undefined) problem(`message ${messages} has another envelope: ${strange}`)
    if (messages === expectation.warmUp) begun = mark()
    if (messages === total) ended = mark()
  }

  const missing = (): ReadonlyArray<string> => {
    const difference = total - messages
    if (difference > 0) return [`${difference} of ${total} messages did not come`]
    return difference < 0 ? [`${-difference} messages too many came`] : []
  }

  return {
    connected: () => {
      connections++
    },
    message,
    trips: (count) => {
      trips += count
    },
    account: () => ({
      messages,
      counted: expectation.messages,
      problems: [...problems, ...missing()],
      connections,
      trips: ended.trips - begun.trips,
      seconds: (ended.at - begun.at) / 1000,
      cpu: ended.cpu - begun.cpu
    })
  }
}
