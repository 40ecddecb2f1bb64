import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { runningBank } from '@banking/devstack'
import t, { type Test } from 'tap'
import { asPerson, clientAt, currentAccountOf, eventually, replicasOf, wholeBank } from '../bank.ts'
import { freeze, isBack, pidOf, seconds } from '../processes.ts'

const bank = wholeBank(t)
const replicas = replicasOf(bank)
const paths = ['/api/payments/accounts', '/api/customers/me', '/api/notifications/count', '/oauth2/userinfo']

/** What is asked for: a page's reading, or a payment order. */
type Wanted = { path: string; order?: object }
type Answer = { status: number; location: string | undefined; retryAfter: string | undefined; setsCookie: boolean }

const byScript = (cookie: string) => ({ cookie, 'x-csrf': '1', 'sec-fetch-site': 'same-origin' })
const reading = (count: number): Wanted => ({ path: paths[count % paths.length] as string })

/**
 * Asks steadily, through the edge's own address, over connections that are kept open, as a browser or a proxy does: a
 * request on a connection that was closed just then goes out once more on a new one, an order with its same key.
 */
function load(t: Test, cookie: string, perSecond: number, wanted: (count: number) => Wanted = reading) {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const answers: (Answer | { status: string })[] = []
  const flying = new Set<Promise<void>>()
  const edge = new URL(bank.status.baseUrl)
  let count = 0

  const ask = (one: Wanted, key: string, isRepeated = false): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const body = one.order && JSON.stringify(one.order)
      const outgoing = request(new URL(one.path, edge), {
        agent,
        timeout: 30_000,
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          ...byScript(cookie),
          ...(body && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            'idempotency-key': key,
          }),
        },
      })
      outgoing.once('timeout', () => outgoing.destroy(new Error('no answer')))
      outgoing.once('error', (error: NodeJS.ErrnoException) => {
        if (outgoing.reusedSocket && error.code === 'ECONNRESET' && !isRepeated) resolve(ask(one, key, true))
        else reject(error)
      })
      outgoing.once('response', (answer: IncomingMessage) => {
        const { statusCode = 0, headers } = answer
        const facts = { status: statusCode, location: headers.location, retryAfter: headers['retry-after'] }
        text(answer).then(() => resolve({ ...facts, setsCookie: headers['set-cookie'] !== undefined }), reject)
      })
      outgoing.end(body)
    })
  const timer = setInterval(() => {
    const one: Promise<void> = ask(wanted(count++), randomUUID())
      .then(answer => void answers.push(answer))
      .catch((error: NodeJS.ErrnoException) => void answers.push({ status: error.code ?? error.message }))
      .finally(() => flying.delete(one))
    flying.add(one)
  }, 1000 / perSecond)
  t.teardown(() => {
    clearInterval(timer)
    agent.destroy()
  })
  return {
    /** Everything that was answered until now, and from now on nothing more is asked. */
    async stop() {
      clearInterval(timer)
      await Promise.all(flying)
      return answers
    },
  }
}

