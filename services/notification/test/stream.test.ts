import { once } from 'node:events'
import { connect } from 'node:net'
import { eventually, parts } from '@banking/testkit'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { alice, bob, notificationApp, paymentEvent } from './app.ts'

type Frame = { id?: string; event?: string; data?: string; comment?: string; retry?: string }

/** A reader of server-sent events, as a browser has it. */
async function read(t: Test, url: string, headers: Record<string, string>) {
  const abort = new AbortController()
  t.teardown(() => abort.abort())
  const response = await fetch(`${url}/api/notifications/stream`, { headers, signal: abort.signal })
  const frames: Frame[] = []
  const state = { ended: false }
  const pump = async (): Promise<void> => {
    let buffer = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      buffer += decoder.decode(chunk, { stream: true })
      const parts = buffer.split('\n\n')
      buffer = parts.pop() ?? ''
      frames.push(...parts.map(toFrame))
    }
  }
  pump().then(
    () => {
      state.ended = true
    },
    () => {
      state.ended = true
    },
  )
  const named = (event: string) => frames.filter(frame => frame.event === event)
  return {
    response,
    frames,
    state,
    seqs: () => named('notification').map(frame => Number(frame.id)),
    counts: () => named('count').map(frame => JSON.parse(frame.data ?? '').unread as number),
    named,
    stop: () => abort.abort(),
  }
}

function toFrame(text: string): Frame {
  const fields = text
    .split('\n')
    .map(line => (line.startsWith(': ') ? ['comment', line.slice(2)] : line.split(': ', 2)))
  return Object.fromEntries(text.split('\n').map((line, i) => [fields[i]?.[0], line.replace(/^[a-z]*: /, '')]))
}

t.test('streams what arrives, with ids, headers that forbid buffering, and the unread count', async t => {
  const { listen, as, handle } = await notificationApp(t)
  await handle(paymentEvent('payment.posted'))
  const reader = await read(t, await listen(), await as(alice))
  t.equal(reader.response.status, 200)
  t.match(reader.response.headers.get('content-type'), 'text/event-stream')
  t.equal(reader.response.headers.get('cache-control'), 'no-store')
  t.equal(reader.response.headers.get('x-accel-buffering'), 'no')
  t.ok(reader.response.headers.get('x-request-id'))
  await eventually(() => reader.counts().length === 1)
  t.match(reader.frames[0], { retry: /^\d+$/, id: '1' })
  await handle(paymentEvent('payment.held'))
  await eventually(() => reader.counts().length === 2)
  t.same(reader.seqs(), [2], 'not what was there before: without Last-Event-ID a stream begins now')
  t.match(JSON.parse(reader.named('notification')[0]?.data ?? ''), {
    seq: 2,
    title: 'Payment on hold',
    category: 'payment',
  })
  t.same(reader.counts(), [1, 2])
})

t.test('resumes after Last-Event-ID without a gap or a double while messages keep coming', async t => {
  const { listen, as, handle } = await notificationApp(t)
  const url = await listen()
  for (let i = 0; i < 120; i++) await handle(paymentEvent('payment.held'))
  const coming = (async () => {
    for (let i = 0; i < 60; i++) await handle(paymentEvent('payment.held'))
  })()
  const first = await read(t, url, { ...(await as(alice)), 'last-event-id': '7' })
  await eventually(() => first.seqs().length >= 130)
  first.stop()
  const seen = first.seqs()
  const second = await read(t, url, { ...(await as(alice)), 'last-event-id': String(seen.at(-1)) })
  await coming
  await eventually(() => seen.length + second.seqs().length >= 173)
  t.same(
    [...seen, ...second.seqs()],
    [...Array(173).keys()].map(i => i + 8),
  )
})

