import { globSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { problems } from '@banking/contracts'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(resolve(root, file), 'utf8')
const sources = globSync('{bff,packages/http,packages/telemetry}/src/**/*.ts', { cwd: root }).map(read).join('\n')
/** What stands in code marks, where a bar is written with a backslash. */
const marked = [...read('docs/running-the-edge.md').matchAll(/`([^`]+)`/g)].map(([, text = '']) =>
  text.replaceAll('\\|', '|'),
)

t.test('every log line of docs/running-the-edge.md is one that the edge writes', async t => {
  const lines = marked.filter(text => /^(?:[^ ]+ ){2,}[^ ]+$/.test(text) && !/[<>=]/.test(text))
  t.ok(lines.length > 10)
  for (const line of lines) t.ok(sources.includes(line), line)
})

t.test('every code, metric and alert of docs/running-the-edge.md exists', async t => {
  const metrics = read('docs/metrics.md')
  const names = marked.flatMap(text => text.match(/[a-z]+(?:_[a-z]+)+/g) ?? [])
  t.ok(names.length > 20)
  for (const name of names)
    t.ok(name in problems || metrics.includes(`\`${name}\``) || sources.includes(`'${name}'`) || isForeign(name), name)
})

t.test('every option of docs/running-the-edge.md is one of the configuration', async t => {
  const reference = read('docs/configuration.md')
  const options = marked.filter(text => /^[a-z]+\.[a-z][A-Za-z]+$/.test(text))
  t.ok(options.length > 3)
  for (const option of options) {
    const [group, name] = option.split('.')
    t.match(reference, new RegExp(`\n## ${group}\n[^#]*\n\\| \`${name}\` `), option)
  }
})

/** Names of specifications, and the edge's own paths. */
const isForeign = (name: string): boolean =>
  name === 'jwks_uri' || /^(?:invalid_(?:target|scope|client|request)|unauthorized_client)$/.test(name)
