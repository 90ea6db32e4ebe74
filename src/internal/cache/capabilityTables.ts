/**
 * A capability cache over two bounded tables, wherever those are kept. Different keys have different names: a name begins
 * with words of ours, a port with the last colon, and a path is all that is left.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Key, Service } from "../../CapabilityCache.js"
import { fromLines } from "../../protocol/Capabilities.js"
import type { Endpoint } from "../../SmtpSocket.js"
import { withOwnLimit } from "../effect/bestEffort.js"
import { formatEndpoint } from "../transport/connection.js"

export interface Entry {
  readonly name: string
  /** When it was written, in milliseconds since 1970. */
  readonly at: number
}

export interface Announcement extends Entry {
  readonly lines: ReadonlyArray<string>
}

export interface Table<A extends Entry> {
  /** The entry of this name, unless it has expired. */
  readonly get: (name: string) => Effect.Effect<A | undefined>
  readonly set: (entry: A) => Effect.Effect<void>
}

/** Local address and port, the letter case of the host and a dot at its end do not count. */
export const endpointKey = (endpoint: Endpoint): string =>
  endpoint._tag === "Unix"
    ? `unix ${endpoint.path}`
    : `tcp ${formatEndpoint({ ...endpoint, host: endpoint.host.toLowerCase().replace(/\.$/, "") })}`

export const announcementKey = (key: Key): string =>
  `${key.dialect} ${key.security} ${endpointKey(key.endpoint)}`

/** What is remembered of the behaviour of endpoints stands among announcements and pins, and counts against their capacity. */
export const makeService = (announcements: Table<Announcement>, pins: Table<Entry>): Service => {
  const announce = (name: string, lines: ReadonlyArray<string>) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => announcements.set({ name, at, lines }))
  const factOf =
    (name: string) =>
    (endpoint: Endpoint): string =>
      `${name} ${endpointKey(endpoint)}`
  const holds = <A extends Entry>(table: Table<A>, name: string): Effect.Effect<boolean> =>
    Effect.map(table.get(name), (found) => found !== undefined)
  const pin = (name: string) => Effect.flatMap(Clock.currentTimeMillis, (at) => pins.set({ name, at }))
  const channel = factOf("channel")
  const restrained = factOf("restrained")
  const lossy = factOf("lossy")
  return withOwnLimit({
    get: (key) =>
      Effect.map(announcements.get(announcementKey(key)), (found) =>
        found === undefined ? undefined : { capabilities: fromLines(found.lines), at: found.at }
      ),
    put: (key, lines) => announce(announcementKey(key), [...lines]),
    pin: (endpoint) => pin(endpointKey(endpoint)),
    pinned: (endpoint) => holds(pins, endpointKey(endpoint)),
    bind: (endpoint) => pin(channel(endpoint)),
    bound: (endpoint) => holds(pins, channel(endpoint)),
    restrain: (endpoint) => announce(restrained(endpoint), []),
    restrained: (endpoint) => holds(announcements, restrained(endpoint)),
    loseInput: (endpoint) => announce(lossy(endpoint), []),
    losesInput: (endpoint) => holds(announcements, lossy(endpoint))
  })
}
