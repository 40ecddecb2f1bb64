import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, globSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { stack } from '@banking/testkit'
import postgres from 'postgres'
import { migrate, openDatabase } from '../packages/db/src/index.ts'
import { createMetrics, newTrace } from '../packages/telemetry/src/index.ts'
import { settlementAccountId } from '../services/payment/src/bookkeeping.ts'
import { fingerprint } from '../services/payment/src/idempotency.ts'
import { createPaymentStore, type PaymentStore } from '../services/payment/src/payment-store.ts'

/*
 * Transfers per second of our payment path against pgbench's tpcb-like, on the same PostgreSQL, in one interleaved run:
 * only the ratio means something on another machine. README.md has the conditions and the first figures.
 */
const run = promisify(execFile)
const seconds = Number(process.env['BENCH_SECONDS'] ?? 5)
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 3)
const clientCounts = [8, 64]
const accountCount = 20_000
const scale = 20
const password = 'development-only'

const running = join(import.meta.dirname, '../.dev/status.json')
if (existsSync(running)) process.env['STACK'] ??= running
const url = stack()?.parts.find(part => part.name === 'postgres')?.url
if (url === undefined) {
  console.error(
    'This needs PostgreSQL: start `npx -y pnpm@10.34.9 dev` beside it, or set STACK to the status file of a running one.',
  )
  process.exit(1)
}
const admin = postgres(url, { max: 1, onnotice: () => {} })
const [ours, theirs] = [`bench_payment_${process.pid}`, `bench_tpcb_${process.pid}`]
const pgbench = findProgram('pgbench')

try {
  await prepareOurs()
  if (pgbench !== undefined) await prepareTheirs(pgbench)
  await describe()
  await measure()
} finally {
  for (const name of [ours, theirs]) await admin.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  await admin.end()
}

async function measure(): Promise<void> {
  const database = openDatabase({ url: addressOf(ours, 'payment'), name: 'bench', max: 4 })
  const store = createPaymentStore(database, createMetrics('bench'), () => {})
  const accounts = await database.sql<Account[]>`
    SELECT id, owner_id AS owner, iban FROM account WHERE kind <> 'system' ORDER BY id`
  const rates = new Map<string, number[]>()
  const note = (name: string, clients: number, rate: number) => {
    const key = `${name} ${clients}`
    rates.set(key, [...(rates.get(key) ?? []), rate])
  }
  try {
    await place(store, accounts, 8, 1)
    for (let round = 1; round <= rounds; round += 1)
      for (const clients of clientCounts) {
        if (pgbench !== undefined) note('pgbench', clients, await tpcb(pgbench, clients))
        note('ours', clients, await place(store, accounts, clients, seconds))
      }
    await verify(database.sql)
  } finally {
    await database.close()
  }
  console.log('\ntransfers per second, median of the rounds')
  for (const clients of clientCounts) {
    const mine = median(rates.get(`ours ${clients}`) ?? [])
    const pg = median(rates.get(`pgbench ${clients}`) ?? [])
    const compared =
      pgbench === undefined
        ? 'pgbench skipped: install it (Debian: apt-get install postgresql-contrib)'
        : `pgbench tpcb-like ${pg.toFixed(0)}  ratio ${(mine / pg).toFixed(2)}`
    console.log(`${String(clients).padStart(3)} clients: payments ${mine.toFixed(0)}  ${compared}`)
  }
}

type Account = { id: string; owner: string; iban: string }

/** Clients that each send one payment after the other, between random accounts, each with a key of its own. */
async function place(
  store: PaymentStore,
  accounts: readonly Account[],
  clients: number,
  time: number,
): Promise<number> {
  const pick = () => accounts[Math.floor(Math.random() * accounts.length)] as Account
  const end = performance.now() + time * 1000
  const client = async (): Promise<number> => {
    let sent = 0
    while (performance.now() < end) {
      const from = pick()
      let to = pick()
      while (to === from) to = pick()
      const body = {
        debtorAccountId: from.id,
        creditor: { name: 'Bob Example', iban: to.iban },
        amount: { amount: String(1 + Math.floor(Math.random() * 500)), currency: 'EUR' as const },
        reference: 'Lunch',
      }
      const answer = await store.place({
        subject: from.owner,
        key: randomUUID(),
        fingerprint: fingerprint(body),
        order: {
          debtorAccountId: from.id,
          creditor: { name: body.creditor.name, iban: to.iban, accountId: null },
          amount: BigInt(body.amount.amount),
          currency: 'EUR',
          reference: body.reference,
        },
        decision: { outcome: 'post' },
        trace: newTrace(),
        correlationId: randomUUID(),
      })
      if (answer.status !== 201) throw new Error(`a payment was answered ${answer.status} ${answer.body}`)
      sent += 1
    }
    return sent
  }
  const began = performance.now()
  const sent = await Promise.all(Array.from({ length: clients }, client))
  return sent.reduce((sum, n) => sum + n, 0) / ((performance.now() - began) / 1000)
}

