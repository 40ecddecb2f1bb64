import { randomBytes } from 'node:crypto'
import t from 'tap'
import { identityOf, newCookieValue, type SealingKeys, seal, unseal } from '../src/sessions/seal.ts'

const keys: SealingKeys = { current: 'k2', keys: new Map(['k1', 'k2'].map(kid => [kid, randomBytes(32)])) }
const secret = randomBytes(32)
const context = ['session', 'id']

t.test('opens what it sealed', async t => {
  for (const plain of ['', '{}', 'x'.repeat(100_000), 'ü€😀'])
    t.equal(unseal(seal(plain, secret, keys, context), secret, keys, context), plain)
})

t.test('never seals the same twice', async t => {
  t.notOk(seal('x', secret, keys, context).equals(seal('x', secret, keys, context)))
})

t.test('opens with nothing but the right secret, server key and place', async t => {
  const sealed = seal('{}', secret, keys, context)
  t.equal(unseal(sealed, randomBytes(32), keys, context), undefined)
  const others: SealingKeys = { current: 'k2', keys: new Map([['k2', randomBytes(32)]]) }
  t.equal(unseal(sealed, secret, others, context), undefined)
  t.equal(unseal(sealed, secret, { current: 'k1', keys: new Map([['k1', randomBytes(32)]]) }, context), undefined)
  // The same characters, cut elsewhere: a joined string would take them for the same place.
  for (const place of [
    ['token', 'id'],
    ['session', 'other'],
    ['sessioni', 'd'],
    ['sessionid'],
    ['session', 'id', ''],
    [],
  ])
    t.equal(unseal(sealed, secret, keys, place), undefined, JSON.stringify(place))
})

t.test('opens nothing that was changed, cut or lengthened, at any byte', async t => {
  const sealed = seal('{"a":1}', secret, keys, context)
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] as number) ^ 1
    if (unseal(changed, secret, keys, context) !== undefined) t.fail(`byte ${at}`)
    if (unseal(sealed.subarray(0, at), secret, keys, context) !== undefined) t.fail(`cut at ${at}`)
  }
  t.equal(unseal(Buffer.concat([sealed, Buffer.of(0)]), secret, keys, context), undefined)
  t.equal(unseal(Buffer.alloc(0), secret, keys, context), undefined)
  t.equal(unseal(Buffer.alloc(200, 255), secret, keys, context), undefined)
})

t.test('derives an id and a secret that lead neither to each other nor back', async t => {
  const cookie = newCookieValue()
  const identity = identityOf(cookie)
  t.match(identity?.id, /^[A-Za-z0-9_-]{43}$/)
  t.same(identityOf(cookie), identity)
  t.not(identity?.id, cookie)
  t.not(identity?.secret.toString('base64url'), cookie)
  t.not(identity?.secret.toString('base64url'), identity?.id)
  t.not(identityOf(newCookieValue())?.id, identity?.id)
})
