import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import pages from '../src/pages/pages.ts'
import { edge } from './edge.ts'

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
  await app.register(pages)
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
