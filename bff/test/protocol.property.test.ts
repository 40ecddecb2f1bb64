import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Person } from '../src/provider/oidc.ts'
import { openRecord } from '../src/sessions/record.ts'
import { type Identity, identityOf } from '../src/sessions/seal.ts'
import { base, type Link, Replica, type Rotation, type Way, World } from './simulation.ts'

t.setTimeout(600_000)
const runs = Number(process.env['PROPERTY_RUNS'] ?? 1_000)
const seed = Number(process.env['PROPERTY_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const path = process.env['PROPERTY_PATH']
const people = ['alice', 'bob'] as const
type Who = (typeof people)[number]

type Action = { at: number; replica: number; who: Who } & (
  | { does: 'request' | 'signOut' | 'endAll' | 'login' | 'crash' | 'failover' }
  | { does: 'pause' | 'cut' | 'outage'; ms: number }
  | { does: 'lose'; link: Link; way: Way; ms: number }
)

/** Many things at once, then some now and then. */
const at = fc.oneof({ weight: 3, arbitrary: fc.nat(300) }, { weight: 2, arbitrary: fc.nat(12_000) })
const where = { at, replica: fc.nat(2), who: fc.constantFrom(...people) }
/** A link that swallows what goes one way: a request that never arrives, or an answer. */
const oneWay = { link: fc.constantFrom('store', 'provider'), way: fc.constantFrom('there', 'back') } as const
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ ...where, does: fc.constant('request' as const) }) },
  { weight: 2, arbitrary: fc.record({ ...where, does: fc.constantFrom('signOut' as const, 'endAll' as const) }) },
  { weight: 2, arbitrary: fc.record({ ...where, does: fc.constantFrom('login' as const, 'failover' as const) }) },
  { weight: 1, arbitrary: fc.record({ ...where, does: fc.constant('crash' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      ...where,
      does: fc.constantFrom('pause' as const, 'cut' as const, 'outage' as const),
      ms: fc.nat(6_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ ...where, ...oneWay, does: fc.constant('lose' as const), ms: fc.nat(6_000) }),
  },
)
const story = fc.record({
  rotation: fc.constantFrom('none' as const, 'lenient' as const, 'strict' as const),
  /** ms that the first access tokens are good for yet. */
  left: fc.constantFrom(0, 5_000, 200_000),
  tape: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 60 }),
  actions: fc.array(action, { minLength: 1, maxLength: 40 }),
})
type Story = { rotation: Rotation; left: number; tape: number[]; actions: Action[] }

type Asked = { who: Who; at: number; replica: Replica; answeredAt?: number; answer?: Answer }
type Answer = { sub: string; token: string } | 'over' | 'unavailable'

