import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import { type Browser, edge, origin, testUpstream } from './edge.ts'

const csrf = { 'x-csrf': '1', 'sec-fetch-site': 'same-origin' }

/** An edge whose service lets its requests wait; of the streams below /api/shop three may be open, two of one session. */
async function serving(t: Test) {
  const held: { url: string; response: ServerResponse }[] = []
  const service = await testUpstream(t, ({ url = '' }, response) => void held.push({ url, response }))
  const dialled = { now: 0, most: 0 }
  service.server.on('connection', socket => {
    dialled.most = Math.max(dialled.most, ++dialled.now)
    socket.on('close', () => dialled.now--)
  })
  const under = await edge(t, {
    upstreams: [
      {
        ...upstreamDefaults,
        name: 'shop',
        prefix: '/api/shop',
        origin: service.origin,
        token: 'none',
        connections: 2,
        streams: { paths: ['/api/shop/events', '/api/shop/:order/events'], connections: 3, perSession: 2 },
      },
    ],
  })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const [one, two] = [under.browser(), under.browser()]
  await one.login()
  await two.login()
  /** A request that nobody has answered yet. */
  const ask = (person: Browser, path: string, headers: Record<string, string> = {}) => {
    const cookie = `__Host-session=${person.cookie()}`
    const request = httpRequest({
      host: '127.0.0.1',
      port,
      path,
      agent: false,
      headers: { cookie, ...csrf, ...headers },
    })
    t.teardown(() => request.destroy())
    const answer = new Promise<IncomingMessage | undefined>(resolve => {
      request.on('response', resolve).on('error', () => resolve(undefined))
    })
    request.end()
    return { request, answer }
  }
  const refusal = async (person: Browser, path = '/api/shop/events') => {
    const response = (await ask(person, path).answer) as IncomingMessage
    return { status: response.statusCode, wait: response.headers['retry-after'], ...JSON.parse(await text(response)) }
  }
  const open = async (): Promise<number> =>
    Number(/^bff_in_progress\{limit="streams".*?\} (\d+)$/m.exec(await under.metrics.text())?.[1])
  return { ...under, service, held, dialled, one, two, ask, refusal, open }
}

t.test('nothing that a request says of itself opens a connection beyond those of its upstream', async t => {
  for (const accept of ['text/event-stream', 'text/html, text/event-stream;q=0.1', 'TEXT/EVENT-STREAM', '*/*'])
    t.test(accept, async t => {
      const { ask, one, held, dialled } = await serving(t)
      const asked = ['/api/shop', '/api/shop/Events', '/api/shop/events/', '/api/shop/events/1', '/api/shop/a/b/events']
        .flatMap(path => [path, `${path}?stream=1`])
        .map(path => ask(one, path, { accept, 'last-event-id': '1' }).answer)
      const statuses = Promise.all(asked.map(async answer => (await answer)?.statusCode))
      await eventually(() => held.length === 2)
      // Those that found none free are told so; the two go on.
      await Promise.race(asked)
      t.equal(dialled.most, 2)
      let isOver = false
      const all = statuses.finally(() => {
        isOver = true
      })
      // On a slow machine some wait until one is free.
      await eventually(() => {
        for (const { response } of held) response.end()
        return isOver
      })
      t.same(new Set(await all), new Set([200, 503]))
      t.equal(dialled.most, 2)
    })
})

t.test('streams of one session, and all of one upstream, are as many as its file says', async t => {
  const { ask, refusal, one, two, held, open, dialled, metrics } = await serving(t)
  for (const path of ['/api/shop/events', '/api/shop/7/events?from=3']) ask(one, path)
  await eventually(() => held.length === 2)
  t.match(await refusal(one), { status: 429, code: 'streams_exhausted', wait: '1' })
  t.match(await refusal(one, '/api/shop/8/events'), { status: 429 })
  ask(two, '/api/shop/events')
  await eventually(() => held.length === 3)
  t.match(await refusal(two), { status: 503, code: 'overloaded', wait: '1' })
  t.equal(await open(), 3, 'what was refused is not counted')
  t.equal(held.length, 3, 'and has not reached the service')
  const others = [ask(one, '/api/shop'), ask(two, '/api/shop')]
  await eventually(() => held.length === 5)
  t.equal(dialled.most, 5, 'other requests have connections of their own')
  for (const { response } of held) response.end('{}')
  for (const { answer } of others) t.equal((await answer)?.statusCode, 200)
  t.match(await metrics.text(), 'bff_rate_limited_total{limit="streams",app="bff"} 2')
  t.match(await metrics.text(), 'bff_rate_limited_total{limit="upstream_streams",app="bff"} 1')
})

type Stream = {
  request: ClientRequest
  response: ServerResponse
  person: Browser
  again: () => Promise<ServerResponse>
}

const ends: Record<string, (stream: Stream) => unknown> = {
  'the client leaves before it begins': ({ request }) => request.destroy(),
  'the client leaves': ({ request, response }) => {
    response.write(': hello\n\n')
    request.once('response', () => request.destroy())
  },
  'the service ends it': ({ response }) => response.end(': bye\n\n'),
  'the service refuses it': ({ response }) => response.writeHead(403).end(),
  'the service says that it is another’s': ({ response }) => response.writeHead(401).end(),
  'the service breaks off before it begins': async ({ response, again }) => {
    response.destroy()
    // It could have been a connection that was closed just as it was used again.
    ;(await again()).destroy()
  },
  'the service breaks off': ({ request, response }) => {
    response.write(': hello\n\n')
    request.once('response', () => response.destroy())
  },
  'the service answers nonsense': ({ response }) => response.socket?.end('nonsense\r\n\r\n'),
  'the person signs out': ({ request, response, person }) => {
    response.write(': hello\n\n')
    request.once('response', () => person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } }))
  },
}

for (const [way, end] of Object.entries(ends))
  t.test(`a stream gives its place back when ${way}`, async t => {
    const { ask, one, two, held, open, refusal } = await serving(t)
    const streams = [one, two, two].map(person => ({ person, ...ask(person, '/api/shop/events') }))
    await eventually(() => held.length === 3)
    t.match(await refusal(one), { status: 503 })
    for (const { request } of streams)
      request.on('response', response => response.on('error', () => undefined).resume())
    const [first] = streams
    const { response } = held[0] as (typeof held)[0]
    const { request, person } = first as (typeof streams)[0]
    const over = new Promise(resolve => request.on('error', () => undefined).on('close', resolve))
    const again = async () => {
      await eventually(() => held.length === 4)
      return (held[3] as (typeof held)[0]).response
    }
    await end({ request, response, person, again })
    await over
    await eventually(async () => (await open()) === 2)
    await one.login()
    const { length } = held
    ask(one, '/api/shop/events')
    await eventually(() => held.length > length)
    t.equal(await open(), 3)
  })
