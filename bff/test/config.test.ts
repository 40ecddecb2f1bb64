import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { parts } from '@banking/testkit'
import t, { type Test } from 'tap'
import { readConfig } from '../src/config/config.ts'
import { writeClientKeys } from './edge.ts'

const key = () => randomBytes(32).toString('base64url')

async function environment(t: Test): Promise<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'bff-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  await writeClientKeys(join(folder, 'client.json'), ['c1'])
  writeFileSync(join(folder, 'session.json'), JSON.stringify({ current: 'a', keys: { a: key(), b: key() } }))
  return {
    PUBLIC_ORIGIN: 'https://bank.example',
    ISSUER: 'https://id.bank.example/realms/banking',
    CLIENT_ID: 'banking-web-app',
    CLIENT_KEY_FILE: join(folder, 'client.json'),
    SESSION_KEY_FILE: join(folder, 'session.json'),
    REDIS_URL: 'redis://127.0.0.1:6379',
    UPSTREAM_PAYMENT: 'http://payment.banking.svc:3030',
  }
}

t.test('reads the environment into one object', async t => {
  const config = readConfig({ ...(await environment(t)), UPSTREAM_LOAN: 'http://127.0.0.1:3020' })
  t.match(config, {
    port: 3000,
    publicOrigin: 'https://bank.example',
    provider: { issuer: 'https://id.bank.example/realms/banking', scope: 'openid' },
    session: { idle: 900_000, absolute: 28_800_000 },
  })
  t.same(config.upstreams.map(({ prefix, audience, scope }) => [prefix, audience, scope]).sort(), [
    ['/api/loans', 'loan-service', 'loan-api'],
    ['/api/payments', 'payment-service', 'payment-api'],
  ])
  t.ok(Object.isFrozen(config))
})

t.test('allows plain HTTP on loopback, as development has it', async t => {
  const env = await environment(t)
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]'])
    readConfig({ ...env, PUBLIC_ORIGIN: `http://${host}:3000`, ISSUER: `http://${host}:8180/realms/banking` })
  t.pass('all of them')
})

