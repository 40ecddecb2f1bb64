import { connect } from 'node:net'
import { createMetrics } from '@banking/telemetry'
import { eventually, parts, testDatabase, testLogger, testProxy, testTransport } from '@banking/testkit'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import {
  appendToOutbox,
  createKafkaTransport,
  type Handlers,
  type Message,
  newEvent,
  startConsumer,
  startRelay,
  type Transport,
} from '../src/index.ts'

const topic = 'banking.customer'

/** An outbox and an inbox in one database, real topics, and a handler that writes down what it was given. */
async function setUp(t: Test) {
  const created = await testDatabase(t, 'notification')
  const { sql } = created.open()
  const { transport, brokers, prefix, open } = await testTransport(t, [topic, 'banking.audit'])
  const { logger, lines } = testLogger()
  const relay = (via: Transport = transport, database = sql) => {
    const started = startRelay({ sql: database, transport: via, logger, metrics: createMetrics('test') })
    t.teardown(() => started.close())
    return started
  }
  const seen: string[] = []
  const consume = (handlers: Handlers, via: Transport = open()) =>
    startConsumer({
      sql,
      transport: via,
      group: 'g',
      topics: [topic],
      handlers,
      logger,
      metrics: createMetrics('test'),
    })
  return {
    created,
    sql,
    transport,
    brokers,
    prefix,
    logger,
    lines,
    relay,
    consume,
    open,
    seen,
    record: { 'customer.registered': async event => void seen.push(event.data.customerId) } satisfies Handlers,
    append: (...ids: string[]) =>
      sql.begin(async transaction => {
        for (const id of ids) await appendToOutbox(transaction, topic, id.slice(0, 1), registered(id))
      }),
    waiting: async () => (await sql<{ n: number }[]>`SELECT count(*)::int AS n FROM outbox`)[0]?.n,
  }
}

const registered = (customerId: string) =>
  newEvent({ source: '/customer', type: 'customer.registered', subject: customerId, seq: 1, data: { customerId } })

/** The real transport, with a hook after the broker's acknowledgement. */
const afterPublish = (transport: Transport, hook: (messages: readonly Message[]) => Promise<void>): Transport => ({
  ...transport,
  publish: async (topic, messages) => {
    await transport.publish(topic, messages)
    await hook(messages)
  },
})

t.test('publishes what was committed, in order per key, and empties the outbox', async t => {
  const { append, relay, consume, record, seen, waiting } = await setUp(t)
  relay()
  consume(record)
  await append('a1', 'b1', 'a2')
  await append('a3', 'b2')
  await eventually(() => seen.length === 5)
  for (const key of ['a', 'b'])
    t.same(
      seen.filter(id => id.startsWith(key)),
      key === 'a' ? ['a1', 'a2', 'a3'] : ['b1', 'b2'],
    )
  await eventually(async () => (await waiting()) === 0)
})

t.test('publishes nothing of a transaction that was rolled back', async t => {
  const { sql, relay, consume, record, seen, append } = await setUp(t)
  relay()
  consume(record)
  await t.rejects(
    sql.begin(async transaction => {
      await appendToOutbox(transaction, topic, 'a', registered('never'))
      throw new Error('changed my mind')
    }),
  )
  await append('a1')
  await eventually(() => seen.length === 1)
  t.same(seen, ['a1'])
})

t.test('refuses an event that the broker would not take, in the transaction that made it', async t => {
  const { sql, waiting } = await setUp(t)
  await t.rejects(appendToOutbox(sql, topic, 'a', registered('x'.repeat(300_000))), /larger than/)
  t.equal(await waiting(), 0)
})

t.test('gives a duplicate delivery one effect', async t => {
  const { transport, consume, record, seen } = await setUp(t)
  const event = registered('a1')
  const message = { key: 'a', value: JSON.stringify(event) }
  await transport.publish(topic, [message, message])
  await transport.publish(topic, [message, { key: 'a', value: JSON.stringify(registered('a2')) }])
  consume(record)
  await eventually(() => seen.includes('a2'))
  t.same(seen, ['a1', 'a2'])
})

t.test('publishes again what a relay published but did not delete before it died, and nobody notices', async t => {
  const { append, relay, consume, record, seen, open, waiting, sql, created } = await setUp(t)
  await append('a1', 'a2')
  let published = 0
  // The leader loses its connection between the acknowledgement and the delete. A driver that has noticed by then
  // deletes over a new one: for the first time, nobody may.
  const { sql: owner } = created.openAsOwner()
  const admin = postgres(parts(t, 'postgres').postgres, { max: 1 })
  t.teardown(() => admin.end())
  const killed = afterPublish(open(), async messages => {
    published += messages.length
    if (published > 2) return void (await owner`GRANT DELETE ON outbox TO notification`)
    await owner`REVOKE DELETE ON outbox FROM notification`
    await admin`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = ${new URL(created.url).pathname.slice(1)} AND application_name LIKE '% relay'`
  })
  relay(killed)
  await eventually(() => published >= 4)
  await eventually(async () => (await waiting()) === 0)
  await append('a3')
  consume(record)
  await eventually(() => seen.includes('a3'))
  t.same(seen, ['a1', 'a2', 'a3'])
  t.equal(published, 5)
  t.match(await sql`SELECT count(*)::int AS n FROM inbox`, [{ n: 3 }])
})

