import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')
const servers = globSync('services/*/src/server.ts', { cwd: root })
const usable = { DATABASE_URL: 'postgres://127.0.0.1:1/x', KAFKA_BROKERS: '127.0.0.1:1', PII_KEY_FILE: '/nowhere' }

t.test('no service starts with a configuration it cannot use, and each says why', async t => {
  t.ok(servers.length >= 3)
  for (const server of servers) {
    const child = spawn(process.execPath, [resolve(root, server)], {
      env: { PATH: process.env['PATH'], ...usable, ISSUER: 'http://id.bank.example/realms/banking' },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    t.equal(code, 78, `${server}: ${said}`)
    t.match(said, 'ISSUER must be an https URL, or http on loopback')
    t.notMatch(said, /\n\s+at /, 'a sentence, not a stack')
  }
})
