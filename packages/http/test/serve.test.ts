import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'

/** A process that serves, with an `onClose` of its own, and the lines it logs. */
async function serving(t: Test, onClose: string, drainDelay = 0) {
  const script = `
    import { createServer, serve } from '${import.meta.resolve('../src/index.ts')}'
    import { createLogger, createMetrics } from '${import.meta.resolve('@banking/telemetry')}'
    const logger = createLogger({ name: 'test' })
    const metrics = createMetrics('test')
    const app = await createServer({ title: 'Test', description: 'A process.', logger, metrics })
    const onClose = ${onClose}
    await serve(app, { host: '127.0.0.1', port: 0, healthPort: 0, checks: [], metrics, logger, onClose, drainDelay: ${drainDelay} })`
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

/** A port from the addresses that were logged: 0 was asked for. */
const portsIn = (log: string): number[] =>
  [...log.matchAll(/http:\/\/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port))

async function ask(port: number, agent: Agent | false = false) {
  const [answer] = (await once(get({ host: '127.0.0.1', port, path: '/ready', agent }), 'response')) as [
    IncomingMessage,
  ]
  return { status: answer.statusCode, headers: answer.headers, body: await text(answer) }
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

t.test('serves while whoever balances notices that it stops, and asks each connection to go', async t => {
  const { child, exit, log } = await serving(t, 'async () => {}', 1_500)
  const [port = 0, healthPort = 0] = portsIn(log())
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  t.equal((await ask(port, agent)).headers.connection, 'keep-alive')
  child.kill('SIGTERM')
  let ready = await ask(healthPort)
  while (ready.status === 200) ready = await ask(healthPort)
  t.match(ready, { status: 503, body: '"draining"' })
  const kept = await ask(port, agent)
  t.match([kept.status, kept.headers.connection], [404, 'close'], 'the open connection is told to go')
  t.equal((await ask(port)).status, 404, 'a new one is still accepted')
  t.equal(await exit, 0)
})
