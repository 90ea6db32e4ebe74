/**
 * What one run of a stream has come to, and whether it gives what the runs before it gave. It outlives the run and holds
 * none of the content: runs are compared by fingerprints.
 */
import type { InvalidArgument, ContentError } from "../../SmtpError.js"
import type { Fingerprint } from "./fingerprint.js"
import { changed, empty } from "./model.js"

/** The runs of a stream for one message, over all its attempts. */
export interface Past {
  /** The last run, which may be going on. */
  last: RunRecord | undefined
}

/** That of a stream that has not been run. */
export const noPast = (): Past => ({ last: undefined })

/** The longest run so far, which the next is held to. */
interface Expected {
  readonly octets: number
  readonly fingerprint: string
  readonly isComplete: boolean
}

export interface ContentLimits {
  /** The size that the program declared. */
  readonly declared: number | undefined
  readonly allowEmpty: boolean
}

export class RunRecord {
  octets = 0
  private isComplete = false
  private isDifferent = false
  private readonly fingerprint: Fingerprint | undefined
  private readonly expected: Expected | undefined
  /** Of this run as far as the one before went; `undefined` from there on. */
  private comparing: Fingerprint | undefined

  /** `begin` is absent for a stream that is run only once. */
  constructor(
    private readonly limits: ContentLimits,
    readonly begin: (() => Fingerprint) | undefined,
    before: RunRecord | undefined
  ) {
    this.fingerprint = begin?.()
    this.expected = before?.expectation()
    this.comparing = this.expected === undefined || this.expected.octets === 0 ? undefined : begin?.()
  }

  private expectation(): Expected | undefined {
    const { expected, fingerprint, isComplete, octets } = this
    if (this.isDifferent || fingerprint === undefined || octets < (expected?.octets ?? 0)) return expected
    return {
      octets,
      fingerprint: fingerprint.value(),
      isComplete: isComplete || expected?.isComplete === true
    }
  }

  /** Counts a block; says how the content differs from what it should be, as soon as it does. */
  count(block: Uint8Array): ContentError | undefined {
    const before = this.octets
    const total = before + block.length
    const { declared } = this.limits
    if (declared !== undefined && total > declared) {
      return changed(`it has more than the ${declared} bytes that were declared`)
    }
    if (this.expected?.isComplete === true && total > this.expected.octets) return this.different()
    this.octets = total
    this.fingerprint?.update(block)
    return this.agrees(block, before) ? undefined : this.different()
  }

  /** Whether a block that begins `before` octets into the run goes on as the run before did, as far as can be said. */
  private agrees(block: Uint8Array, before: number): boolean {
    const { comparing, expected } = this
    if (comparing === undefined || expected === undefined) return true
    const left = expected.octets - before
    comparing.update(block.subarray(0, left))
    if (block.length < left) return true
    this.comparing = undefined
    return comparing.value() === expected.fingerprint
  }

  private different(): ContentError {
    this.isDifferent = true
    return changed(
      "a second run of the stream gave other bytes than the first; give a stream that can be run again"
    )
  }

  /** What is wrong once the stream has ended. */
  end(): ContentError | undefined {
    const { expected, octets } = this
    const { allowEmpty, declared } = this.limits
    if (declared !== undefined && octets < declared) {
      return changed(`it has ${octets} bytes where ${declared} were declared`)
    }
    const least = expected?.octets ?? (allowEmpty ? 0 : 1)
    if (octets < least || (octets === 0 && !allowEmpty)) return this.different()
    this.isComplete = true
    return undefined
  }

  /** What is wrong with a stream that has ended before its first octet, where a message must not be empty. */
  nothing(): ContentError | InvalidArgument {
    return (this.expected?.octets ?? 0) > 0 ? this.different() : empty()
  }
}