t.test(
  'sends everything for Last-Event-ID 0 and nothing for one from the future, which it does not believe',
  async t => {
    const { listen, as, handle } = await notificationApp(t)
    const url = await listen()
    for (let i = 0; i < 3; i++) await handle(paymentEvent('payment.held'))
    const all = await read(t, url, { ...(await as(alice)), 'last-event-id': '0' })
    const future = await read(t, url, { ...(await as(alice)), 'last-event-id': '999999' })
    await eventually(() => all.seqs().length === 3 && future.counts().length === 1)
    t.same(future.seqs(), [])
    await handle(paymentEvent('payment.held'))
    await eventually(() => all.seqs().length === 4 && future.seqs().length === 1)
    t.same(future.seqs(), [4])
  },
)

t.test('tells every stream of a person when one of them reads', async t => {
  const { listen, as, handle, get, post } = await notificationApp(t)
  const url = await listen()
  for (let i = 0; i < 2; i++) await handle(paymentEvent('payment.posted'))
  const readers = [await read(t, url, await as(alice)), await read(t, url, await as(alice))]
  const other = await read(t, url, await as(bob))
  await eventually(() => [...readers, other].every(reader => reader.counts().length === 1))
  const [item] = (await get('', alice)).json<{ items: { id: string }[] }>().items
  await post(`/${item?.id}/read`, alice)
  await eventually(() => readers.every(reader => reader.counts().length === 2))
  await post('/read-all', alice, { upTo: 2 })
  await eventually(() => readers.every(reader => reader.counts().length === 3))
  for (const reader of readers) t.same(reader.counts(), [2, 1, 0])
  t.same(other.counts(), [2])
})

t.test('never carries another person’s messages', async t => {
  const { listen, as, handle } = await notificationApp(t)
  const url = await listen()
  const hers = await read(t, url, { ...(await as(alice)), 'last-event-id': '0' })
  const his = await read(t, url, { ...(await as(bob)), 'last-event-id': '0' })
  await handle(paymentEvent('payment.held'))
  await handle(paymentEvent('payment.posted'))
  await eventually(() => hers.seqs().length === 2 && his.seqs().length === 1)
  t.match(his.named('notification')[0]?.data, 'Money received')
  t.notMatch(
    his
      .named('notification')
      .map(frame => frame.data)
      .join(),
    /on hold|••1111/,
  )
})

t.test('ends when the token ends, with an event that says to come back', async t => {
  const { listen, as } = await notificationApp(t)
  const reader = await read(t, await listen(), await as(alice, { lifetimeSeconds: 2 }))
  await eventually(() => reader.state.ended)
  t.equal(reader.frames.at(-1)?.event, 'reconnect')
})

t.test('says goodbye at once to a token that ended within the tolerated clock skew', async t => {
  const { streams } = await notificationApp(t)
  const stream = await streams.open({ userId: alice, lastSeq: undefined, endsAt: Date.now() - 1 })
  t.equal(Buffer.concat(await stream.toArray()).toString(), 'event: reconnect\ndata: {}\n\n')
})

t.test('says reconnect and lets go of every connection at shutdown, even of a reader that takes nothing', async t => {
  const { listen, as, app, streams } = await notificationApp(t)
  const url = await listen()
  const readers = [await read(t, url, await as(alice)), await read(t, url, await as(bob))]
  await eventually(() => readers.every(reader => reader.counts().length === 1))
  await streams.close()
  await app.close()
  await eventually(() => readers.every(reader => reader.state.ended))
  for (const reader of readers) t.equal(reader.frames.at(-1)?.event, 'reconnect')
})

t.test('opens no stream while it is stopping', async t => {
  const { streams, get } = await notificationApp(t)
  await streams.close()
  const response = await get('/stream', alice)
  t.equal(response.statusCode, 503)
  t.match(response.json(), { code: 'overloaded' })
})

