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

const restraintKey = (endpoint: Endpoint): string => `restrained ${endpointKey(endpoint)}`

/** Restraints are kept among the announcements, and count against their capacity. */
export const makeService = (announcements: Table<Announcement>, pins: Table<Entry>): Service => {
  const announce = (name: string, lines: ReadonlyArray<string>) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => announcements.set({ name, at, lines }))
  return withOwnLimit({
    get: (key) =>
      Effect.map(announcements.get(announcementKey(key)), (found) =>
        found === undefined ? undefined : { capabilities: fromLines(found.lines), at: found.at }
      ),
    put: (key, lines) => announce(announcementKey(key), [...lines]),
    pin: (endpoint) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => pins.set({ name: endpointKey(endpoint), at })),
    pinned: (endpoint) => Effect.map(pins.get(endpointKey(endpoint)), (found) => found !== undefined),
    restrain: (endpoint) => announce(restraintKey(endpoint), []),
    restrained: (endpoint) =>
      Effect.map(announcements.get(restraintKey(endpoint)), (found) => found !== undefined)
  })
}
