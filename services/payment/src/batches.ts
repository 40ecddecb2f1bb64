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
  maxInFlight?: number
  maxWaiting?: number
}

type Waiting<Item, Result> = {
  item: Item
  since: number
  resolve(result: Result): void
  reject(error: unknown): void
}

/** ms after which an item that could not be tried gives up. */
const patience = 5_000
const maxTries = 6

/**
 * Collects what arrives while the database is busy into one call, so that many items share one commit. There is no
 * timer: an item leaves at once when a call is free, and an idle service adds no delay.
 *
 * When a whole call fails, its items go one by one, so that none fails for its neighbours.
 */
export function createBatches<Item, Result>(options: BatchOptions<Item, Result>) {
  const { run, classify, maxItems = 256, maxInFlight = 2, maxWaiting = 5_000 } = options
  const waiting: Waiting<Item, Result>[] = []
  let inFlight = 0

  const settle = async (batch: readonly Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await run(batch.map(({ item }) => item))
      batch.forEach(({ resolve, reject }, index) => {
        const result = results[index]
        if (result === undefined) reject(new Error('the batch has fewer results than items'))
        else resolve(result)
      })
    } catch (error) {
      if (batch.length > 1 && classify(error) !== 'unavailable') {
        options.onRetry?.()
        for (const one of batch) await settleAlone(one, error)
      } else if (batch[0] !== undefined && batch.length === 1 && classify(error) === 'retry') {
        options.onRetry?.()
        await settleAlone(batch[0], error)
      } else for (const { reject } of batch) reject(error)
    }
  }

  const settleAlone = async (one: Waiting<Item, Result>, cause: unknown): Promise<void> => {
    let error = cause
    for (let tries = 1; tries < maxTries; tries += 1) {
      if (performance.now() - one.since > patience)
        return one.reject(problem('overloaded', undefined, { headers: { 'retry-after': '1' }, cause: error }))
      try {
        const [result] = await run([one.item])
        if (result === undefined) throw new Error('the batch has fewer results than items')
        return one.resolve(result)
      } catch (thrown) {
        error = thrown
        if (classify(thrown) !== 'retry') break
        options.onRetry?.()
        await delay(Math.random() * 2 ** tries)
      }
    }
    one.reject(error)
  }

  const pump = (): void => {
    while (inFlight < maxInFlight && waiting.length > 0) {
      const batch = waiting.splice(0, maxItems)
      inFlight += 1
      void settle(batch).finally(() => {
        inFlight -= 1
        pump()
      })
    }
  }

  return {
    /** @throws Problem `overloaded` when too many wait already */
    submit: (item: Item): Promise<Result> =>
      new Promise((resolve, reject) => {
        if (waiting.length >= maxWaiting)
          return reject(problem('overloaded', undefined, { headers: { 'retry-after': '1' } }))
        waiting.push({ item, since: performance.now(), resolve, reject })
        pump()
      }),
  }
}