async function tpcb(program: string, clients: number): Promise<number> {
  const options = ['-M', 'prepared', '-c', String(clients), '-j', '2', '-T', String(seconds)]
  const { stdout } = await run(program, [...options, ...connection()], { env: environment() })
  const rate = /tps = ([\d.]+) \(without initial connection time\)/.exec(stdout)?.[1]
  if (rate === undefined) throw new Error(`pgbench printed no rate:\n${stdout}`)
  return Number(rate)
}

async function prepareOurs(): Promise<void> {
  for (const role of ['payment_owner', 'payment']) {
    const [known] = await admin`SELECT 1 FROM pg_roles WHERE rolname = ${role}`
    if (known === undefined) await admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`)
  }
  await admin.unsafe(`CREATE DATABASE ${ours} OWNER payment_owner`)
  const owner = addressOf(ours, 'payment_owner')
  await migrate({ url: owner, folder: join(import.meta.dirname, '../services/payment/migrations') })
  const sql = postgres(owner, { max: 1, onnotice: () => {} })
  await sql`
    INSERT INTO account (id, owner_id, holder, name, kind, iban, currency)
    SELECT gen_random_uuid(), 'owner-' || n % 1000, 'Holder ' || n, 'Current account', 'current',
      'DE00' || lpad(n::text, 18, '0'), 'EUR'
    FROM generate_series(1, ${accountCount}) n`
  await sql`
    SELECT count(*) FROM (
      SELECT array_agg(id) AS ids, array_agg(id::text) AS keys, count(*)::int AS n
      FROM account WHERE kind <> 'system' GROUP BY hashtext(id::text) % 100
    ) a, post_payments('bench', 'opening', now(), NULL, a.ids, a.ids,
      NULL, array_fill('bank'::text, ARRAY[a.n]), a.keys, array_fill('\\x00'::bytea, ARRAY[a.n]),
      array_fill(${settlementAccountId}::uuid, ARRAY[a.n]), a.ids, NULL, array_fill('Opening'::text, ARRAY[a.n]),
      array_fill(100000000::bigint, ARRAY[a.n]), array_fill('EUR'::text, ARRAY[a.n]),
      array_fill(''::text, ARRAY[a.n]), NULL, NULL, NULL)`
  await sql.unsafe('VACUUM ANALYZE')
  await sql.end()
}

async function prepareTheirs(program: string): Promise<void> {
  await admin.unsafe(`CREATE DATABASE ${theirs}`)
  await run(program, ['-i', '-q', '-s', String(scale), ...connection()], { env: environment() })
}

/** Nothing counts unless the books are right. */
async function verify(sql: ReturnType<typeof openDatabase>['sql']): Promise<void> {
  const [books] = await sql<{ sum: string; drift: string; payments: number; events: number }[]>`
    SELECT (SELECT sum(amount)::text FROM posting) AS sum, (SELECT count(*)::int FROM payment) AS payments,
      (SELECT count(*)::int FROM outbox) AS events,
      (SELECT sum(posted) - ${accountCount}::numeric * 100000000 FROM account)::text AS drift`
  if (books?.sum !== '0' || books.drift !== '0' || books.payments !== books.events)
    throw new Error(`the books are wrong: ${JSON.stringify(books)}`)
  console.log(`\n${books.payments} payments, as many events, the books balance`)
}

async function describe(): Promise<void> {
  const [server] = await admin<Record<string, string>[]>`
    SELECT version(), current_setting('synchronous_commit') AS commit, current_setting('fsync') AS fsync,
      current_setting('shared_buffers') AS buffers,
      (SELECT setting FROM pg_config WHERE name = 'CFLAGS') AS flags`
  const optimisation = / (-O\w+)/.exec(server?.['flags'] ?? '')?.[1] ?? 'unknown'
  console.log(`${server?.['version']?.split(' on ')[0]} (built with ${optimisation})`)
  console.log(
    `synchronous_commit ${server?.['commit']}, fsync ${server?.['fsync']}, shared_buffers ${server?.['buffers']}`,
  )
  console.log(
    `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores shared by server and clients, Node ${process.version}`,
  )
  console.log(`load before: ${loadavg()[0]?.toFixed(1)}; ${rounds} rounds of ${seconds} s, interleaved`)
  console.log(`tpcb-like: scale ${scale}, prepared; payments: ${accountCount} accounts, key and event each`)
}

function addressOf(database: string, role: string): string {
  const address = new URL(url as string)
  address.username = role
  address.password = password
  address.pathname = `/${database}`
  return address.href
}

function connection(): string[] {
  const { hostname, port, username } = new URL(url as string)
  return ['-h', hostname, '-p', port, '-U', username, theirs]
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PGPASSWORD: decodeURIComponent(new URL(url as string).password) }
}

function findProgram(name: string): string | undefined {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/usr/bin',
    ...globSync('/usr/lib/postgresql/*/bin'),
  ]
  return folders.map(folder => join(folder, name)).find(existsSync)
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
