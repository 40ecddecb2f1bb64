import { readFile } from 'node:fs/promises'
import { loadConfig } from '@banking/config'
import type { Seed, SeedPayment } from '@banking/contracts'
import { openDatabase } from '@banking/db'
import Type from 'typebox'
import { v5 as uuidv5 } from 'uuid'
import { type Booking, book, openAccount, settlementAccountId } from './bookkeeping.ts'

/** Name space of the ids of opening transfers, so that a second run finds them. */
const openings = '7f0d4a52-2f4c-4b57-9d0e-6a1a0c3f5b22'
const day = 24 * 60 * 60_000

const config = loadConfig(
  Type.Object({ DATABASE_URL: Type.String({ minLength: 1 }), SEED_FILE: Type.String({ minLength: 1 }) }),
)
const seed = JSON.parse(await readFile(config.SEED_FILE, 'utf8')) as Seed
const accounts = new Map(
  seed.people.flatMap(person =>
    person.accounts.map(account => [
      account.id,
      { ...account, ownerId: person.sub, holder: `${person.givenName} ${person.familyName}` },
    ]),
  ),
)
const story = seed.payments.toSorted((a, b) => b.daysAgo - a.daysAgo)
const firstDay = Math.max(0, ...story.map(payment => payment.daysAgo)) + 3

const database = openDatabase({ url: config.DATABASE_URL, name: 'payment seed', max: 1 })
try {
  await database.sql.begin(async sql => {
    for (const account of accounts.values()) {
      if (await openAccount(sql, account)) await book(sql, openingOf(account))
    }
    for (const [index, payment] of story.entries()) await book(sql, bookingOf(payment, index))
  })
} finally {
  await database.close()
}

/** What the account must have begun with, so that the story ends at its balance. */
function openingOf(account: { id: string; balance: string; currency: Booking['currency'] }): Booking {
  const moved = story.reduce((sum, payment) => {
    if (payment.creditorAccountId === account.id) return sum + BigInt(payment.amount)
    return payment.debtorAccountId === account.id ? sum - BigInt(payment.amount) : sum
  }, 0n)
  return {
    id: uuidv5(account.id, openings),
    kind: 'opening',
    at: past(firstDay, 0),
    debtorId: settlementAccountId,
    creditorId: account.id,
    name: 'Opening balance',
    amount: BigInt(account.balance) - moved,
    currency: account.currency,
    reference: 'Transfer from your former bank',
  }
}

function bookingOf(payment: SeedPayment, index: number): Booking {
  const { debtorAccountId: debtor, creditorAccountId: creditor } = payment
  const inside = debtor !== undefined && creditor !== undefined
  const account = accounts.get(debtor ?? creditor ?? '')
  if (account === undefined) throw new Error(`the account of payment ${payment.id} is not in the seed`)
  return {
    id: payment.id,
    kind: inside ? 'payment' : 'external',
    at: past(payment.daysAgo, index),
    debtorId: debtor ?? settlementAccountId,
    creditorId: creditor ?? settlementAccountId,
    name: inside ? (accounts.get(creditor)?.holder ?? '') : (payment.counterparty ?? ''),
    amount: BigInt(payment.amount),
    currency: account.currency,
    reference: payment.reference,
  }
}

/** Some hour of a working day, in the order of the story and never in the future. */
function past(daysAgo: number, index: number): Date {
  const midnight = Math.floor(Date.now() / day) * day
  const time = midnight - daysAgo * day + (7 * 60 + index * 13) * 60_000
  return new Date(Math.min(time, Date.now()))
}
