import { accessSync, constants } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server } from 'node:net'
import { delimiter, join } from 'node:path'
import type { Bank } from '@banking/devstack'
import sparticuz from '@sparticuz/chromium'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Chromium from PATH, else the one that npm carries. */
async function executable(): Promise<string> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
      const path = join(folder, name)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // not here: the next one
      }
    }
  }
  return sparticuz.executablePath()
}

/**
 * A headless Chromium, closed at teardown.
 *
 * @param via sends the traffic for one host and port to another address instead, bytes untouched
 */
export async function launchBrowser(t: Test, via?: { host: string; port: number }): Promise<Browser> {
  const args = via === undefined ? flags : [...flags, `--host-resolver-rules=MAP ${via.host} 127.0.0.1:${via.port}`]
  const browser = await chromium.launch({ executablePath: await executable(), args, chromiumSandbox: false })
  t.teardown(() => browser.close())
  return browser
}

/** From the sign-in page through Keycloak's own form and back to the page. */
export async function logIn({ status }: Bank, page: Page, username: string, path = '/'): Promise<void> {
  const { baseUrl, logins } = status
  await page.goto(new URL(path, baseUrl).href)
  await page.getByRole('link', { name: 'Sign in', exact: true }).click()
  await page.waitForURL(/\/realms\/banking\//)
  await page.getByLabel(/username/i).fill(username)
  const password = logins.find(login => login.username === username)?.password ?? ''
  await page.getByRole('textbox', { name: 'Password' }).fill(password)
  await page.getByRole('button', { name: 'Sign In' }).click()
  await page.waitForURL(url => url.origin === new URL(baseUrl).origin)
}

/** One person at one browser: a cookie jar, a page, and everything that went wrong on it. */
export type Person = { context: BrowserContext; page: Page; complaints: string[] }

/** A person whose console errors, page errors and policy violations are collected. */
export async function newPerson(browser: Browser): Promise<Person> {
  const context = await browser.newContext({
    locale: 'en-GB',
    reducedMotion: 'reduce',
    viewport: { width: 1280, height: 900 },
  })
  const complaints: string[] = []
  const page = await context.newPage()
  // Runs in the page, before any of its own scripts.
  await page.addInitScript({
    content: `document.addEventListener('securitypolicyviolation', event =>
      console.error('CSP: ' + event.violatedDirective + ' ' + event.blockedURI))`,
  })
  page.on('console', message => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(`${message.text()} (${message.location().url})`)
  })
  page.on('pageerror', error => complaints.push(String(error)))
  return { context, page, complaints }
}

/** Every byte that a server sent through it. */
export type Recorder = { port: number; received(): Buffer; close(): void }

/** A TCP relay that keeps what the server answered: what a browser could have seen, whatever its tools show. */
export async function recorder(t: Test, target: { host: string; port: number }): Promise<Recorder> {
  const chunks: Buffer[] = []
  const server: Server = createServer(client => {
    const upstream = connect(target.port, target.host)
    client.on('error', () => upstream.destroy()).pipe(upstream)
    upstream.on('error', () => client.destroy()).on('data', chunk => chunks.push(Buffer.from(chunk)))
    upstream.pipe(client)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const close = () => void server.close()
  t.teardown(close)
  return { port: (server.address() as AddressInfo).port, received: () => Buffer.concat(chunks), close }
}
