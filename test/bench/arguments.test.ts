import { describe, expect, it } from "@effect/vitest"
import { readArguments, usage, UsageError } from "./arguments.js"
import { workloads } from "./workloads.js"

const refused = (...args: ReadonlyArray<string>): string => {
  try {
    readArguments(args)
  } catch (error) {
    if (error instanceof UsageError) return error.message
  }
  return "taken"
}

describe("the arguments of the bench", () => {
  it("mean everything where there are none", () => {
    const { coldStart, json, peers, rounds, workloads: chosen, write } = readArguments([])
    expect(chosen).toEqual(workloads)
    expect({ coldStart, json, peers, rounds, write }).toEqual({
      coldStart: true,
      json: undefined,
      peers: [],
      rounds: 3,
      write: false
    })
  })

  it("choose workloads by their names, and by those of their series", () => {
    const chosen = readArguments(["--only", "small,flat-messages"])
    expect(chosen.workloads.map(({ name }) => name)).toEqual([
      "small",
      "flat-messages-1000",
      "flat-messages-5000",
      "flat-messages-20000",
      "flat-messages-50000"
    ])
    expect(chosen.coldStart).toBe(false)
  })

  it("can choose the start of a script alone", () => {
    expect(readArguments(["--only", "cold-start"])).toMatchObject({ workloads: [], coldStart: true })
  })

  it("make many messages fewer when it is to be quick, and leave few as they are", () => {
    const chosen = readArguments(["--quick", "--only", "small,1m"])
    expect(chosen.workloads.map(({ messages, warmUp }) => [messages, warmUp])).toEqual([
      [1000, 100],
      [100, 10]
    ])
  })

  it("leave the number of messages as it is where it is what matters", () => {
    const chosen = readArguments(["--quick", "--only", "flat-messages"])
    expect(chosen.workloads.map(({ messages }) => messages)).toEqual([1000, 5000, 20_000, 50_000])
  })

  it("can say how many messages and rounds there are", () => {
    const chosen = readArguments(["--only", "small", "--messages", "20", "--rounds", "2", "--quick"])
    expect(chosen.workloads.map(({ messages, warmUp }) => [messages, warmUp])).toEqual([[20, 2]])
    expect(chosen.rounds).toBe(2)
  })

  it.each([
    [["--only", "nonsense"], "there is no workload nonsense"],
    [["--only", ","], "--only names nothing"],
    [["--peer", ""], "--peer names nothing"],
    [["--rounds", "0"], "--rounds 0: a whole number from 1 to 100 is wanted"],
    [["--rounds", "many"], "--rounds many: a whole number from 1 to 100 is wanted"],
    [["--messages", "1.5"], "--messages 1.5: a whole number from 1 to 1000000 is wanted"],
    [["--write", "--only", "small"], "--write wants a whole run: neither --only, nor --peer, nor --messages"],
    [["--slow"], "Unknown option '--slow'"],
    [["small"], "Unexpected argument 'small'"]
  ])("that are mistaken are refused with the usage: %s", (args, mistake) => {
    const message = refused(...args)
    expect(message).toContain(mistake)
    expect(message).toContain(usage)
  })

  it("compare two checkouts in nine rounds", () => {
    expect(readArguments(["--compare", "../before"])).toMatchObject({ compare: "../before", rounds: 9 })
    expect(readArguments(["--compare", "../before", "--rounds", "3"])).toMatchObject({ rounds: 3 })
    expect(refused("--compare", "../before", "--only", "small")).toContain("--compare takes --rounds alone")
  })
})
