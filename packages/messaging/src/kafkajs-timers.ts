import { createRequire } from 'node:module'

/** What of kafkajs's queue of one connection is used here. */
type RequestQueue = {
  pending: readonly unknown[]
  throttledUntil: number
  throttleCheckTimeoutId: NodeJS.Timeout | null
  checkPendingRequests(): void
}

/** ms between two looks at requests that wait for a connection's turn. */
const interval = 10

/**
 * kafkajs 2.2.4 wakes up every millisecond on each idle connection, by a timer with a negative delay of which Node 24
 * and later warn. An idle connection has nothing to check: the next request schedules the check again.
 */
export function quietIdleConnections(): void {
  const queue = createRequire(import.meta.url)('kafkajs/src/network/requestQueue/index.js') as {
    prototype: { scheduleCheckPendingRequests(this: RequestQueue): void }
  }
  if (typeof queue.prototype.scheduleCheckPendingRequests !== 'function')
    throw new Error('this version of kafkajs schedules its checks in another way; look at kafkajs-timers.ts again')
  queue.prototype.scheduleCheckPendingRequests = function () {
    if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return
    const check = (): void => {
      this.throttleCheckTimeoutId = null
      this.checkPendingRequests()
    }
    this.throttleCheckTimeoutId = setTimeout(check, Math.max(this.throttledUntil - Date.now(), interval))
  }
}
