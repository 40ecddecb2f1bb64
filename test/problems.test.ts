import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { problems } from '@banking/contracts'
import t from 'tap'

const file = resolve(import.meta.dirname, '../docs/problems.md')

t.test('docs/problems.md is the catalog', async t => {
  const rows = Object.entries(problems).map(
    ([code, { status, title, remedy }]) => `| \`${code}\` | ${status} | ${title} | ${remedy} |`,
  )
  const documented = readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => line.startsWith('| `'))
  t.strictSame(
    documented,
    rows,
    'update the table in docs/problems.md: one row per problem, in the order of the catalog',
  )
})

t.test('the catalog changes only where somebody looks', async t => {
  t.matchSnapshot(JSON.stringify(problems, null, 2), 'problems')
})
