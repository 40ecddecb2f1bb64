import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'

/** A process that serves, with an `onClose` of its own, and the lines it logs. */
async function serving(t: Test, onClose: string) {
  const script = `
    import { createServer, serve } from '${import.meta.resolve('../src/index.ts')}'
    import { createLogger, createMetrics } from '${import.meta.resolve('@banking/telemetry')}'
    const logger = createLogger({ name: 'test' })
    const metrics = createMetrics('test')
    const app = await createServer({ title: 'Test', description: 'A process.', logger, metrics })
    const onClose = ${onClose}
    await serve(app, { host: '127.0.0.1', port: 0, healthPort: 0, checks: [], metrics, logger, onClose })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const exit = new Promise<number | null>(resolve => child.once('close', resolve))
  const lines: string[] = []
  await new Promise<void>(resolve => {
    createInterface({ input: child.stdout }).on('line', line => {
      lines.push(line)
      if (line.includes('"listening"')) resolve()
    })
  })
  return { child, exit, log: () => lines.join('\n') }
}

t.test('stops in order when it is told to, and says so', async t => {
  const { child, exit, log } = await serving(t, 'async () => {}')
  child.kill('SIGTERM')
  t.equal(await exit, 0)
  t.match(log(), /"signal":"SIGTERM".*"stopping"(.|\n)*"stopped"/)
})

t.test('says why it could not stop in order', async t => {
  const { child, exit, log } = await serving(t, "async () => Promise.reject(new Error('the relay hangs'))")
  child.kill('SIGTERM')
  t.equal(await exit, 1)
  t.match(log(), /"level":"error".*the relay hangs/)
  t.notMatch(log(), '"stopped"')
})

t.test('says what ended it when an error was caught by nobody', async t => {
  const throwing = "process.stdin.once('data', () => { throw new Error('nobody caught me') })"
  const { child, exit, log } = await serving(t, `(${throwing}, async () => {})`)
  child.stdin.write('now')
  t.equal(await exit, 1)
  t.match(log(), /"level":"fatal".*nobody caught me/)
  t.match(log(), '"stopped"', 'in order all the same')
})