t.test('refuses more streams than one person may hold, and forgets those that are gone', async t => {
  const { listen, as, metrics } = await notificationApp(t, { limits: { perUser: 2 } })
  const url = await listen()
  const [first] = [await read(t, url, await as(alice)), await read(t, url, await as(alice))]
  const third = await read(t, url, await as(alice))
  t.equal(third.response.status, 429)
  t.equal(third.response.headers.get('retry-after'), '5')
  t.equal((await read(t, url, await as(bob))).response.status, 200)
  t.match(await metrics.text(), /notification_streams\{app="notification"\} 3/)
  first?.stop()
  await eventually(async () => {
    const again = await read(t, url, await as(alice))
    return again.response.status === 200
  })
})

t.test('refuses a Last-Event-ID that is no number', async t => {
  const { app, as } = await notificationApp(t)
  for (const id of ['x', '-1', '1.5', '99999999999999999999']) {
    const response = await app.inject({
      url: '/api/notifications/stream',
      headers: { ...(await as(alice)), 'last-event-id': id },
    })
    t.equal(response.statusCode, 400)
    t.match(response.json(), { code: 'request_invalid' })
  }
})

t.test('keeps a quiet connection alive with comments, and finds at a ping what no wake-up announced', async t => {
  const { listen, as, owner } = await notificationApp(t, { limits: { ping: 50 } })
  const reader = await read(t, await listen(), await as(alice))
  await eventually(() => reader.frames.filter(frame => frame.comment === 'ping').length >= 2)
  // Written behind the back of NOTIFY.
  await owner.sql`INSERT INTO mailbox VALUES (${alice}, 1)`
  await owner.sql`
    INSERT INTO notification (id, user_id, seq, event_id, category, title, text, data, at)
    VALUES (gen_random_uuid(), ${alice}, 1, gen_random_uuid(), 'welcome', 'Quiet', '', '{}', now())`
  await eventually(() => reader.seqs().length === 1)
  t.same(reader.seqs(), [1])
})

t.test('lives through the loss of every database connection and catches up', async t => {
  const { listen, as, handle, url } = await notificationApp(t)
  const reader = await read(t, await listen(), await as(alice))
  await eventually(() => reader.counts().length === 1)
  const admin = postgres(parts(t, 'postgres').postgres, { max: 1 })
  t.teardown(() => admin.end())
  const ended = await admin`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = ${new URL(url).pathname.slice(1)} AND usename = 'notification'`
  t.ok(ended.length >= 2, 'the pool and the listener are gone')
  await eventually(() =>
    handle(paymentEvent('payment.held')).then(
      () => true,
      () => false,
    ),
  )
  await eventually(() => reader.seqs().length === 1)
  t.same(reader.seqs(), [1])
})

t.test('cuts a reader that takes nothing', async t => {
  const { listen, as, owner, metrics } = await notificationApp(t, { limits: { ping: 50 } })
  const { port, hostname } = new URL(await listen())
  // More than all buffers between here and there can hold.
  const size = 30_000
  await owner.sql`INSERT INTO mailbox VALUES (${alice}, ${size})`
  await owner.sql`
    INSERT INTO notification (id, user_id, seq, event_id, category, title, text, data, at)
    SELECT gen_random_uuid(), ${alice}, n, gen_random_uuid(), 'welcome', 'Long', repeat('x', 1000), '{}', now()
    FROM generate_series(1, ${size}::int) AS n`
  const socket = connect({ host: hostname, port: Number(port) })
  t.teardown(() => socket.destroy())
  socket.pause()
  const { authorization } = await as(alice)
  socket.write(
    `GET /api/notifications/stream HTTP/1.1\r\nhost: x\r\nauthorization: ${authorization}\r\nlast-event-id: 0\r\n\r\n`,
  )
  const open = async () => Number(/notification_streams\{[^}]*\} (\d+)/.exec(await metrics.text())?.[1])
  await eventually(async () => (await open()) === 1)
  await eventually(async () => (await open()) === 0)
  socket.resume()
  await once(socket, 'close')
  t.ok(socket.bytesRead > 0 && socket.bytesRead < size * 1000, 'it got a part and lost the connection')
})