const tally = (answers: readonly { status: number | string }[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** Reads a person's stream, and reads on from there wherever it was cut, as an EventSource does but without its pause. */
function follow(t: Test, cookie: string) {
  const seen: number[] = []
  const answers: { status: number | string }[] = []
  let position: number | undefined
  let outgoing: ReturnType<typeof request>
  let isFollowing = true
  const read = async (): Promise<void> => {
    outgoing = request(new URL('/api/notifications/stream', bank.status.baseUrl), {
      agent: false,
      headers: {
        ...byScript(cookie),
        accept: 'text/event-stream',
        ...(position !== undefined && { 'last-event-id': String(position) }),
      },
    })
    outgoing.on('error', () => undefined).end()
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
    answers.push({ status: answer.statusCode ?? 0 })
    // How it ends does not matter: what was missed is asked for.
    answer.on('error', () => undefined)
    let frame = ''
    for await (const line of createInterface({ input: answer })) {
      frame += `${line}\n`
      if (line !== '') continue
      // The first one has an id and no message: it says where the stream begins.
      position = Number(/^id: ?(\d+)$/m.exec(frame)?.[1] ?? position)
      if (/^event: notification$/m.test(frame)) seen.push(position)
      frame = ''
    }
  }
  const following = (async () => {
    while (isFollowing)
      await read().catch(error => {
        if (isFollowing) answers.push({ status: error.code ?? error.message })
      })
  })()
  const stop = async () => {
    isFollowing = false
    outgoing.destroy()
    await following
    return answers
  }
  t.teardown(stop)
  return { seen, hasBegun: () => position !== undefined, stop }
}

/** A session that has its tokens for every service. */
async function warmSession(t: Test, username: string): Promise<string> {
  const { cookie } = await asPerson(bank, username)
  for (const { url } of replicas)
    for (const path of paths) t.equal((await clientAt(url, cookie).get(path)).status, 200, `${url}${path}`)
  return cookie
}

t.test('Redis away for ten seconds under load loses no session and sends nobody to the login', async t => {
  const cookie = await warmSession(t, 'alice')
  const running = load(t, cookie, 40)
  await seconds(1)
  const thaw = freeze(t, 'redis')
  await seconds(10)
  thaw()
  const at = clientAt(bank.status.baseUrl, cookie)
  const back = await eventually(
    () => at.get('/oauth2/userinfo'),
    ({ status }) => status === 200,
  )
  t.equal(back.status, 200, 'the session lives')
  await seconds(2)
  const answers = await running.stop()
  const { 200: fine = 0, 503: refused = 0, ...rest } = tally(answers)
  t.same(rest, {}, 'no redirect, no 401, no broken connection')
  t.ok(fine > 0 && refused > 0, `${fine} answers, ${refused} refusals`)
  for (const answer of answers.filter(({ status }) => status === 503)) {
    t.match(answer, { location: undefined, retryAfter: /^\d+$/, setsCookie: false })
  }
  for (const { url } of replicas) t.equal((await clientAt(url, cookie).get('/oauth2/userinfo')).status, 200, url)
})

t.test('Keycloak away for thirty seconds under load is noticed by nobody who is logged in', async t => {
  const cookie = await warmSession(t, 'bob')
  const running = load(t, cookie, 30)
  await seconds(1)
  const thaw = freeze(t, 'keycloak')
  await seconds(30)
  thaw()
  await seconds(1)
  const answers = await running.stop()
  t.ok(answers.length > 500, `${answers.length} answers`)
  t.same(Object.keys(tally(answers)), ['200'], JSON.stringify(tally(answers)))
  t.equal((await asPerson(bank, 'alice').then(({ get }) => get('/oauth2/userinfo'))).status, 200, 'people log in again')
})

t.test(
  'a rolling restart of the replicas under load answers everything, makes every payment once and loses no message',
  { skip: replicas.length < 2 && 'needs replicas' },
  async t => {
    const cookie = await warmSession(t, 'carol')
    const carol = clientAt(bank.status.baseUrl, cookie)
    const bob = await asPerson(bank, 'bob')
    const order = {
      debtorAccountId: (await currentAccountOf(carol)).id,
      creditor: { iban: (await currentAccountOf(bob)).iban, name: 'Bob' },
      amount: { amount: '1', currency: 'EUR' },
    }
    const inbox = follow(t, bob.cookie)
    await eventually(
      async () => inbox.hasBegun(),
      is => is,
    )
    const before = BigInt((await currentAccountOf(bob)).posted.amount)

    const running = load(t, cookie, 50, count => (count % 5 === 0 ? { path: '/api/payments', order } : reading(count)))
    await seconds(1)
    for (const { name } of replicas) {
      const pid = pidOf(name)
      process.kill(pid, 'SIGTERM')
      t.ok(await isBack(name, pid), `${name} is back under its name`)
    }
    await seconds(1)
    const counts = tally(await running.stop())
    t.same(Object.keys(counts), ['200', '201'], JSON.stringify(counts))
    const payments = counts[201] ?? 0
    t.ok(payments > 50, `${payments} payments`)
    t.equal(BigInt((await currentAccountOf(bob)).posted.amount) - before, BigInt(payments))
    await eventually(
      async () => inbox.seen.length,
      count => count >= payments,
    )
    const first = inbox.seen[0] as number
    t.same(
      inbox.seen,
      Array.from({ length: payments }, (_, at) => first + at),
      'every message once and in order',
    )
    const opened = tally(await inbox.stop())
    t.same(Object.keys(opened), ['200'], JSON.stringify(opened))
    t.ok((opened[200] ?? 0) > 1, 'the stream was cut and read on')
    t.same(
      replicasOf(runningBank()).map(({ name, url }) => [name, url]),
      replicas.map(({ name, url }) => [name, url]),
      'names and ports are what they were',
    )
  },
)
