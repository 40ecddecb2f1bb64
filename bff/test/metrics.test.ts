import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createMetrics } from '@banking/telemetry'
import { testLogger } from '@banking/testkit'
import t from 'tap'
import { connectEvents } from '../src/events/published-events.ts'
import { edge } from './edge.ts'

const document = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8')

/** `name | type | help` of each metric of a registry's text, the process's own apart. */
const described = (text: string): string[] =>
  [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$/gm)]
    .map(([, name, help, type]) => `| \`${name}\` | ${type} | ${help} |`)
    .filter(row => !/`(?:process|nodejs)_/.test(row))

t.test('every metric of the edge is in docs/metrics.md with its type and meaning, and no other', async t => {
  const each = await edge(t)
  const logger = testLogger().logger
  const metrics = createMetrics('bff')
  const events = connectEvents({ brokers: ['127.0.0.1:1'], topic: 'banking.bff', logger, metrics })
  t.teardown(events.close)
  const rows = [...described(await each.metrics.text()), ...described(await metrics.text())].sort()
  t.ok(rows.length > 15)
  const table = [...document.matchAll(/^\| `\w+` .*\|$/gm)].map(([row]) =>
    row.replace(/^(\| `\S+` \| \w+ \| .*?) \| [^|]*\|$/, '$1 |'),
  )
  t.same(table.sort(), rows)
})

t.test('no label of a metric leads to a person', async t => {
  const { browser, metrics } = await edge(t)
  const person = browser()
  await person.login()
  await person.fetch('/oauth2/userinfo')
  await person.fetch('/api/payments/accounts/zebedee?who=zebedee')
  await person.fetch('/api/zebedee')
  await person.open('/zebedee')
  t.notMatch(await metrics.text(), /zebedee|0b0f7c1e|alice/i)
})
