import { randomUUID } from 'node:crypto'
import t from 'tap'
import { alice, aliceAccount, bob, bobAccount, notificationApp, paymentEvent } from './app.ts'

type Item = { id: string; seq: number; title: string; text: string; readAt?: string; data: Record<string, unknown> }

t.test('tells both sides of a posted payment, each about their own account alone', async t => {
  const { handle, get } = await notificationApp(t)
  const event = paymentEvent('payment.posted')
  await handle(event)
  const [sent] = (await get('', alice)).json<{ items: Item[] }>().items
  const [received] = (await get('', bob)).json<{ items: Item[] }>().items
  t.match(sent, {
    seq: 1,
    category: 'payment',
    title: 'Money sent',
    text: '12.50 EUR left your account ••1111 (“Lunch”).',
    at: event.time,
    data: { paymentId: event.data.paymentId, accountId: aliceAccount, amount: { amount: '1250', currency: 'EUR' } },
  })
  t.match(received, {
    seq: 1,
    title: 'Money received',
    text: '12.50 EUR arrived in your account ••2222 (“Lunch”).',
    data: { accountId: bobAccount },
  })
  t.notMatch(JSON.stringify(sent), bobAccount)
  t.notMatch(JSON.stringify(received), aliceAccount)
})

t.test('tells the debtor alone of a payment that is held, declined, cancelled or expired', async t => {
  const { handle, get } = await notificationApp(t)
  for (const type of ['payment.held', 'payment.declined', 'payment.cancelled', 'payment.expired'] as const)
    await handle(paymentEvent(type))
  const { items } = (await get('', alice)).json<{ items: Item[] }>()
  t.same(
    items.map(item => item.title),
    ['Payment expired', 'Payment cancelled', 'Payment declined', 'Payment on hold'],
  )
  t.same((await get('', bob)).json(), { items: [] })
})

t.test('tells both sides of a reversal', async t => {
  const { handle, get } = await notificationApp(t)
  await handle(paymentEvent('payment.reversed'))
  t.match((await get('', alice)).json(), { items: [{ title: 'Payment returned to you' }] })
  t.match((await get('', bob)).json(), { items: [{ title: 'Payment taken back' }] })
})

t.test('says a transfer between own accounts once', async t => {
  const { handle, get } = await notificationApp(t)
  const creditor = { ownerId: alice, accountId: randomUUID(), ibanLast4: '3333' }
  await handle(paymentEvent('payment.posted', { creditor }))
  t.match((await get('', alice)).json(), { items: [{ title: 'Transfer between your accounts' }] })
  t.equal((await get('', alice)).json<{ items: Item[] }>().items.length, 1)
})

t.test('tells nobody on the side of the bank’s own accounts', async t => {
  const { handle, get, owner } = await notificationApp(t)
  const debtor = { ownerId: null, accountId: randomUUID(), ibanLast4: '0000' }
  await handle(paymentEvent('payment.posted', { debtor }))
  t.match((await get('', bob)).json(), { items: [{ title: 'Money received' }] })
  t.match(await owner.sql`SELECT count(*)::int AS n FROM notification`, [{ n: 1 }])
})

t.test('shows a reference without what could deceive: control characters, whole account and card numbers', async t => {
  const { handle, get } = await notificationApp(t)
  const reference = 'a\u202eb\nc DE89 3704 0044 0532 0130 00 and 4111 1111 1111 1111'
  await handle(paymentEvent('payment.posted', { reference }))
  const [item] = (await get('', bob)).json<{ items: Item[] }>().items
  t.equal(item?.text, '12.50 EUR arrived in your account ••2222 (“abc ••3000 and ••1111”).')
})

t.test('tells once of an event that arrives twice', async t => {
  const { handle, get } = await notificationApp(t)
  const event = paymentEvent('payment.posted')
  await handle(event)
  await handle(event)
  await handle(paymentEvent('payment.posted'))
  const { items } = (await get('', alice)).json<{ items: Item[] }>()
  t.same(
    items.map(item => item.seq),
    [2, 1],
  )
})

t.test('numbers each inbox without a gap while many events arrive at once', async t => {
  const { handle, get } = await notificationApp(t)
  const there = paymentEvent('payment.posted').data
  await Promise.all(
    [...Array(20).keys()].map(i =>
      handle(paymentEvent('payment.posted', i % 2 === 0 ? {} : { debtor: there.creditor, creditor: there.debtor })),
    ),
  )
  for (const reader of [alice, bob]) {
    const { items } = (await get('?limit=100', reader)).json<{ items: Item[] }>()
    t.same(
      items.map(item => item.seq),
      [...Array(20).keys()].map(i => 20 - i),
    )
  }
})

t.test('pages newest first and ends without next', async t => {
  const { handle, get } = await notificationApp(t)
  for (let i = 0; i < 5; i++) await handle(paymentEvent('payment.posted'))
  const pages: number[][] = []
  for (let next: string | undefined = '', query = '?limit=2'; next !== undefined; query = `?limit=2&after=${next}`) {
    const body: { items: Item[]; next?: string } = (await get(query, alice)).json()
    pages.push(body.items.map(item => item.seq))
    next = body.next
  }
  t.same(pages, [[5, 4], [3, 2], [1]])
})

