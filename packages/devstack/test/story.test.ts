import { resolve } from 'node:path'
import { roles } from '@banking/contracts'
import t from 'tap'
import { germanIban, people, seed } from '../src/people.ts'
import { readRealm } from '../src/realm.ts'

/** ISO 13616: the number with its first four characters at the end leaves 1 when divided by 97. */
function isValidIban(iban: string): boolean {
  const digits = (iban.slice(4) + iban.slice(0, 4)).replace(/[A-Z]/g, letter => String(letter.charCodeAt(0) - 55))
  return /^DE\d{20}$/.test(iban) && BigInt(digits) % 97n === 1n
}

const accounts = people.flatMap(person => person.accounts)

t.test('every IBAN is valid, of one fictional bank, and its own', async t => {
  t.ok(isValidIban('DE89370400440532013000'), 'the check knows a valid one')
  t.notOk(isValidIban('DE88370400440532013000'), 'and an invalid one')
  for (const { iban } of accounts) t.ok(isValidIban(iban), iban)
  for (let number = 0; number < 500; number++) t.ok(isValidIban(germanIban(number * 7919)))
  t.equal(new Set(accounts.map(({ iban }) => iban)).size, accounts.length)
  t.ok(
    accounts.every(({ iban }) => iban.slice(4, 5) === '9'),
    'German bank codes do not begin with 9',
  )
})

t.test('ids are fixed, different, and UUIDs', async t => {
  const ids = [...people.map(({ sub }) => sub), ...accounts.map(({ id }) => id), ...seed.payments.map(({ id }) => id)]
  t.equal(new Set(ids).size, ids.length)
  for (const id of ids) t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.equal(people[0]?.sub, 'e28cde7e-30b1-4773-920d-c4c3ce6993fb', 'the same on every machine')
})

t.test('the people are those the demonstration needs', async t => {
  const count = (role: string) => people.filter(person => (person.roles as readonly string[]).includes(role)).length
  t.ok(count('customer') >= 2)
  t.equal(count('loan-officer'), 2)
  t.equal(count('banking-admin'), 2)
  for (const role of roles) t.ok(count(role) >= 1, role)
  for (const name of ['alice', 'bob']) {
    const kinds = people.find(({ username }) => username === name)?.accounts
    t.ok(
      kinds?.some(
        ({ kind, currency, balance }) => kind === 'current' && currency === 'EUR' && BigInt(balance) >= 500_000n,
      ),
    )
    t.ok(kinds?.some(({ kind }) => kind === 'savings'))
  }
})

t.test('every payment is between two sides, and no account was ever below zero', async t => {
  const known = new Map(accounts.map(({ id, balance }) => [id, BigInt(balance)]))
  // Backwards from what is there at first login.
  for (const payment of [...seed.payments].sort((a, b) => a.daysAgo - b.daysAgo)) {
    const { debtorAccountId: from, creditorAccountId: to, counterparty, amount, reference } = payment
    const sides = [from, to].filter(side => side !== undefined)
    for (const side of sides) t.ok(known.has(side), reference)
    t.equal(sides.length === 1, counterparty !== undefined, `${reference}: one side is the world outside, and named`)
    t.ok(BigInt(amount) > 0n && payment.daysAgo > 0 && payment.daysAgo <= 60 && reference.length <= 140)
    if (from !== undefined) known.set(from, (known.get(from) ?? 0n) + BigInt(amount))
    if (to !== undefined) known.set(to, (known.get(to) ?? 0n) - BigInt(amount))
    for (const balance of known.values()) t.ok(balance >= 0n, reference)
  }
})

t.test('the development realm is the product’s with the people and plain HTTP laid over it', async t => {
  const root = resolve(import.meta.dirname, '../../..')
  const realm = await readRealm(root, people)
  t.equal(realm.name, 'banking')
  t.match(realm.document, { sslRequired: 'none', defaultSignatureAlgorithm: 'ES256' })
  const users = realm.document['users'] as { id: string; groups: string[]; requiredActions: string[]; email: string }[]
  t.strictSame(
    users.map(({ id }) => id),
    people.map(({ sub }) => sub),
  )
  for (const user of users) {
    t.strictSame(user.requiredActions, [])
    t.equal(user.groups.length, 1)
    t.match(user.email, /@banking\.example$/)
  }
  const clients = realm.document['clients'] as { clientId: string; redirectUris: string[]; attributes: object }[]
  const web = clients.find(({ clientId }) => clientId === 'banking-web-app')
  t.strictSame(
    web?.redirectUris,
    ['http://localhost:3000/oauth2/callback'],
    'the overlay’s list replaces the product’s',
  )
  t.match(web?.attributes, { 'pkce.code.challenge.method': 'S256' }, 'what the overlay does not say stays')
  const again = await readRealm(root, people)
  t.equal(again.hash, realm.hash)
  const other = await readRealm(root, people.slice(1))
  t.not(other.hash, realm.hash, 'another realm has another hash')
})
