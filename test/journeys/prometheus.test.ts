import type { Page } from 'playwright-core'
import t from 'tap'
import { eventually, wholeBank } from '../bank.ts'
import { documentedEdge, publicAddress, startPrometheus } from './applications.ts'
import { launchBrowser, logIn, newPerson } from './browser.ts'

const bank = wholeBank(t)

/** Asks for a series, looks at its graph, and at every page of the menu. */
async function lookRound(page: Page): Promise<void> {
  const { origin } = new URL(page.url())
  await page.waitForURL('**/graph')
  await page.getByPlaceholder('Expression').fill('prometheus_build_info')
  await page.getByRole('button', { name: 'Execute' }).click()
  await page.getByText(/^prometheus_build_info\{.*job="prometheus".*\}$/).waitFor()
  await page.getByRole('tab', { name: 'Graph' }).click()
  // Of the hour that is asked for else, a server that has just begun has less than two points.
  await page.locator('[name=range_input]').fill('1m')
  await page.locator('[name=range_input]').press('Enter')
  await page.locator('.graph_area svg path').first().waitFor({ state: 'attached' })
  await page.locator('.legend').getByText('job="prometheus"').waitFor()

  for (const [name, path, shown] of [
    ['Runtime & Build Information', 'status', 'GOMAXPROCS'],
    ['Command-Line Flags', 'flags', 'web.external-url'],
    ['Configuration', 'config', 'job_name: prometheus'],
    ['Rules', 'rules', 'No rules defined'],
    ['Targets', 'targets', 'prometheus (1/1 up)'],
    ['Service Discovery', 'service-discovery', 'prometheus (1/1 active targets)'],
  ] as const) {
    await page.getByRole('button', { name: /Status/ }).click()
    await page.getByRole('link', { name, exact: true }).click()
    await page.waitForURL(new RegExp(`^${origin}/prometheus/(?:classic/)?${path}$`))
    await page.getByText(shown).first().waitFor()
  }
  await page.getByRole('link', { name: 'Alerts', exact: true }).click()
  await page.getByText('Inactive (0)').waitFor()
}

t.test('a person asks Prometheus, sees the graph, and looks round its pages', async t => {
  const { publicOrigin, port } = await publicAddress()
  const PROMETHEUS = await startPrometheus(t, publicOrigin)
  await documentedEdge(t, bank, 'prometheus/edge.yaml', { publicOrigin, port, PROMETHEUS })
  const isScraped = () =>
    fetch(`${PROMETHEUS}/prometheus/api/v1/query?query=up==1`).then(async answer => /"value"/.test(await answer.text()))
  t.ok(await eventually(isScraped, is => is))
  const browser = await launchBrowser(t)

  // What the browser says against these pages without an edge is not the edge's doing.
  const direct = await newPerson(browser)
  await direct.page.goto(`${PROMETHEUS}/prometheus/`)
  await lookRound(direct.page)

  const { page, complaints } = await newPerson(browser)
  await logIn({ ...bank, status: { ...bank.status, baseUrl: publicOrigin } }, page, 'alice', '/prometheus/')
  // The edge said that nobody was there.
  t.match(complaints.shift(), /401/)
  await lookRound(page)
  const plain = (text: string) => text.replaceAll(PROMETHEUS, publicOrigin)
  t.same(complaints.sort(), direct.complaints.map(plain).sort())
})
