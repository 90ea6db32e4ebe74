/** When a relay pauses, for how long, and what ends it: the rules of internal/client/relays as a table. */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import type { FailureKind, RelayHealth } from "../../../src/internal/client/relays.js"
import * as Relays from "../../../src/internal/client/relays.js"

/*
 * - events: failures by kind ("+" for one that failed together with the one before; "(n)" with n other sessions in use),
 *   `opened`, and messages that were `accepted` or otherwise `answered`
 * - pause: milliseconds until the relay is tried again; final: whether those that wait are refused; held: whether open
 *   sessions pause too; limit: how many sessions it may have, of eight
 */
const rows = `
  events                                        | failures | pause   | final | held | limit
  ----------------------------------------------|----------|---------|-------|------|------
  temporary                                     | 1        | 500     | no    | no   | 8
  temporary +temporary                          | 1        | 500     | no    | no   | 8
  temporary temporary temporary                 | 3        | 2000    | no    | no   | 8
  temporary x9                                  | 9        | 30000   | no    | no   | 8
  temporary opened                              | 1        | none    | no    | no   | 8
  temporary opened accepted                     | 0        | none    | no    | no   | 8
  temporary opened answered                     | 0        | none    | no    | no   | 8
  permanent                                     | 1        | 30000   | yes   | no   | 8
  permanent opened                              | 1        | none    | no    | no   | 8
  credentials                                   | 1        | 60000   | yes   | no   | 8
  credentials credentials credentials           | 3        | 240000  | yes   | no   | 8
  credentials x9                                | 9        | 3600000 | yes   | no   | 8
  temporary x5 credentials                      | 6        | 60000   | yes   | no   | 8
  credentials opened credentials                | 2        | 60000   | yes   | no   | 8
  silent                                        | 1        | 500     | no    | no   | 8
  silent +silent                                | 1        | 500     | no    | no   | 8
  silent silent                                 | 2        | 30000   | yes   | no   | 8
  silent temporary silent                       | 3        | 2000    | no    | no   | 8
  opened silent silent silent                   | 3        | 2000    | no    | no   | 8
  unwilling                                     | 1        | 500     | no    | yes  | 8
  unwilling opened                              | 1        | 500     | no    | yes  | 8
  unwilling answered                            | 1        | 500     | no    | yes  | 8
  unwilling accepted                            | 0        | none    | no    | no   | 8
  unwilling +accepted                           | 1        | 500     | no    | yes  | 8
  unwilling unwilling accepted                  | 0        | none    | no    | no   | 8
  unwilling temporary opened                    | 2        | 1000    | no    | yes  | 8
  unwilling(4)                                  | 1        | 500     | no    | yes  | 2
  unwilling(4) +unwilling(3)                    | 1        | 500     | no    | yes  | 2
  unwilling(4) +accepted                        | 0        | none    | no    | no   | 2
  unwilling(4) unwilling +accepted              | 2        | 1000    | no    | yes  | 2
  crowded                                       | 1        | 500     | no    | no   | 8
  crowded(3)                                    | 1        | 500     | no    | no   | 2
  crowded(3) +accepted                          | 1        | 500     | no    | no   | 2
  crowded(3) later +accepted                    | 1        | 500     | no    | no   | 3
  crowded(3) later +accepted later +accepted    | 1        | 500     | no    | no   | 4
  crowded(3) later +answered                    | 1        | 500     | no    | no   | 2
  crowded(3) crowded(2)                         | 2        | 1000    | no    | no   | 1
`

const cause = Cause.fail("no")

const play = (events: string): RelayHealth<string> => {
  let health: RelayHealth<string> = Relays.healthy(8)
  let now = 0
  const words = events.split(" ").flatMap((word) => word)
  const all = words.flatMap((word, index) => {
    const times = /^x(\d+)$/.exec(words[index + 1] ?? "")?.[1]
    return /^x\d+$/.test(word) ? [] : Array.from({ length: Number(times ?? 1) }, () => word)
  })
  for (const event of all) {
    const [, plus = "", name = "", others = "0"] = /^(\+?)(\w+?)(?:\((\d)\))?$/.exec(event) ?? []
    const failuresBefore = health.failures - (plus === "" ? 0 : 1)
    if (name === "later") now += 10_000
    else if (name === "opened") health = Relays.afterOpening(health)
    else if (name === "accepted" || name === "answered")
      health = Relays.afterWork(health, failuresBefore, name === "accepted", now, 8)
    else if (isKind(name)) {
      const failure = { kind: name, cause, failuresBefore, others: Number(others) }
      health = Relays.afterFailure(health, failure, { now, longestPause: 30_000, jitter: 1 })
    } else throw new Error(`no event: ${event}`)
  }
  return health
}

const kinds: ReadonlyArray<string> = [
  "temporary",
  "silent",
  "crowded",
  "credentials",
  "permanent",
  "unwilling"
] satisfies ReadonlyArray<FailureKind>

const isKind = (name: string): name is FailureKind => kinds.includes(name)

const cells = rows
  .split("\n")
  .filter((line) => line.includes("|") && !line.includes("--|"))
  .slice(1)
  .map((line) => line.split("|").map((cell) => cell.trim()))

const said = (isSo: boolean): string => (isSo ? "yes" : "no")