/** Plays a story. @returns what is wrong with how it went */
async function play({ rotation, left, tape, actions }: Story) {
  const world = new World(tape)
  world.rotation = rotation
  const keys = { current: 'k', keys: new Map([['k', randomBytes(32)]]) }
  const replicas = ['a', 'b', 'c'].map(name => new Replica(world, name, keys)) as [Replica, Replica, Replica]
  const wrong = world.violations
  const personOf = (who: Who): Person => ({
    sub: who,
    sid: `sid-${who}`,
    name: who,
    givenName: who,
    roles: [],
    authTime: base + world.time,
  })
  const done = async <T>(work: Promise<T>): Promise<T> => {
    await world.run(world.time + 1_000)
    return work
  }
  const cookies = {} as Record<Who, string>
  for (const who of people) {
    const tokens = world.grant(who)
    const begun = await done(replicas[0].sessions.begin({ tokens, person: personOf(who), device: '' }, undefined))
    if (begun === 'again') throw new Error('nobody was logged out')
    cookies[who] = begun.cookie
  }
  const identities = people.map(who => identityOf(cookies[who]) as Identity)
  world.open = (id, row) => {
    const identity = identities.find(each => each.id === id)
    const opened = identity && openRecord({ ...row, lastSeenAt: undefined, buriedAt: 0 }, identity, keys)
    return opened && 'session' in opened ? opened.session : undefined
  }
  world.time = 300_000 - left
  const start = world.time
  world.isCalm = false

  const loggedOutAt: Partial<Record<Who, number>> = {}
  const endedAll = new Set<Who>()
  const failedOver = new Set<Who>()
  const rows = new Map(world.store.rows)
  const asked: Asked[] = []
  /** Sessions that somebody has the cookie of. */
  const given = new Set(people.map(who => identityOf(cookies[who])?.id as string))

  const answerOf = async (replica: Replica, who: Who): Promise<Answer> => {
    const found = await replica.sessions.find(cookies[who])
    if ('over' in found) return 'over'
    const { person, tokens } = await replica.sessions.fresh(found.session)
    return { sub: person.sub, token: tokens.accessToken }
  }
  const expected = (error: unknown): Answer => {
    const { code, name } = error as { code?: string; name?: string }
    if (code === 'login_required') return 'over'
    if (code === 'sessions_unavailable' || name === 'ProviderError') return 'unavailable'
    wrong.push(`an error that nobody expects: ${(error as Error).stack}`)
    return 'unavailable'
  }
  const ask = (replica: Replica, who: Who): void =>
    replica.receive(() => {
      const one: Asked = { who, at: world.time, replica }
      asked.push(one)
      void answerOf(replica, who)
        .catch(expected)
        .then(answer => {
          one.answer = answer
          one.answeredAt = world.time
        })
    })
  const quietly = () => undefined

  const acts: { [D in Action['does']]: (one: Action & { does: D }, replica: Replica) => void } = {
    request: ({ who }, replica) => ask(replica, who),
    signOut: ({ who }, replica) =>
      replica.receive(() => {
        const ended = Promise.resolve(replica.sessions.find(cookies[who])).then(async found => {
          if ('over' in found) return
          await replica.sessions.end(found.session, 'ended')
          loggedOutAt[who] ??= world.time
        })
        ended.catch(quietly)
      }),
    endAll: ({ who }, replica) =>
      replica.receive(() => {
        const ended = replica.sessions.endBy({ sub: who }).then(() => {
          loggedOutAt[who] ??= world.time
          endedAll.add(who)
        })
        ended.catch(quietly)
      }),
    login: ({ who }, replica) =>
      replica.receive(() => {
        const login = { tokens: world.grant(who), person: personOf(who), device: '' }
        const begun = replica.sessions.begin(login, undefined).then(result => {
          if (result !== 'again') given.add(identityOf(result.cookie)?.id as string)
        })
        begun.catch(quietly)
      }),
    failover({ who }) {
      // Redis's replica had the tombstone, which was waited for, and not the deletion.
      const id = identityOf(cookies[who])?.id as string
      const row = rows.get(id)
      if (loggedOutAt[who] === undefined || row === undefined || world.store.rows.has(id)) return
      failedOver.add(who)
      world.store.resurrect(id, row)
    },
    crash({ replica: index }, replica) {
      // One is left to see what became of it.
      if (index > 0) replica.crash()
    },
    pause: ({ ms }, replica) => replica.pause(ms),
    cut: ({ ms }, replica) => replica.cut(ms),
    lose: ({ link, way, ms }, replica) => replica.lose(link, way, ms),
    outage({ ms }) {
      for (const each of replicas) each.cut(ms)
    },
  }
  const act = (one: Action) => acts[one.does] as (one: Action, replica: Replica) => void
  for (const one of actions) world.at(one.at, () => act(one)(one, replicas[one.replica] as Replica))
  await world.run(start + 45_000)

  // The trouble is over: whoever asks now gets a clean answer.
  world.isCalm = true
  await world.run(start + 60_000)
  for (const who of people) ask(replicas[0], who)
  await world.run(start + 80_000)

  for (const { who, at, answer, answeredAt, replica } of asked) {
    const name = `${who} at ${at - start}`
    if (replica.isDead) continue
    const pauses = actions.reduce((sum, one) => sum + (one.does === 'pause' ? one.ms : 0), 0)
    if (answer === undefined || (answeredAt ?? 0) - at > 15_000 + 1_000 + pauses) wrong.push(`${name} was not answered`)
    if (answer === undefined || answer === 'unavailable') {
      if (at >= start + 60_000) wrong.push(`${name} has no clean answer although all is well`)
      continue
    }
    if (answer === 'over') {
      const isLoggedOut = actions.some(one => one.who === who && (one.does === 'signOut' || one.does === 'endAll'))
      if (rotation === 'none' && !isLoggedOut) wrong.push(`${name} was logged out by a fault`)
      continue
    }
    if (answer.sub !== who || !answer.token.startsWith(`access-${who}-`)) wrong.push(`${name} got another’s token`)
    const isAfterLogout = at > (loggedOutAt[who] ?? Number.POSITIVE_INFINITY) + 1_000
    if (isAfterLogout) wrong.push(`${name} lives after its logout`)
  }
  for (const [id, row] of world.store.rows) {
    // One whose login failed half-way is nobody's: its cookie was not given out.
    if (!given.has(id)) continue
    for (const who of endedAll) {
      // Of two, the later may have left its tombstone and then failed.
      if (actions.filter(one => one.does === 'endAll' && one.who === who).length > 1) continue
      const buriedAt = world.store.tombstones.get(JSON.stringify({ sub: who })) ?? 0
      const isTheirs = world.store.entries({ sub: who }).includes(id) && !failedOver.has(who)
      if (isTheirs && buriedAt >= row.createdAt) wrong.push(`a session of ${who} outlived the end of all`)
    }
  }
  return { wrong, calls: world.calls, asked }
}

