import t from 'tap'
import { Compile } from 'typebox/compile'
import {
  apps,
  audienceOf,
  formatMoney,
  minorUnits,
  money,
  Problem,
  problem,
  problems,
  scopeOf,
  serviceVariables,
  topicOf,
} from '../src/index.ts'

t.test('everything is derived from the name of the app', async t => {
  t.equal(audienceOf('payment'), 'payment-service')
  t.equal(scopeOf('payment'), 'payment-api')
  t.equal(topicOf('payment'), 'banking.payment')
  t.equal(new Set(apps.map(({ port }) => port)).size, apps.length)
})

t.test('an issuer is reached over https, or on loopback', async t => {
  const { ISSUER } = serviceVariables('payment')
  const issuer = Compile(ISSUER)
  for (const good of [
    'https://id.bank.example/realms/banking',
    'http://127.0.0.1:8180/realms/banking',
    'http://localhost',
  ])
    t.ok(issuer.Check(good), good)
  for (const bad of [
    'http://id.bank.example/realms/banking',
    'http://localhost.evil.example/',
    'http://127.0.0.1.evil.example/',
    'http://localhost@evil.example/',
    'http://localhost:80@evil.example/',
    'http://localhost:@evil.example/',
    'ftp://id.bank.example/',
    'https:///realms/banking',
    ' https://id.bank.example/',
  ])
    t.notOk(issuer.Check(bad), bad)
})

t.test('money is exact beyond what a JSON number holds', async t => {
  t.same(money(900_719_925_474_099_312n, 'EUR'), { amount: '900719925474099312', currency: 'EUR' })
  t.equal(minorUnits({ amount: '900719925474099312' }), 900_719_925_474_099_312n)
  for (const amount of ['', '1.5', '1e3', '٣', ' 1', '1'.repeat(19), '0x1']) {
    t.throws(() => minorUnits({ amount }), { code: 'amount_invalid' }, amount)
  }
})

t.test('money is written with the digits of its currency', async t => {
  t.equal(formatMoney({ amount: '123456789', currency: 'EUR' }), '1,234,567.89 EUR')
  t.equal(formatMoney({ amount: '-5', currency: 'EUR' }), '-0.05 EUR')
  t.equal(formatMoney({ amount: '1234', currency: 'JPY' }), '1,234 JPY')
  t.equal(formatMoney({ amount: '1234', currency: 'KWD' }), '1.234 KWD')
})

t.test('a refusal is the same bytes each time unless it names its instance', async t => {
  const refusal = problem('insufficient_funds', 'Only 3.00 EUR are available.', { extensions: { available: '300' } })
  t.ok(refusal instanceof Problem)
  t.same(refusal.toDocument(), {
    type: 'https://banking.local/problems/insufficient_funds',
    title: 'There is not enough money in the account.',
    status: 409,
    code: 'insufficient_funds',
    detail: 'Only 3.00 EUR are available.',
    available: '300',
  })
  t.equal(refusal.toDocument('urn:request:1').instance, 'urn:request:1')
})

t.test('every problem of the catalog is an error a client can act on', async t => {
  for (const [code, { status, title, remedy }] of Object.entries(problems)) {
    t.match(code, /^[a-z][a-z_]+$/)
    t.ok(status >= 400 && status < 600, code)
    t.match(title, /\.$/, code)
    t.match(remedy, /\.$/, code)
  }
})
