import t, { type Test } from 'tap'
import { asPerson, type Client, clientAt, replicasOf, wholeBank } from '../bank.ts'
import { freeze, isBack, pidOf, seconds } from '../processes.ts'
import { realmAdmin } from '../realm-admin.ts'

const bank = wholeBank(t)
const admin = realmAdmin(bank)
const replicas = replicasOf(bank)

/** One route of each service: three audiences, three exchanges. */
const paths = ['/api/payments/accounts', '/api/customers/me', '/api/notifications/count']
/** Seconds that a token lives here; it is renewed from four fifths of it on. */
const lifetime = 10

/** A person's session whose tokens have all just expired, on every replica that will be asked. */
async function expiredSession(t: Test, rotate: boolean, username: string): Promise<{ ats: Client[]; since: number }> {
  await admin.setLifetime(lifetime)
  await admin.setRotation(rotate)
  t.teardown(async () => {
    await admin.setLifetime(undefined)
    await admin.setRotation(false)
  })
  const { cookie } = await asPerson(bank, username)
  const ats = replicas.map(({ url }) => clientAt(url, cookie))
  for (const path of paths) for (const at of ats) t.equal((await at.get(path)).status, 200)
  await seconds(lifetime + 1)
  return { ats, since: Date.now() }
}

/** So many requests at once, spread over replicas and services. */
const burst = (ats: readonly Client[], count: number) =>
  Array.from({ length: count }, async (_, index) => {
    const at = ats[index % ats.length] as Client
    return (await at.get(paths[Math.floor(index / ats.length) % paths.length] as string)).status
  })

/** How often each status was answered. */
const tally = (statuses: readonly number[]): Record<number, number> => {
  const counts: Record<number, number> = {}
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** What Keycloak recorded of a person since then, by type. */
async function recorded(username: string, since: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const types = ['REFRESH_TOKEN', 'REFRESH_TOKEN_ERROR', 'TOKEN_EXCHANGE', 'TOKEN_EXCHANGE_ERROR']
  for (const { time, type } of await admin.events({ username }, ...types))
    if (time >= since) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

async function refreshedOnce(t: Test, username: string, since: number): Promise<void> {
  const events = await recorded(username, since)
  t.equal(events['REFRESH_TOKEN'], 1, 'one refresh in all')
  t.equal(events['REFRESH_TOKEN_ERROR'], undefined, 'and none that failed')
  t.equal(events['TOKEN_EXCHANGE_ERROR'], undefined, 'nor an exchange')
  const exchanges = events['TOKEN_EXCHANGE'] ?? 0
  t.ok(exchanges >= paths.length && exchanges <= paths.length * replicas.length, `${exchanges} exchanges`)
}

const once = '200 requests at once at the end of a token are one refresh over all replicas'
const slow = 'a provider that takes four seconds makes 200 requests wait for one refresh, and fails none'
const killed = 'a replica killed in the middle of a refresh costs nobody an error'

for (const rotate of [false, true]) {
  const how = rotate ? 'with rotation' : 'without rotation'

  t.test(`${once}, ${how}`, async t => {
    const { ats, since } = await expiredSession(t, rotate, 'carol')
    t.same(tally(await Promise.all(burst(ats, 200))), { 200: 200 })
    await refreshedOnce(t, 'carol', since)
  })

  t.test(`${slow}, ${how}`, async t => {
    const { ats, since } = await expiredSession(t, rotate, 'carol')
    const thaw = freeze(t, 'keycloak')
    const asked = burst(ats, 200)
    await seconds(4)
    thaw()
    t.same(tally(await Promise.all(asked)), { 200: 200 })
    await refreshedOnce(t, 'carol', since)
  })

  if (replicas.length < 2) continue
  t.test(`${killed}, ${how}`, async t => {
    const { ats, since } = await expiredSession(t, rotate, 'carol')
    const [owner, ...others] = ats as [Client, ...Client[]]
    const victim = replicas[0]?.name as string
    const thaw = freeze(t, 'keycloak')
    const lost = owner.get(paths[0] as string).then(
      ({ status }) => status,
      () => 'broken off',
    )
    await seconds(1)
    const asked = burst(others, 200)
    await seconds(0.5)
    const pid = pidOf(victim)
    process.kill(pid, 'SIGKILL')
    t.equal(await lost, 'broken off')
    await seconds(1)
    thaw()
    const statuses = tally(await Promise.all(asked))
    const { 200: fine = 0, 401: ended = 0, ...rest } = statuses
    t.same(rest, {}, 'nobody waits in vain, and nothing is called an error of ours')
    // What the killed one had sent may have used the refresh token up: then the session is over, for everybody alike.
    if (rotate) t.ok(fine === 200 || ended > 0, JSON.stringify(statuses))
    else t.equal(fine, 200)
    const events = await recorded('carol', since)
    t.ok(
      (events['REFRESH_TOKEN'] ?? 0) + (events['REFRESH_TOKEN_ERROR'] ?? 0) <= 2,
      'the killed one’s and one takeover',
    )
    if (!rotate) t.equal(events['REFRESH_TOKEN_ERROR'], undefined)
    t.ok(await isBack(victim, pid), 'it is back')
    const after = await owner.get(paths[0] as string)
    t.equal(after.status, ended > 0 ? 401 : 200, 'and says the same')
  })
}
