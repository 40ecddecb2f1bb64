import { setTimeout as delay } from 'node:timers/promises'
import { problem } from '@banking/contracts'

/** What the database refused, as the caller of {@link createBatches} sees it. */
export type Failure =
  /** Lost a race; the same call may succeed at once. */
  | 'retry'
  /** The call cannot succeed, and others in the same batch may be the reason. */
  | 'refused'
  /** The database cannot be asked, or the call's outcome is unknown. */
  | 'unavailable'

export type BatchOptions<Item, Result> = {
  /** One call for many items; results in the order of the items. Nothing happened when it rejects. */
  run(items: readonly Item[]): Promise<readonly Result[]>
  classify(error: unknown): Failure
  /** Called for each repetition of a call. */
  onRetry?(): void
  maxItems?: number
  /** How many must wait before a further call is made beside one under way: a call costs as much as some ten items. */
  crowd?: number
  maxWaiting?: number
}

type Waiting<Item, Result> = {
  item: Item
  since: number
  resolve(result: Result): void
  reject(error: unknown): void
}

/** ms after which an item whose batch was held up by others gives up instead of being tried alone. */
const patience = 5_000
/** ms that a few wait for the call under way; a call that takes longer, e.g. for a lock, holds nobody back. */
const courtesy = 20
const maxTries = 8
/** Calls at once for the items of a call that failed; leaves connections of the pool for reads. */
const maxApart = 4
/** Calls at once: one works in the database while the next is prepared here. */
const maxInFlight = 2

/**
 * Collects what arrives while the database is busy into one call, so that many items share one commit. An idle service
 * adds no delay: an item leaves at the end of the event loop's turn when no call is under way.
 *
 * When a whole call fails, its items go alone, so that none fails for its neighbours.
 */
export function createBatches<Item, Result>(options: BatchOptions<Item, Result>) {
  const { run, classify, maxItems = 256, crowd = 16, maxWaiting = 5_000 } = options
  const waiting: Waiting<Item, Result>[] = []
  let inFlight = 0

  const settle = async (batch: readonly Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await repeatedly(() => run(batch.map(({ item }) => item)))
      for (const [index, one] of batch.entries()) deliver(one, results[index])
    } catch (error) {
      if (batch.length > 1 && classify(error) !== 'unavailable') await settleApart(batch, error)
      else for (const { reject } of batch) reject(error)
    }
  }

  /** Each item alone, some side by side: who waits for a lock in vain holds up one way of several. */
  const settleApart = async (batch: readonly Waiting<Item, Result>[], cause: unknown): Promise<void> => {
    const rest = batch.values()
    const way = async () => {
      for (const one of rest) await settleAlone(one, cause)
    }
    await Promise.all(Array.from({ length: maxApart }, way))
  }

  /** A call that lost a race is made again as it stands. */
  const repeatedly = async (call: () => Promise<readonly Result[]>): Promise<readonly Result[]> => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await call()
      } catch (error) {
        if (classify(error) !== 'retry' || tries === maxTries) throw error
        options.onRetry?.()
        await delay(Math.random() * 2 ** tries)
      }
    }
  }

  const settleAlone = async (one: Waiting<Item, Result>, cause: unknown): Promise<void> => {
    if (performance.now() - one.since > patience)
      return one.reject(problem('overloaded', undefined, { headers: { 'retry-after': '1' }, cause }))
    try {
      const [result] = await repeatedly(() => run([one.item]))
      deliver(one, result)
    } catch (error) {
      one.reject(error)
    }
  }

  const pump = (hurry: boolean): void => {
    while (inFlight < maxInFlight && waiting.length > 0 && (inFlight === 0 || hurry || waiting.length >= crowd)) {
      // A crowd is shared out among the free calls, so that one is prepared here while the database works on another.
      const free = maxInFlight - inFlight
      const share = waiting.length < crowd * free ? waiting.length : Math.ceil(waiting.length / free)
      const batch = waiting.splice(0, Math.min(share, maxItems))
      inFlight += 1
      void settle(batch).finally(() => {
        inFlight -= 1
        schedule()
      })
    }
    if (waiting.length > 0 && inFlight < maxInFlight && overdue === undefined)
      overdue = setTimeout(() => {
        overdue = undefined
        pump(true)
      }, courtesy)
  }

  let overdue: NodeJS.Timeout | undefined
  let scheduled = false
  /** At the end of this turn of the event loop: whatever arrived in the same turn goes together. */
  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      pump(false)
    })
  }

  return {
    /** @throws Problem `overloaded` when too many wait already */
    submit: (item: Item): Promise<Result> =>
      new Promise((resolve, reject) => {
        if (waiting.length >= maxWaiting)
          return reject(problem('overloaded', undefined, { headers: { 'retry-after': '1' } }))
        waiting.push({ item, since: performance.now(), resolve, reject })
        schedule()
      }),
  }
}

function deliver<Result>(one: Waiting<unknown, Result>, result: Result | undefined): void {
  if (result === undefined) one.reject(new Error('the batch has fewer results than items'))
  else one.resolve(result)
}
