import t from 'tap'
import { wholeBank } from '../bank.ts'
import { documentedEdge, publicAddress, startDjango, superuser } from './applications.ts'
import { launchBrowser, logIn, newPerson } from './browser.ts'

const bank = wholeBank(t)

t.test('a person administers a Django site: its own login, forms, messages, CSRF checks and logout', async t => {
  const { publicOrigin, port } = await publicAddress()
  const DJANGO = await startDjango(t, publicOrigin)
  await documentedEdge(t, bank, 'django/edge.yaml', { publicOrigin, port, DJANGO })
  const { page, context, complaints } = await newPerson(await launchBrowser(t))
  const heading = (name: string) => page.getByRole('heading', { name, exact: true }).waitFor()
  const message = (text: RegExp) => page.locator('.messagelist').getByText(text).waitFor()

  // First the edge's login, which leads on to the page that was asked for; then Django's own.
  await logIn({ ...bank, status: { ...bank.status, baseUrl: publicOrigin } }, page, 'alice', '/admin/')
  t.equal(page.url(), `${publicOrigin}/admin/login/?next=/admin/`)
  // The edge said that nobody was there.
  complaints.length = 0
  await page.getByLabel('Username').fill(superuser.username)
  await page.getByLabel('Password').fill('wrong')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByText('Please enter the correct username and password').waitFor()
  await page.getByLabel('Password').fill(superuser.password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await heading('Site administration')
  t.equal(page.url(), `${publicOrigin}/admin/`)
  t.not(await page.evaluate("getComputedStyle(document.querySelector('#header')).backgroundColor"), 'rgba(0, 0, 0, 0)')

  // An object from its beginning to its end.
  await page.getByRole('link', { name: 'Groups' }).click()
  await page.getByRole('link', { name: 'Add group' }).first().click()
  await page.getByLabel('Name').fill('Tellers & Söhne')
  await page.locator('#id_permissions_from option').first().dblclick()
  t.equal(await page.locator('#id_permissions_to option').count(), 1, 'its scripts run, inline ones too')
  await page.getByRole('button', { name: 'Save and continue editing' }).click()
  await message(/“Tellers & Söhne” was added successfully/)
  t.match(page.url(), /\/admin\/auth\/group\/1\/change\/$/)
  await page.getByLabel('Name').fill('Clerks')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await message(/“Clerks” was changed successfully/)
  await page.locator('#searchbar').fill('clerk')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByRole('link', { name: 'Clerks' }).click()
  await page.locator('#group_form').waitFor()

  // A script of the page, with and without the site's token against forged requests.
  const change = (name: string, headers: string) =>
    page.evaluate<number>(`(async () => {
      const form = new FormData(document.querySelector('#group_form'))
      const token = form.get('csrfmiddlewaretoken')
      form.delete('csrfmiddlewaretoken')
      form.set('name', '${name}')
      return (await fetch(location.href, { method: 'POST', body: form, headers: ${headers} })).status
    })()`)
  t.equal(await change('Forged', '{}'), 403)
  t.equal(complaints.splice(0).length, 1, 'which is all that the console says of it')
  t.equal(await change('Officers', "{ 'X-CSRFToken': token }"), 200, 'as a header field')

  await page.reload()
  await page.getByRole('link', { name: 'Delete' }).click()
  await page.getByText('Are you sure you want to delete the group').waitFor()
  await page.getByRole('button', { name: 'Yes, I’m sure' }).click()
  await message(/“Officers” was deleted successfully/)

  // A window of its own, which gives back what was made in it.
  await page.goto(`${publicOrigin}/admin/auth/user/add/`)
  await page.getByLabel('Username').fill('tina')
  for (const label of ['Password:', 'Password confirmation:'])
    await page.getByLabel(label, { exact: true }).fill('a long word of tina')
  await page.getByRole('button', { name: 'Save and continue editing' }).click()
  await message(/“tina” was added successfully/)
  const opened = page.waitForEvent('popup')
  await page.locator('#add_id_groups').click()
  const popup = await opened
  await popup.getByLabel('Name').fill('Tellers')
  await popup.getByRole('button', { name: 'Save', exact: true }).click()
  await page.locator('#id_groups_to option', { hasText: 'Tellers' }).waitFor({ state: 'attached' })
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await message(/“tina” was changed successfully/)

  // Where the site keeps its cookies, and who sees the edge's.
  const cookies = await context.cookies(publicOrigin)
  t.same(
    cookies
      .map(({ name }) => name)
      .filter(name => /csrftoken|sessionid/.test(name))
      .sort(),
    ['csrftoken', 'sessionid'],
  )
  t.notMatch(await page.evaluate<string>('document.cookie'), '__Host-')

  await page.getByRole('button', { name: 'Log out' }).click()
  await heading('Logged out')
  await page.getByRole('link', { name: 'Log in again' }).click()
  t.match(page.url(), /\/admin\/login\//, 'of the site and not of the edge')
  t.same(complaints, [])

  // A form of the site that was left open while the edge's session ended is nobody's.
  await context.clearCookies({ name: '__Host-session' })
  await page.getByLabel('Username').fill(superuser.username)
  await page.getByLabel('Password').fill(superuser.password)
  const [answer] = await Promise.all([
    page.waitForResponse(response => response.request().method() === 'POST'),
    page.getByRole('button', { name: 'Log in' }).click(),
  ])
  t.equal(answer.status(), 401)
})
