import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { runningBank } from '@banking/devstack'
import t, { type Test } from 'tap'
import { asPerson, clientAt, eventually, replicasOf, wholeBank } from '../bank.ts'
import { freeze, isBack, pidOf, seconds } from '../processes.ts'

const bank = wholeBank(t)
const replicas = replicasOf(bank)
const paths = ['/api/payments/accounts', '/api/customers/me', '/api/notifications/count', '/oauth2/userinfo']

type Answer = { status: number; location: string | undefined; retryAfter: string | undefined; setsCookie: boolean }

/**
 * Asks steadily, through the edge's own address, over connections that are kept open, as a browser or a proxy does: a
 * request on a connection that was closed just then goes out once more on a new one.
 */
function load(t: Test, cookie: string, perSecond: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const answers: (Answer | { status: string })[] = []
  const flying = new Set<Promise<void>>()
  const edge = new URL(bank.status.baseUrl)
  let count = 0

  const ask = (path: string, isRepeated = false): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const outgoing = request(new URL(path, edge), {
        agent,
        timeout: 30_000,
        headers: { cookie, 'x-csrf': '1', 'sec-fetch-site': 'same-origin' },
      })
      outgoing.once('timeout', () => outgoing.destroy(new Error('no answer')))
      outgoing.once('error', (error: NodeJS.ErrnoException) => {
        if (outgoing.reusedSocket && error.code === 'ECONNRESET' && !isRepeated) resolve(ask(path, true))
        else reject(error)
      })
      outgoing.once('response', (answer: IncomingMessage) => {
        const { statusCode = 0, headers } = answer
        const facts = { status: statusCode, location: headers.location, retryAfter: headers['retry-after'] }
        text(answer).then(() => resolve({ ...facts, setsCookie: headers['set-cookie'] !== undefined }), reject)
      })
      outgoing.end()
    })
  const timer = setInterval(() => {
    const one: Promise<void> = ask(paths[count++ % paths.length] as string)
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
  'a rolling restart of the replicas under load answers everything',
  { skip: replicas.length < 2 && 'needs replicas' },
  async t => {
    const cookie = await warmSession(t, 'carol')
    const running = load(t, cookie, 50)
    await seconds(1)
    for (const { name } of replicas) {
      const before = pidOf(name)
      process.kill(before, 'SIGTERM')
      t.ok(await isBack(name, before), `${name} is back under its name`)
    }
    await seconds(1)
    const answers = await running.stop()
    t.same(Object.keys(tally(answers)), ['200'], JSON.stringify(tally(answers)))
    t.same(
      replicasOf(runningBank()).map(({ name, url }) => [name, url]),
      replicas.map(({ name, url }) => [name, url]),
      'names and ports are what they were',
    )
  },
)
