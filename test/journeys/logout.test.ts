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
