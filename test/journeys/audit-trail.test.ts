import { topicOf } from '@banking/contracts'
import { createKafkaTransport } from '@banking/messaging'
import { eventually, parts, testLogger } from '@banking/testkit'
import t from 'tap'
import { asPerson, wholeBank } from '../bank.ts'

const bank = wholeBank(t)

type Told = {
  time: string
  type: string
  subject: string
  source: string
  traceparent?: string
  data: Record<string, unknown>
}

t.test('a login, a forged request and a sign-out are in the bank’s audit trail, and no cookie with them', async t => {
  const { kafka } = parts(t, 'kafka')
  const transport = createKafkaTransport({ brokers: kafka.split(','), clientId: 'test', logger: testLogger().logger })
  t.teardown(() => transport.close())
  const told: Told[] = []
  const group = `audit-trail-${process.pid}-${Date.now()}`
  transport.subscribe({
    group,
    topics: [topicOf('bff')],
    onEvent: async ({ value }) => void told.push(JSON.parse(String(value)) as Told),
  })

  const alice = await asPerson(bank, 'alice')
  const { sub } = (await alice.get('/oauth2/userinfo')).json()
  t.equal((await alice.get('/api/payments/accounts', { 'sec-fetch-site': 'cross-site' })).status, 403)
  const { origin } = new URL(bank.status.baseUrl)
  t.equal((await alice.post('/oauth2/sign_out', {}, { origin })).status, 200)

  const session = () =>
    told.findLast(
      ({ type, data }) => type === 'session.started' && (data['actor'] as { sub?: string } | undefined)?.sub === sub,
    )?.subject
  // Each replica tells what it did itself, so the time orders them, not the broker.
  const about = () =>
    told.filter(({ subject }) => subject === session()).sort((one, other) => one.time.localeCompare(other.time))
  await eventually(() => about().length === 3)
  t.same(
    about().map(({ type }) => type),
    ['session.started', 'session.refused', 'session.ended'],
  )
  t.match(about(), [
    { source: '/bff', traceparent: /^00-/, data: { actor: { sub } } },
    { data: { code: 'csrf_refused' } },
    { data: { reason: 'ended', actor: { sub } } },
  ])
  t.ok(told.some(({ type }) => type === 'login.started'))
  const value = alice.cookie.split('=')[1] ?? ''
  t.ok(value.length > 40)
  t.notOk(JSON.stringify(told).includes(value), 'no cookie')
})
