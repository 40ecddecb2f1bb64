import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'

type EndReason = 'idle' | 'absolute' | 'ended' | 'revoked' | 'limit'

/** The edge's session store, by its shape: a package below the apps cannot name their types. */
export type SessionStoreShape = {
  find(
    id: string,
  ): Promise<{ version: number; sealed: Buffer; lastSeenAt: number | undefined } | { endedBy: EndReason } | undefined>
  create(
    id: string,
    content: { sealed: Buffer; summary: Buffer },
    at: { now: number; idle: number; expiresAt: number },
  ): Promise<number>
  replace(id: string, version: number, sealed: Buffer, owner: string): Promise<boolean>
  touch(id: string, now: number, idle: number): Promise<boolean>
  end(id: string, reason: EndReason): Promise<boolean>
  findToken(id: string, audience: string): Promise<Buffer | undefined>
  saveToken(id: string, audience: string, sealed: Buffer): Promise<boolean>
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
    for (const reason of ['idle', 'absolute', 'ended'] as const) {
      const { store, advance, id } = await begin(t)
      await store.end(id, reason)
      t.same(await store.find(id), { endedBy: reason })
      await advance(id, hour)
      t.equal(await store.find(id), undefined)
    }
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

  await t.test('keeps the tokens of a session apart by audience and by session', async t => {
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
      () => unreachable.findToken(id, 'a'),
      () => unreachable.saveToken(id, 'a', sealed()),
    ]
    for (const work of everything)
      await t.rejects(work() as Promise<void>, { code: 'sessions_unavailable', status: 503 })
  })
}
