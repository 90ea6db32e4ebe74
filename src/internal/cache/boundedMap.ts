/** A map with a limited number of entries, which evicts the least recently used one. */

export interface BoundedMap<K, V> {
  /** Makes the entry the most recently used one. */
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
