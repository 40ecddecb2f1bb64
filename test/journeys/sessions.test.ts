import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, createServer as createSocket } from 'node:net'
import { resolve } from 'node:path'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../../bff/src/config/options.ts'
import { edge, testUpstream } from '../../bff/test/edge.ts'
import { alice } from '../../bff/test/provider.ts'
import { launchBrowser, newPerson, type Person } from './browser.ts'

// The edge alone, before a provider that needs no password: what its pages and cookies do in a real browser.

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const webRoot = resolve(import.meta.dirname, '../../bff/web/dist')

/** The edge must know its own address before it listens. */
async function freePort(): Promise<number> {
  const server = createSocket()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

async function listeningEdge(t: Test, options: Parameters<typeof edge>[1]) {
  const port = await freePort()
  const publicOrigin = `http://localhost:${port}`
  const it = await edge(t, { ...options, config: { ...options?.config, publicOrigin } })
  await it.app.listen({ host: '127.0.0.1', port })
  const person = { ...alice, sub: randomUUID() }
  it.provider.hooks.visitor = () => person
  return { ...it, url: publicOrigin }
}

/** An HTML app behind the edge, without the bank's web app. */
async function wiki(t: Test) {
  const upstream = await testUpstream(t, (request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(
      `<!doctype html><html lang="en"><title>Wiki</title><main><h1>${request.url?.split('?')[0]}</h1></main>`,
    )
  })
  const { origin } = upstream
  const it = await listeningEdge(t, {
    upstreams: [{ ...upstreamDefaults, name: 'wiki', prefix: '/wiki', origin, kind: 'pages', token: 'none' }],
    config: { brand: { name: 'Northwind', accent: '#7a1fa2' } },
  })
  return { ...it, seen: upstream.seen }
}

/** Another site, with one link. */
async function otherSite(t: Test, href: string): Promise<string> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(`<!doctype html><title>elsewhere</title><a href="${href}">go</a>`)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

async function isAccessible(t: Test, page: Page): Promise<void> {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Runtime.evaluate', { expression: await readFile(axe, 'utf8') })
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const expression =
      'axe.run().then(({ violations }) => JSON.stringify(violations.map(({ id, nodes }) => id + ": " + nodes[0].html)))'
    const { result } = await cdp.send('Runtime.evaluate', { expression, awaitPromise: true })
    t.equal(result.value, '[]', `${await page.title()} is accessible, ${colorScheme}`)
  }
  await cdp.detach()
}

/** What is wrong with a page; that a refusal is an error on the console is not. */
const complaintsOf = ({ complaints }: Person): string[] => complaints.filter(text => !/status of 4\d\d/.test(text))

t.test('a page without a session asks, and after the login it is that page, fragment included', async t => {
  const { url } = await wiki(t)
  const person = await newPerson(await launchBrowser(t))
  const { page } = person
  await page.goto(`${url}/wiki/page?a=1#part-3`)
  await page.getByRole('heading', { name: 'Sign in to continue' }).waitFor()
  await isAccessible(t, page)
  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: '/wiki/page' }).waitFor()
  t.equal(page.url(), `${url}/wiki/page?a=1#part-3`)
  t.same(complaintsOf(person), [])
})

t.test('a link of another site finds the person signed in, with script and without', async t => {
  const { url, seen } = await wiki(t)
  const browser = await launchBrowser(t)
  for (const javaScriptEnabled of [true, false]) {
    const context = await browser.newContext({ javaScriptEnabled })
    const page = await context.newPage()
    await page.goto(`${url}/wiki/start`)
    await page.getByRole('link', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: '/wiki/start' }).waitFor()
    const before = seen.length
    await page.goto(await otherSite(t, `${url}/wiki/linked?b=2#part-7`))
    await page.getByRole('link', { name: 'go' }).click()
    await page.getByRole('heading', { name: '/wiki/linked' }).waitFor()
    t.equal(page.url(), `${url}/wiki/linked?b=2${javaScriptEnabled ? '#part-7' : ''}`)
    t.equal(seen.length, before + 1, 'the page was asked for once')
    await context.close()
  }
})