describe("a relay after", () => {
  it.each(cells)("%s", (...row) => {
    const { failures, isFinal, isUnwilling, limit, notBefore } = play(row[0] ?? "")
    const pause = notBefore === -Infinity ? "none" : String(notBefore)
    expect([String(failures), pause, said(isFinal), said(isUnwilling), String(limit)]).toStrictEqual(
      row.slice(1)
    )
  })

  it("a failure pauses within the jitter, and never for longer than the longest pause", () => {
    const at = { now: 0, longestPause: 30_000, jitter: 1.2 }
    const failure = { kind: "temporary", cause, failuresBefore: 0, others: 0 } as const
    expect(Relays.afterFailure(Relays.healthy(8), failure, at).notBefore).toBe(600)
    expect(Relays.afterFailure(Relays.healthy(8), { ...failure, failuresBefore: 9 }, at).notBefore).toBe(
      30_000
    )
  })
})

// -- choosing

type State = Relays.RelayState<string>

/** As it is at time 1000; `events` as above, at time 0. */
const state = (
  name: string,
  own: Partial<Omit<State, "relay" | "health">> & {
    readonly priority?: number
    readonly opensAlone?: boolean
    readonly events?: string
  } = {}
): State => ({
  relay: {
    name,
    priority: own.priority ?? 0,
    opensAlone: own.opensAlone ?? false,
    progress: { awaited: undefined }
  },
  health: own.events === undefined ? Relays.healthy(8) : play(own.events),
  live: own.live ?? 0,
  opening: own.opening ?? 0,
  places: own.places ?? (own.live ?? 0) + (own.opening ?? 0),
  probes: own.probes ?? 0,
  probedAt: own.probedAt ?? -Infinity
})

const now = 1000
const pausing = "temporary temporary temporary"
const names = (states: ReadonlyArray<State>) => states.map(({ relay }) => relay.name).join(" ")

describe("the choice of a relay", () => {
  it.each<readonly [string, ReadonlyArray<State>, string]>([
    ["the best priority", [state("a", { priority: 1 }), state("b"), state("c")], "b c"],
    ["only relays that have not failed", [state("a", { events: pausing }), state("b", { priority: 1 })], "b"],
    [
      "a relay that has failed and has a session",
      [state("a", { events: pausing, live: 1 }), state("b", { priority: 1 })],
      "a"
    ],
    [
      "no relay that takes no messages for now, though it has a session",
      [state("a", { events: "unwilling x4", live: 1 }), state("b", { priority: 1 })],
      "b"
    ],
    ["all if all have failed", [state("a", { events: pausing }), state("b", { events: pausing })], "a b"]
  ])("for a message: %s", (_, states, expected) => {
    expect(names(Relays.preferred(states, now))).toBe(expected)
  })

  it.each<readonly [string, ReadonlyArray<State>, string | undefined]>([
    ["the best priority", [state("a", { priority: 1 }), state("b", { live: 3 })], "b"],
    ["the fewest sessions of equals", [state("a", { live: 2 }), state("b", { live: 1, opening: 0 })], "b"],
    ["not before the pause is over", [state("a", { events: pausing })], undefined],
    ["not beyond the limit of the relay", [state("a", { places: 8 })], undefined],
    [
      "one at a time after a failure",
      [state("a", { events: "temporary", opening: 1 }), state("b", { priority: 1 })],
      "b"
    ],
    ["one at a time before the first login", [state("a", { opening: 1, opensAlone: true })], undefined],
    ["not while a message tries the relay", [state("a", { events: "unwilling", probes: 1 })], undefined]
  ])("for a new session: %s", (_, states, expected) => {
    expect(Relays.whereToOpen(states, now)?.relay.name).toBe(expected)
  })

  it.each<readonly [string, ReadonlyArray<State>, string]>([
    [
      "a better relay that may have recovered",
      [state("a", { events: "temporary" }), state("b", { live: 1 })],
      "a"
    ],
    ["no worse relay", [state("a", { events: "temporary", priority: 1 }), state("b", { live: 1 })], ""],
    ["an equal that was not needed before", [state("a"), state("b", { live: 1 })], "a"],
    [
      "none for half a second after it was tried",
      [state("a", { probedAt: 501 }), state("b", { live: 1 })],
      ""
    ],
    ["none in its pause", [state("a", { events: pausing }), state("b", { live: 1 })], ""],
    ["none while no other serves", [state("a", { events: "temporary" })], ""]
  ])("that is probed: %s", (_, states, expected) => {
    expect(names(Relays.toProbe(states, now))).toBe(expected)
  })

  it("refuses at once only if every relay needs other options", () => {
    const final = state("a", { events: "permanent" })
    expect(Relays.finalFailure([final], now)).toBe(cause)
    expect(Relays.finalFailure([final], 30_000)).toBeUndefined()
    expect(Relays.finalFailure([final, state("b", { events: pausing })], now)).toBeUndefined()
    expect(Relays.finalFailure([{ ...final, opening: 1 }], now)).toBeUndefined()
    expect(Relays.finalFailure([{ ...final, live: 1 }], now)).toBeUndefined()
  })

  it("names what each relay waits for", () => {
    const opening = state("a", { opening: 1 })
    const greeted = { ...opening, relay: { ...opening.relay, progress: { awaited: "the greeting" } } }
    const failed = state("b", { events: pausing })
    expect(Relays.whyUnavailable([greeted, failed], now)).toMatch(
      /^still connecting to a, waiting for the greeting; b is not tried again yet after: /
    )
    expect(Relays.whyUnavailable([state("a")], now)).toBeUndefined()
    expect(Relays.whyUnavailable([failed, state("c", { live: 1 })], now)).toBeUndefined()
  })
})
