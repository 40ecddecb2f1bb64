import t from 'tap'
import { wholeBank } from '../bank.ts'
import { seconds } from '../processes.ts'
import { realmAdmin } from '../realm-admin.ts'
import { launchBrowser, logIn, newPerson } from './browser.ts'

const bank = wholeBank(t)
const admin = realmAdmin(bank)
const tabs = 20
/** Seconds that a token lives here. */
const lifetime = 15

t.test('twenty tabs that reload at the end of a token log nobody out', async t => {
  await admin.setLifetime(lifetime)
  await admin.setRotation(true)
  t.teardown(async () => {
    await admin.setLifetime(undefined)
    await admin.setRotation(false)
  })
  const since = Date.now()
  const browser = await launchBrowser(t)
  const { context, page, complaints } = await newPerson(browser)
  await logIn(bank, page, 'carol')
  const shown = 'Available in all accounts'
  await page.getByText(shown).waitFor()
  const pages = [page]
  while (pages.length < tabs) pages.push(await context.newPage())
  await Promise.all(pages.slice(1).map(each => each.goto(bank.status.baseUrl)))
  await Promise.all(pages.map(each => each.getByText(shown).waitFor()))

  for (let round = 1; round <= 2; round++) {
    // Nothing is asked meanwhile, so every token has ended when all tabs come at once.
    await Promise.all(pages.map(each => each.goto('about:blank')))
    await seconds(lifetime + 1)
    await Promise.all(pages.map(each => each.goto(bank.status.baseUrl)))
    await Promise.all(pages.map(each => each.getByText(shown).waitFor()))
    const asking = await Promise.all(pages.map(each => each.getByRole('heading', { name: /Sign in/ }).count()))
    t.same(asking, Array(tabs).fill(0), `no tab asks for a login in round ${round}`)
  }
  t.same(complaints, [], 'no console error')
  const events = (await admin.events({ username: 'carol' })).filter(({ time }) => time >= since)
  const of = (type: string) => events.filter(event => event.type === type).length
  t.equal(of('LOGIN'), 1, 'one login in all')
  t.equal(of('LOGOUT'), 0)
  t.ok(of('REFRESH_TOKEN') >= 2, `${of('REFRESH_TOKEN')} refreshes`)
  t.equal(of('REFRESH_TOKEN_ERROR'), 0, 'no refresh token was used twice')
})
