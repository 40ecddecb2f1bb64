import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { asPerson, currentAccountOf, wholeBank } from '../bank.ts'
import { launchBrowser, logIn as logInAt, newPerson, type Person, recorder } from './browser.ts'

const bank = wholeBank(t)
const { baseUrl } = bank.status
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const screenshots = join(bank.state, 'screenshots')

const logIn = (page: Page, username: string, path?: string) => logInAt(bank, page, username, path)

/** What was on the page when a journey failed. */
function lookAtFailure(t: Test, person: Person, name: string): Person {
  t.teardown(async () => {
    if (!t.passing()) await look(person, `failed-${name}`)
  })
  return person
}

async function look(person: Person, name: string): Promise<void> {
  await mkdir(screenshots, { recursive: true })
  await person.page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })
}

/** Nothing on this page keeps a person with a screen reader, a keyboard or weak eyes out (WCAG 2.2 AA). */
async function isAccessible(t: Test, { page }: Person): Promise<void> {
  // Through the debugger, which a page's policy does not reach: the page itself may load nothing.
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Runtime.evaluate', { expression: await readFile(axe, 'utf8') })
  const run = `axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })
    .then(({ violations }) => JSON.stringify(violations.map(({ id, nodes }) => id + ': ' + nodes[0].html)))`
  const { result } = await cdp.send('Runtime.evaluate', { expression: run, awaitPromise: true })
  t.equal(result.value, '[]', `${new URL(page.url()).pathname} is accessible`)
  await cdp.detach()
}

/** Everything that looks like a signed token in what the edge sent, with its header and its claims. */
function tokensIn(text: string): { header: Record<string, unknown>; claims: Record<string, unknown> }[] {
  return [...text.matchAll(/eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+/g)].map(([token]) => {
    const [header = {}, claims = {}] = token
      .split('.', 2)
      .map(part => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>)
    return { header, claims }
  })
}

t.test('a payment, from the sign-in page to the other person’s screen, and no token in any byte', async t => {
  const edge = new URL(baseUrl)
  const tape = await recorder(t, { host: '127.0.0.1', port: Number(edge.port) })
  const browser = await launchBrowser(t, { host: edge.host, port: tape.port })
  const alice = lookAtFailure(t, await newPerson(browser), 'alice')
  const bob = lookAtFailure(t, await newPerson(browser), 'bob')

  await alice.page.goto(baseUrl)
  await alice.page.getByRole('heading', { name: 'Sign in to your bank' }).waitFor()
  await isAccessible(t, alice)
  await look(alice, '1-sign-in')
  // A deep link, with its query, survives the login.
  await logIn(bob.page, 'bob', '/notifications?from=link')
  await bob.page.getByRole('heading', { name: 'Messages', level: 1 }).waitFor()
  t.equal(new URL(bob.page.url()).pathname, '/notifications')
  await logIn(alice.page, 'alice')
  await alice.page.getByText('Available in all accounts').waitFor()
  await alice.page.getByRole('heading', { name: /Latest on/ }).waitFor()
  await alice.page.locator('main').getByRole('listitem').nth(6).waitFor()
  await isAccessible(t, alice)
  await look(alice, '2-overview')

  const iban = (await currentAccountOf(await asPerson(bank, 'bob'))).iban
  await alice.page.getByRole('link', { name: 'Send money' }).first().click()
  await alice.page.getByLabel('Name of the recipient').fill('Bob')
  await alice.page.getByLabel('IBAN of the recipient').pressSequentially(iban)
  await alice.page.getByLabel('Amount').fill('12.34')
  const reference = `Concert ${Date.now() % 10_000}`
  await alice.page.getByLabel(/Reference/).fill(reference)
  await isAccessible(t, alice)
  await look(alice, '3-send-money')
  await alice.page.getByRole('button', { name: 'Continue' }).click()
  await alice.page.getByRole('heading', { name: 'Check and confirm' }).waitFor()
  await isAccessible(t, alice)
  await look(alice, '4-confirm')
  await alice.page.getByRole('button', { name: /^(Confirm|Send)/ }).click()
  await alice.page.getByRole('heading', { name: 'Payment sent' }).waitFor()
  await isAccessible(t, alice)
  await look(alice, '5-receipt')
  t.match(await alice.page.getByRole('article', { name: 'Receipt' }).textContent(), /12\.34/)

  // Bob's page was open all the time: the message comes by itself.
  await bob.page.getByText(reference).first().waitFor()
  t.match(await bob.page.locator('main').textContent(), new RegExp(`12\\.34 EUR arrived.*${reference}`))
  await isAccessible(t, bob)
  await look(bob, '6-messages')
  await bob.page
    .getByRole('link', { name: /Money received/ })
    .first()
    .click()
  await bob.page.getByText(reference).first().waitFor()
  await isAccessible(t, bob)
  await look(bob, '7-account')

  await alice.page.goto(new URL('/security', baseUrl).href)
  await alice.page.getByRole('heading', { name: 'This session' }).waitFor()
  await alice.page.getByText('This device').waitFor()
  await alice.page.getByText('Date of birth').waitFor()
  await isAccessible(t, alice)
  await look(alice, '8-security')

  const cookies = await alice.context.cookies(baseUrl)
  const session = cookies.find(({ name }) => name === '__Host-session')
  t.match(session, { httpOnly: true, secure: true, sameSite: 'Strict', path: '/' })
  t.equal(await alice.page.evaluate('document.cookie'), '', 'scripts see no cookie')
  t.equal(await alice.page.evaluate('JSON.stringify({ ...localStorage })'), '{}', 'nothing is kept after the tab')

  await alice.page
    .getByRole('button', { name: /Sign out/ })
    .first()
    .click()
  await alice.page.getByRole('heading', { name: 'Sign in to your bank' }).waitFor()
  await look(alice, '9-signed-out')
  const replay = await fetch(new URL('/oauth2/userinfo', baseUrl), {
    headers: { cookie: `__Host-session=${session?.value}`, 'x-csrf': '1' },
  })
  t.equal(replay.status, 401, 'the old cookie opens nothing')
  await alice.page.getByRole('link', { name: 'Sign in', exact: true }).click()
  await alice.page.getByLabel(/username/i).waitFor()
  t.ok(/realms\/banking/.test(alice.page.url()), 'the identity provider asks for the password again')

  t.same(alice.complaints, [], 'no console error and no policy violation on Alice’s pages')
  t.same(bob.complaints, [], 'nor on Bob’s')

  const bytes = tape.received().toString('latin1')
  t.match(bytes, '__Host-session=', 'the tape has what the browser got')
  const seen = tokensIn(bytes)
  t.ok(seen.length > 0, 'the ID token of the sign-out is on it, so a token would be found')
  for (const { header, claims } of seen) {
    t.match(header['typ'], /^JWT$/, 'no access token')
    t.equal(claims['typ'], 'ID', 'an ID token')
  }
  t.notMatch(bytes, /"(access|refresh)_token"|authorization: bearer/i)
})

