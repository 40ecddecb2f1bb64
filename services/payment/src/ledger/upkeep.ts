import type { Logger } from '@banking/telemetry'
import type { JournalStore } from './journal-store.ts'
import { transferId } from './operation.ts'
import type { createWriter } from './writer.ts'

const second = 1_000
const day = 24 * 60 * 60 * second

/** What the writer does unasked: ends the holds whose time has passed, and keeps room for the months to come. */
export function startUpkeep(options: {
  store: Pick<JournalStore, 'overdueHolds' | 'prepareMonths'>
  writer: ReturnType<typeof createWriter>
  logger: Logger
}) {
  const { store, writer, logger } = options
  let working = false
  let preparedAt = Number.NEGATIVE_INFINITY

  const work = async (): Promise<void> => {
    if (working || writer.term() === undefined) return
    working = true
    try {
      if (performance.now() - preparedAt > day) {
        await store.prepareMonths()
        preparedAt = performance.now()
      }
      const overdue = await store.overdueHolds(100)
      await Promise.all(overdue.map(hold => writer.submit(expiryOf(hold))))
    } catch (error) {
      logger.warn({ err: error }, 'the upkeep of the ledger comes later')
    } finally {
      working = false
    }
  }
  const timer = setInterval(() => void work(), second)

  return { close: (): void => clearInterval(timer) }
}

/** The same order whoever gives it. */
const expiryOf = (hold: string) => ({
  id: transferId('ledger', 'expire', hold),
  fingerprint: '00'.repeat(16),
  operation: { kind: 'expire', hold } as const,
  memo: '',
})
