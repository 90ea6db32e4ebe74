/**
 * The name by which this host introduces itself when the program gives none (RFC 5321 sections 2.3.5 and 4.1.3): its
 * fully qualified name if it has one, else its address as a literal. Never a bare `localhost`.
 */
import { hostname } from "node:os"
import { isInvalid } from "../../protocol/Invalid.js"
import { addressLiteral, parseClientName } from "../../protocol/Mailbox.js"

export const defaultClientName = (localAddress: string | undefined): string => {
  const host = hostname()
  const qualified = /^[^.]+(?:\.[^.]+)+$/.test(host) && !/^localhost\b/i.test(host)
  if (qualified && !isInvalid(parseClientName(host, "clientName"))) return host
  return (localAddress === undefined ? undefined : addressLiteral(localAddress)) ?? "[127.0.0.1]"
}
