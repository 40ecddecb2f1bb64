import { randomUUID } from 'node:crypto'
import t from 'tap'
import { bank, bodyOf, type Test } from './app.ts'

const [alice, bob] = ['a11ce000-0000-4000-8000-00000000000a', 'b0b00000-0000-4000-8000-00000000000b']

async function aliceAndBob(t: Test, balance = 100_000n) {
  const it = await bank(t)
  return { ...it, from: await it.open(alice, balance), to: await it.open(bob, 0n) }
}

t.test('needs a well-formed key', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const cases: [string | undefined, string][] = [
    [undefined, 'key_missing'],
    ['', 'key_missing'],
    ['a'.repeat(256), 'key_malformed'],
    [`"${'a'.repeat(300)}"`, 'key_malformed'],
    ['two words', 'key_malformed'],
    ['"open', 'key_malformed'],
    ['""', 'key_malformed'],
    ['"a"; v=1', 'key_malformed'],
    ['a,b', 'key_malformed'],
    ["a'; DROP TABLE account", 'key_malformed'],
    ['ключ', 'key_malformed'],
  ]
  for (const [key, code] of cases) {
    const response = await it.app.inject({
      method: 'POST',
      url: '/api/payments',
      headers: { ...(await it.as(alice)), ...(key === undefined ? {} : { 'idempotency-key': key }) },
      payload: bodyOf({ from, to, amount: 1n }),
    })
    t.match({ status: response.statusCode, ...response.json() }, { status: 400, code }, `key ${key}`)
  }
  t.equal(await it.count('payment'), 0)
})

t.test('takes a key quoted or bare as the same key', async t => {
  const it = await aliceAndBob(t)
  const order = { from: it.from, to: it.to, amount: 5n }
  const first = await it.pay(order, { key: 'my-key_1' })
  const again = await it.pay(order, { key: '"my-key_1"' })
  t.equal(first.headers['idempotency-replayed'], undefined)
  t.equal(again.headers['idempotency-replayed'], 'true')
  t.equal(again.body, first.body)
  t.match(await it.account(it.to.id), { posted: 5n })
})

t.test('moves the money once for the same key sent 20 times in parallel to two replicas', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const second = await it.start()
  const key = randomUUID()
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      it.pay({ from, to, amount: 700n }, { key, on: n % 2 === 0 ? it.app : second.app }),
    ),
  )
  const done = answers.filter(({ statusCode }) => statusCode === 201)
  const others = answers.filter(({ statusCode }) => statusCode !== 201)
  t.ok(done.length >= 1)
  t.same([...new Set(done.map(({ body }) => body))], [done[0]?.body], 'every success is the same bytes')
  t.equal(done.filter(({ headers }) => headers['idempotency-replayed'] === undefined).length, 1, 'one is the first')
  for (const other of others) t.equal(other.json().code, 'key_in_flight')
  t.match(await it.account(from.id), { posted: 99_300n })
  t.equal(await it.count('payment'), 1)
  t.equal(await it.count('outbox'), 1)
  await it.audit(100_000n)
})

t.test('repeats the first answer byte for byte, whatever has happened since', async t => {
  const it = await aliceAndBob(t, 2_500_000n)
  const { from, to } = it
  const poor = await it.open('poor', 10n)
  const frozen = await it.open('frozen', 1_000n)
  await it.freeze(frozen.id)
  const cases = [
    { order: { from, to, amount: 100n }, status: 201 },
    { order: { from, to, amount: 1_200_000n }, status: 202 },
    { order: { from: poor, to, amount: 11n }, status: 409 },
    { order: { from: frozen, to, amount: 11n }, status: 409 },
  ].map(one => ({ ...one, key: randomUUID() }))
  const first = await Promise.all(cases.map(({ order, key }) => it.pay(order, { key })))
  t.same(
    first.map(({ statusCode }) => statusCode),
    cases.map(({ status }) => status),
  )
  await it.post(`/${first[1]?.json().id}/cancel`, alice)
  await it.pay({ from, to: poor, amount: 1_000n })
  await it.owner.sql`UPDATE account SET status = 'active'`
  const rows = await it.count('payment')
  const restarted = await it.start()
  for (const [index, { order, key, status }] of cases.entries()) {
    const again = await it.pay(order, { key, on: restarted.app })
    t.equal(again.statusCode, status)
    t.equal(again.headers['idempotency-replayed'], 'true')
    t.equal(again.headers['content-type'], first[index]?.headers['content-type'])
    t.equal(again.body, first[index]?.body)
  }
  t.equal(await it.count('payment'), rows, 'nothing was added')
})