async function holds(
  t: Test,
  stories: fc.Arbitrary<Story>,
  more: (played: Awaited<ReturnType<typeof play>>) => string | undefined = () => undefined,
  numRuns = runs,
): Promise<void> {
  t.comment(`PROPERTY_SEED=${seed}`)
  const property = fc.asyncProperty(stories, async each => {
    const played = await play(each)
    const wrong = [...played.wrong, ...[more(played) ?? []].flat()]
    if (wrong.length > 0) throw new Error([...new Set(wrong)].join('\n'))
  })
  const replayed = path === undefined ? {} : { path }
  const result = await fc.check(property, { seed, numRuns, ...replayed })
  if (!result.failed) return void t.equal(result.numRuns, path === undefined ? numRuns : 1, 'stories were played')
  const replay = `PROPERTY_SEED=${result.seed} PROPERTY_PATH=${result.counterexamplePath}`
  t.fail(`${(result.errorInstance as Error | null)?.message}\n${replay}\n${fc.stringify(result.counterexample)}`)
}

t.test('holds its invariants in every story of requests, logouts, logins and faults', t => holds(t, story))

t.test('of a login and the end of all sessions at one moment, the end wins if it is the later', async t => {
  const soon = (does: 'login' | 'endAll') =>
    fc.record({ at: fc.nat(60), replica: fc.nat(2), who: fc.constant('alice' as const), does: fc.constant(does) })
  const tape = fc.array(fc.nat(20), { minLength: 5, maxLength: 20 })
  const actions = fc.tuple(soon('login'), soon('endAll'))
  await holds(t, fc.record({ rotation: fc.constant('none' as const), left: fc.constant(200_000), tape, actions }))
})

t.test('a refresh token that was refused ends no session that another replica has refreshed meanwhile', async t => {
  const who = fc.constant('alice' as const)
  const request = (replica: fc.Arbitrary<number>, from: number, to: number) =>
    fc.record({ at: fc.integer({ min: from, max: to }), replica, who, does: fc.constant('request' as const) })
  const trouble = (does: 'cut' | 'pause', replica: fc.Arbitrary<number>, from: number, to: number, ms: number) =>
    fc.record({
      at: fc.integer({ min: from, max: to }),
      replica,
      who,
      does: fc.constant(does),
      ms: fc.integer({ min: ms, max: ms + 3_000 }),
    })
  // One has new tokens and no store to write them to; another finds its lease abandoned, and is slow itself.
  const [first, second] = [fc.constant(1), fc.constant(0)]
  const actions = fc
    .tuple(
      request(first, 0, 50),
      trouble('cut', first, 100, 300, 3_500),
      request(second, 3_100, 3_150),
      fc.array(trouble('pause', second, 4_150, 4_450, 1_000), { maxLength: 1 }),
      fc.array(request(fc.constantFrom(0, 2), 3_000, 7_000), { maxLength: 6 }),
    )
    .map(([asked, cut, next, pauses, later]) => [asked, cut, next, ...pauses, ...later])
  const late = fc.constant(22)
  const tape = fc.array(fc.oneof({ weight: 14, arbitrary: fc.nat(20) }, late), { minLength: 5, maxLength: 40 })
  await holds(t, fc.record({ rotation: fc.constant('lenient' as const), left: fc.constant(0), tape, actions }))
})

t.test('redeems each token once and answers everybody with a session when nothing goes wrong', async t => {
  const requests = Array.from({ length: 60 }, (_, i) => ({
    at: i % 40,
    replica: i % 3,
    who: people[i % 2] as Who,
    does: 'request' as const,
  }))
  for (const rotation of ['none', 'strict'] as const) {
    // 1 to 9 ms there and back, and no trouble.
    const { wrong, calls, asked } = await play({ rotation, left: 0, tape: [1, 2, 3, 5, 7], actions: requests })
    t.same(wrong, [])
    t.equal(calls.length, 2)
    t.ok(asked.every(({ answer }) => typeof answer === 'object'))
  }
})

