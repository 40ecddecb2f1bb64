import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { check: string } }

// Continuous integration runs the tests and nothing else: what `pnpm check` finds has to fail here too.
for (const command of scripts.check.split(' && ')) {
  t.test(`${command} finds nothing`, async t => {
    const [program = '', ...args] = command.split(' ')
    const { status, stdout, stderr } = spawnSync(join(root, 'node_modules/.bin', program), args, {
      cwd: root,
      encoding: 'utf8',
    })
    t.equal(status, 0, `${stdout}${stderr}`.slice(-2000))
  })
}
