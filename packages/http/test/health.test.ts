import { Writable } from 'node:stream'
import { createLogger, createMetrics } from '@banking/telemetry'
import t, { type Test } from 'tap'
import { type Check, healthServer } from '../src/health.ts'

function health(t: Test, checks: Check[], isDraining = () => false) {
  const lines: string[] = []
  const destination = new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) })
  const logger = createLogger({ name: 'test', level: 'debug', destination })
  const metrics = createMetrics('test')
  const app = healthServer({ checks, metrics, logger, isDraining })
  t.teardown(() => app.close())
  return { app, metrics, log: () => lines.join('') }
}

const fine = { name: 'fine', check: async () => {} }
const broken = { name: 'broken', check: async () => Promise.reject(new Error('password=hunter2')) }
const hanging = { name: 'hanging', check: () => new Promise<void>(() => {}) }

t.test('is ready when every check that matters passes, and names what fails without its error', async t => {
  for (const [checks, status, body] of [
    [[fine], 200, { status: 'ready', checks: { fine: 'ok' } }],
    [[fine, broken], 503, { status: 'not ready', checks: { fine: 'ok', broken: 'failed' } }],
    [[fine, { ...broken, optional: true }], 200, { status: 'ready', checks: { fine: 'ok', broken: 'failed' } }],
    [[hanging], 503, { status: 'not ready', checks: { hanging: 'failed' } }],
  ] as const) {
    const { app } = health(t, [...checks])
    const response = await app.inject('/ready')
    t.equal(response.statusCode, status)
    t.same(response.json(), body)
    t.notMatch(response.body, 'hunter2')
    t.equal((await app.inject('/')).body, response.body, 'the address without a path says the same')
    t.equal((await app.inject('/ping')).statusCode, 200, 'the process answers all the same')
  }
})

t.test('is not ready while it drains, however well it is', async t => {
  const { app } = health(t, [fine], () => true)
  const response = await app.inject('/ready')
  t.equal(response.statusCode, 503)
  t.match(response.json(), { status: 'draining' })
})

t.test('shows the metrics, and says in the log alone why it cannot', async t => {
  const { app, metrics, log } = health(t, [])
  metrics.counter('things_total', 'Things.').inc()
  t.match((await app.inject('/metrics')).body, 'things_total{app="test"} 1')
  t.equal(log(), '', 'who asks every few seconds leaves no lines')
  metrics.gauge('broken', 'Cannot be read.', [], () => {
    throw new Error('password=hunter2')
  })
  const response = await app.inject('/metrics')
  t.equal(response.statusCode, 500)
  t.equal(response.headers['content-type'], 'application/problem+json')
  t.match(response.json(), { code: 'internal' })
  t.notMatch(response.body, 'hunter2')
  t.match(log(), 'hunter2')
})

t.test('answers nothing else', async t => {
  const { app } = health(t, [])
  t.match((await app.inject('/health')).json(), { code: 'not_found', status: 404 })
  t.match((await app.inject({ method: 'POST', url: '/ready' })).json(), { code: 'method_not_allowed', status: 405 })
})