t.test('lets one of two relays lead, and the other take over when it is gone', async t => {
  const { append, relay, consume, record, seen, open } = await setUp(t)
  consume(record)
  const relays = [relay(open()), relay(open())]
  await eventually(() => relays.some(it => it.isLeader()))
  const [leader, standby] = relays[0]?.isLeader() ? relays : relays.toReversed()
  for (let i = 1; i <= 30; i++) await append(`a${i}`)
  await eventually(() => seen.length === 30)
  t.notOk(standby?.isLeader())
  await leader?.close()
  for (let i = 31; i <= 60; i++) await append(`a${i}`)
  await eventually(() => seen.length === 60)
  t.ok(standby?.isLeader())
  t.same(
    seen,
    [...Array(60).keys()].map(i => `a${i + 1}`),
  )
})

t.test('keeps the order when the lead changes in the middle of a flood', async t => {
  const { append, relay, consume, record, seen, open, created } = await setUp(t)
  const admin = postgres(parts(t, 'postgres').postgres, { max: 1 })
  t.teardown(() => admin.end())
  consume(record)
  relay(open())
  relay(open())
  for (let i = 1; i <= 200; i++) {
    await append(`a${i}`)
    if (i % 50 === 0)
      await admin`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = ${new URL(created.url).pathname.slice(1)} AND application_name LIKE '% relay'`
  }
  await eventually(() => seen.length === 200)
  t.same(
    seen,
    [...Array(200).keys()].map(i => `a${i + 1}`),
  )
})

t.test('lives through a database that cannot be reached', async t => {
  const { created, append, consume, record, seen, logger, open } = await setUp(t)
  consume(record)
  const address = new URL(created.url)
  const proxy = await testProxy(t, { host: address.hostname, port: Number(address.port) })
  address.host = `${proxy.host}:${proxy.port}`
  const through = postgres(address.href, {
    max: 2,
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    connection: { application_name: 'test' },
  })
  t.teardown(() => through.end({ timeout: 1 }))
  const started = startRelay({ sql: through, transport: open(), logger, metrics: createMetrics('test') })
  t.teardown(() => started.close())
  await append('a1')
  await eventually(() => seen.length === 1)
  proxy.cut()
  await append('a2')
  await eventually(() => !started.isLeader())
  await proxy.mend()
  await eventually(() => seen.length === 2)
  t.same(seen, ['a1', 'a2'])
})

for (const fault of ['cut', 'stall'] as const)
  t.test(`keeps the outbox while the broker is gone (${fault}) and drains it afterwards, in order`, async t => {
    const { append, relay, consume, record, seen, waiting, logger, lines, brokers, prefix } = await setUp(t)
    const [host = '', port] = brokers[0]?.split(':') ?? []
    const proxy = await testProxy(t, { host, port: Number(port) })
    const through = createKafkaTransport({
      brokers: [`${proxy.host}:${proxy.port}`],
      clientId: 'test',
      prefix,
      logger,
      // The broker names its own address to clients: lead them back through the proxy.
      socketFactory: ({ onConnect }) => connect({ host: proxy.host, port: proxy.port }, onConnect),
    })
    t.teardown(() => through.close())
    relay(through)
    consume(record)
    await append('a1')
    await eventually(() => seen.length === 1)
    proxy[fault]()
    await append('a2', 'a3')
    await append('a4')
    await eventually(() => lines().some(line => line['msg'] === 'publishing failed; the events stay'))
    t.equal(await waiting(), 3)
    t.same(seen, ['a1'])
    await proxy.mend()
    await eventually(() => seen.length === 4)
    t.same(seen, ['a1', 'a2', 'a3', 'a4'])
    await eventually(async () => (await waiting()) === 0)
  })

t.test('lets other topics go on while one cannot be published', async t => {
  const { sql, append, relay, consume, record, seen, waiting } = await setUp(t)
  await appendToOutbox(sql, 'no-such-topic', 'a', registered('stuck'))
  relay()
  consume(record)
  await append('a1')
  await eventually(() => seen.length === 1)
  await eventually(async () => (await waiting()) === 1)
  t.match(await sql`SELECT topic FROM outbox`, [{ topic: 'no-such-topic' }])
})

t.test('says how much waits and for how long', async t => {
  const { sql, open, logger } = await setUp(t)
  await appendToOutbox(sql, 'no-such-topic', 'a', registered('stuck'))
  const metrics = createMetrics('test')
  const relay = startRelay({ sql, transport: open(), logger, metrics })
  t.teardown(() => relay.close())
  await eventually(async () => /outbox_events\{app="test"\} 1\n/.test(await metrics.text()))
  t.match(await metrics.text(), /outbox_oldest_seconds\{app="test"\} 0?\.?\d/)
  await eventually(async () =>
    /outbox_failures_total\{topic="no-such-topic",app="test"\} \d/.test(await metrics.text()),
  )
})

t.test('leaves the lock and every connection when it closes', async t => {
  const { relay, created, append, waiting } = await setUp(t)
  const started = relay()
  await eventually(() => started.isLeader())
  await started.close()
  await append('a1')
  t.equal(await waiting(), 1)
  const admin = postgres(parts(t, 'postgres').postgres, { max: 1 })
  t.teardown(() => admin.end())
  await eventually(async () => {
    const rows = await admin`
      SELECT 1 FROM pg_stat_activity
      WHERE datname = ${new URL(created.url).pathname.slice(1)} AND application_name LIKE '% relay'`
    return rows.length === 0
  })
})
