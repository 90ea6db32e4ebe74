import * as Effect from "effect/Effect"
import { start } from "./aiosmtpd.js"
import { suite } from "./availability.js"
import { conformance, fromRunning } from "./conformance.js"

suite("aiosmtpd", ["aiosmtpd"], () => {
  conformance("aiosmtpd", Effect.map(start(), fromRunning), [
    "STARTTLS",
    "implicit",
    "AUTH",
    "8BITMIME",
    "SMTPUTF8"
  ])
})