t.test('counts and lists what is unread, and marking as read is idempotent', async t => {
  const { handle, get, post } = await notificationApp(t)
  for (let i = 0; i < 3; i++) await handle(paymentEvent('payment.posted'))
  t.same((await get('/count', alice)).json(), { unread: 3 })
  const [newest] = (await get('', alice)).json<{ items: Item[] }>().items
  t.equal((await post(`/${newest?.id}/read`, alice)).statusCode, 204)
  const readAt = (await get('', alice)).json<{ items: Item[] }>().items[0]?.readAt
  t.match(readAt, /^\d{4}-/)
  t.equal((await post(`/${newest?.id}/read`, alice)).statusCode, 204)
  t.equal((await get('', alice)).json<{ items: Item[] }>().items[0]?.readAt, readAt)
  t.same((await get('/count', alice)).json(), { unread: 2 })
  t.same(
    (await get('?unread=true', alice)).json<{ items: Item[] }>().items.map(item => item.seq),
    [2, 1],
  )
  t.same((await get('/count', bob)).json(), { unread: 3 })
})

t.test('marks all up to one as read and leaves what arrived later', async t => {
  const { handle, get, post } = await notificationApp(t)
  for (let i = 0; i < 3; i++) await handle(paymentEvent('payment.posted'))
  t.equal((await post('/read-all', alice, { upTo: 2 })).statusCode, 204)
  t.equal((await post('/read-all', alice, { upTo: 2 })).statusCode, 204)
  t.same((await get('/count', alice)).json(), { unread: 1 })
  t.same((await get('/count', bob)).json(), { unread: 3 })
})

t.test('answers 404 for somebody else’s notification as for one that does not exist, and leaves it unread', async t => {
  const { handle, get, post } = await notificationApp(t)
  await handle(paymentEvent('payment.posted'))
  const [hers] = (await get('', alice)).json<{ items: Item[] }>().items
  const others = await post(`/${hers?.id}/read`, bob)
  const nobodys = await post(`/${randomUUID()}/read`, bob)
  t.equal(others.statusCode, 404)
  t.match(others.json(), { code: 'not_found' })
  const { instance: _a, ...first } = others.json<Record<string, unknown>>()
  const { instance: _b, ...second } = nobodys.json<Record<string, unknown>>()
  t.same(first, second)
  t.same((await get('/count', alice)).json(), { unread: 1 })
})

t.test('refuses what is malformed with a problem', async t => {
  const { get, post } = await notificationApp(t)
  for (const query of ['?after=0', '?after=x', '?after=-1', '?limit=0', '?limit=101', '?unread=perhaps']) {
    const response = await get(query, alice)
    t.equal(response.statusCode, 400, query)
    t.equal(response.headers['content-type'], 'application/problem+json')
    t.match(response.json(), { code: 'request_invalid' })
  }
  for (const body of [{}, { upTo: '2' }, { upTo: 1.5 }, { upTo: 2, all: true }, { upTo: -1 }])
    t.match((await post('/read-all', alice, body)).json(), { code: 'request_invalid', status: 400 })
  t.match((await post('/no-uuid/read', alice)).json(), { code: 'request_invalid', status: 400 })
  t.match((await post(`/urn:uuid:${randomUUID()}/read`, alice)).json(), { code: 'request_invalid', status: 400 })
})

t.test('serves nobody without a token, with another service’s token, another scope or no role', async t => {
  const { app, get, as } = await notificationApp(t)
  for (const [method, url] of [
    ['GET', ''],
    ['GET', '/count'],
    ['GET', '/stream'],
    ['POST', '/read-all'],
    ['POST', `/${randomUUID()}/read`],
  ] as const) {
    const without = await app.inject({ method, url: `/api/notifications${url}` })
    t.equal(without.statusCode, 401)
    t.match(without.headers['www-authenticate'], /^Bearer/)
    const headers = await as(alice, { service: 'payment' })
    t.equal((await app.inject({ method, url: `/api/notifications${url}`, headers })).statusCode, 401)
  }
  t.match((await get('', alice, { scope: 'openid' })).json(), { code: 'scope_insufficient', status: 403 })
  t.match((await get('', alice, { roles: [] })).json(), { code: 'role_missing', status: 403 })
  t.match((await get('', alice, { client: 'loan-service' })).json(), { code: 'role_missing', status: 403 })
})

t.test('may not delete or rewrite a message, being only the app', async t => {
  const { sql, handle } = await notificationApp(t)
  await handle(paymentEvent('payment.posted'))
  await t.rejects(sql`DELETE FROM notification`, { code: '42501' })
  await t.rejects(sql`UPDATE notification SET text = 'x'`, { code: '42501' })
})
