import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as after } from 'node:timers/promises'
import { eventually, parts, testProxy } from '@banking/testkit'
import t, { type Test } from 'tap'
import { defaultLimits, type Limits } from '../src/admission/limits.ts'
import { edge, origin, testUpstream } from './edge.ts'

const allowance = { concurrentRequests: 4, concurrentUploads: 2 }
/** Connections to the service. */
const connections = 2
const minute = 60_000
/** More than what is read as a whole. */
const large = 64 * 1024

type Held = { request: IncomingMessage; response: ServerResponse }

/** An edge on a socket, its Redis behind a link that can be stopped, and a service that answers when it is told to. */
async function serving(t: Test, limits: Partial<Limits> = {}) {
  const url = new URL(parts(t, 'redis').redis)
  const link = await testProxy(t, { host: url.hostname, port: Number(url.port) })
  const held: Held[] = []
  const service = await testUpstream(t)
  service.server.removeAllListeners('request').on('request', (request, response) => {
    request.on('error', () => undefined)
    held.push({ request, response })
  })
  const under = await edge(t, {
    redisUrl: `redis://127.0.0.1:${link.port}`,
    upstreams: { payment: service.origin },
    upstream: { connections },
    config: { limits: { ...defaultLimits, ...allowance, ...limits } },
  })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const count = { arrived: 0, over: 0 }
  under.app.server.prependListener('request', (_request, response) => {
    count.arrived++
    response.once('close', () => count.over++)
  })
  const person = under.browser()
  await person.login()
  const dial = (data: string): Socket => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.write(data)
    return socket
  }
  const head = (method: 'GET' | 'POST', path = '/api/payments'): string =>
    `${method} ${path} HTTP/1.1\r\nhost: a\r\nx-csrf: 1\r\norigin: ${origin}\r\ncookie: __Host-session=${person.cookie()}\r\n`
  /** A request as far as its empty line, or with what comes after it. */
  const speak = (method: 'GET' | 'POST', rest = '\r\n', path?: string): Socket => dial(head(method, path).concat(rest))
  const statusOf = async (socket: Socket): Promise<string> =>
    String((await once(socket, 'data'))[0]).slice('HTTP/1.1 '.length, 'HTTP/1.1 '.length + 3)
  return {
    ...under,
    link,
    held,
    person,
    head,
    speak,
    count,
    statusOf,
  }
}

type Edge = Awaited<ReturnType<typeof serving>>

const inProgress = async ({ metrics }: Edge): Promise<string[]> =>
  [...(await metrics.text()).matchAll(/^bff_in_progress\{limit="(\w+)".*?\} (\d+)$/gm)].map(
    ([, limit, n]) => `${limit} ${n}`,
  )

/** Nothing is counted, and so many as ever may be under way again: one more may not. */
async function isFree(t: Test, it: Edge): Promise<void> {
  const { held, speak, statusOf } = it
  // What was held comes before it.
  t.equal((await it.person.fetch('/oauth2/userinfo')).statusCode, 200)
  await soon(async () => (await inProgress(it)).every(line => line.endsWith(' 0')))
  const isEmpty = t.same(await inProgress(it), ['concurrent_requests 0', 'concurrent_uploads 0', 'streams 0'])
  if (!isEmpty) return
  held.length = 0
  const reached = (what: string): number =>
    held.filter(({ request: { method, url } }) => `${method} ${url}`.startsWith(what)).length
  const uploads = Array.from({ length: 2 }, () => speak('POST', `content-length: ${large}\r\n\r\n{`))
  if (!t.ok(await soon(() => reached('POST') === 2), 'two uploads reach the service')) return
  t.equal(await statusOf(speak('POST', `content-length: ${large}\r\n\r\n{`)), '429', 'a third upload')
  await eventually(async () => (await inProgress(it))[0] === 'concurrent_requests 2')
  const calls = Array.from({ length: 2 }, () => speak('GET', '\r\n', '/api/payments/free'))
  if (!t.ok(await soon(() => reached('GET /api/payments/free') === 2), 'two calls beside them')) return
  t.equal(await statusOf(speak('GET')), '429', 'a fifth call')
  const statuses = calls.map(statusOf)
  for (const { response } of held) response.end('{}')
  t.same(await Promise.all(statuses), ['200', '200'])
  for (const socket of [...uploads, ...calls]) socket.destroy()
  await eventually(async () => (await inProgress(it)).every(line => line.endsWith(' 0')))
}

/** @returns whether it became true before a defect would have to be assumed */
async function soon(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 1_000; tries++) {
    if (await condition()) return true
    await after(5)
  }
  return false
}

