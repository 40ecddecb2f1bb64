import { problem } from '@banking/contracts'
import { createMetrics } from '@banking/telemetry'
import { eventually, testDatabase, testLogger, testProxy, testTransport } from '@banking/testkit'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { type Delivery, type Handlers, newEvent, startConsumer } from '../src/index.ts'

const topic = 'banking.customer'

const registered = (customerId: string) =>
  newEvent({ source: '/customer', type: 'customer.registered', subject: customerId, seq: 1, data: { customerId } })

async function setUp(t: Test) {
  const created = await testDatabase(t, 'notification')
  const { sql } = created.open()
  const { transport, open } = await testTransport(t, [topic])
  const { logger, text } = testLogger()
  const metrics = createMetrics('test')
  const seen: string[] = []
  const dead: Delivery[] = []
  transport.subscribe({ group: 'dead', topics: [`${topic}.dlq`], onEvent: async delivery => void dead.push(delivery) })
  return {
    created,
    sql,
    open,
    text,
    metrics,
    logger,
    seen,
    dead,
    record: async (event: { data: { customerId: string } }) => void seen.push(event.data.customerId),
    consume: (handlers: Handlers, database = sql) =>
      startConsumer({ sql: database, transport: open(), group: 'g', topics: [topic], handlers, logger, metrics }),
    /** All with one key, so that they stand behind each other in one partition. */
    send: (...values: (string | Buffer | object)[]) =>
      transport.publish(
        topic,
        values.map(value => ({
          key: 'a',
          value: typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value),
        })),
      ),
  }
}

t.test('sets aside what is no event of the contracts, says why, and goes on', async t => {
  const { consume, send, record, seen, dead, text } = await setUp(t)
  consume({ 'customer.registered': record })
  const good = registered('good')
  const poison: [value: string | Buffer | object, reason: string][] = [
    ['', 'empty'],
    ['{"specversion":', 'not_json'],
    [Buffer.from([0xff, 0xfe, 0x00]), 'not_json'],
    ['[]', 'not_an_event'],
    ['null', 'not_an_event'],
    [{ ...good, id: 'no uuid' }, 'not_an_event'],
    [{ ...good, specversion: '0.3' }, 'not_an_event'],
    [{ ...good, seq: -1 }, 'not_an_event'],
    [{ ...good, data: { customerId: 7 } }, 'data_invalid'],
    [{ ...good, data: { iban: 'DE89370400440532013000' } }, 'data_invalid'],
    ['x'.repeat(300_000), 'too_large'],
  ]
  await send(...poison.map(([value]) => value), good)
  await eventually(() => seen.length === 1)
  t.same(seen, ['good'])
  await eventually(() => dead.length === poison.length)
  t.same(
    dead.map(({ headers }) => headers['dlq-reason']),
    poison.map(([, reason]) => reason),
  )
  t.match(dead[2]?.headers, { 'dlq-topic': topic, 'dlq-group': 'g', 'dlq-partition': /^\d$/, 'dlq-offset': '2' })
  t.ok(dead[2]?.value?.equals(Buffer.from([0xff, 0xfe, 0x00])), 'the bytes are kept for a later look')
  t.notMatch(text(), 'DE89', 'the log does not quote the data')
})

t.test('sets aside an event whose handler failed five times, and handles the next', async t => {
  const { consume, send, record, seen, dead, sql, metrics } = await setUp(t)
  let tries = 0
  consume({
    'customer.registered': async (event, transaction) => {
      await transaction`INSERT INTO mailbox VALUES (${event.data.customerId}, 1)`
      if (event.data.customerId !== 'bad') return record(event)
      tries += 1
      throw new Error('secret detail')
    },
  })
  await send(registered('bad'), registered('good'))
  await eventually(() => seen.length === 1)
  t.equal(tries, 5)
  await eventually(() => dead.length === 1)
  t.match(dead[0]?.headers, { 'dlq-reason': 'handler_failed', 'dlq-detail': 'Error' })
  t.match(await sql`SELECT user_id FROM mailbox`, [{ user_id: 'good' }], 'nothing of the failed tries is left')
  t.match(await sql`SELECT count(*)::int AS n FROM inbox`, [{ n: 1 }])
  t.match(await metrics.text(), /consumer_events_total\{topic="banking.customer",outcome="dead",app="test"\} 1/)
})

t.test('handles an event that failed a few times once it can', async t => {
  const { consume, send, record, seen, dead } = await setUp(t)
  let failures = 0
  consume({
    'customer.registered': async event => {
      if (event.data.customerId === 'flaky' && failures++ < 3) throw problem('internal')
      return record(event)
    },
  })
  await send(registered('flaky'), registered('next'))
  await eventually(() => seen.length === 2)
  t.same(seen, ['flaky', 'next'])
  t.same(dead, [])
})

t.test('skips types that it does not know or does not handle', async t => {
  const { consume, send, record, seen, dead, sql } = await setUp(t)
  consume({ 'customer.registered': record })
  await send({ ...registered('x'), type: 'customer.promoted', data: { new: true } })
  await send({ ...registered('x'), type: 'account.opened', data: { accountId: 'a', ownerId: 'b', currency: 'EUR' } })
  await send(registered('good'))
  await eventually(() => seen.length === 1)
  t.same(dead, [])
  t.match(await sql`SELECT count(*)::int AS n FROM inbox`, [{ n: 1 }])
})

t.test('takes an event with members it does not know yet: a schema only grows', async t => {
  const { consume, send, record, seen } = await setUp(t)
  consume({ 'customer.registered': record })
  const event = registered('good')
  await send({ ...event, newattribute: 1, data: { ...event.data, more: true } })
  await eventually(() => seen.length === 1)
  t.same(seen, ['good'])
})

t.test('waits for a database that is away and sets nothing aside for it', async t => {
  const { created, consume, send, record, seen, dead, metrics } = await setUp(t)
  const address = new URL(created.url)
  const proxy = await testProxy(t, { host: address.hostname, port: Number(address.port) })
  address.host = `${proxy.host}:${proxy.port}`
  const through = postgres(address.href, {
    max: 2,
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    backoff: () => 0.05,
    connect_timeout: 1,
  })
  t.teardown(() => through.end({ timeout: 1 }))
  consume({ 'customer.registered': record }, through)
  await send(registered('before'))
  await eventually(async () => /outcome="handled",app="test"\} 1/.test(await metrics.text()))
  proxy.cut()
  await send(registered('after'))
  await eventually(async () => /outcome="failed",app="test"\} [3-9]/.test(await metrics.text()))
  await proxy.mend()
  await eventually(() => seen.length === 2)
  t.same(seen, ['before', 'after'])
  t.same(dead, [])
})

t.test('does not commit an effect without its inbox row, nor the other way round', async t => {
  const { consume, send, seen, record, sql } = await setUp(t)
  let fail = true
  consume({
    'customer.registered': async (event, transaction) => {
      await transaction`INSERT INTO mailbox VALUES (${event.data.customerId}, 1)`
      if (fail) {
        fail = false
        throw new Error('crashed before the commit')
      }
      return record(event)
    },
  })
  const event = registered('a1')
  await send(event, event)
  await send(registered('a2'))
  await eventually(() => seen.includes('a2'))
  t.same(seen, ['a1', 'a2'])
  t.match(await sql`SELECT count(*)::int AS n FROM mailbox`, [{ n: 2 }])
})
