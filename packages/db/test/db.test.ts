import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parts } from '@banking/testkit'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { asDatabaseProblem, migrate, openDatabase } from '../src/index.ts'

const { postgres: url } = parts(t, 'postgres')

async function scratch(t: Test): Promise<string> {
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  const name = `test_db_${process.pid}_${Date.now()}`
  await admin.unsafe(`CREATE DATABASE ${name}`)
  t.teardown(async () => {
    await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  })
  const address = new URL(url)
  address.pathname = `/${name}`
  return address.href
}

t.test('migrations are applied once, also by two processes at the same time', async t => {
  const database = await scratch(t)
  const folder = await mkdtemp(join(tmpdir(), 'migrations-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, 'meta'))
  const entry = { idx: 0, version: '7', when: 1, tag: '0000_init', breakpoints: true }
  await writeFile(
    join(folder, 'meta/_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries: [entry] }),
  )
  await writeFile(join(folder, '0000_init.sql'), 'CREATE TABLE thing (id int PRIMARY KEY, big bigint)')
  await Promise.all([migrate({ url: database, folder }), migrate({ url: database, folder })])
  await writeFile(join(folder, '0000_init.sql'), 'CREATE TABLE thing (id int PRIMARY KEY)')
  await t.rejects(
    migrate({ url: database, folder }),
    /was edited after it was applied/,
    'what the database has would no longer be what the code expects',
  )
  const { sql, check, close } = openDatabase({ url: database, name: 'test' })
  await check()
  await sql`INSERT INTO thing VALUES (1, 9007199254740993)`
  t.same([...(await sql`SELECT big FROM thing`)], [{ big: 9007199254740993n }], 'a bigint keeps its last digit')
  const twice = await sql`INSERT INTO thing VALUES (1, 0)`.catch((error: unknown) => error)
  t.match(twice, { code: '23505' })
  t.equal(asDatabaseProblem(twice), undefined, 'a unique violation is no outage')
  await close()
})

t.test('arrays go both ways without asking the server for their types', async t => {
  const { sql, close } = openDatabase({ url: await scratch(t), name: 'test' })
  const texts = ['a', '', 'NULL', null, 'a,b', '{}', '"quoted"', 'back\\slash', 'Zoë’s\n', '00']
  const rows = await sql`
    SELECT ${texts}::text[] AS texts, ${[1, 2]}::int[] AS ints, ${['9007199254740993', '-1']}::bigint[] AS bigs,
      ${sql.array([Buffer.from([0, 255])] as unknown as string[], 1001)} AS bytes, ${[]}::uuid[] AS none,
      ${['a11ce000-0000-4000-8000-000000000001']}::uuid[] AS ids, cardinality(${texts}::text[]) AS n`
  t.same(
    [...rows],
    [
      {
        texts,
        ints: [1, 2],
        bigs: [9007199254740993n, -1n],
        bytes: [Buffer.from([0, 255])],
        none: [],
        ids: ['a11ce000-0000-4000-8000-000000000001'],
        n: texts.length,
      },
    ],
  )
  await close()
})

t.test('a connection that breaks while it opens fails the query and nothing else', async t => {
  const address = new URL(await scratch(t))
  const target = { host: address.hostname, port: Number(address.port) }
  // Breaks the connection as soon as the client asks for anything but what the caller asked for.
  const server = createServer(client => {
    const upstream = connect(target)
    client.on('data', data => (data.includes('pg_type') ? upstream.destroy() : upstream.write(data)))
    upstream.pipe(client)
    upstream.on('close', () => client.destroy()).on('error', () => client.destroy())
    client.on('close', () => upstream.destroy()).on('error', () => upstream.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  address.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const { sql, close } = openDatabase({ url: address.href, name: 'opening', max: 1 })
  t.same([...(await sql`SELECT 1 AS one`)], [{ one: 1 }])
  await close()
})

t.test('an outage is a 503 that may be repeated', async t => {
  const { check, close } = openDatabase({ url: 'postgres://x:y@127.0.0.1:1/x', name: 'test' })
  const refused = await check().catch((error: unknown) => error)
  t.match(asDatabaseProblem(refused), { code: 'database_unavailable', status: 503, headers: { 'retry-after': '2' } })
  t.match(asDatabaseProblem(new Error('drizzle says', { cause: refused })), { status: 503 })
  t.equal(asDatabaseProblem(new Error('something else')), undefined)
  await close()
})

t.test('a backend that is ended while it works is an outage, and the pool recovers', async t => {
  const database = await scratch(t)
  const { sql, check, close } = openDatabase({ url: database, name: 'victim', max: 1 })
  const admin = postgres(url, { max: 1 })
  await check()
  const running = sql`SELECT pg_sleep(5)`.catch((error: unknown) => error)
  await new Promise(resolve => setTimeout(resolve, 200))
  await admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim' AND datname = ${new URL(database).pathname.slice(1)}`
  t.match(asDatabaseProblem(await running), { status: 503 })
  // The driver may hand the broken connection out once more; the one after that is new.
  await check().catch((error: unknown) => t.match(asDatabaseProblem(error), { status: 503 }))
  await check()
  await close()
  await admin.end()
})

t.test('every query is answered, in whatever moment its connection breaks', async t => {
  const database = await scratch(t)
  const { sql, close } = openDatabase({ url: database, name: 'broken', max: 1 })
  const admin = postgres(url, { max: 1 })
  const breakIt = () =>
    admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broken' AND datname = ${new URL(database).pathname.slice(1)}`
  const outcome = (query: PromiseLike<unknown>): Promise<string> => {
    let timer: NodeJS.Timeout | undefined
    const never = new Promise<string>(resolve => {
      timer = setTimeout(resolve, 20_000, 'never')
    })
    const answered = Promise.resolve(query).then(
      () => 'answered',
      () => 'refused',
    )
    return Promise.race([answered, never]).finally(() => clearTimeout(timer))
  }
  const outcomes = new Set<string>()
  for (let round = 0; round < 18; round++) {
    await outcome(sql`SELECT 1`)
    const broken = breakIt()
    if (round % 3 === 0) await broken
    if (round % 3 === 1) await new Promise(resolve => setTimeout(resolve, round / 6))
    outcomes.add(await outcome(sql`SELECT 2`))
    // At once, while the driver still believes in the connection.
    outcomes.add(await outcome(sql`SELECT 3`))
    await broken
  }
  t.notOk(outcomes.has('never'), 'no query waits for ever')
  // The broken connection may be handed out a few times more; then there is a new one.
  let last = await outcome(sql`SELECT 4`)
  for (let tries = 0; tries < 5 && last !== 'answered'; tries++) last = await outcome(sql`SELECT 4`)
  t.equal(last, 'answered')
  await close()
  await admin.end()
})
