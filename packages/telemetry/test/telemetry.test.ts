import { Writable } from 'node:stream'
import t from 'tap'
import {
  childOf,
  createLogger,
  createMetrics,
  formatTraceparent,
  newTrace,
  parseTraceparent,
  preparedLine,
} from '../src/index.ts'

t.test('a log line never holds a secret, at the top or one level down', async t => {
  const lines: string[] = []
  const destination = new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) })
  const logger = createLogger({ name: 'x', destination })
  logger.info(
    { authorization: 'Bearer SECRET', cookie: 'SECRET', deep: { refresh_token: 'SECRET', kept: 'yes' } },
    'fact',
  )
  logger.info({ request: { headers: { authorization: 'SECRET', 'set-cookie': 'SECRET' } } }, 'fact')
  const error = Object.assign(new Error('refused', { cause: new Error('because') }), {
    request: { token: 'SECRET' },
    code: 'E1',
  })
  logger.error({ err: error }, 'failed')
  t.notMatch(lines.join(''), 'SECRET')
  t.match(JSON.parse(lines[0] ?? ''), { app: 'x', level: 'info', msg: 'fact', deep: { kept: 'yes' } })
  t.match(JSON.parse(lines[2] ?? ''), { err: { message: 'refused', code: 'E1', cause: { message: 'because' } } })
})

t.test('a prepared line says what the logger itself would say', async t => {
  const lines: string[] = []
  const destination = new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) })
  const logger = createLogger({ name: 'x', destination }).child({ part: 'edge' })
  const fixed = { route: '/a"b', cookie: 'SECRET' }
  const write = preparedLine(logger, fixed, ['id', 'ms', 'problem'], 'request')
  write('a\n"1', 1.5, undefined)
  write('2', 0, 'rate_limited')
  logger.info({ ...fixed, id: 'a\n"1', ms: 1.5 }, 'request')
  logger.info({ ...fixed, id: '2', ms: 0, problem: 'rate_limited' }, 'request')
  const [first, second, ...others] = lines.map(line => ({ ...JSON.parse(line), time: '' }))
  t.same([first, second], others)
  t.ok(lines.every(line => line.endsWith('\n') && Date.parse(JSON.parse(line).time) > 0))
  const quiet = createLogger({ name: 'x', destination, level: 'warn' })
  preparedLine(quiet, {}, ['id'], 'request')('1')
  t.equal(lines.length, 4, 'nothing below the level')
})

t.test('a hostile value stays inside its own line', async t => {
  const lines: string[] = []
  const destination = new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) })
  createLogger({ name: 'x', destination }).info({ name: 'a\n{"level":"fatal"}\u001b[31m' }, 'fact')
  t.equal(lines.join('').trimEnd().split('\n').length, 1)
  t.notMatch(lines.join(''), '\u001b')
})

t.test('reads a traceparent as W3C Trace Context says', async t => {
  const good = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  t.equal(formatTraceparent(parseTraceparent(good) ?? newTrace()), good)
  const zero = `00-${'0'.repeat(32)}-b7ad6b7169203331-01`
  for (const bad of [undefined, '', 'x', zero, good.toUpperCase(), `${good}-00`, good.replace('00-', 'ff-')]) {
    t.equal(parseTraceparent(bad), undefined)
  }
  const parent = newTrace()
  t.equal(childOf(parent).traceId, parent.traceId)
  t.not(childOf(parent).spanId, parent.spanId)
})

t.test('two apps in one process keep their own metrics', async t => {
  const a = createMetrics('a')
  const b = createMetrics('b')
  a.counter('things_total', 'Things.').inc()
  b.counter('things_total', 'Things.')
  t.match(await a.text(), 'things_total{app="a"} 1')
  t.match(await b.text(), 'things_total{app="b"} 0')
  const tally = a.tally('looks_total', 'Looks.')
  tally.inc()
  a.tally('looks_total', 'Looks.').inc()
  t.match(await a.text(), /# TYPE looks_total counter\nlooks_total\{app="a"\} 2/)
})
