import t from 'tap'
import { createCache } from '../src/sessions/cache.ts'
import type { Session } from '../src/sessions/record.ts'

const minute = 60_000

function cache(size = 100) {
  const clock = { now: 1_800_000_000_000, isHearing: true }
  const under = createCache({ size, idle: 15 * minute, now: () => clock.now, isHearing: () => clock.isHearing })
  under.ready()
  return { under, clock }
}

const session = (id: string, now: number, more: Partial<Session> = {}): Session => ({
  id,
  secret: Buffer.alloc(0),
  version: 1,
  storedAt: now,
  createdAt: now,
  lastSeenAt: now,
  issuedAt: now,
  expiresAt: now + 8 * 60 * minute,
  person: { sub: id, name: id, givenName: id, roles: [], authTime: now },
  tokens: { accessToken: id, expiresAt: now + 5 * minute },
  ...more,
})

/** A look into the store that ends when it is told to. */
function look(found: Session) {
  const { promise, resolve } = Promise.withResolvers<{ session: Session }>()
  return { work: () => promise, answer: () => resolve({ session: found }) }
}

t.test('looks once for all who ask for one cookie at the same time, and remembers what came', async t => {
  const { under, clock } = cache()
  const { work, answer } = look(session('a', clock.now))
  let looks = 0
  const asked = Array.from({ length: 50 }, () =>
    under.load('cookie a', 'a', () => {
      looks++
      return work()
    }),
  )
  t.equal(under.get('cookie a'), undefined)
  answer()
  await Promise.all(asked)
  t.equal(looks, 1)
  t.equal(under.get('cookie a')?.id, 'a')
  t.equal(under.get('cookie b'), undefined)
})

t.test('does not remember what was read before a change that was heard first, nor hand it on', async t => {
  const { under, clock } = cache()
  const before = look(session('a', clock.now))
  const early = under.load('cookie a', 'a', before.work)
  under.changed('a')
  const after = look(session('a', clock.now, { version: 2 }))
  const late = under.load('cookie a', 'a', after.work)
  before.answer()
  t.match(await early, { session: { version: 1 } })
  t.equal(under.get('cookie a'), undefined)
  after.answer()
  t.match(await late, { session: { version: 2 } }, 'who came after the change is not told what was before')
  t.equal(under.get('cookie a')?.version, 2)
})

t.test('forgets a session that has changed, and no other', async t => {
  const { under, clock } = cache()
  for (const id of ['a', 'b']) await under.load(`cookie ${id}`, id, async () => ({ session: session(id, clock.now) }))
  under.changed('a')
  t.equal(under.get('cookie a'), undefined)
  t.equal(under.get('cookie b')?.id, 'b')
})

t.test('remembers nothing while changes are not heard, also not what was being read', async t => {
  const { under, clock } = cache()
  const load = () => under.load('cookie a', 'a', async () => ({ session: session('a', clock.now) }))
  await load()
  const { work, answer } = look(session('b', clock.now))
  const reading = under.load('cookie b', 'b', work)
  under.lost()
  t.equal(under.get('cookie a'), undefined)
  await load()
  t.equal(under.get('cookie a'), undefined)
  under.ready()
  answer()
  await reading
  t.equal(under.get('cookie b'), undefined, 'its changes may have been missed')
  await load()
  t.equal(under.get('cookie a')?.id, 'a')
  under.lost()
  const during = look(session('c', clock.now))
  const readBefore = under.load('cookie c', 'c', during.work)
  under.ready()
  during.answer()
  await readBefore
  t.equal(under.get('cookie c'), undefined, 'nor what was being read as they began to be heard again')
  await load()
  clock.isHearing = false
  t.equal(under.get('cookie a'), undefined, 'the clock decides before any event does')
})

t.test(
  'leaves to the store what only the store can say: idle, absolute end, renewal, and anything after 30 s',
  async t => {
    const { under, clock } = cache()
    const start = clock.now
    const cases: [string, Partial<Session>, number][] = [
      ['idle', { lastSeenAt: start - 15 * minute + 5_000 }, 5_000],
      ['absolute', { expiresAt: start + 6_000 }, 6_000],
      ['renewal', { tokens: { accessToken: '', expiresAt: start + 67_000 }, issuedAt: start - 10 * minute }, 7_000],
      ['any', {}, 30_000],
    ]
    for (const [id, more, lasts] of cases) {
      clock.now = start
      await under.load(id, id, async () => ({ session: session(id, start, more) }))
      clock.now = start + lasts - 1
      t.ok(under.get(id), id)
      clock.now = start + lasts
      t.equal(under.get(id), undefined, id)
    }
  },
)

t.test('a touch moves the idle time of what is remembered, and does not make it last', async t => {
  const { under, clock } = cache()
  const start = clock.now
  await under.load('a', 'a', async () => ({ session: session('a', start, { lastSeenAt: start - 14 * minute }) }))
  under.touch('a', start)
  t.equal(under.get('a')?.lastSeenAt, start)
  clock.now = start + 30_000
  t.equal(under.get('a'), undefined)
  under.touch('b', start)
  t.equal(under.get('b'), undefined)
})

t.test('keeps to its size, and keeps what is asked for', async t => {
  const { under, clock } = cache(10)
  const load = (id: string) => under.load(id, id, async () => ({ session: session(id, clock.now) }))
  await load('favourite')
  for (let i = 0; i < 1_000; i++) {
    await load(`${i}`)
    t.ok(under.get('favourite'))
  }
  let kept = 0
  for (let i = 0; i < 1_000; i++) if (under.get(`${i}`) !== undefined) kept++
  t.ok(kept < 10)
})

t.test('a look that fails is remembered by nobody', async t => {
  const { under, clock } = cache()
  const failing = () => Promise.reject<{ session: Session }>(new Error('no answer'))
  await t.rejects(under.load('a', 'a', failing))
  await under.load('a', 'a', async () => ({ session: session('a', clock.now) }))
  t.ok(under.get('a'))
  await under.load('b', 'b', async () => ({ over: 'ended' }))
  t.equal(under.get('b'), undefined)
})
