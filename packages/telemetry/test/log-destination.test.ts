import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { logDestination } from '../src/log-destination.ts'

const source = new URL('../src/index.ts', import.meta.url).href

function file(t: Test): { fd: number; content: () => string } {
  const folder = mkdtempSync(join(tmpdir(), 'log-'))
  const path = join(folder, 'log')
  const fd = openSync(path, 'w')
  t.teardown(() => {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  return { fd, content: () => readFileSync(path, 'utf8') }
}

const soon = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await new Promise(resolve => setTimeout(resolve, 20))
}

t.test('writes lines in their order, whatever their length and characters, soon after they came', async t => {
  const { fd, content } = file(t)
  const destination = logDestination(fd)
  const lines = ['a', 'é', '\u{1f600}', 'x'.repeat(30_000), 'ü'.repeat(40_000), 'x'.repeat(200_000), '', 'end'].map(
    line => `${line}\n`,
  )
  for (const line of lines) destination.write(line)
  await soon(() => content().endsWith('end\n'))
  t.equal(content(), lines.join(''))
  destination.write('one more\n')
  destination.flushSync()
  t.ok(content().endsWith('end\none more\n'), 'at once when asked')
})

t.test('a process that ends has written its last line, also when it ends by an error', async t => {
  for (const end of ['process.exit(3)', 'throw new Error("boom")', '']) {
    const program = `import { createLogger } from '${source}'
const logger = createLogger({ name: 'x' })
for (let at = 1; at <= 2000; at++) logger.info({ at }, 'fact')
${end}`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [written] = await Promise.all([text(child.stdout), once(child, 'exit')])
    const lines = written.trimEnd().split('\n')
    t.equal(lines.length, 2000, end)
    t.match(JSON.parse(lines.at(-1) ?? ''), { at: 2000, msg: 'fact' })
  }
})

t.test('a reader that does not read holds nobody; it is told how many lines it missed', async t => {
  const program = `import { createLogger } from '${source}'
const logger = createLogger({ name: 'x' })
const fact = 'x'.repeat(1000)
const started = performance.now()
let longest = 0
for (let at = 0; at < 20000; at++) {
  const before = performance.now()
  logger.info({ fact }, 'fact')
  longest = Math.max(longest, performance.now() - before)
  if (at % 1000 === 0) await new Promise(resolve => setImmediate(resolve))
}
process.send({ longest, memory: process.memoryUsage().arrayBuffers })
process.once('message', () => setInterval(() => logger.info('later'), 50))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [{ memory }] = (await once(child, 'message')) as [{ memory: number }]
  t.ok(memory < 16 * 1024 * 1024, `${memory} bytes wait for the reader`)
  child.send('go on')
  let received = ''
  child.stdout?.setEncoding('utf8').on('data', chunk => {
    received += chunk
  })
  await soon(() => received.includes('"msg":"later"') && received.includes('log lines were lost'))
  const lines = received
    .slice(0, received.lastIndexOf('\n'))
    .split('\n')
    .map(line => JSON.parse(line))
  const written = lines.filter(({ msg }) => msg === 'fact').length
  const [{ lines: lost }] = lines.filter(({ msg }) => msg === 'log lines were lost')
  t.equal(written + lost, 20_000)
  t.ok(lost > 0)
})

t.test('a reader that is gone ends nothing', async t => {
  const program = `import { createLogger } from '${source}'
const logger = createLogger({ name: 'x' })
for (let round = 0; round < 10; round++) {
  for (let at = 0; at < 500; at++) logger.info({ at }, 'fact')
  await new Promise(resolve => setTimeout(resolve, 20))
}
process.stderr.write('alive')`
  const full = openSync('/dev/full', 'w')
  const unwritable = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', full, 'pipe'],
  })
  closeSync(full)
  t.equal(await text(unwritable.stderr as Readable), 'alive', 'a full disk')
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  t.equal(await text(child.stderr), 'alive', 'a closed pipe')
})
