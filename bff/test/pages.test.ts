import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import { readableOn, textOn } from '../src/pages/colour.ts'
import { html } from '../src/pages/html.ts'
import { createPages } from '../src/pages/pages.ts'
import { type Edge, edge, origin, testUpstream } from './edge.ts'
import { alice } from './provider.ts'

function builtWebApp(t: Test): string {
  const root = mkdtempSync(join(tmpdir(), 'web-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  mkdirSync(join(root, 'assets'))
  writeFileSync(join(root, 'index.html'), '<!doctype html><title>shell</title>')
  writeFileSync(join(root, 'assets/main-abc123.js'), 'export {}')
  writeFileSync(join(root, '.secret'), 'secret')
  writeFileSync(join(root, 'assets/.secret'), 'secret')
  return root
}

t.test('serves the same shell for every address of the web app, without asking who comes', async t => {
  const { app, provider } = await edge(t, { webRoot: builtWebApp(t) })
  for (const url of [
    '/',
    '/pay',
    '/pay/',
    '/accounts/0192-a',
    '/payments/7',
    '/notifications',
    '/security',
    '/?code=1',
  ]) {
    const response = await app.inject(url)
    t.equal(response.statusCode, 200, url)
    t.match(response.body, 'shell')
    t.match(response.headers, { 'cache-control': 'no-cache', 'content-type': 'text/html; charset=utf-8' })
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.same(provider.calls, {})
})

t.test('serves hashed assets for ever, and nothing beside them', async t => {
  const { app } = await edge(t, { webRoot: builtWebApp(t) })
  const asset = await app.inject('/assets/main-abc123.js')
  t.match(asset.headers, { 'cache-control': 'public, max-age=31536000, immutable', 'content-type': /javascript/ })
  for (const url of ['/assets/', '/assets', '/assets/none.js', '/assets/.secret', '/.secret', '/index.html'])
    t.equal((await app.inject(url)).statusCode, 404, url)
})

t.test('answers odd conditions on a file as HTTP has it', async t => {
  const { app } = await edge(t, { webRoot: builtWebApp(t) })
  for (const url of ['/', '/assets/main-abc123.js']) {
    const ask = (headers: Record<string, string>) => app.inject({ url, headers })
    const [whole, ranged] = [await ask({}), await ask({ range: 'bytes=999999-' })]
    t.match(ranged, { statusCode: 200, body: whole.body }, 'there are no parts of files')
    for (const headers of [{ 'if-match': '"another"' }, { 'if-unmodified-since': 'Fri, 01 Jan 1999 00:00:00 GMT' }]) {
      const refused = await ask(headers as Record<string, string>)
      t.match(refused.json(), { code: 'precondition_failed', status: 412 })
      t.equal(refused.headers['cache-control'], 'no-store')
    }
    t.equal((await ask({ 'if-none-match': String(whole.headers['etag']) })).statusCode, 304)
  }
})

t.test('sees a new build without a restart, and says so while there is none', async t => {
  const root = mkdtempSync(join(tmpdir(), 'web-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const { app } = await edge(t, { webRoot: root })
  const missing = await app.inject('/')
  t.equal(missing.statusCode, 503)
  t.match(missing.body, 'The web app has not been built yet')
  writeFileSync(join(root, 'index.html'), 'built')
  t.match(await app.inject('/'), { statusCode: 200, body: 'built' })
})

t.test('shows people a page and scripts a problem', async t => {
  const { app, browser } = await edge(t)
  const person = browser()
  const page = await person.open('/nothing-here')
  t.equal(page.statusCode, 404)
  t.match(page.headers['content-type'], 'text/html')
  t.match(page.body, /<html lang="en">[\s\S]*<h1>There is nothing here\.<\/h1>/)
  t.match(page.body, page.headers['x-request-id'])
  t.notMatch(page.body, /<script|<style|\sstyle=|\son[a-z]+=/i, 'nothing inline: it works under its own policy')
  t.match((await person.fetch('/nothing-here')).json(), { code: 'not_found' })
  t.match((await app.inject('/nothing-here')).json(), { code: 'not_found' })
  t.equal((await app.inject('/oauth2/page.css')).headers['content-type'], 'text/css; charset=utf-8')
})

t.test('reflects no part of an address into a page', async t => {
  const { browser } = await edge(t)
  for (const url of [
    '/x?<script>alert(1)</script>',
    '/x?"onload="x',
    '/oauth2/callback?error=<img src=x>&error_description=<b>',
    '/oauth2/start?return_to=%3Cscript%3E&again=<x>',
  ]) {
    const { body } = await browser().open(url)
    t.notMatch(body, /alert\(1\)|onload|<img|<b>|<x>/)
  }
})

t.test('escapes every text of a page', async t => {
  const app = Fastify()
  await app.register(createPages({ name: 'A & B', accent: '#0b6159' }, origin).plugin)
  const hostile = '"><script>alert(1)</script>\''
  app.get('/', (_request, reply) =>
    reply
      .code(400)
      .type('application/problem+json')
      .send(JSON.stringify({ code: 'request_invalid', title: hostile, detail: hostile })),
  )
  const { body, statusCode } = await app.inject({ url: '/', headers: { accept: 'text/html' } })
  t.equal(statusCode, 400)
  t.match(body, '&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#39;')
  t.notMatch(body, '<script')
})

t.test('publishes the document of its own routes', async t => {
  const { app } = await edge(t)
  t.formatSnapshot = value => JSON.stringify(value, null, 2)
  t.matchSnapshot(app.swagger(), 'OpenAPI')
})

const pageUpstream = (origin: string, prefix = '/wiki') =>
  ({
    ...upstreamDefaults,
    name: 'wiki',
    prefix,
    origin,
    kind: 'pages',
    token: 'none',
  }) as const

/** An edge in front of somebody's HTML app, without the bank's web app. */
async function wiki(t: Test, prefix?: string) {
  const upstream = await testUpstream(t, (_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>wiki</title>')
  })
  return { ...(await edge(t, { upstreams: [pageUpstream(upstream.origin, prefix)] })), seen: upstream.seen }
}

/** Follows what a browser without script follows by itself: redirects and refreshes, up to a bound. */
async function follow({ browser }: Edge, person: ReturnType<Edge['browser']>, url: string, crossSite: boolean) {
  const visited: string[] = []
  let next: string | undefined = url
  let from = crossSite
  let response = await browser().open('/oauth2/page.css')
  while (next !== undefined && visited.length < 10) {
    visited.push(next)
    response = await person.open(next, { crossSite: from })
    const location = response.headers.location
    const refresh = /http-equiv="refresh" content="0;url=([^"]+)"/.exec(response.body)?.[1]
    // A redirect belongs to the navigation that it answers; a refresh is one of our own page.
    if (refresh !== undefined) from = false
    next = location?.startsWith('/') ? location : refresh?.replaceAll('&amp;', '&')
  }
  return { response, visited }
}

t.test('a visit to a page without a session is answered by the sign-in page, which leads back', async t => {
  const { browser, seen } = await wiki(t)
  const response = await browser().open('/wiki/page?a=1&b=%22%3E%3Cscript%3E')
  t.equal(response.statusCode, 401)
  t.match(response.headers, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'www-authenticate': 'Cookie realm="session"',
  })
  t.match(response.body, '<h1>Sign in to continue</h1>')
  t.match(
    response.body,
    'href="/oauth2/start?return_to=%2Fwiki%2Fpage%3Fa%3D1%26b%3D%2522%253E%253Cscript%253E" data-return="/wiki/page?a=1&amp;b=%22%3E%3Cscript%3E"',
  )
  t.notMatch(response.body, /<script>|http-equiv|<style|\son[a-z]+=/i, 'it waits for a person')
  t.match(response.body, '<script src="/oauth2/page.js" defer></script>')
  t.same(seen, [])
})

t.test('a login that began at a page ends there, query and fragment included', async t => {
  const { browser, seen } = await wiki(t)
  const person = browser()
  const response = await person.login(alice, '/wiki/page?a=1&b=2#part-3')
  t.equal(response.headers.location, '/wiki/page?a=1&b=2#part-3')
  const page = await person.open('/wiki/page?a=1&b=2')
  t.equal(page.statusCode, 200)
  t.match(page.body, 'wiki')
  t.match(seen, [{ method: 'GET', url: '/wiki/page?a=1&b=2' }])
})

t.test('a link from another site finds the session, by way of a page of ours', async t => {
  const it = await wiki(t)
  const person = it.browser()
  await person.login()
  const first = await person.open('/wiki/page?a=1', { crossSite: true })
  t.equal(first.statusCode, 200)
  t.match(
    first.body,
    '<noscript><meta http-equiv="refresh" content="0;url=/oauth2/sign_in?return_to=%2Fwiki%2Fpage%3Fa%3D1">',
  )
  t.same(it.seen, [], 'the page itself was not asked')
  const { response, visited } = await follow(it, person, '/wiki/page?a=1', true)
  t.same(visited, ['/wiki/page?a=1', '/oauth2/sign_in?return_to=%2Fwiki%2Fpage%3Fa%3D1', '/wiki/page?a=1'])
  t.match(response.body, 'wiki')
})

t.test('nobody is sent round in circles, signed in or not, whatever the browser does with cookies', async t => {
  const it = await wiki(t, '/')
  for (const crossSite of [true, false]) {
    const { response, visited } = await follow(it, it.browser(), '/x', crossSite)
    t.equal(response.statusCode, 401)
    t.ok(visited.length <= 2, visited.join(' '))
  }
  // A browser that sends the cookie to the sign-in page and never to the page itself.
  const person = it.browser()
  await person.login()
  const statuses: number[] = []
  for (let round = 0; round < 12; round++) statuses.push((await person.open('/oauth2/sign_in?return_to=/x')).statusCode)
  t.equal(statuses[0], 302)
  t.equal(statuses.at(-1), 429)
})

t.test('the sign-in page says how the last session ended and lets go of its cookie', async t => {
  const { browser, advance } = await wiki(t)
  const person = browser()
  await person.login()
  advance(16 * 60_000)
  const response = await person.open('/wiki')
  t.equal(response.statusCode, 401)
  t.match(response.body, 'nothing happened for a while')
  t.equal(person.cookie(), undefined)
})

t.test('a form without a session is not passed on, and not sent again after the login', async t => {
  const { browser, seen } = await wiki(t)
  const response = await browser().open('/wiki/delete-all', {
    method: 'POST',
    payload: 'sure=1',
    headers: { origin, 'content-type': 'application/x-www-form-urlencoded' },
  })
  t.equal(response.statusCode, 401)
  t.match(response.body, 'return_to=%2F"')
  t.notMatch(response.body, 'delete-all')
  t.same(seen, [])
})

t.test('a page takes forms of its own and visits of anybody, and is loaded into no other site', async t => {
  const { browser, seen } = await wiki(t)
  const person = browser()
  await person.login()
  const form = { method: 'POST', payload: 'a=1' } as const
  t.equal((await person.open('/wiki/save', { ...form, headers: { origin } })).statusCode, 200)
  t.equal(seen.length, 1)
  for (const headers of [
    { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    { origin: 'null' },
    { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
    { 'sec-fetch-site': 'same-site' },
  ] as Record<string, string>[]) {
    const refused = await person.open('/wiki/save', { ...form, headers })
    t.equal(refused.statusCode, 403, JSON.stringify(headers))
    t.match(refused.body, 'did not come from our own page')
  }
  for (const dest of ['image', 'script', 'iframe', 'empty'])
    for (const site of ['cross-site', 'same-site'])
      t.equal(
        (
          await person.send('/wiki/x', {
            headers: {
              'sec-fetch-site': site,
              'sec-fetch-dest': dest,
              'sec-fetch-mode': dest === 'iframe' ? 'navigate' : 'no-cors',
            },
          })
        ).statusCode,
        403,
        `${dest} of ${site}`,
      )
  t.equal(seen.length, 1)
  const script = await browser().send('/wiki/data', {
    headers: { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' },
  })
  t.match(script.json(), { code: 'login_required' }, 'a script is told, not shown')
})

t.test('an upstream that has every path has none of the edge’s own', async t => {
  const { browser, seen } = await wiki(t, '/')
  const person = browser()
  await person.login()
  t.equal((await person.open('/anything')).statusCode, 200)
  for (const url of ['/oauth2', '/oauth2/typo', '/oauth2?x=1', '/oauth2/userinfo/', '/oauth2/sign_out'])
    t.equal((await person.open(url)).statusCode, 404, url)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
  t.equal(seen.length, 1)
})

t.test('where nothing else is at /, a page says who is signed in and where, with forms to end it', async t => {
  const { browser, advance } = await edge(t)
  const person = browser()
  const anonymous = await person.open('/')
  t.match(anonymous, { statusCode: 200, body: /<h1>Sign in to continue<\/h1>/ })
  const eve = { ...alice, sub: randomUUID(), name: 'Eve <b onclick=x>' }
  await person.login(eve)
  await browser().login(eve)
  advance(2 * 60_000)
  const before = (await person.fetch('/oauth2/userinfo')).json().session
  const page = await person.open('/')
  t.equal(page.statusCode, 200)
  t.match(page.body, '<h1>Signed in as Eve &lt;b onclick=x&gt;</h1>')
  t.match(page.body, /Unknown browser <span class="tag">This device<\/span>/)
  t.equal(page.body.match(/action="\/oauth2\/sessions\/[\w-]{43}\/end"/g)?.length, 1)
  t.match(page.body, 'action="/oauth2/sign_out"')
  t.match(page.body, 'action="/oauth2/sessions/end_others"')
  t.notMatch(page.body, /<script|<style|\sstyle=/)
  t.same((await person.fetch('/oauth2/userinfo')).json().session, before, 'and looking extends nothing')
  const fromElsewhere = await person.open('/', { crossSite: true })
  t.match(fromElsewhere.body, 'http-equiv="refresh" content="0;url=/oauth2/sign_in?return_to=%2F"')
})

t.test('every refusal that a person sees says why and what to do, with a reference', async t => {
  const { browser } = await edge(t)
  const person = browser()
  for (const [url, status] of [
    ['/nothing-here', 404],
    ['/oauth2/callback?state=x', 400],
    ['/oauth2/signed_out', 400],
    ['/a%2fb', 400],
    ['//evil.example', 400],
    ['/%zz', 400],
  ] as const) {
    const page = await person.open(url)
    t.equal(page.statusCode, status, url)
    t.match(page.headers['content-type'], 'text/html')
    t.match(page.body, /<h1>[^<]+<\/h1>\s*<p>[^<]+<\/p>\s*<h2>What you can do<\/h2>\s*<ul><li>[^<]+<\/li>/, url)
    t.match(page.body, `Reference <code>${page.headers['x-request-id']}</code>`)
  }
})

t.test('the pages carry the name and colour of whoever runs them, as text that can be read', async t => {
  const { app } = await edge(t, { config: { brand: { name: 'Tom & <Jerry>', accent: '#ffee00' } } })
  const page = await app.inject({ url: '/x', headers: { accept: 'text/html' } })
  t.match(page.body, '<p class="brand">Tom &amp; &lt;Jerry&gt;</p>')
  const { body } = await app.inject('/oauth2/page.css')
  t.match(body, `--accent: ${readableOn('#ffee00', '#ffffff')};`)
  t.equal(readableOn('#0b6159', '#ffffff'), '#0b6159', 'a colour that can be read stays as it is')
  t.not(readableOn('#ffee00', '#ffffff'), '#ffee00')
  t.equal(textOn('#ffee00'), '#000000')
  t.equal(textOn('#0b6159'), '#ffffff')
})

t.test('HTML takes text for text, wherever it comes from', async t => {
  const hostile = `"><img src=x onerror='alert(1)'>&`
  t.equal(html`<p title="${hostile}">${hostile}</p>`.markup.includes('<img'), false)
  t.equal(html`${[html`<b>${'<'}</b>`, html`<i></i>`]}${undefined}${1}`.markup, '<b>&lt;</b><i></i>1')
})
