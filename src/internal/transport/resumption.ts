/** Which TLS handshakes failed because of a session that the client offered to resume. */
import type { TlsError } from "../../SmtpError.js"

const failed = new WeakSet<object>()

/** Says that the same handshake may succeed on a new connection, where no session is offered. */
export const markFailedResumption = (error: TlsError): TlsError => {
  failed.add(error)
  return error
}

export const isFailedResumption = (error: object): boolean => failed.has(error)