t.test('refuses another body under a used key', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const key = randomUUID()
  await it.pay({ from, to, amount: 100n }, { key })
  for (const order of [
    { from, to, amount: 101n },
    { from, to, amount: 100n, reference: 'Dinner' },
  ]) {
    const response = await it.pay(order, { key })
    t.match({ status: response.statusCode, ...response.json() }, { status: 422, code: 'key_reused' })
  }
  t.match(await it.account(to.id), { posted: 100n })
})

t.test('refuses another body under a key that is under way', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const key = randomUUID()
  const answers = await Promise.all([1n, 2n, 3n, 4n].map(amount => it.pay({ from, to, amount }, { key })))
  t.same(answers.map(({ statusCode }) => statusCode).sort(), [201, 422, 422, 422])
  t.equal(await it.count('payment'), 1)
})

t.test('compares what a body says, not how it is written', async t => {
  const it = await aliceAndBob(t)
  const key = randomUUID()
  const body = bodyOf({ from: it.from, to: it.to, amount: 100n })
  const first = await it.post('', alice, body, { 'idempotency-key': key })
  const turned = Object.fromEntries(Object.entries(body).reverse())
  const again = await it.post('', alice, turned, { 'idempotency-key': key })
  t.equal(again.body, first.body)
})

t.test('keeps each person’s keys apart', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const key = randomUUID()
  await it.pay({ from, to, amount: 1_000n }, { key })
  const stolen = await it.post('', bob, bodyOf({ from, to, amount: 1_000n }), { 'idempotency-key': key })
  t.equal(stolen.statusCode, 404, 'the account is asked for before the answer is repeated')
  const own = await it.pay({ from: to, to: from, amount: 250n }, { key })
  t.equal(own.statusCode, 201)
  t.equal(own.headers['idempotency-replayed'], undefined)
})

t.test('frees the key of an order that was refused', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const key = randomUUID()
  const body = bodyOf({ from, to, amount: 10n })
  const unknown = { ...body, creditor: { name: 'X', accountId: randomUUID() } }
  t.equal((await it.post('', alice, unknown, { 'idempotency-key': key })).json().code, 'creditor_unknown')
  t.equal((await it.post('', alice, body, { 'idempotency-key': key })).statusCode, 201)
})

t.test('answers 409 when the first request with a key does not finish, and harms nobody else', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const key = randomUUID()
  const stuck = await it.owner.sql.reserve()
  await stuck`BEGIN`
  await stuck`INSERT INTO idempotency_key (subject, route, key, fingerprint, payment_id, created_at)
    VALUES (${alice}, 'POST /api/payments', ${key}, '\\x00', ${randomUUID()}, now())`
  // The first leaves alone and keeps one of the two calls busy; the others share a batch with the stuck key.
  const [waited, ...others] = await Promise.all([
    it.pay({ from, to, amount: 1n }, { key }),
    ...Array.from({ length: 6 }, () => it.pay({ from, to, amount: 1n })),
  ])
  t.match({ status: waited?.statusCode, ...waited?.json() }, { status: 409, code: 'key_in_flight' })
  t.ok(waited?.headers['retry-after'])
  t.same(
    others.map(({ statusCode }) => statusCode),
    Array(6).fill(201),
  )
  await stuck`ROLLBACK`
  stuck.release()
  t.equal((await it.pay({ from, to, amount: 1n }, { key })).statusCode, 201, 'the key is free again')
})

t.test('forgets keys after seven days, never payments', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const [old, young] = [randomUUID(), randomUUID()]
  await it.pay({ from, to, amount: 1n }, { key: old })
  await it.pay({ from, to, amount: 1n }, { key: young })
  await it.owner.sql`UPDATE idempotency_key SET created_at = now() - interval '8 days' WHERE key = ${old}`
  await it.payments.forgetKeys()
  const left = await it.owner.sql<{ key: string }[]>`SELECT key FROM idempotency_key WHERE subject = ${alice}`
  t.notOk(left.some(({ key }) => key === old))
  t.ok(left.some(({ key }) => key === young))
  t.equal(await it.count('payment'), 2)
})
