/** Property tests try the same values in every run, and are content with the first that fails. */
import * as FastCheck from "effect/FastCheck"
import { env } from "node:process"

FastCheck.configureGlobal({ seed: 42, endOnFailure: true })

// The pure protocol needs none of it.
if (!(env["MUTATE_TESTS"] ?? "").startsWith("test/protocol/")) await import("../support/preload.js")
