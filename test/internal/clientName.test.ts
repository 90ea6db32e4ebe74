import { afterAll, beforeAll, expect, it, vi } from "@effect/vitest"
import { syncBuiltinESMExports } from "node:module"
import Os from "node:os"
import { defaultClientName } from "../../src/internal/session/clientName.js"

beforeAll(() => {
  vi.spyOn(Os, "hostname").mockReturnValue("localhost")
  syncBuiltinESMExports()
})

afterAll(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

it.each([
  ["192.0.2.1", "[192.0.2.1]"],
  ["2001:db8::1", "[IPv6:2001:db8::1]"],
  ["fe80::1%eth0", "[IPv6:fe80::1]"],
  [undefined, "[127.0.0.1]"]
])("a host without a qualified name is called by its address %s: %s", (localAddress, expected) => {
  expect(defaultClientName(localAddress)).toBe(expected)
})
