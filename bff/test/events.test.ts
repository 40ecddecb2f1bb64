import { connect } from 'node:net'
import type { CloudEvent } from '@banking/contracts'
import { createKafkaTransport, type Delivery } from '@banking/messaging'
import { createMetrics } from '@banking/telemetry'
import { eventually, testLogger, testProxy, testTransport } from '@banking/testkit'
import t, { type Test } from 'tap'
import { publishedEvents } from '../src/events/published-events.ts'

t.jobs = 1
process.env['KAFKAJS_NO_PARTITIONER_WARNING'] = '1'

const topic = 'banking.bff'
const actor = { sub: 'f7a3', sid: 'at-the-provider' }

/** Events that go through a network which can fail, and what arrives behind it. */
async function published(t: Test, more: { limit?: number; farewell?: number } = {}) {
  const { transport: reader, brokers, prefix } = await testTransport(t, [topic])
  const [host = '', port] = (brokers[0] ?? '').split(':')
  const link = await testProxy(t, { host, port: Number(port) })
  const { logger, lines, text } = testLogger()
  const metrics = createMetrics('bff')
  const transport = createKafkaTransport({
    brokers: [`${link.host}:${link.port}`],
    clientId: 'bff',
    prefix,
    logger: testLogger().logger,
    // The broker names its own address to clients: lead them back through the proxy.
    socketFactory: ({ onConnect }) => connect({ host: link.host, port: link.port }, onConnect),
  })
  const events = publishedEvents({ transport, topic, logger, metrics, ...more })
  t.teardown(events.close)
  const seen: { event: CloudEvent; delivery: Delivery }[] = []
  reader.subscribe({
    group: 'reader',
    topics: [topic],
    onEvent: async delivery => void seen.push({ event: JSON.parse(String(delivery.value)), delivery }),
  })
  return {
    link,
    events,
    seen,
    lines,
    text,
    count: async (name: string) =>
      Number(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm').exec(await metrics.text())?.[1] ?? 0),
  }
}

t.test('arrive as CloudEvents, those about one session in order', async t => {
  const { events, seen } = await published(t)
  const trace = { traceId: '1'.repeat(32), spanId: '2'.repeat(16), sampled: false }
  events.record(
    'session.started',
    's1',
    { actor, device: 'Firefox on Linux', authTime: new Date(0).toISOString() },
    { trace },
  )
  events.record('session.refreshed', 's1', { actor }, { seq: 2 })
  events.record('session.ended', 's1', { actor, reason: 'ended' }, { seq: 3 })
  await eventually(() => seen.length === 3)
  t.same(
    seen.map(({ event }) => [event.type, event.seq]),
    [
      ['session.started', 0],
      ['session.refreshed', 2],
      ['session.ended', 3],
    ],
  )
  t.match(seen[0], {
    delivery: { key: 's1', headers: { 'content-type': 'application/cloudevents+json' } },
    event: {
      specversion: '1.0',
      source: '/bff',
      subject: 's1',
      traceparent: `00-${trace.traceId}-${trace.spanId}-00`,
      data: { actor, device: 'Firefox on Linux' },
    },
  })
})

t.test('wait while the broker is away and arrive in order when it is back', async t => {
  const { events, seen, link, lines, count } = await published(t)
  events.record('login.started', 'l0', {})
  await eventually(() => seen.length === 1)
  link.cut()
  for (let number = 1; number <= 500; number++) events.record('session.refreshed', 's', { actor }, { seq: number })
  await eventually(() => lines().some(({ msg }) => msg === 'audit events wait: the broker cannot be reached'))
  t.equal(await count('bff_events_waiting'), 500)
  await link.mend()
  await eventually(() => new Set(seen.map(({ event }) => event.id)).size === 501)
  const numbers = seen.slice(1).map(({ event }) => event.seq)
  t.same(
    [...new Set(numbers)],
    [...Array(500).keys()].map(index => index + 1),
  )
  await eventually(async () => (await count('bff_events_published_total')) === 501)
  t.equal(await count('bff_events_dropped_total'), 0)
  t.match(lines().at(-1), { msg: 'audit events go out again', dropped: 0 })
})

t.test('beyond their number are dropped and counted, one line when it begins and one with the number', async t => {
  const { events, seen, link, lines, count } = await published(t, { limit: 10 })
  events.record('login.started', 'l0', {})
  await eventually(() => seen.length === 1)
  await eventually(async () => (await count('bff_events_waiting')) === 0)
  link.cut()
  for (let number = 1; number <= 1_000; number++) events.record('session.refreshed', 's', { actor }, { seq: number })
  t.equal(await count('bff_events_dropped_total'), 990)
  t.equal(lines().filter(({ level }) => level === 'error').length, 1)
  await link.mend()
  await eventually(() => lines().some(({ msg }) => msg === 'audit events go out again'))
  t.match(lines().at(-1), { dropped: 990 })
  await eventually(() => seen.at(-1)?.event.seq === 10)
})

t.test('cost whoever records them nothing, also while the broker is away', async t => {
  const { events, link } = await published(t)
  link.cut()
  const begun = performance.now()
  for (let number = 1; number <= 5_000; number++) events.record('session.refreshed', 's', { actor }, { seq: number })
  const took = (performance.now() - begun) / 5_000
  t.ok(took < 0.5, `${took} ms each`)
})

t.test('are sent before the end, for a bounded time', async t => {
  const { events, seen } = await published(t)
  for (let number = 1; number <= 1_000; number++) events.record('session.refreshed', 's', { actor }, { seq: number })
  await events.close()
  await eventually(() => seen.length === 1_000)
})

for (const fault of ['cut', 'stall'] as const)
  t.test(`hold up no end when the network is ${fault}, and what is lost is said`, async t => {
    const { events, seen, link, lines, count, text } = await published(t, { farewell: 300 })
    events.record('login.started', 'l0', {})
    await eventually(() => seen.length === 1)
    await eventually(async () => (await count('bff_events_waiting')) === 0)
    link[fault]()
    events.record('session.started', 's1', { actor, device: 'Firefox on Linux', authTime: new Date(0).toISOString() })
    const begun = performance.now()
    await events.close()
    t.ok(performance.now() - begun < 8_000)
    t.match(lines().at(-1), { level: 'error', dropped: 1 })
    t.equal(await count('bff_events_dropped_total'), 1)
    t.notMatch(text(), /f7a3|at-the-provider|Firefox/)
    await link.mend()
  })
