/**
 * Loads what the library loads only when it is needed: a test that moves the clock must not wait for the disk.
 */
await Promise.all([
  import("effect/Stream"),
  import("node:crypto"),
  import("@mongodb-js/saslprep"),
  import("../../src/internal/session/authenticate.js"),
  import("../../src/internal/transport/platformConnection.js"),
  import("../../src/internal/session/sendAll.js")
])
