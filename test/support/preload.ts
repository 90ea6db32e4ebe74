/**
 * Runs before each file of tests. Files share their processes, since loading Effect anew for each took half of the
 * time: what a file changes for all that come after it is put back here.
 */
import { it } from "@effect/vitest"

// What the library loads only when it is needed: a test that moves the clock must not wait for the disk.
await Promise.all([
  import("effect/Stream"),
  import("node:crypto"),
  import("@mongodb-js/saslprep"),
  import("../../src/internal/session/authenticate.js"),
  import("../../src/internal/transport/platformConnection.js"),
  import("../../src/internal/session/sendAll.js")
])

// `layer` of @effect/vitest puts methods of its own into `it`, which all files share.
const key = Symbol.for("effect-smtplib/test/it")
const asItWas: unknown = Reflect.get(globalThis, key)
if (typeof asItWas === "object") Object.assign(it, asItWas)
else Reflect.set(globalThis, key, { ...it })
