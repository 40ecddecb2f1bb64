import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')

t.test('every promise names a test that exists', async t => {
  const promises = readFileSync(resolve(root, 'docs/promises.md'), 'utf8')
    .split('\n')
    .filter(line => line.startsWith('| ') && !line.startsWith('| promise'))
  t.ok(promises.length > 20)
  for (const line of promises) {
    const [, file = '', title = ''] = /`([^`]+)` › (.+?) \|$/.exec(line) ?? []
    t.ok(existsSync(resolve(root, file)), `${file} exists`)
    if (!existsSync(resolve(root, file))) continue
    t.ok(readFileSync(resolve(root, file), 'utf8').includes(`'${title}'`), `${file} › ${title}`)
  }
})

t.test('every advisory names a test that exists, or says why it does not concern us', async t => {
  const rows = readFileSync(resolve(root, 'docs/advisories.md'), 'utf8')
    .split('\n')
    .filter(line => line.startsWith('| ') && !line.startsWith('| advisory'))
  t.ok(rows.length > 60)
  for (const row of rows) {
    const [, ids = '', held = ''] = /^\| (.+?) \| .+ \| (.+) \|$/.exec(row) ?? []
    const [, file = '', title] = /^`([^`]+)`(?: › (.+))?$/.exec(held) ?? []
    if (held.startsWith('not applicable: ')) continue
    const text = readFileSync(resolve(root, file), 'utf8')
    if (title !== undefined) t.ok(text.includes(`'${title}'`), `${file} › ${title}`)
    else for (const id of ids.split(', ')) t.match(text, new RegExp(`'${id}['):]`), `${file} › ${id}`)
  }
})
