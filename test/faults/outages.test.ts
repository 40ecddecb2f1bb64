import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { runningBank } from '@banking/devstack'
import t from 'tap'
import { asPerson, currentAccountOf, eventually, wholeBank } from '../bank.ts'
import { freeze, pidOf, seconds } from '../processes.ts'

const bank = wholeBank(t)

t.test('Kafka away for a minute loses nothing', async t => {
  const alice = await asPerson(bank, 'alice')
  const bob = await asPerson(bank, 'bob')
  const from = await currentAccountOf(alice)
  const to = await currentAccountOf(bob)
  // Letters alone: what looks like an account or card number is shortened in messages.
  const reference = `outage ${randomUUID().replace(/[^a-f]/g, '')}`
  const told = async (client: typeof alice): Promise<number> => {
    const { items } = (await client.get('/api/notifications?limit=100')).json() as { items: { text: string }[] }
    return items.filter(({ text }) => text.includes(reference)).length
  }
  const pay = () =>
    alice.post(
      '/api/payments',
      {
        debtorAccountId: from.id,
        creditor: { iban: to.iban, name: 'Bob' },
        amount: { amount: '1', currency: 'EUR' },
        reference,
      },
      { 'idempotency-key': randomUUID() },
    )
  const thaw = freeze(t, 'kafka')
  const end = Date.now() + 60_000
  let paid = 0
  while (Date.now() < end) {
    t.equal((await pay()).status, 201, 'payments go on')
    paid += 1
    await seconds(5)
  }
  t.equal(await told(bob), 0)
  thaw()
  t.equal(
    await eventually(
      () => told(bob),
      count => count >= paid,
      60,
    ),
    paid,
    'the creditor is told of each, once',
  )
  t.equal(
    await eventually(
      () => told(alice),
      count => count >= paid,
      60,
    ),
    paid,
    'the debtor is told of each, once',
  )
})

t.test('Redis that hangs is a 503 within half a second, and nobody is logged out', async t => {
  const alice = await asPerson(bank, 'alice')
  t.equal((await alice.get('/oauth2/userinfo')).status, 200)
  const thaw = freeze(t, 'redis')
  // What a replica remembers of the session is good for 600 ms without a word from Redis.
  await eventually(
    () => alice.get('/oauth2/userinfo'),
    ({ status }) => status !== 200,
  )
  for (const path of ['/oauth2/userinfo', '/api/payments/accounts']) {
    let took = Number.POSITIVE_INFINITY
    let answer = await alice.get(path)
    // The best of three: the promise is about our time limit, not about a busy machine.
    for (let round = 0; round < 3; round++) {
      const asked = performance.now()
      answer = await alice.get(path)
      took = Math.min(took, performance.now() - asked)
    }
    t.equal(answer.status, 503, path)
    t.match(answer.json(), { code: 'sessions_unavailable' })
    t.match(answer.headers.get('retry-after'), /^\d+$/)
    t.equal(answer.headers.get('set-cookie'), null, 'the cookie stays')
    t.ok(took < 500, `${path} took ${Math.round(took)} ms`)
  }
  thaw()
  const back = await eventually(
    () => alice.get('/oauth2/userinfo'),
    ({ status }) => status === 200,
  )
  t.equal(back.status, 200, 'the session lives')
})

t.test('Redis that is killed is started again, and the session lives', async t => {
  const alice = await asPerson(bank, 'alice')
  // Append-only with a sync each second: what was written within the last one may go.
  await seconds(1.5)
  const before = pidOf('redis')
  process.kill(before, 'SIGKILL')
  const during = await alice.get('/oauth2/userinfo')
  t.ok(during.status === 503 || during.status === 200, `${during.status}`)
  t.equal(during.headers.get('set-cookie'), null)
  const back = await eventually(
    () => alice.get('/oauth2/userinfo'),
    ({ status }) => status === 200,
  )
  t.equal(back.status, 200)
  t.not(pidOf('redis'), before)
})

t.test('PostgreSQL that is killed is a 503, and a payment repeated with its key happens once', async t => {
  const alice = await asPerson(bank, 'alice')
  const bob = await asPerson(bank, 'bob')
  const from = await currentAccountOf(alice)
  const to = await currentAccountOf(bob)
  const key = randomUUID()
  const order = {
    debtorAccountId: from.id,
    creditor: { iban: to.iban, name: 'Bob' },
    amount: { amount: '7', currency: 'EUR' },
  }
  const send = () => alice.post('/api/payments', order, { 'idempotency-key': key })
  const flying = send()
  process.kill(pidOf('postgres'), 'SIGKILL')
  t.match((await flying).status, /^(201|503)$/)
  const done = await eventually(send, ({ status }) => status === 201, 60)
  t.equal(done.status, 201)
  t.equal((await send()).body, done.body)
  const after = await currentAccountOf(alice)
  t.equal(BigInt(from.posted.amount) - BigInt(after.posted.amount), 7n)
  // Keycloak keeps broken connections in its pool until it has tried each of them.
  const login = () =>
    asPerson(bank, 'bob').then(
      () => true,
      () => false,
    )
  t.equal(await eventually(login, isIn => isIn, 60), true, 'people can log in again')
})

t.test('an app that is told to stop is started again, and nothing that was asked is lost', async t => {
  const alice = await asPerson(bank, 'alice')
  const before = pidOf('payment')
  process.kill(before, 'SIGTERM')
  const back = await eventually(
    () => alice.get('/api/payments/accounts'),
    ({ status }) => status === 200,
  )
  t.equal(back.status, 200)
  t.not(pidOf('payment'), before)
})

t.test('nothing of the bank listens on another interface than loopback', async t => {
  const outside = Object.values(networkInterfaces())
    .flatMap(addresses => addresses ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')
  const { apps, parts } = runningBank().status
  const urls = [
    ...apps.flatMap(app => [app.url, app.healthUrl, app.internalUrl ?? app.url]),
    ...parts.map(part => part.url),
  ]
  const ports = urls.map(url => /:(\d+)(?:\/|$)/.exec(url)?.[1]).filter(port => port !== undefined)
  t.ok(ports.length >= 12)
  for (const { address } of outside) {
    for (const port of ports) {
      const socket = connect(Number(port), address)
      const isOpen = await new Promise(resolve =>
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
      )
      socket.destroy()
      if (isOpen) t.fail(`open to the outside: ${address}:${port}`)
    }
  }
})
