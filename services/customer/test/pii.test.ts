import { randomBytes } from 'node:crypto'
import t from 'tap'
import { maskBirthDate, maskEmail, maskPhone } from '../src/customer.ts'
import { register } from '../src/customer-store.ts'
import { newDataKey, openField, readWrappingKeys, sealField, unwrapDataKey } from '../src/pii.ts'
import { alice, customerApp, keyFile } from './app.ts'

t.test('a dump of the database shows no name', async t => {
  const { owner } = await customerApp(t)
  const dump = JSON.stringify([
    await owner`SELECT id, state, data_key FROM customer`,
    await owner`SELECT field, encode(sealed, 'escape') AS sealed FROM personal_data`,
  ])
  t.match(dump, 'givenName')
  for (const secret of ['Alice', 'Sommer', 'alice.sommer', '5550142', '1987-04-12', 'Lindenallee'])
    t.notMatch(dump, secret)
})

t.test('what was sealed opens in its own place only', async t => {
  const keys = readWrappingKeys(keyFile(t))
  const { key, wrapped } = newDataKey(keys, 'a')
  const sealed = sealField('Alice', key, 'a', 'givenName')
  t.equal(openField(sealed, unwrapDataKey(keys, 'a', wrapped), 'a', 'givenName'), 'Alice')
  t.throws(() => openField(sealed, key, 'a', 'familyName'), 'moved to another field')
  t.throws(() => openField(sealed, key, 'b', 'givenName'), 'moved to another customer')
  t.throws(() => openField(sealed, newDataKey(keys, 'a').key, 'a', 'givenName'), 'with another key')
  t.throws(() => unwrapDataKey(keys, 'b', wrapped), 'the key of another customer')
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] ?? 0) ^ 1
    t.throws(() => openField(changed, key, 'a', 'givenName'), `byte ${at} changed`)
  }
  t.not(sealField('Alice', key, 'a', 'givenName').toString('hex'), sealed.toString('hex'), 'never the same bytes twice')
})

t.test('a wrapping key can be rotated: old customers open, new ones use the new key', async t => {
  const [k1, k2] = [randomBytes(32), randomBytes(32)].map(key => key.toString('base64url'))
  const before = readWrappingKeys(keyFile(t, { current: 'k1', keys: { k1 } }))
  const after = readWrappingKeys(keyFile(t, { current: 'k2', keys: { k1, k2 } }))
  const old = newDataKey(before, 'a')
  t.same(unwrapDataKey(after, 'a', old.wrapped), old.key)
  t.match(newDataKey(after, 'a').wrapped, /^k2\./)
  const without = readWrappingKeys(keyFile(t, { current: 'k2', keys: { k2 } }))
  t.throws(() => unwrapDataKey(without, 'a', old.wrapped), { message: 'there is no wrapping key k1' })
})

t.test('a key file that cannot be used is named with the remedy, without a key', async t => {
  const good = randomBytes(32).toString('base64url')
  for (const content of [
    {},
    { current: 'x', keys: { k1: good } },
    { current: 'k1', keys: { k1: 'c2hvcnQ' } },
    { current: 'k1', keys: { k1: 'A'.repeat(43) } },
    { current: 'k 1', keys: { 'k 1': good } },
  ]) {
    const file = keyFile(t, content)
    t.throws(() => readWrappingKeys(file), { message: /PII_KEY_FILE cannot be used/ })
    try {
      readWrappingKeys(file)
    } catch (error) {
      t.notMatch(String(error), good)
    }
  }
  t.throws(() => readWrappingKeys('/nonexistent'), { message: /PII_KEY_FILE/ })
})

t.test('a customer whose key is gone is gone', async t => {
  const { get, owner } = await customerApp(t)
  await owner`UPDATE customer SET data_key = NULL`
  t.equal((await get('/me')).statusCode, 404)
})

t.test('registering twice changes nothing and is told once', async t => {
  const { owner, keys, events } = await customerApp(t)
  t.equal(await owner.begin(sql => register(sql, keys, { ...alice, givenName: 'Mallory' })), false)
  t.equal(await owner.begin(sql => register(sql, keys, { ...alice, id: 'b' })), true)
  t.match(await events(), [{ topic: 'banking.customer', key: 'b', event: { type: 'customer.registered', seq: 1 } }])
})

t.test('masks keep what helps to recognise and hide the rest', async t => {
  t.equal(maskEmail('alice@example.org'), 'a•••@example.org')
  t.equal(maskEmail('"a@b"@example.org'), '"•••@example.org')
  t.equal(maskEmail('@example.org'), '•••')
  t.equal(maskEmail('nothing'), '•••')
  t.equal(maskPhone('+49 (30) 12-34 56'), '•••56')
  t.equal(maskPhone(''), '•••')
  t.equal(maskBirthDate('1987-04-12'), '1987-••-••')
  t.equal(maskBirthDate('12.4.1987'), '•••')
})