t.test('refuses what would be unsafe or cannot work, by name and with the remedy', async t => {
  const env = await environment(t)
  const folder = env['SESSION_KEY_FILE'] as string
  const keys = (content: unknown): string => {
    const file = `${folder}.${randomBytes(4).toString('hex')}`
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    return file
  }
  const cases: [Record<string, string>, RegExp][] = [
    [{ ISSUER: 'http://id.bank.example/realms/banking' }, /ISSUER uses http .* use https/],
    [{ ISSUER: 'http://localhost.evil.example/' }, /ISSUER uses http/],
    [{ ISSUER: 'http://127.0.0.1.evil.example/' }, /ISSUER uses http/],
    [{ ISSUER: 'http://0.0.0.0:8180/' }, /ISSUER uses http/],
    [{ ISSUER: 'not a url' }, /ISSUER is not a URL/],
    [{ ISSUER: 'https://user:secret@id.bank.example/' }, /ISSUER must have no user/],
    [{ ISSUER: 'ftp://id.bank.example/' }, /ISSUER must be an https URL/],
    [{ ISSUER: '' }, /ISSUER is not set/],
    [{ PUBLIC_ORIGIN: 'http://bank.example' }, /PUBLIC_ORIGIN uses http/],
    [{ PUBLIC_ORIGIN: 'https://bank.example/' }, /PUBLIC_ORIGIN must be .*: write https:\/\/bank\.example$/m],
    [{ PUBLIC_ORIGIN: 'https://bank.example/app' }, /PUBLIC_ORIGIN must be scheme, host and port alone/],
    [{ PUBLIC_ORIGIN: 'https://*.bank.example' }, /PUBLIC_ORIGIN/],
    [{ REDIS_URL: 'http://127.0.0.1' }, /REDIS_URL must be a redis: or rediss: URL/],
    [{ UPSTREAM_PAYMENT: 'payment:3030' }, /UPSTREAM_PAYMENT must be an http or https URL/],
    [{ UPSTREAM_PAYMENT: 'http://payment:3030/base' }, /UPSTREAM_PAYMENT must be .*: write http:\/\/payment:3030/],
    [{ UPSTREAM_PAYMENT: '' }, /none of UPSTREAM_CUSTOMER.* is set/],
    [{ PORT: '70000' }, /PORT must be <= 65535/],
    [{ PORT: 'x' }, /PORT must be integer/],
    [{ LOG_LEVEL: 'loud' }, /LOG_LEVEL/],
    [{ SESSION_KEY_FILE: '/nowhere/at-all.json' }, /SESSION_KEY_FILE cannot be used: ENOENT/],
    [{ SESSION_KEY_FILE: keys('{') }, /SESSION_KEY_FILE cannot be used/],
    [
      { SESSION_KEY_FILE: keys({ current: 'a', keys: { a: 'c2hvcnQ' } }) },
      /key "a" is not 32 random bytes in base64url \(openssl/,
    ],
    [{ SESSION_KEY_FILE: keys({ current: 'a', keys: { a: 'A'.repeat(43) } }) }, /key "a" is not random/],
    [{ SESSION_KEY_FILE: keys({ current: 'b', keys: { a: key() } }) }, /"current" names none of its keys/],
    [{ SESSION_KEY_FILE: keys({ current: 'a b', keys: { 'a b': key() } }) }, /a key id must be/],
  ]
  for (const [change, message] of cases)
    t.throws(() => readConfig({ ...env, ...change }), { message }, JSON.stringify(change))
})

t.test('says everything that is wrong at once and prints no value', async t => {
  const env = await environment(t)
  const secret = 'redis-password'
  try {
    readConfig({ ...env, ISSUER: 'http://a.example', PUBLIC_ORIGIN: 'http://b.example', REDIS_URL: `x://:${secret}@h` })
    t.fail('it was accepted')
  } catch (error) {
    const { message } = error as Error
    t.match(message, /ISSUER/)
    t.match(message, /PUBLIC_ORIGIN/)
    t.match(message, /REDIS_URL/)
    t.notMatch(message, secret)
  }
})

/** The process as it is deployed. */
function start(t: Test, env: Record<string, string>) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../src/server.ts')], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const exit = new Promise<number | null>(resolve => child.on('exit', resolve))
  return { child, output, exit }
}

const freePort = (): Promise<number> =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

t.test('does not start with a configuration it cannot use', async t => {
  const env = await environment(t)
  for (const change of [{ ISSUER: 'http://id.bank.example' }, { CLIENT_KEY_FILE: env['SESSION_KEY_FILE'] as string }]) {
    const { exit, output } = start(t, { ...env, ...change })
    t.equal(await exit, 78)
    const [, stderr] = await output
    t.match(stderr, Object.keys(change)[0])
    t.notMatch(stderr, /\n\s+at /, 'a sentence, not a stack')
  }
})

t.test('starts without its provider, is ready with Redis alone, and stops cleanly', async t => {
  const [port, healthPort] = [await freePort(), await freePort()]
  const { child, exit, output } = start(t, {
    ...(await environment(t)),
    PORT: String(port),
    HEALTH_PORT: String(healthPort),
    DRAIN_DELAY: '0',
    PUBLIC_ORIGIN: 'http://localhost:3000',
    ISSUER: 'http://127.0.0.1:1/realms/banking',
    REDIS_URL: parts(t, 'redis').redis,
  })
  const get = (url: string) => fetch(url).catch(() => undefined)
  while ((await get(`http://127.0.0.1:${healthPort}/ready`))?.status !== 200)
    await new Promise(resolve => setTimeout(resolve, 50))
  t.match(await (await get(`http://127.0.0.1:${healthPort}/ready`))?.json(), {
    checks: { redis: 'ok', provider: 'failed' },
  })
  t.match(await (await get(`http://127.0.0.1:${healthPort}/metrics`))?.text(), 'redis_command_duration_seconds')
  for (const path of ['/ready', '/ping', '/metrics'])
    t.equal((await get(`http://127.0.0.1:${port}${path}`))?.status, 404, `${path} is not public`)
  child.kill('SIGTERM')
  t.equal(await exit, 0)
  t.match((await output)[0], '"stopped"')
})
