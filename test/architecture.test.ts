import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')
/** Lower never imports higher. */
const layers = [
  ['contracts', 'config'],
  ['telemetry'],
  ['http'],
  ['auth'],
  ['db'],
  ['messaging'],
  ['testkit'],
  ['devstack'],
]
const layerOf = (name: string): number => layers.findIndex(layer => layer.includes(name))

type Source = { path: string; folder: string; text: string; imports: string[] }

const sources: Source[] = globSync(['bff/src/**/*.ts', 'services/*/src/**/*.ts', 'packages/*/src/**/*.ts'], {
  cwd: root,
}).map(path => {
  const text = readFileSync(join(root, path), 'utf8')
  const imports = [...text.matchAll(/^(?:import|export)\b(?:[^'"]*?\bfrom)?\s*['"]([^'"]+)['"]/gm)].map(
    match => match[1] ?? '',
  )
  const [top = '', name = ''] = path.split('/')
  return { path, folder: top === 'bff' ? 'bff' : `${top}/${name}`, text, imports }
})

const packageOf = (specifier: string): string | undefined => /^@banking\/([a-z]+)$/.exec(specifier)?.[1]

t.test('the sources are found', async t => {
  t.ok(sources.length > 40, `${sources.length} files`)
  t.ok(sources.some(({ imports }) => imports.includes('@banking/contracts')))
})

t.test('a package imports only what stands below it', async t => {
  for (const { path, folder, imports } of sources.filter(source => source.folder.startsWith('packages/'))) {
    const own = folder.slice('packages/'.length)
    t.not(layerOf(own), -1, `${own} has a place in the order of imports`)
    for (const name of imports.map(packageOf).filter(name => name !== undefined)) {
      t.ok(layerOf(name) < layerOf(own), `${path} imports @banking/${name}`)
    }
  }
})

t.test('an app imports packages, never another app, a test kit or the launcher', async t => {
  for (const { path, folder, imports } of sources.filter(source => !source.folder.startsWith('packages/'))) {
    for (const specifier of imports) {
      const name = packageOf(specifier)
      t.notOk(name === 'testkit' || name === 'devstack', `${path} imports ${specifier}`)
      t.notOk(folder === 'bff' && name === 'db', `${path}: the edge has no database`)
      if (!specifier.startsWith('.')) continue
      const target = resolve(root, path, '..', specifier)
      t.ok(target.startsWith(join(root, folder)), `${path} reaches out of its folder: ${specifier}`)
    }
  }
})

t.test('no folder of an app stands above and below another', async t => {
  // The files at the top put the folders together.
  const folderOf = (path: string): string | undefined => /^.*?\/src\/[^/]+(?=\/)/.exec(path)?.[0]
  const below = new Map<string, Map<string, string>>()
  for (const { path, imports } of sources) {
    const folder = folderOf(path)
    if (folder === undefined) continue
    for (const specifier of imports.filter(specifier => specifier.startsWith('.'))) {
      const target = folderOf(join(path, '..', specifier))
      if (target === undefined || target === folder) continue
      below.set(folder, (below.get(folder) ?? new Map()).set(target, `${path} imports ${specifier}`))
    }
  }
  t.ok(below.size > 5, `${below.size} folders import others`)
  /** The imports that lead from one folder to another. */
  const wayTo = (from: string, to: string, seen = new Set<string>()): string[] | undefined => {
    for (const [next, why] of below.get(from) ?? []) {
      if (seen.has(next)) continue
      seen.add(next)
      const rest = next === to ? [] : wayTo(next, to, seen)
      if (rest !== undefined) return [why, ...rest]
    }
    return undefined
  }
  for (const folder of below.keys()) t.same(wayTo(folder, folder) ?? [], [], folder)
})

t.test('who listens for the end of a response knows that it may have been', async t => {
  const listening = sources
    .filter(({ path }) => !/^packages\/(?:testkit|devstack)\//.test(path))
    .filter(({ text }) => /\??\.(?:on|once|addListener|prependListener)\(\s*'close'/.test(text))
    .map(({ path }) => path)
  // Each of them was looked at: a new one has to be.
  t.same(listening.sort(), [
    // Counts and streams of the edge: knows who has left.
    'bff/src/admission/in-progress.ts',
    // Bodies and sockets of its own.
    'bff/src/proxy/body-writer.ts',
    'bff/src/proxy/forwarder.ts',
    'bff/src/proxy/http1-connection.ts',
    'packages/http/src/connections.ts',
    // Only while the response is not closed.
    'packages/http/src/pipelining.ts',
    'services/notification/src/streams.ts',
  ])
})

t.test('the rules of a service know neither HTTP nor SQL', async t => {
  for (const { path, folder, imports } of sources.filter(source => source.folder.startsWith('services/'))) {
    const noun = folder.slice('services/'.length)
    if (path !== `services/${noun}/src/${noun}.ts`) continue
    for (const specifier of imports) {
      t.ok(
        specifier === '@banking/contracts' ||
          specifier === 'typebox' ||
          specifier.startsWith('./') ||
          specifier.startsWith('node:'),
        `${path} imports ${specifier}`,
      )
    }
  }
})

t.test('a service keeps its SQL in its stores, its tables and the bank’s own bookkeeping', async t => {
  const services = sources.filter(source => source.folder.startsWith('services/'))
  const withSql = services.filter(({ text }) => /\b(?:sql|fragment)(?:<[^`]*>)?`/.test(text)).map(({ path }) => path)
  t.ok(withSql.length >= 3)
  for (const path of withSql) t.match(path, /\/src\/(?:ledger\/)?(?:[a-z]+-store|tables|bookkeeping)\.ts$/)
})

t.test('only the configuration, and what runs tests and the machine, reads the environment', async t => {
  const allowed = /^packages\/(config|testkit|devstack)\//
  for (const { path, text } of sources) {
    if (allowed.test(path) || /\/(server|migrate|seed)\.ts$/.test(path)) continue
    t.notMatch(text, /process\.env/, path)
  }
})

t.test('Fastify’s types are widened in three files only', async t => {
  // One program sees every `declare module`, so each of them is seen by all apps.
  const widening = sources.filter(({ text }) => /declare module 'fastify'/.test(text)).map(({ path }) => path)
  t.same(widening.sort(), ['bff/src/sessions/session.ts', 'packages/auth/src/index.ts', 'packages/http/src/server.ts'])
})

t.test('every service has the same file names', async t => {
  const services = readdirSync(join(root, 'services')).filter(name =>
    existsSync(join(root, 'services', name, 'package.json')),
  )
  t.ok(services.length >= 3)
  for (const name of services) {
    for (const file of ['README.md', 'package.json', 'drizzle.config.ts', 'migrations/meta/_journal.json']) {
      t.ok(existsSync(join(root, 'services', name, file)), `services/${name}/${file}`)
    }
    for (const file of ['server', 'app', 'config', 'migrate', 'seed', 'tables', name, `${name}-store`]) {
      t.ok(existsSync(join(root, 'services', name, 'src', `${file}.ts`)), `services/${name}/src/${file}.ts`)
    }
    t.ok(existsSync(join(root, 'services', name, 'test', 'openapi.test.ts')), `services/${name}/test/openapi.test.ts`)
  }
})

t.test('a package stays small and is named for a noun', async t => {
  for (const name of layers.flat().filter(name => name !== 'devstack')) {
    const files = globSync(`packages/${name}/src/*.ts`, { cwd: root })
    t.ok(files.length <= 9, `packages/${name} has ${files.length} files`)
  }
  for (const { path } of sources) t.notMatch(path, /(^|\/)(utils?|common|shared|helpers?|misc)(\/|\.ts$)/)
})

t.test('every external version stands in the catalog', async t => {
  for (const path of globSync(
    ['package.json', 'bff/package.json', 'services/*/package.json', 'packages/*/package.json'],
    { cwd: root },
  )) {
    const manifest = JSON.parse(readFileSync(join(root, path), 'utf8')) as Record<string, Record<string, string>>
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
        t.match(version, name.startsWith('@banking/') ? /^workspace:\*$/ : /^catalog:$/, `${path}: ${name}`)
      }
    }
  }
})

t.test('every decision has a number of its own, which its title repeats', async t => {
  const names = readdirSync(join(root, 'docs/adr')).sort()
  t.ok(names.length > 20)
  const numbers = names.map(name => name.slice(0, 4))
  t.same(numbers, [...new Set(numbers)])
  for (const name of names)
    t.match(readFileSync(join(root, 'docs/adr', name), 'utf8'), new RegExp(`^# ${Number(name.slice(0, 4))}\\. `), name)
})

t.test('a link from one document to another leads somewhere', async t => {
  const documents = globSync(['*.md', 'docs/**/*.md', 'bff/*.md', 'bench/*.md', 'packages/*/*.md', 'services/*/*.md'], {
    cwd: root,
  })
  for (const path of documents)
    for (const [, target = ''] of readFileSync(join(root, path), 'utf8').matchAll(
      /\]\((?!https?:|#|mailto:)([^)#\s]+)/g,
    ))
      t.ok(existsSync(join(root, path, '..', target)), `${path} links to ${target}`)
})
