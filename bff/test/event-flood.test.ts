import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createKafkaTransport } from '@banking/messaging'
import { createMetrics } from '@banking/telemetry'
import { eventually, testLogger } from '@banking/testkit'
import t, { type Test } from 'tap'
import { publishedEvents } from '../src/events/published-events.ts'
import { edge } from './edge.ts'

process.env['KAFKAJS_NO_PARTITIONER_WARNING'] = '1'
setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

const limit = 10_000
const actor = { sub: 'f7a3', sid: 'at-the-provider' }
const megabyte = 1024 * 1024

/** A server that takes connections and never says a word, or a port where nobody is. */
async function broker(t: Test, kind: 'hangs' | 'is not there') {
  const sockets = new Set<Socket>()
  let most = 0
  const server = createServer(socket => {
    sockets.add(socket)
    most = Math.max(most, sockets.size)
    socket.resume()
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  if (kind === 'is not there') {
    server.close()
    await once(server, 'close')
  }
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { address: `127.0.0.1:${port}`, most: () => most }
}

for (const kind of ['is not there', 'hangs'] as const)
  t.test(`a flood of events while the broker ${kind} costs a bounded memory and no answer`, async t => {
    const { address, most } = await broker(t, kind)
    const { logger, lines } = testLogger()
    const metrics = createMetrics('bff')
    const transport = createKafkaTransport({ brokers: [address], clientId: 'bff', logger: testLogger().logger })
    const events = publishedEvents({ transport, topic: 'banking.bff', logger, metrics, farewell: 100 })
    const count = async (name: string) =>
      Number(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'm').exec(await metrics.text())?.[1] ?? 0)
    let recorded = 0
    const flood = (times: number) => {
      for (let n = 0; n < times; n++)
        events.record('session.refreshed', `session-${recorded}`, { actor }, { seq: recorded++ })
    }
    const held = async () => {
      await turn()
      collect()
      return process.memoryUsage().heapUsed
    }
    const { browser } = await edge(t, { events })
    const person = browser()
    await person.login()
    await person.fetch('/api/payments')
    flood(2 * limit)
    const before = await held()
    for (let n = 0; n < 50; n++) {
      flood(4_000)
      t.equal((await person.fetch('/api/payments')).statusCode, 200)
    }
    const grown = (await held()) - before
    t.ok(grown < 4 * megabyte, `${grown} bytes more after 200,000 events more`)
    t.equal(await count('bff_events_waiting'), limit)
    t.ok((await count('bff_events_dropped_total')) >= recorded - limit)
    await eventually(() => lines().some(({ msg }) => msg === 'audit events wait: the broker cannot be reached'))
    t.equal(lines().length, 2, 'one line that they wait and one that they are dropped')
    t.match(lines(), [
      { level: 'error', msg: 'audit events are dropped: too many wait for the broker' },
      { level: 'warn', msg: 'audit events wait: the broker cannot be reached' },
    ])
    await events.close()
    t.match(lines().at(-1), { level: 'error', dropped: limit })
    t.ok(most() <= 4, `${most()} connections at once`)
  })

t.test('a broker that is slower than events come is two lines in the log, not two for each batch', async t => {
  const { logger, lines } = testLogger()
  const pending: (() => void)[] = []
  const transport = { publish: () => new Promise<void>(resolve => pending.push(resolve)), close: async () => undefined }
  const metrics = createMetrics('bff')
  const events = publishedEvents({ transport, topic: 'banking.bff', logger, metrics, limit: 1_000 })
  const flood = () => {
    for (let n = 0; n < 1_500; n++) events.record('session.refreshed', 's', { actor })
  }
  const takeBatch = async () => {
    await eventually(() => pending.length === 1)
    pending.pop()?.()
    await turn()
  }
  flood()
  for (let n = 0; n < 20; n++) {
    await takeBatch()
    flood()
  }
  t.match(lines(), [{ msg: 'audit events are dropped: too many wait for the broker' }])
  t.equal(lines().length, 1)
  for (let n = 0; n < 5; n++) await takeBatch()
  await events.close()
  // The first batch was what there was then: one event.
  t.match(lines().at(-1), { msg: 'audit events go out again', dropped: 21 * 1_500 - (1 + 19 * 200) - 1_000 })
  t.equal(lines().length, 2)
})

t.test('a broker that is away is one line, however often it is tried', async t => {
  const { logger, lines } = testLogger()
  let tries = 0
  const transport = {
    publish: async () => {
      if (++tries <= 3) throw new Error('nobody there')
    },
    close: async () => undefined,
  }
  const events = publishedEvents({ transport, topic: 'banking.bff', logger, metrics: createMetrics('bff') })
  events.record('session.refreshed', 's', { actor })
  await eventually(() => lines().some(({ msg }) => msg === 'audit events go out again'))
  t.equal(tries, 4)
  t.equal(lines().length, 2)
  await events.close()
})
