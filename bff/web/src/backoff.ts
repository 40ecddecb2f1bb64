const first = 1_000
const longest = 30_000

/**
 * How long to wait before try number `attempt` (0 = the first again): doubling from one second to half a minute, of
 * which the upper half is random so that the tabs of all customers do not come back in step after an outage.
 * @returns milliseconds
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(longest, first * 2 ** Math.min(attempt, 10))
  return ceiling / 2 + random() * (ceiling / 2)
}
