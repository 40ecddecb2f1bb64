import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { topicOf } from '@banking/contracts'
import { eventually, testDatabase, testIssuer, testTransport } from '@banking/testkit'
import t, { type Test } from 'tap'
import { alice, bob, paymentEvent } from './app.ts'

const topic = topicOf('payment')

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

/** The service as a process of its own, on a real database and a real broker. */
async function start(t: Test) {
  const database = await testDatabase(t, 'notification')
  const { transport, brokers, prefix } = await testTransport(t, [topic])
  const identity = await testIssuer(t)
  const [port, healthPort] = [await freePort(), await freePort()]
  const run = (): ChildProcess => {
    const child = spawn(process.execPath, [join(import.meta.dirname, '../src/server.ts')], {
      env: {
        PATH: process.env['PATH'],
        PORT: String(port),
        HEALTH_PORT: String(healthPort),
        ISSUER: identity.issuer,
        DATABASE_URL: database.url,
        KAFKA_BROKERS: brokers.join(),
        TOPIC_PREFIX: prefix,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout?.on('data', chunk => output.push(String(chunk)))
    child.stderr?.on('data', chunk => output.push(String(chunk)))
    t.teardown(() => child.kill('SIGKILL'))
    return child
  }
  const output: string[] = []
  const url = `http://127.0.0.1:${port}/api/notifications`
  const headers = async (sub: string) => ({
    authorization: `Bearer ${await identity.token({ service: 'notification', sub })}`,
  })
  const health = (path: string) => fetch(`http://127.0.0.1:${healthPort}${path}`)
  return {
    run,
    output,
    url,
    headers,
    health,
    ready: () =>
      eventually(() =>
        health('/ready').then(
          response => response.ok,
          () => false,
        ),
      ),
    publish: (...events: object[]) =>
      transport.publish(
        topic,
        events.map(event => ({ key: 'a', value: JSON.stringify(event) })),
      ),
    inboxOf: async (sub: string) =>
      ((await (await fetch(url, { headers: await headers(sub) })).json()) as { items: { title: string }[] }).items,
  }
}

t.test('takes payment events from Kafka into both inboxes, once each, and shows its health', async t => {
  const { run, ready, publish, inboxOf, health, output } = await start(t)
  run()
  await ready()
  const event = paymentEvent('payment.posted')
  await publish(event, event)
  await publish({ ...event, id: 'broken' }, paymentEvent('payment.held'))
  await eventually(async () => (await inboxOf(alice)).length === 2)
  t.same(
    (await inboxOf(alice)).map(item => item.title),
    ['Payment on hold', 'Money sent'],
  )
  t.same(
    (await inboxOf(bob)).map(item => item.title),
    ['Money received'],
  )
  t.same(await (await health('/ready')).json(), { status: 'ready', checks: { database: 'ok', kafka: 'ok' } })
  const metrics = await (await health('/metrics')).text()
  t.match(metrics, 'consumer_events_total{topic="banking.payment",outcome="duplicate",app="notification"} 1')
  t.match(metrics, 'consumer_events_total{topic="banking.payment",outcome="dead",app="notification"} 1')
  t.notMatch(output.join(''), /Lunch|TimeoutNegativeWarning|KafkaJS/, 'the log quotes nobody and has no noise')
})

t.test('says goodbye to open streams on SIGTERM, ends with 0, and goes on where it was', async t => {
  const { run, ready, publish, url, headers, inboxOf, output } = await start(t)
  const first = run()
  await ready()
  const response = await fetch(`${url}/stream`, { headers: await headers(alice) })
  t.equal(response.status, 200)
  const body = response.text()
  const exit = once(first, 'exit')
  first.kill('SIGTERM')
  t.match(await body, /event: reconnect\n/)
  const [code, signal] = await exit
  t.equal(code, 0, output.join(''))
  t.equal(signal, null)
  await publish(paymentEvent('payment.posted'))
  run()
  await eventually(() =>
    inboxOf(alice).then(
      items => items.length === 1,
      () => false,
    ),
  )
  t.match(await inboxOf(bob), [{ title: 'Money received' }])
})

t.test('loses nothing when it is killed in the middle of a flood', async t => {
  const { run, ready, publish, inboxOf } = await start(t)
  const first = run()
  await ready()
  const flood = (async () => {
    for (let i = 0; i < 40; i++) await publish(paymentEvent('payment.posted'))
  })()
  await eventually(async () => (await inboxOf(alice)).length > 5)
  first.kill('SIGKILL')
  await once(first, 'exit')
  run()
  await flood
  await eventually(() =>
    inboxOf(alice).then(
      items => items.length >= 40,
      () => false,
    ),
  )
  t.equal((await inboxOf(alice)).length, 40)
  t.equal((await inboxOf(bob)).length, 40)
})

t.test('refuses to start without its configuration, naming what is missing', async t => {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../src/server.ts')], {
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr.on('data', chunk => {
    errors += chunk
  })
  const [code] = await once(child, 'exit')
  t.not(code, 0)
  for (const name of ['ISSUER', 'DATABASE_URL', 'KAFKA_BROKERS']) t.match(errors, `${name} is not set`)
})
