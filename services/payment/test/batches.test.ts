import t from 'tap'
import { createBatches } from '../src/batches.ts'

/** A database that can be told when to answer: every call waits until it is let go. */
function slowDatabase() {
  const calls: { items: readonly string[]; answer(): void; fail(error: unknown): void }[] = []
  const run = (items: readonly string[]) =>
    new Promise<readonly string[]>((resolve, reject) => {
      calls.push({ items, answer: () => resolve(items.map(item => `did ${item}`)), fail: reject })
    })
  return { calls, run }
}

const turn = () => new Promise(resolve => setImmediate(resolve))
const names = (count: number) => Array.from({ length: count }, (_, n) => `item ${n}`)

t.test('sends together what arrives in one turn, and what comes while a call is under way', async t => {
  const { calls, run } = slowDatabase()
  const { submit } = createBatches({ run, classify: () => 'refused' })
  const first = names(3).map(submit)
  await turn()
  t.same(calls[0]?.items, names(3))
  const later = ['later', 'last'].map(submit)
  await turn()
  t.equal(calls.length, 1)
  calls[0]?.answer()
  t.same(
    await Promise.all(first),
    names(3).map(item => `did ${item}`),
  )
  const again = submit('again')
  while (calls.length < 2) await turn()
  t.same(calls[1]?.items, ['later', 'last', 'again'], 'whoever was answered and asks at once comes along')
  calls[1]?.answer()
  await Promise.all([...later, again])
})

t.test('makes a second call for a crowd and never a third', async t => {
  const { calls, run } = slowDatabase()
  const { submit } = createBatches({ run, classify: () => 'refused', maxItems: 20 })
  const results = [submit('first')]
  await turn()
  results.push(...names(99).map(submit))
  await turn()
  t.same(
    calls.map(({ items }) => items.length),
    [1, 20],
  )
  for (let n = 0; n < calls.length; n += 1) {
    calls[n]?.answer()
    await turn()
    await turn()
  }
  t.ok(calls.every(({ items }) => items.length <= 20))
  t.equal((await Promise.all(results)).length, 100)
})

t.test('does not let a slow call hold back the few that came after it', async t => {
  const { calls, run } = slowDatabase()
  const { submit } = createBatches({ run, classify: () => 'refused' })
  const slow = submit('slow')
  await turn()
  const quick = submit('quick')
  while (calls.length < 2) await turn()
  calls[1]?.answer()
  t.equal(await quick, 'did quick')
  calls[0]?.answer()
  await slow
})

t.test('lets nobody fail for a neighbour', async t => {
  const run = async (items: readonly string[]) => {
    if (items.includes('bad')) throw new Error('bad')
    return items
  }
  const { submit } = createBatches({ run, classify: () => 'refused' })
  const results = await Promise.allSettled(['first', 'good', 'bad', 'better'].map(submit))
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  )
})

t.test('lets items that wait for a lock hold up none of their neighbours', async t => {
  const locked: ((error: unknown) => void)[] = []
  const run = async (items: readonly string[]) => {
    if (items.length > 1) throw new Error('a lock was not had')
    if (items[0]?.startsWith('locked')) await new Promise((_, reject) => locked.push(reject))
    return items
  }
  const { submit } = createBatches({ run, classify: () => 'refused' })
  const stuck = Promise.allSettled(['locked 1', 'locked 2', 'locked 3'].map(submit))
  const others = names(40)
  t.same(await Promise.all(others.map(submit)), others, 'answered while three still wait')
  t.equal(locked.length, 3)
  for (const give of locked) give(new Error('a lock was not had'))
  t.ok((await stuck).every(({ status }) => status === 'rejected'))
})

t.test('makes a call that lost a race again, and gives up in the end', async t => {
  let losses = 3
  let retries = 0
  const run = async (items: readonly string[]) => {
    losses -= 1
    if (losses >= 0) throw new Error('race')
    return items
  }
  const { submit } = createBatches({ run, classify: () => 'retry', onRetry: () => (retries += 1) })
  t.equal(await submit('persistent'), 'persistent')
  t.equal(retries, 3)
  losses = Number.POSITIVE_INFINITY
  await t.rejects(submit('hopeless'), { message: 'race' })
})

t.test('asks an absent database once, not once per item', async t => {
  const { calls, run } = slowDatabase()
  const { submit } = createBatches({ run, classify: () => 'unavailable' })
  const results = Promise.allSettled(names(50).map(submit))
  for (let n = 0; n < 3; n += 1) {
    await turn()
    calls[n]?.fail(new Error('gone'))
    await turn()
  }
  t.ok((await results).every(({ status }) => status === 'rejected'))
  t.ok(calls.length <= 3)
})

t.test('refuses more than it can hold', async t => {
  const { calls, run } = slowDatabase()
  const { submit } = createBatches({ run, classify: () => 'refused', maxWaiting: 3, crowd: 100 })
  const held = [submit('first')]
  await turn()
  held.push(...names(3).map(submit))
  await t.rejects(submit('one too many'), { code: 'overloaded', status: 503 })
  calls[0]?.answer()
  await turn()
  await turn()
  calls[1]?.answer()
  await Promise.all(held)
})
