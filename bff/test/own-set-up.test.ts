import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parts } from '@banking/testkit'
import t, { type Test } from 'tap'
import { readConfig } from '../src/config/config.ts'
import { edge, origin, testUpstream } from './edge.ts'
import { testProvider } from './provider.ts'

/**
 * Somebody's own edge, from a file as they would write it: a provider with a secret and without pushed requests, and
 * an upstream of each sort.
 */
async function ownEdge(t: Test, more = '') {
  const folder = mkdtempSync(join(tmpdir(), 'bff-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const write = (name: string, content: string): string => {
    const file = join(folder, name)
    writeFileSync(file, content, { mode: 0o600 })
    return file
  }
  const provider = await testProvider(t, undefined, { path: '' })
  provider.settings.secret = { by: 'client_secret_basic', value: randomBytes(16).toString('hex') }
  provider.hooks.discovery = ({ pushed_authorization_request_endpoint: _, ...document }) => document
  const upstream = await testUpstream(t, (request, response) => {
    if (request.headers['x-purpose'] === 'refuse') response.statusCode = 401
    if (request.url?.includes('/own-policy') === true)
      response.setHeader('content-security-policy', "default-src 'self' https://cdn.example")
    if (request.url?.includes('/empty-policy') === true) response.setHeader('content-security-policy', ' ')
    response.setHeader('x-frame-options', 'ALLOWALL')
    response.setHeader('referrer-policy', 'unsafe-url')
    response.setHeader('set-cookie', [
      'theme=dark',
      '__Host-shop=stolen; Path=/; Secure',
      '__host-SHOP=stolen',
      '__Host-login-x=1',
      '__Host-Edge-signing-out=1',
    ])
    response.end('done')
  })
  write('client-secret', `${provider.settings.secret.value}\n`)
  write('session-keys.json', JSON.stringify({ current: 'a', keys: { a: randomBytes(32).toString('base64url') } }))
  const file = write(
    'edge.yaml',
    `publicOrigin: \${ORIGIN}
provider:
  issuer: ${provider.issuer}
  idTokenAlgorithms: [ES256]
  clientId: banking-web-app
  secretFile: client-secret
redis:
  url: ${parts(t, 'redis').redis}
session:
  keyFile: session-keys.json
cookie:
  name: __Host-shop
upstreams:
  - path: /api/orders
    url: ${upstream.origin}
    token: exchange
    audience: orders-service
  - path: /api/reports
    url: ${upstream.origin}
    token: session
    requestHeaders: [X-Purpose]
  - path: /api/weather
    url: ${upstream.origin}
    token: none
    requestHeaders: [X-Purpose]
  - path: /strict
    url: ${upstream.origin}
    kind: pages
    token: none
    securityHeaders: edge
  - path: /
    url: ${upstream.origin}
    kind: pages
    token: none
${more}`,
  )
  const config = await readConfig(file, { ORIGIN: origin })
  return {
    ...(await edge(t, { provider, providerConfig: config.provider, upstreams: config.upstreams, config })),
    upstream,
  }
}

t.test('a file is all it takes: any provider, and to each upstream the token it was promised', async t => {
  const { browser, provider, upstream } = await ownEdge(t)
  const person = browser()
  const landed = await person.login(undefined, '/welcome')
  t.equal(landed.headers.location, '/welcome')
  t.same(provider.calls['par'], undefined, 'nothing was pushed')
  for (const path of ['/api/orders/1', '/api/reports/1', '/api/weather/1'])
    t.equal((await person.fetch(path)).statusCode, 200, path)
  const [orders, reports, weather] = upstream.seen.map(({ headers }) => headers.authorization)
  t.match(orders, /^Bearer for-orders-service-/)
  t.match(reports, /^Bearer access-/)
  t.equal(weather, undefined)
  t.same(
    upstream.seen.map(({ url, headers }) => [url, headers.cookie]),
    [
      ['/api/orders/1', undefined],
      ['/api/reports/1', undefined],
      ['/api/weather/1', undefined],
    ],
  )
})

t.test('its cookie has the name of the file, and no upstream sets it', async t => {
  const { browser } = await ownEdge(t, '')
  const person = browser()
  await person.login()
  const { line } = person.jar.get('__Host-shop') as { line: string }
  t.match(line, /^__Host-shop=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
  t.equal(person.jar.get('__Host-session'), undefined)
  t.same((await person.open('/')).headers['set-cookie'], 'theme=dark')
  t.equal((await person.fetch('/api/weather')).headers['set-cookie'], undefined, 'nor an API any')
  const twice = await person.fetch('/api/weather', {
    headers: { cookie: `__Host-shop=x; __Host-shop=${person.jar.get('__Host-shop')?.value}` },
  })
  t.equal(twice.statusCode, 401, 'two of them, and neither is believed')
})

t.test('pages speak for themselves, unless the file says that the edge does', async t => {
  const { browser, upstream } = await ownEdge(t)
  const person = browser()
  t.equal((await person.open('/own-policy')).statusCode, 401, 'not before the login')
  t.equal(upstream.seen.length, 0)
  await person.login()
  const own = await person.open('/own-policy')
  t.same(own.headers['content-security-policy'], ["default-src 'self' https://cdn.example", "frame-ancestors 'self'"])
  t.match(own.headers, {
    'x-frame-options': 'SAMEORIGIN',
    'referrer-policy': 'unsafe-url',
    'x-content-type-options': 'nosniff',
  })
  t.equal((await person.open('/without')).headers['content-security-policy'], "frame-ancestors 'self'")
  for (const { headers } of [await person.fetch('/api/weather/own-policy'), await person.open('/strict/own-policy')])
    t.match(headers, {
      'content-security-policy': /^default-src 'none'/,
      'x-frame-options': 'DENY',
      'referrer-policy': 'same-origin',
    })
})

t.test('a form of another site reaches no page, one of the own does', async t => {
  const { browser, upstream } = await ownEdge(t, '')
  const person = browser()
  await person.login()
  const form = {
    method: 'POST' as const,
    payload: 'a=1',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  }
  const before = upstream.seen.length
  for (const headers of [
    { origin: 'https://evil.example' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ])
    t.equal((await person.open('/form', { ...form, headers: { ...form.headers, ...headers } })).statusCode, 403)
  t.equal(upstream.seen.length, before)
  const response = await person.open('/form', { ...form, headers: { ...form.headers, origin } })
  t.equal(response.statusCode, 200)
  t.equal(upstream.seen.at(-1)?.body, 'a=1')
})

t.test('an upstream that refuses the session’s token gets a fresh one once, and the person a 502', async t => {
  const { browser, provider, upstream } = await ownEdge(t)
  const person = browser()
  await person.login()
  const refused = await person.fetch('/api/reports', { headers: { 'x-purpose': 'refuse' } })
  t.equal(refused.statusCode, 502)
  t.equal(provider.calls['refresh_token'], 1)
  const [first, second, ...others] = upstream.seen.map(({ headers }) => headers.authorization)
  t.not(first, second, 'another token')
  t.equal(others.length, 0, 'tried once more, and no more')
  t.equal((await person.fetch('/api/reports')).statusCode, 200, 'the person is still logged in')
  upstream.seen.length = 0
  t.equal((await person.fetch('/api/weather', { headers: { 'x-purpose': 'refuse' } })).statusCode, 401)
  t.equal(upstream.seen.length, 1, 'where there is no token there is nothing to try again: it speaks for itself')
})

t.test('the session’s token is renewed before an upstream gets it', async t => {
  const { browser, provider, upstream, advance } = await ownEdge(t)
  const person = browser()
  await person.login()
  await person.fetch('/api/reports')
  advance(6 * 60_000)
  t.equal((await person.fetch('/api/reports')).statusCode, 200)
  t.equal(provider.calls['refresh_token'], 1)
  const [before, after] = upstream.seen.map(({ headers }) => headers.authorization)
  t.not(before, after)
})
