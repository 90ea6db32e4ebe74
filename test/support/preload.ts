/**
 * Loads what the library loads only when it is needed: a test that moves the clock must not wait for the disk.
 * Packages are loaded by the plugin in vitest.config.ts.
 */
await Promise.all([
  import("../../src/internal/client/sendAll.js"),
  import("../../src/internal/session/authenticate.js"),
  import("../../src/internal/transport/platformConnection.js"),
  import("../../src/internal/session/sendAll.js")
])
