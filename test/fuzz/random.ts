/**
 * Choices that a seed repeats.
 */
export interface Random {
  /** From 0 to below the limit. */
  readonly below: (limit: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <const A>(values: readonly [A, ...ReadonlyArray<A>]) => A
  /** Cuts a text into pieces, often into none but itself. */
  readonly cut: (text: string) => ReadonlyArray<string>
}

/** mulberry32, begun far from its seed so that neighbouring seeds have nothing in common. */
export const makeRandom = (seed: number): Random => {
  let state = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) >>> 0
  const next = (): number => {
    state = (state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    below,
    chance: (probability) => next() < probability,
    pick: (values) => values[below(values.length)] ?? values[0],
    cut: (text) => {
      if (text.length < 2 || next() < 0.6) return [text]
      const at = 1 + below(text.length - 1)
      return [text.slice(0, at), text.slice(at)]
    }
  }
}