t.test(
  'a rotated token that Redis could not take is kept until it can, before anybody redeems the old one',
  async t => {
    const ask = { replica: 0, who: 'alice', does: 'request' } as const
    for (const ms of [5_000, 20_000, 40_000]) {
      // The provider has answered at 150 ms and some, and then Redis is away. Others are back before its owner tries.
      const later = Array.from({ length: 20 }, (_, i) => ({ ...ask, replica: 1 + (i % 2), at: 130 + ms + i * 60 }))
      const actions = [{ ...ask, at: 0 }, { ...ask, does: 'outage' as const, at: 100, ms }, ...later]
      const { wrong, calls, asked } = await play({ rotation: 'strict', left: 0, tape: [5], actions })
      t.same(wrong, [])
      t.equal(calls.filter(({ token }) => token.startsWith('refresh-alice')).length, 1)
      t.ok(asked.slice(1).every(({ answer }) => typeof answer === 'object' || answer === undefined))
    }
  },
)

/** Its owner has the lease or new tokens, and loses the store: both ways, or one. */
const ownerAlone = (longest: number) => {
  const ms = fc.oneof(fc.nat(longest), fc.integer({ min: longest - 500, max: longest }))
  const owner = { replica: fc.constant(1), who: fc.constant('alice' as const) }
  const cut = fc.oneof(
    fc.record({ ...owner, at: fc.integer({ min: 20, max: 200 }), does: fc.constant('cut' as const), ms }),
    fc.record({
      ...owner,
      at: fc.integer({ min: 20, max: 200 }),
      does: fc.constant('lose' as const),
      link: fc.constant('store' as const),
      way: oneWay.way,
      ms,
    }),
  )
  const first = fc.record({ ...owner, at: fc.constant(0), does: fc.constant('request' as const) })
  const others = fc.record({
    at: fc.nat(longest),
    replica: fc.constantFrom(0, 2),
    who: owner.who,
    does: fc.constant('request' as const),
  })
  return fc.tuple(first, cut, fc.array(others, { maxLength: 12 })).map(([one, two, more]) => [one, two, ...more])
}
const swift = fc.array(fc.nat(9), { minLength: 1, maxLength: 20 })

async function redeemsOnce(t: Test, left: number, longest: number): Promise<void> {
  const stories = fc.record({
    rotation: fc.constant('strict' as const),
    left: fc.constant(left),
    tape: swift,
    actions: ownerAlone(longest),
  })
  const check = ({ calls, asked }: Awaited<ReturnType<typeof play>>) => {
    const redeemed = calls.filter(({ token }) => token === calls[0]?.token).length
    if (redeemed > 1) return 'a token that was replaced was redeemed again'
    return asked.some(({ answer }) => answer === 'over') ? 'somebody was logged out' : undefined
  }
  // They vary in little.
  await holds(t, stories, check, Math.ceil(runs / 4))
}

t.test(
  'a rotated token is redeemed by nobody else while its owner alone loses Redis for three seconds, either way',
  t => redeemsOnce(t, 0, 3_000),
)

t.test('the same for as long as the old access token is good, less five seconds', t => redeemsOnce(t, 50_000, 40_000))

t.test(
  'an owner that loses Redis for longer is taken for dead: one takeover, and a clean answer for everybody',
  async t => {
    const ask = { who: 'alice', does: 'request' } as const
    for (const rotation of ['none', 'lenient', 'strict'] as const) {
      const cut = { who: 'alice', replica: 1, at: 60, does: 'cut', ms: 4_500 } as const
      const later = Array.from({ length: 20 }, (_, i) => ({ ...ask, replica: (i % 2) * 2, at: 100 + i * 300 }))
      const actions = [{ ...ask, replica: 1, at: 0 }, cut, ...later]
      const { wrong, calls, asked } = await play({ rotation, left: 0, tape: [5], actions })
      t.same(wrong, [])
      t.equal(calls.filter(({ token }) => token === calls[0]?.token).length, 2)
      const answers = asked.filter(({ who }) => who === 'alice').map(({ answer }) => answer)
      t.ok(answers.every(answer => (rotation === 'none' ? typeof answer === 'object' : answer === 'over')))
    }
  },
)