t.test('two tabs follow one stream, and a sign-out in one locks the other', async t => {
  const browser = await launchBrowser(t)
  const person = lookAtFailure(t, await newPerson(browser), 'person')
  await logIn(person.page, 'alice')
  await person.page.getByText('Available in all accounts').waitFor()
  const second = await person.context.newPage()
  await second.goto(new URL('/notifications', baseUrl).href)
  await second.getByRole('heading', { name: 'Messages', level: 1 }).waitFor()

  const bob = await asPerson(bank, 'bob')
  const reference = `Two tabs ${Date.now() % 10_000}`
  const order = {
    debtorAccountId: (await currentAccountOf(bob)).id,
    creditor: { iban: (await currentAccountOf(await asPerson(bank, 'alice'))).iban, name: 'Alice' },
    amount: { amount: '55', currency: 'EUR' },
    reference,
  }
  t.equal((await bob.post('/api/payments', order, { 'idempotency-key': `tabs-${Date.now()}` })).status, 201)
  await second.getByText(reference).first().waitFor()
  await person.page.getByText(reference).first().waitFor()

  await person.page.goto(new URL('/security', baseUrl).href)
  await person.page
    .getByRole('button', { name: /Sign out/ })
    .first()
    .click()
  await second.getByRole('heading', { name: /Sign in/ }).waitFor()
  t.notMatch(await second.locator('body').textContent(), reference, 'what was on the page is gone')
  t.same(person.complaints, [])
})

t.test('a page that was left open says why it asks for the password again', async t => {
  const browser = await launchBrowser(t)
  const person = lookAtFailure(t, await newPerson(browser), 'person')
  await logIn(person.page, 'bob', '/pay')
  await person.page.getByLabel('Name of the recipient').fill('Somebody')
  // The session ends elsewhere: here by its cookie, from another place.
  const cookie = (await person.context.cookies(baseUrl)).find(({ name }) => name === '__Host-session')
  const ended = await fetch(new URL('/oauth2/sign_out', baseUrl), {
    method: 'POST',
    headers: { cookie: `__Host-session=${cookie?.value}`, 'x-csrf': '1', 'sec-fetch-site': 'same-origin' },
  })
  t.equal(ended.status, 200)
  await person.page.reload()
  await person.page.getByRole('heading', { name: /Sign in/ }).waitFor()
  await look(person, 'session-ended')
  await logIn(person.page, 'bob', '/pay')
  t.equal(await person.page.getByLabel('Name of the recipient').inputValue(), 'Somebody', 'the draft is still there')
})

t.test('staff without accounts, dark mode and a small screen are looked after', async t => {
  const browser = await launchBrowser(t)
  const context = await browser.newContext({
    locale: 'de-DE',
    colorScheme: 'dark',
    reducedMotion: 'reduce',
    viewport: { width: 390, height: 800 },
  })
  const page = await context.newPage()
  const person = lookAtFailure(t, { context, page, complaints: [] }, 'olivia')
  await logIn(page, 'olivia')
  await page.getByText('You have no accounts here').waitFor()
  await isAccessible(t, person)
  await look(person, 'staff-dark-small')
  const width = await page.evaluate('document.documentElement.scrollWidth')
  t.equal(width, 390, 'nothing sticks out')
  const missing = await page.goto(new URL('/nothing-here', baseUrl).href)
  t.equal(missing?.status(), 404)
  await look(person, 'not-found')
})
