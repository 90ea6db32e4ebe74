/**
 * The names under which capability caches keep what they remember. Different keys have different names: a name
 * begins with words of ours, a port with the last colon, and a path is all that is left.
 */
import type { Key } from "../../CapabilityCache.js"
import type { Endpoint } from "../../SmtpSocket.js"
import { formatEndpoint } from "../transport/connection.js"

/** Local address and port, the letter case of the host and a dot at its end do not count. */
export const endpointKey = (endpoint: Endpoint): string =>
  endpoint._tag === "Unix"
    ? `unix ${endpoint.path}`
    : `tcp ${formatEndpoint({ ...endpoint, host: endpoint.host.toLowerCase().replace(/\.$/, "") })}`

export const announcementKey = (key: Key): string =>
  `${key.dialect} ${key.security} ${endpointKey(key.endpoint)}`

export const restraintKey = (endpoint: Endpoint): string => `restrained ${endpointKey(endpoint)}`
