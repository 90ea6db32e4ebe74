/** A map that holds a limited number of entries and lets go of the one that was used longest ago. */

export interface BoundedMap<K, V> {
  /** The value, which thereby is the most recently used. */
  readonly get: (key: K) => V | undefined
  readonly set: (key: K, value: V) => void
  readonly remove: (key: K) => void
  readonly size: () => number
}

export const make = <K, V>(capacity: number): BoundedMap<K, V> => {
  const entries = new Map<K, V>()
  const set = (key: K, value: V) => {
    entries.delete(key)
    entries.set(key, value)
    for (const oldest of entries.keys()) {
      if (entries.size <= capacity) return
      entries.delete(oldest)
    }
  }
  return {
    get: (key) => {
      const value = entries.get(key)
      if (value !== undefined) set(key, value)
      return value
    },
    set,
    remove: (key) => {
      entries.delete(key)
    },
    size: () => entries.size
  }
}
