import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@banking/telemetry'
import type { JournalStore } from './journal-store.ts'
import type { createWriter } from './writer.ts'

export type LeaseOptions = {
  store: Pick<JournalStore, 'acquire' | 'renew' | 'release' | 'drop'>
  writer: ReturnType<typeof createWriter>
  /** Where this process can be asked when it writes: a name that stays. */
  holder: string
  logger: Logger
  /** ms for which nobody else tries after the last sign of life. */
  ttl?: number
  /** ms between two tries of who does not write. */
  poll?: number
}

/**
 * Decides who tries to be the writer; that only one can is the journal's business. A process that was killed is followed
 * after `ttl`, one that closes at the next poll of another.
 */
export function startLease(options: LeaseOptions) {
  const { store, writer, holder, logger, ttl = 2_000, poll = 100 } = options
  const closing = new AbortController()
  let heard = 0

  const round = async (): Promise<void> => {
    const term = writer.term()
    if (term === undefined) {
      const next = await store.acquire(holder, ttl)
      if (next === undefined) return
      heard = performance.now()
      writer.lead(next)
      logger.info({ epoch: next.epoch }, 'writing the ledger')
      return
    }
    const renewed = await store.renew(term.epoch, ttl)
    if (renewed !== undefined) {
      heard = performance.now()
      writer.setClock(renewed.now)
      // After a failure the writer has begun another term by itself.
    } else if (writer.term()?.epoch === term.epoch) writer.depose()
  }

  const loop = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        await round()
      } catch (error) {
        logger.warn({ err: error }, 'the claim to write could not be renewed')
        await store.drop()
        // Somebody else may write by now. Orders had better go there.
        if (performance.now() - heard > ttl) writer.depose()
      }
      const pause = writer.term() === undefined ? poll : ttl / 4
      await delay(pause, undefined, { signal: closing.signal }).catch(() => {})
    }
  }
  const done = loop()

  return {
    /** Finishes what is under way and gives the claim up. */
    close: async (): Promise<void> => {
      closing.abort()
      await done
      const term = await writer.drain()
      if (term === undefined) return
      await store.release(term.epoch).catch(error => logger.warn({ err: error }, 'the claim to write ends by itself'))
    },
  }
}
