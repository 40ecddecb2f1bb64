/**
 * Runs one piece of work per key at a time; who comes while it runs gets its result. A key must name everything the
 * result depends on, the session first of all: a key without it hands one person's token to the next.
 */
export function singleFlight<T>(): (key: string, work: () => Promise<T>) => Promise<T> {
  const flying = new Map<string, Promise<T>>()
  return (key, work) => {
    const current = flying.get(key)
    if (current !== undefined) return current
    const flight = work().finally(() => flying.delete(key))
    flying.set(key, flight)
    return flight
  }
}
