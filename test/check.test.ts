import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { check: string } }

// Continuous integration runs the tests and nothing else: what `pnpm check` finds has to fail here too.
for (const command of scripts.check.split(' && ')) {
  t.test(`${command} finds nothing`, async t => {
    const path = [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)
    // The test runner gives each of its children NODE_OPTIONS that load its hooks; TypeScript does not start with them.
    const { status, stdout, stderr } = spawnSync('sh', ['-c', `unset NODE_OPTIONS; ${command}`], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, PATH: path },
    })
    t.equal(status, 0, `${stdout}${stderr}`.slice(-2000))
  })
}