t.test('a browser that keeps no cookies ends on a page that explains, not in a circle', async t => {
  const { app, url, provider } = await wiki(t)
  const person = await newPerson(await launchBrowser(t))
  const { page } = person
  // As if the browser kept none: nothing that it sends back reaches the edge.
  app.server.prependListener('request', request => {
    delete request.headers.cookie
  })
  await page.goto(`${url}/wiki/page`)
  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'This login has expired or was used before.' }).waitFor()
  await page.getByText('Allow cookies for this site').waitFor()
  await isAccessible(t, page)
  t.ok((provider.calls['par'] ?? 0) <= 2, 'it was begun anew once')
})

t.test('the start page lists sessions and ends them by forms, and a sign-out ends where it says so', async t => {
  const { url } = await wiki(t)
  const browser = await launchBrowser(t)
  const [here, there] = [await newPerson(browser), await newPerson(browser)]
  for (const { page } of [there, here]) {
    await page.goto(url)
    await page.getByRole('link', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Signed in as Alice Adams' }).waitFor()
  }
  await isAccessible(t, here.page)
  t.equal(await here.page.getByRole('listitem').count(), 2)
  await here.page.getByRole('button', { name: /^End the session on Chrome/ }).click()
  await here.page.getByRole('button', { name: /^End the session/ }).waitFor({ state: 'detached' })
  t.equal(await here.page.getByRole('listitem').count(), 1)
  await there.page.goto(`${url}/wiki/x`)
  await there.page.getByText('Your session was ended from another place').waitFor()
  await here.page.getByRole('button', { name: 'Sign out', exact: true }).click()
  await here.page.getByRole('heading', { name: 'You are signed out' }).waitFor()
  await isAccessible(t, here.page)
  for (const person of [here, there]) t.same(complaintsOf(person), [])
})

t.test('the Security page shows where one is signed in, ends it, and the other device says why', async t => {
  if (!existsSync(resolve(webRoot, 'index.html'))) return t.fail('build the web app: vite build in bff/web')
  const api = await testUpstream(t, (_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end('{"items":[],"unread":0}')
  })
  const { origin } = api
  const it = await listeningEdge(t, { webRoot, upstreams: { payment: origin, notification: origin } })
  const customer = it.provider.hooks.visitor?.() ?? alice
  // Without the role of a customer the page asks no other service.
  it.provider.hooks.visitor = () => ({ ...customer, roles: ['risk-analyst'] })
  const browser = await launchBrowser(t)
  const [here, there] = [await newPerson(browser), await newPerson(browser)]
  for (const { page } of [there, here]) {
    await page.goto(`${it.url}/security#sessions`)
    await page.getByRole('link', { name: 'Sign in', exact: true }).click()
    await page.getByRole('heading', { name: 'Where you are signed in' }).waitFor()
    t.equal(new URL(page.url()).hash, '#sessions')
  }
  const { page } = here
  const end = page.getByRole('button', { name: /^End the session on Chrome/ })
  await end.waitFor()
  await isAccessible(t, page)
  await page.setViewportSize({ width: 390, height: 844 })
  t.equal(await page.evaluate('document.documentElement.scrollWidth'), 390, 'nothing is cut off on a phone')

  // With the keyboard alone: back out first, then do it.
  await end.focus()
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor()
  await isAccessible(t, page)
  await page.keyboard.press('Escape')
  await page.locator('dialog').waitFor({ state: 'detached' })
  t.match(await page.evaluate('document.activeElement.textContent'), /^End the session/, 'the focus is back')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'End session' }).waitFor()
  await page.keyboard.press('Enter')
  await page.getByText(/^The session on Chrome .*was ended\.$/).waitFor()
  await page.getByText('You are signed in nowhere else.').waitFor()
  await page.locator('dialog').waitFor({ state: 'detached' })
  t.equal(await page.evaluate('document.activeElement.id'), 'sessions-heading')

  await there.page.reload()
  await there.page.getByText('Your session was ended', { exact: true }).waitFor()
  await isAccessible(t, there.page)
  t.same(complaintsOf(here), [])
})
