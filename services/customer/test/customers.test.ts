import { randomUUID } from 'node:crypto'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { alice, customerApp } from './app.ts'

const officer = { sub: 'officer-1', roles: ['loan-officer'] as const }
const purpose = { 'x-purpose': 'Loan application 4711' }

t.test('a customer sees the own profile, masked', async t => {
  const { get, events } = await customerApp(t)
  const response = await get('/me')
  t.equal(response.statusCode, 200)
  t.same(response.json(), {
    id: alice.id,
    givenName: 'Alice',
    familyName: 'Sommer',
    email: 'a•••@banking.example',
    phone: '•••42',
    birthDate: '1987-••-••',
    address: alice.address,
    state: 'active',
    memberSince: '2024-02-01T09:00:00.000Z',
  })
  t.same(await events(), [], 'looking at oneself is no event')
})

t.test('a person without a customer record is told so', async t => {
  const { get } = await customerApp(t)
  const response = await get('/me', { sub: randomUUID() })
  t.equal(response.statusCode, 404)
  t.match(response.json(), { code: 'not_found' })
})

t.test('staff with a purpose sees one customer, and the look is recorded', async t => {
  const { get, events } = await customerApp(t)
  for (const [at, role] of (['loan-officer', 'compliance-officer', 'risk-analyst'] as const).entries()) {
    const response = await get(`/${alice.id}`, { sub: 'staff-1', roles: [role] }, purpose)
    t.equal(response.statusCode, 200, role)
    t.match(response.json(), { id: alice.id, email: 'a•••@banking.example' })
    const recorded = await events()
    t.equal(recorded.length, at + 1)
    t.match(recorded[at], {
      topic: 'banking.audit',
      key: 'customer',
      event: {
        type: 'audit.recorded',
        source: '/customer',
        seq: at + 1,
        data: {
          action: 'customer.read',
          resource: `customer/${alice.id}`,
          outcome: 'success',
          purpose: 'Loan application 4711',
          actor: { sub: 'staff-1', client: 'banking-web-app', roles: [role], sid: /./ },
        },
      },
    })
    t.notMatch(JSON.stringify(recorded), /Sommer|5550142|1987/, 'the record names nobody')
  }
})

t.test('a look at somebody who is not there is a 404 and is recorded too', async t => {
  const { get, events } = await customerApp(t)
  const nobody = randomUUID()
  const response = await get(`/${nobody}`, officer, purpose)
  t.equal(response.statusCode, 404)
  t.match(await events(), [{ event: { data: { resource: `customer/${nobody}`, outcome: 'refused' } } }])
})

t.test('without a purpose staff sees nothing', async t => {
  const { get, events } = await customerApp(t)
  for (const headers of [{}, { 'x-purpose': '' }, { 'x-purpose': 'short' }, { 'x-purpose': 'x'.repeat(201) }]) {
    const response = await get(`/${alice.id}`, officer, headers)
    t.equal(response.statusCode, 403)
    t.match(response.json(), { code: 'purpose_missing' })
    t.notMatch(response.body, 'Alice')
  }
  t.same(await events(), [])
})

t.test('nobody else sees a customer: not another customer, not the customer by id, not an administrator', async t => {
  const { get } = await customerApp(t)
  for (const claims of [
    { sub: randomUUID(), roles: ['customer'] as const },
    { sub: alice.id, roles: ['customer'] as const },
    { sub: 'admin-1', roles: ['banking-admin'] as const },
    { client: 'payment-service' },
  ]) {
    const response = await get(`/${alice.id}`, claims, purpose)
    t.equal(response.statusCode, 403)
    t.match(response.json(), { code: 'role_missing' })
  }
  t.equal((await get('/me', { ...officer })).statusCode, 403)
})

t.test('an id that is none is refused before it is looked for', async t => {
  const { get } = await customerApp(t)
  for (const id of ['1', "'%20OR%201=1--", 'me2', '..%2fme']) {
    const response = await get(`/${id}`, officer, purpose)
    t.ok(response.statusCode === 400 || response.statusCode === 404, `${id}: ${response.statusCode}`)
    t.match(response.headers['content-type'], 'application/problem+json')
  }
})

t.test('twenty looks at once are numbered without a gap', async t => {
  const { get, events } = await customerApp(t)
  await Promise.all(Array.from({ length: 20 }, () => get(`/${alice.id}`, officer, purpose)))
  t.same(
    (await events()).map(({ event }) => event.seq),
    Array.from({ length: 20 }, (_, index) => index + 1),
  )
})

t.test('a look that cannot be recorded does not happen', async t => {
  const { get, owner, events } = await customerApp(t)
  await owner`REVOKE INSERT ON outbox FROM customer`
  const response = await get(`/${alice.id}`, officer, purpose)
  t.equal(response.statusCode, 500)
  t.notMatch(response.body, 'Alice')
  t.same(await events(), [])
  t.match(await owner`SELECT last_seq FROM audit_counter`, [{ last_seq: 0n }])
})

t.test('the running service cannot change or delete a customer', async t => {
  const { sql } = await customerApp(t)
  for (const statement of [
    sql`UPDATE customer SET state = 'restricted'`,
    sql`DELETE FROM personal_data`,
    sql`INSERT INTO customer (id, member_since) VALUES ('x', now())`,
    sql`DELETE FROM audit_counter`,
  ])
    await t.rejects(statement, { code: '42501' })
})

t.test('no personal datum is in the log', async t => {
  const { get, log } = await customerApp(t)
  await get('/me')
  await get(`/${alice.id}`, officer, purpose)
  t.match(log(), '"route":"/api/customers/:id"')
  t.notMatch(log(), /Alice|Sommer|5550142|Lindenallee|Bearer/)
})

t.test('asks its database for one request of a connection at a time, however many are sent at once', async t => {
  const { app, identity } = await customerApp(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const under = { now: 0, most: 0 }
  app.server.on('request', (_request, response) => {
    under.most = Math.max(under.most, ++under.now)
    response.once('close', () => under.now--)
  })
  const authorization = `Bearer ${await identity.token({ service: 'customer', sub: alice.id })}`
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  const head = `GET /api/customers/me HTTP/1.1\r\nhost: a\r\nauthorization: ${authorization}\r\n`
  socket.write(`${head}\r\n`.repeat(199).concat(head, 'connection: close\r\n\r\n'))
  const said = await text(socket)
  t.equal(said.match(/"givenName":"Alice"/g)?.length, 200)
  t.equal(under.most, 1)
})
