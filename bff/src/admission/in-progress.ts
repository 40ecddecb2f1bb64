import type { ServerResponse } from 'node:http'

/**
 * Calls back when the response is over, however that comes about.
 *
 * @returns false when it is over already: `close` was then, and never comes again
 */
export function onceOver(response: ServerResponse, listener: () => void): boolean {
  if (response.closed || response.destroyed) return false
  response.on('close', listener)
  return true
}

/** Counts what is in progress at the same time, by whose it is. */
export type InProgress = {
  /**
   * Counts one more of `subject` until `response` is over. Whose client has left meanwhile is not counted.
   *
   * @returns whether there was room
   */
  enter(subject: string, response: ServerResponse): boolean
  /** How many are counted now, of all subjects together. */
  total(): number
}

/** @param most of one subject */
export function createInProgress(most: number): InProgress {
  // One listener for all responses of a subject: a closure for each cost more than the counting.
  type Place = { count: number; leave: () => void }
  const places = new Map<string, Place>()
  const newPlace = (subject: string): Place => {
    const place: Place = {
      count: 0,
      leave() {
        place.count--
        if (place.count === 0) places.delete(subject)
      },
    }
    return place
  }

  return {
    enter(subject, response) {
      const place = places.get(subject) ?? newPlace(subject)
      if (place.count >= most) return false
      if (!onceOver(response, place.leave)) return true
      place.count++
      if (place.count === 1) places.set(subject, place)
      return true
    },
    total() {
      let total = 0
      for (const { count } of places.values()) total += count
      return total
    },
  }
}
