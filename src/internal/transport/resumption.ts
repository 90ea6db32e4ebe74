/** Which errors may be due to a TLS session that the client offered to resume. */

const failed = new WeakSet<object>()

/** Says that a new connection, where no session is offered, may succeed. */
export const markFailedResumption = <E extends object>(error: E): E => {
  failed.add(error)
  return error
}

export const isFailedResumption = (error: object): boolean => failed.has(error)
