import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { eventually } from '../eventually.ts'

type EndReason = 'idle' | 'absolute' | 'ended' | 'revoked' | 'limit'

type Found =
  | { version: number; sealed: Buffer; createdAt: number; lastSeenAt: number | undefined; buriedAt: number }
  | { endedBy: EndReason }
type Group = { sid: string } | { sub: string }
type LeaseOutcome = 'granted' | 'held' | 'abandoned' | 'spent'

/** The edge's session store, by its shape: a package below the apps cannot name their types. */
export type SessionStoreShape = {
  find(id: string, groups?: readonly Group[]): Promise<Found | undefined>
  create(
    id: string,
    content: { sealed: Buffer; summary: Buffer },
    at: { now: number; idle: number; expiresAt: number },
  ): Promise<number>
  replace(id: string, version: number, sealed: Buffer, owner: string): Promise<boolean>
  touch(id: string, now: number, idle: number): Promise<boolean>
  end(id: string, reason: EndReason, fence?: { version: number; owner: string }): Promise<boolean>
  takeEnded(id: string): Promise<Buffer | undefined>
  lease(id: string, owner: string, takeOver: boolean): Promise<{ found: Found | undefined; lease: LeaseOutcome }>
  renew(id: string, owner: string): Promise<boolean>
  release(id: string, owner: string): Promise<void>
  enter(group: Group, id: string): Promise<string[]>
  entries(group: Group): Promise<string[]>
  strike(group: Group, ids: readonly string[]): Promise<void>
  summary(id: string): Promise<{ summary: Buffer; lastSeenAt: number | undefined } | undefined>
  bury(group: Group): Promise<void>
  buriedAt(groups: readonly Group[]): Promise<number>
  watch(listener: { changed(id: string): void; lost(): void; ready(): void }): () => boolean
  findToken(id: string, name: string): Promise<Buffer | undefined>
  saveToken(id: string, name: string, sealed: Buffer): Promise<boolean>
}

export type SessionStoreUnderTest = {
  store: SessionStoreShape
  /** A second way to the same sessions, as another replica has. */
  other: SessionStoreShape
  /** One whose sessions cannot be reached. */
  unreachable: SessionStoreShape
  /** Lets time pass for everything that is stored of a session. */
  advance(id: string, ms: number): Promise<void>
}

const minute = 60_000
const hour = 60 * minute
const newId = (): string => randomBytes(32).toString('base64url')
/** Bytes that are no text: whoever decodes them on the way breaks them. */
const sealed = (): Buffer => Buffer.concat([Buffer.from([0xff, 0x00, 0x0d, 0x0a]), randomBytes(64)])

