/**
 * Services of this library that end in time by themselves: those that a program plugs in are given a limit from outside,
 * which costs a fiber for each call.
 */
const known = new WeakSet<object>()

/** Says that every method of the service ends in time. */
export const withOwnLimit = <A extends object>(service: A): A => {
  known.add(service)
  return service
}

export const hasOwnLimit = (service: object): boolean => known.has(service)
