import { describe, expect, it } from "@effect/vitest"
import * as Fingerprints from "effect-smtplib/internal/content/fingerprint"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"

const valueOf = (begin: () => Fingerprints.Fingerprint, pieces: ReadonlyArray<Uint8Array>): string => {
  const fingerprint = begin()
  for (const piece of pieces) fingerprint.update(piece)
  return fingerprint.value()
}

const anyOctets = FastCheck.uint8Array({ maxLength: 100 })

describe("fingerprint", () => {
  it.effect("is the same for the same octets, however they are cut", () =>
    Effect.map(Fingerprints.makeBegin, (begin) => {
      FastCheck.assert(
        FastCheck.property(FastCheck.array(anyOctets), (pieces) => {
          const whole = Uint8Array.from(pieces.flatMap((piece) => Array.from(piece)))
          expect(valueOf(begin, pieces)).toBe(valueOf(begin, [whole]))
        })
      )
    })
  )

  it.effect("differs where one octet differs, is missing or is added", () =>
    Effect.map(Fingerprints.makeBegin, (begin) => {
      FastCheck.assert(
        FastCheck.property(
          FastCheck.uint8Array({ minLength: 1, maxLength: 100 }),
          FastCheck.nat(),
          FastCheck.integer({ min: 1, max: 255 }),
          (octets, place, change) => {
            const other = Uint8Array.from(octets)
            const at = place % octets.length
            other[at] = (other[at] ?? 0) ^ change
            const values = [
              valueOf(begin, [octets]),
              valueOf(begin, [other]),
              valueOf(begin, [octets.subarray(0, -1)]),
              valueOf(begin, [octets, Uint8Array.of(0)])
            ]
            expect(new Set(values).size).toBe(4)
          }
        )
      )
    })
  )

  it.effect("can be asked for more than once", () =>
    Effect.map(Fingerprints.makeBegin, (begin) => {
      const fingerprint = begin()
      fingerprint.update(Uint8Array.of(1))
      expect(fingerprint.value()).toBe(fingerprint.value())
    })
  )

  it.effect("cannot be foreseen: each content has a key of its own", () =>
    Effect.gen(function* () {
      const octets = [Uint8Array.of(1, 2, 3)]
      const first = valueOf(yield* Fingerprints.makeBegin, octets)
      expect(valueOf(yield* Fingerprints.makeBegin, octets)).not.toBe(first)
    })
  )
})
