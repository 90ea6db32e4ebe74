/**
 * The default name for EHLO (RFC 5321 sections 2.3.5 and 4.1.3): the fully qualified name of this host if it has one, else
 * its address as a literal.
 */
import { hostname } from "node:os"
import { isInvalid } from "../../protocol/Invalid.js"
import { withoutZone } from "../options/host.js"
import { addressLiteral, parseClientName } from "../../protocol/Mailbox.js"

export const defaultClientName = (localAddress: string | undefined, host = hostname()): string => {
  const qualified = /^[^.]+(?:\.[^.]+)+$/.test(host) && !/^localhost\b/i.test(host)
  const name = qualified ? parseClientName(host, "clientName") : undefined
  if (name !== undefined && !isInvalid(name)) return name
  return (localAddress === undefined ? undefined : addressLiteral(withoutZone(localAddress))) ?? "[127.0.0.1]"
}