/** Long enough that what has arrived waits for Redis, or for the rest of its body. */
const isWaiting = () => after(20).then(() => true)

type Moment = {
  limits?: Partial<Limits>
  /** What goes before, until the session is as it has to be. */
  before?(it: Edge): unknown
  /** Holds what the requests will meet. */
  hold?(it: Edge): unknown
  begin(it: Edge): Socket
  isThere?(it: Edge): boolean
  goOn?(it: Edge): unknown
  times?: number
}

const call = (it: Edge): Socket => it.speak('GET')
const upload = (it: Edge): Socket => it.speak('POST', `content-length: ${large}\r\n\r\n{`)
const stream = (it: Edge): Socket => it.speak('GET', '\r\n', '/api/payments/stream')
const stopRedis = { hold: ({ link }: Edge) => link.stall(), goOn: ({ link }: Edge) => link.mend() }
const hasReached = (requests: number) => (it: Edge) => it.held.length >= requests

/** The provider keeps its tokens for itself until it is told to go on. */
function stopProvider() {
  const gate = Promise.withResolvers<void>()
  let asked = 0
  return {
    hold({ provider }: Edge) {
      provider.hooks.token = async (_grant, honest) => {
        asked++
        await gate.promise
        return honest()
      }
    },
    isThere: () => asked > 0,
    goOn: () => gate.resolve(),
  }
}

const forgetSession = ({ advance }: Edge): void => advance(minute / 2 + 1_000)
const lastSeenLongAgo = async ({ advance, person }: Edge): Promise<void> => {
  advance(minute + 1_000)
  await person.fetch('/oauth2/userinfo')
}
const oneByOne = { perSecond: 100_000, burst: 8 }

const moments: Record<string, Moment> = {
  'at once': { begin: call, times: 16 },
  'while the session is looked up': { ...stopRedis, before: forgetSession, begin: call, times: 16 },
  'with a large body, while the session is looked up': {
    ...stopRedis,
    before: forgetSession,
    begin: upload,
    times: 16,
  },
  'while the idle time is written': { ...stopRedis, before: lastSeenLongAgo, begin: call },
  'with a large body, while the idle time is written': { ...stopRedis, before: lastSeenLongAgo, begin: upload },
  'while the session’s quota is leased': { ...stopRedis, limits: { perSession: oneByOne }, begin: call },
  'while the address’s quota is leased': { ...stopRedis, limits: { perAddressInAll: oneByOne }, begin: call },
  'in the middle of a small body': { begin: it => it.speak('POST', 'content-length: 9\r\n\r\n{') },
  'while a token is exchanged': { ...stopProvider(), begin: call },
  'with a large body, while a token is exchanged': { ...stopProvider(), begin: upload },
  'while the session’s token is refreshed': {
    ...stopProvider(),
    before: ({ advance }) => advance(6 * minute),
    begin: call,
  },
  'while a connection to the service is waited for': { begin: call, isThere: hasReached(connections) },
  'while the service thinks': { begin: call, times: connections, isThere: hasReached(connections) },
  'in the middle of a large body': { begin: upload, times: 2, isThere: hasReached(2) },
  'in the middle of the answer': {
    begin: call,
    times: connections,
    isThere({ held }) {
      for (const { response } of held) if (!response.headersSent) response.write('{')
      return held.length === connections
    },
  },
  'while its stream’s session is looked up': { ...stopRedis, before: forgetSession, begin: stream },
  'while its stream waits for a token': { ...stopProvider(), begin: stream },
  'before its stream begins': { begin: stream, isThere: hasReached(4) },
  'in the middle of its stream': {
    begin: stream,
    isThere({ held }) {
      for (const { response } of held) if (!response.headersSent) response.write(': hello\n\n')
      return held.length === 4
    },
  },
  'while others wait behind it on its connection': {
    begin: it => it.speak('GET', '\r\n'.concat(it.head('GET'), '\r\n', it.head('GET'), '\r\n')),
    times: 1,
    isThere: hasReached(1),
  },
}

for (const [moment, { limits, before, hold, begin, isThere, goOn, times = 4 }] of Object.entries(moments))
  t.test(`who leaves ${moment} is not counted for ever`, async t => {
    const it = await serving(t, limits)
    await before?.(it)
    await hold?.(it)
    const { count } = it
    const sockets = Array.from({ length: times }, () => begin(it))
    if (moment !== 'at once') {
      await eventually(() => count.arrived >= times)
      await eventually(isThere === undefined ? isWaiting : () => isThere(it))
    }
    for (const socket of sockets) socket.destroy()
    await eventually(async () => (await isWaiting()) && count.over === count.arrived)
    await goOn?.(it)
    await isFree(t, it)
  })
