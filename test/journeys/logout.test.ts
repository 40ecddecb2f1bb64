import { clientToken, people, personToken } from '@banking/devstack'
import t, { type Test } from 'tap'
import { asPerson, clientAt, replicasOf, wholeBank } from '../bank.ts'
import { seconds } from '../processes.ts'
import { realmAdmin } from '../realm-admin.ts'

const bank = wholeBank(t)
const admin = realmAdmin(bank)
const replicas = replicasOf(bank)

/** An open stream of messages at one replica. */
async function openStream(t: Test, url: string, cookie: string): Promise<{ isOpen: () => boolean }> {
  const leaving = new AbortController()
  t.teardown(() => leaving.abort())
  const answer = await fetch(new URL('/api/notifications/stream', url), {
    headers: { cookie, 'x-csrf': '1', 'sec-fetch-site': 'same-origin', accept: 'text/event-stream' },
    signal: leaving.signal,
  })
  if (answer.status !== 200) throw new Error(`no stream at ${url}: ${answer.status} ${await answer.text()}`)
  let isOpen = true
  const end = () => {
    isOpen = false
  }
  answer.text().then(end, end)
  return { isOpen: () => isOpen }
}

t.test(
  'an administrator’s logout at the provider is known to every replica within a second, streams included',
  async t => {
    const phone = await asPerson(bank, 'bob')
    const laptop = await asPerson(bank, 'bob')
    const stranger = await asPerson(bank, 'alice')
    const streams = await Promise.all(
      replicas.flatMap(({ url }) => [openStream(t, url, phone.cookie), openStream(t, url, laptop.cookie)]),
    )
    const other = await openStream(t, replicas[0]?.url ?? '', stranger.cookie)
    for (const { url } of replicas)
      for (const { cookie } of [phone, laptop])
        t.equal((await clientAt(url, cookie).get('/api/payments/accounts')).status, 200, url)

    await admin.logOut('bob')
    await seconds(1)
    t.same(
      streams.map(({ isOpen }) => isOpen()),
      streams.map(() => false),
      'every stream is closed',
    )
    for (const { url } of replicas) {
      for (const { cookie } of [phone, laptop]) {
        const refusal = await clientAt(url, cookie).get('/api/payments/accounts')
        t.equal(refusal.status, 401, url)
        t.match(refusal.json(), { code: 'login_required', reason: 'revoked' })
      }
      t.equal((await clientAt(url, stranger.cookie).get('/oauth2/userinfo')).status, 200, 'somebody else stays')
    }
    t.ok(other.isOpen(), 'and so does their stream')
    t.equal((await asPerson(bank, 'bob').then(({ get }) => get('/oauth2/userinfo'))).status, 200, 'he may log in again')
  },
)

t.test('a service ends all sessions of a person on every replica by one call, and others may not', async t => {
  const { sub } = people.find(({ username }) => username === 'bob') ?? { sub: '' }
  const end = (url: string | undefined, token: string) =>
    fetch(new URL(`/internal/users/${sub}/sessions`, url), {
      method: 'DELETE',
      headers: { authorization: `Bearer ${token}` },
    })
  const { cookie } = await asPerson(bank, 'bob')
  const streams = await Promise.all(replicas.map(({ url }) => openStream(t, url, cookie)))
  for (const [name, token] of Object.entries({
    'another service': await clientToken(bank, 'payment-service', 'risk'),
    'the right service with a token for another': await clientToken(bank, 'admin-service', 'audit'),
    'a person': await personToken(bank, 'ada', 'payment'),
  })) {
    t.equal((await end(replicas[0]?.internalUrl, token)).status, 401, name)
  }
  const token = await clientToken(bank, 'admin-service', 'bff')
  t.equal((await end(bank.status.baseUrl, token)).status, 404, 'browsers’ address does not have it')
  t.equal((await clientAt(replicas[0]?.url ?? '', cookie).get('/oauth2/userinfo')).status, 200, 'nobody was logged out')

  const ended = await end(replicas[0]?.internalUrl, token)
  t.equal(ended.status, 200)
  t.ok(((await ended.json()) as { ended: number }).ended >= 1)
  await seconds(1)
  t.notOk(
    streams.some(({ isOpen }) => isOpen()),
    'every stream is closed',
  )
  for (const { url } of replicas) {
    const refusal = await clientAt(url, cookie).get('/api/payments/accounts')
    t.equal(refusal.status, 401, url)
    t.match(refusal.json(), { code: 'login_required', reason: 'revoked' })
  }
})