/** What every session store must do, wherever it keeps sessions. */
export async function sessionStoreConformance(
  t: Test,
  make: (t: Test) => Promise<SessionStoreUnderTest>,
): Promise<void> {
  const begin = async (t: Test) => {
    const under = await make(t)
    const id = newId()
    const content = sealed()
    const now = Date.now()
    await under.store.create(
      id,
      { sealed: content, summary: sealed() },
      { now, idle: 15 * minute, expiresAt: now + 8 * hour },
    )
    return { ...under, id, content, now }
  }

  await t.test('gives back what was created, byte for byte, to every replica', async t => {
    const { store, other, id, content, now } = await begin(t)
    for (const each of [store, other]) {
      const found = await each.find(id)
      t.match(found, { version: 1, lastSeenAt: now })
      t.ok(found && 'sealed' in found && found.sealed.equals(content))
    }
  })

  await t.test('knows nothing of a session that never was', async t => {
    const { store } = await make(t)
    const id = newId()
    t.equal(await store.find(id), undefined)
    t.equal(await store.touch(id, Date.now(), minute), false)
    t.equal(await store.replace(id, 1, sealed(), ''), false)
    t.equal(await store.saveToken(id, 'a', sealed()), false)
    t.equal(await store.end(id, 'ended'), false)
    t.equal(await store.find(id), undefined, 'and none of that made one')
  })

  await t.test('replaces a session only at the version that was read', async t => {
    const { store, other, id } = await begin(t)
    const second = sealed()
    t.equal(await store.replace(id, 1, second, ''), true)
    t.equal(await other.replace(id, 1, sealed(), ''), false, 'the slower writer loses')
    const found = await store.find(id)
    t.match(found, { version: 2 })
    t.ok(found && 'sealed' in found && found.sealed.equals(second))
    t.equal(await other.replace(id, 2, sealed(), ''), true)
  })

  await t.test('lets exactly one of many writers at the same version win', async t => {
    const { store, other, id } = await begin(t)
    const writers = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? store : other).replace(id, 1, sealed(), ''))
    t.equal((await Promise.all(writers)).filter(Boolean).length, 1)
  })

  await t.test('never brings a session back after its end', async t => {
    const { store, other, id } = await begin(t)
    await store.saveToken(id, 'payment-service', sealed())
    t.equal(await other.end(id, 'ended'), true)
    t.equal(await store.replace(id, 1, sealed(), ''), false)
    t.equal(await store.touch(id, Date.now(), 15 * minute), false)
    t.equal(await store.saveToken(id, 'payment-service', sealed()), false)
    t.equal(await store.findToken(id, 'payment-service'), undefined)
    t.same(await store.find(id), { endedBy: 'ended' })
    t.equal(await store.end(id, 'idle'), false, 'ending twice is harmless')
    t.same(await other.find(id), { endedBy: 'ended' }, 'and keeps the first reason')
  })

  await t.test('tells for a while why a session ended, then forgets it', async t => {
    for (const reason of ['idle', 'absolute', 'ended', 'revoked', 'limit'] as const) {
      const { store, advance, id } = await begin(t)
      await store.end(id, reason)
      t.same(await store.find(id), { endedBy: reason })
      await advance(id, hour)
      t.equal(await store.find(id), undefined)
    }
  })

  await t.test('gives what was sealed of a session that is over to one who asks, for a while', async t => {
    const { store, other, id, content } = await begin(t)
    t.equal(await store.takeEnded(id), undefined, 'not while it lives')
    await store.end(id, 'revoked')
    const taken = await Promise.all([store, other, store].map(each => each.takeEnded(id)))
    t.same(
      taken.filter(each => each !== undefined),
      [content],
    )
    const again = await begin(t)
    await again.store.end(again.id, 'limit')
    await again.advance(again.id, hour)
    t.equal(await again.store.takeEnded(again.id), undefined)
  })

  await t.test('moves the idle time with each touch', async t => {
    const { store, other, id, now } = await begin(t)
    t.equal(await store.touch(id, now + 5 * minute, 15 * minute), true)
    t.match(await other.find(id), { version: 1, lastSeenAt: now + 5 * minute })
  })

  await t.test('keeps the record of a session whose idle time has passed, so that its end can be told', async t => {
    const { store, advance, id, content } = await begin(t)
    await advance(id, 14 * minute)
    t.match(await store.find(id), { lastSeenAt: Number })
    await advance(id, 2 * minute)
    const found = await store.find(id)
    t.match(found, { version: 1, lastSeenAt: undefined })
    t.ok(found && 'sealed' in found && found.sealed.equals(content))
  })

  await t.test('forgets everything by itself once the session is long over', async t => {
    const { store, advance, id } = await begin(t)
    await store.saveToken(id, 'payment-service', sealed())
    await advance(id, 9 * hour)
    t.equal(await store.find(id), undefined)
    t.equal(await store.findToken(id, 'payment-service'), undefined)
  })

  await t.test('a refreshed session does not live longer than it was given', async t => {
    const { store, advance, id } = await begin(t)
    await advance(id, 7 * hour)
    await store.replace(id, 1, sealed(), '')
    await advance(id, 2 * hour)
    t.equal(await store.find(id), undefined)
  })

  await t.test('keeps the tokens of a session apart by name and by session', async t => {
    const { store, other, id } = await begin(t)
    const second = newId()
    await store.create(
      second,
      { sealed: sealed(), summary: sealed() },
      { now: Date.now(), idle: minute, expiresAt: Date.now() + hour },
    )
    const token = sealed()
    t.equal(await store.saveToken(id, 'payment-service', token), true)
    t.ok((await other.findToken(id, 'payment-service'))?.equals(token))
    t.equal(await store.findToken(id, 'customer-service'), undefined)
    t.equal(await store.findToken(second, 'payment-service'), undefined)
    await store.end(second, 'ended')
    t.ok((await store.findToken(id, 'payment-service'))?.equals(token), 'the end of one session is not another’s')
  })

  await t.test('a token does not outlive its session', async t => {
    const { store, advance, id } = await begin(t)
    await advance(id, 8 * hour - minute)
    await store.saveToken(id, 'payment-service', sealed())
    await advance(id, hour)
    t.equal(await store.findToken(id, 'payment-service'), undefined)
  })

  await t.test('leases a refresh to one of many who ask at once, and reads the session in the same step', async t => {
    const { store, other, id, content } = await begin(t)
    const asked = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? store : other).lease(id, `owner ${i}`, false)),
    )
    t.same(asked.map(({ lease }) => lease).sort(), ['granted', ...Array(19).fill('held')])
    for (const { found } of asked) t.ok(found && 'sealed' in found && found.sealed.equals(content))
    t.same(
      await store.lease(newId(), 'owner', false),
      { found: undefined, lease: 'held' },
      'of a session that is there',
    )
  })

  await t.test('lets only its owner renew a lease or give it back', async t => {
    const { store, other, id } = await begin(t)
    await store.lease(id, 'owner', false)
    t.equal(await other.renew(id, 'another'), false)
    await other.release(id, 'another')
    t.equal(await store.renew(id, 'owner'), true)
    t.match(await other.lease(id, 'another', false), { lease: 'held' })
    await store.release(id, 'owner')
    t.equal(await store.renew(id, 'owner'), false)
    t.match(await other.lease(id, 'another', false), { lease: 'granted' })
  })

  await t.test(
    'takes no write from anybody but the owner of the lease while there is one, and then gives it back',
    async t => {
      const { store, other, id } = await begin(t)
      await store.lease(id, 'owner', false)
      t.equal(await other.replace(id, 1, sealed(), 'another'), false)
      t.match(await other.find(id), { version: 1 })
      t.equal(await store.replace(id, 1, sealed(), 'owner'), true)
      t.match(await other.lease(id, 'another', false), { lease: 'granted', found: { version: 2 } })
      await other.release(id, 'another')
      t.equal(await store.replace(id, 2, sealed(), 'owner'), true, 'with nobody’s lease the version decides')
    },
  )

  await t.test('tells a lease that ran out from one that is free, and lets it be taken over once', async t => {
    const { store, other, advance, id } = await begin(t)
    await store.lease(id, 'first', false)
    await advance(id, 3_100)
    t.equal(await store.renew(id, 'first'), false)
    t.match(await other.lease(id, 'second', false), { lease: 'abandoned' })
    t.match(await other.lease(id, 'second', true), { lease: 'granted' })
    await advance(id, 3_100)
    t.match(await store.lease(id, 'third', true), { lease: 'spent' })
    await advance(id, 9_000)
    t.match(await store.lease(id, 'third', false), { lease: 'abandoned' }, 'its owner may still have a result')
    t.match(await store.lease(id, 'third', true), { lease: 'granted' }, 'no call lasts so long')
    await advance(id, 3_100)
    t.match(await other.lease(id, 'fourth', true), { lease: 'granted' }, 'so this was the first again')
    await advance(id, 133_000)
    t.match(await store.lease(id, 'fifth', false), { lease: 'granted' }, 'no result comes so late')
  })

  await t.test('an owner whose lease ran out may still say that its call is over', async t => {
    const { store, other, advance, id } = await begin(t)
    await store.lease(id, 'first', false)
    await advance(id, 3_100)
    await store.release(id, 'first')
    t.match(await other.lease(id, 'second', false), { lease: 'granted' })
  })

  await t.test('a session that ends takes its lease with it', async t => {
    const { store, other, id } = await begin(t)
    await store.lease(id, 'owner', false)
    await other.end(id, 'revoked')
    t.equal(await store.renew(id, 'owner'), false)
    t.equal(await store.replace(id, 1, sealed(), 'owner'), false)
    t.same(await store.lease(id, 'owner', false), { found: { endedBy: 'revoked' }, lease: 'held' })
  })

  await t.test('ends a session for its owner only while nobody else has changed it or has its lease', async t => {
    const { store, other, advance, id } = await begin(t)
    const end = (version: number, owner: string) => store.end(id, 'ended', { version, owner })
    t.equal(await end(1, 'owner'), false, 'without a lease')
    await store.lease(id, 'owner', false)
    t.equal(await end(1, 'another'), false)
    t.equal(await end(2, 'owner'), false)
    await advance(id, 3_100)
    t.equal(await end(1, 'owner'), false, 'its lease ran out')
    await other.lease(id, 'another', true)
    t.equal(await end(1, 'owner'), false, 'and was taken over')
    await other.replace(id, 1, sealed(), 'another')
    await store.lease(id, 'owner', false)
    t.equal(await end(1, 'owner'), false, 'another has refreshed it')
    t.match(await other.find(id), { version: 2 }, 'all that time it was there')
    t.equal(await end(2, 'owner'), true)
    t.same(await other.find(id), { endedBy: 'ended' })
    t.equal(await end(2, 'owner'), false)
  })

  await t.test('keeps groups apart, whatever their names are made of, and their entries in order', async t => {
    const { store, other } = await make(t)
    const name = `<{!%<:${newId()}`
    const groups: Group[] = [
      { sid: name },
      { sub: name },
      { sid: `${name}:` },
      { sid: `:${name}` },
      { sid: `${name}\0` },
    ]
    const ids = groups.map(newId)
    for (const [i, group] of groups.entries()) t.same(await store.enter(group, ids[i] as string), [ids[i]])
    for (const [i, group] of groups.entries()) t.same(await other.entries(group), [ids[i]])
    const second = newId()
    t.same(await other.enter({ sid: name }, second), [ids[0], second])
    await store.strike({ sid: name }, [ids[0] as string])
    t.same(await other.entries({ sid: name }), [second])
    await store.strike({ sid: name }, [])
    t.same(await store.entries({ sub: newId() }), [])
  })

  await t.test('dates tombstones and sessions by one clock, whatever the clocks of the processes say', async t => {
    const { store, other } = await make(t)
    const group = { sub: newId() }
    const create = (now: number) =>
      store.create(
        newId(),
        { sealed: sealed(), summary: sealed() },
        { now, idle: minute, expiresAt: Date.now() + hour },
      )
    t.equal(await store.buriedAt([group, { sid: newId() }]), 0)
    const before = await create(Date.now() + hour)
    await other.bury(group)
    const buriedAt = await store.buriedAt([{ sid: newId() }, group])
    t.ok(before <= buriedAt, 'what was there before it is covered')
    while ((await store.buriedAt([group])) === buriedAt) await other.bury(group)
    t.ok((await create(Date.now() - hour)) > buriedAt, 'what came after is not')
  })

  await t.test('reads the tombstones of the groups that are named with the record', async t => {
    const { store, other, id } = await begin(t)
    const [group, more] = [{ sub: newId() }, { sid: newId() }]
    t.match(await store.find(id, [group, more]), { buriedAt: 0 })
    await other.bury(more)
    const buriedAt = await store.buriedAt([more])
    t.match(await store.find(id, [group, more]), { version: 1, buriedAt })
    t.match(await store.find(id, [group]), { buriedAt: 0 })
    t.match(await store.find(id), { buriedAt: 0 })
    await store.end(id, 'revoked')
    t.same(await store.find(id, [more]), { endedBy: 'revoked' })
  })

  await t.test('shows a session without its content', async t => {
    const { store, other, advance } = await make(t)
    const id = newId()
    const summary = sealed()
    const now = Date.now()
    await store.create(id, { sealed: sealed(), summary }, { now, idle: 15 * minute, expiresAt: now + hour })
    const found = await other.summary(id)
    t.equal(found?.lastSeenAt, now)
    t.ok(found?.summary.equals(summary))
    await advance(id, 16 * minute)
    t.match(await other.summary(id), { lastSeenAt: undefined })
    await store.end(id, 'ended')
    t.equal(await other.summary(id), undefined)
  })

  await t.test('tells another process each change of a session, and nothing that is none', async t => {
    const { store, other, id } = await begin(t)
    const changed: string[] = []
    const ready = Promise.withResolvers<void>()
    const isHearing = other.watch({ changed: each => changed.push(each), lost: () => undefined, ready: ready.resolve })
    await ready.promise
    t.equal(isHearing(), true)
    const change = async (work: () => Promise<unknown>): Promise<void> => {
      const before = changed.filter(each => each === id).length
      await work()
      await eventually(() => changed.filter(each => each === id).length > before)
    }
    await change(() => store.replace(id, 1, sealed(), ''))
    const before = changed.filter(each => each === id).length
    await store.touch(id, Date.now(), minute)
    await store.lease(id, 'owner', false)
    await store.renew(id, 'owner')
    await store.release(id, 'owner')
    await store.saveToken(id, 'payment-service', sealed())
    await change(() => store.end(id, 'ended'))
    t.equal(changed.filter(each => each === id).length, before + 1)
  })

  await t.test('throws when it cannot reach the sessions: a failure is not an absence', async t => {
    const { unreachable } = await make(t)
    const id = newId()
    const now = Date.now()
    const everything: (() => Promise<unknown>)[] = [
      () => unreachable.find(id),
      () =>
        unreachable.create(id, { sealed: sealed(), summary: sealed() }, { now, idle: minute, expiresAt: now + hour }),
      () => unreachable.replace(id, 1, sealed(), ''),
      () => unreachable.touch(id, now, minute),
      () => unreachable.end(id, 'ended'),
      () => unreachable.lease(id, 'owner', false),
      () => unreachable.renew(id, 'owner'),
      () => unreachable.release(id, 'owner'),
      () => unreachable.enter({ sub: id }, id),
      () => unreachable.entries({ sub: id }),
      () => unreachable.strike({ sub: id }, [id]),
      () => unreachable.summary(id),
      () => unreachable.bury({ sub: id }),
      () => unreachable.buriedAt([{ sub: id }]),
      () => unreachable.findToken(id, 'a'),
      () => unreachable.saveToken(id, 'a', sealed()),
    ]
    for (const work of everything)
      await t.rejects(work() as Promise<void>, { code: 'sessions_unavailable', status: 503 })
  })
}
