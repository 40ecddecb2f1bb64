import { randomUUID } from 'node:crypto'
import { testDatabase, testLogger } from '@banking/testkit'
import type { Test } from 'tap'
import { openJournal } from '../src/ledger/journal-store.ts'
import { startLease } from '../src/ledger/lease.ts'
import { type Operation, transferId } from '../src/ledger/operation.ts'
import { createWriter, NotWriter } from '../src/ledger/writer.ts'

export type { Test } from 'tap'

export const fingerprint = '00'.repeat(16)

/** A ledger on a database of its own with a writer, the bank's own account, and customers' accounts. */
export async function openLedger(t: Test) {
  const database = await testDatabase(t, 'payment')
  const owner = database.openAsOwner()
  const bank = randomUUID()
  const replica = startReplica(t, database.open().sql)
  await replica.store.openAccount(bank, 'EUR', null)

  /** Sends until there is a writer. */
  const insist = async (operation: Operation, { id = randomUUID() as string, memo = '', on = replica } = {}) => {
    for (;;) {
      try {
        return { id, ...(await on.writer.submit({ id, fingerprint, operation, memo })) }
      } catch (error) {
        if (!(error instanceof NotWriter)) throw error
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    }
  }

  return {
    ...replica,
    database,
    owner,
    bank,
    order: insist,
    /** A customer's account with money from the bank. */
    open: async (balance: bigint, currency = 'EUR') => {
      const id = randomUUID()
      await replica.store.openAccount(id, currency, 0n)
      if (balance > 0n)
        await insist(
          { kind: 'transfer', debtor: bank, creditor: id, amount: balance, currency },
          { id: transferId('bank', 'opening', id) },
        )
      return id
    },
  }
}

/** One process's share of the ledger. */
export function startReplica(t: Test, sql: Parameters<typeof openJournal>[0]['sql'], holder = randomUUID()) {
  const { logger, lines } = testLogger()
  const failures: unknown[] = []
  const store = openJournal({ sql })
  const writer = createWriter({ store, ttl: 2_000, onFailure: error => failures.push(error) })
  const lease = startLease({ store, writer, holder, logger })
  t.teardown(async () => {
    await lease.close()
    await store.close()
  })
  return { store, writer, lease, lines, failures }
}
