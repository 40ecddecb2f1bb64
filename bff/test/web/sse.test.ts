import t from 'tap'
import { backoff } from '../../web/src/backoff.ts'
import { createEventParser } from '../../web/src/sse.ts'

const parse = (...pieces: string[]) => {
  const push = createEventParser()
  return pieces.flatMap(push)
}

t.test('an event has an id, a name and its data', async t => {
  t.same(parse('id: 7\nevent: notification\ndata: {"a":1}\n\n'), [{ id: '7', event: 'notification', data: '{"a":1}' }])
})

t.test('an event is complete only with its empty line', async t => {
  const push = createEventParser()
  t.same(push('data: one\n'), [])
  t.same(push('\n'), [{ id: '', event: 'message', data: 'one' }])
})

t.test('the network may cut anywhere, whatever ends the lines', async t => {
  for (const end of ['\n', '\r\n', '\r']) {
    const text = `id: 1${end}event: notification${end}data: first${end}data: second${end}${end}: ping${end}${end}data: x${end}${end}`
    const expected = [
      { id: '1', event: 'notification', data: 'first\nsecond' },
      { id: '1', event: 'message', data: 'x' },
    ]
    for (let cut = 0; cut <= text.length; cut++)
      t.same(parse(text.slice(0, cut), text.slice(cut)), expected, `${JSON.stringify(end)} cut at ${cut}`)
    t.same(parse(...text), expected, `${JSON.stringify(end)} sign by sign`)
  }
})

t.test('comments, unknown fields and a retry time are no events', async t => {
  t.same(parse(': ping\n\n', 'retry: 1000\n\n', 'colour: blue\n\n', ': hello\n'), [])
})

t.test('the rules of the standard at the edges', async t => {
  t.same(parse('\uFEFFdata: a\n\n'), [{ id: '', event: 'message', data: 'a' }], 'a byte order mark is skipped')
  t.same(parse('data:a\ndata: b\ndata:  c\n\n'), [{ id: '', event: 'message', data: 'a\nb\n c' }], 'one space goes')
  t.same(parse('data\n\n'), [{ id: '', event: 'message', data: '' }], 'a field without a colon is empty')
  t.same(parse('id: 5\n\ndata: a\n\n'), [{ id: '5', event: 'message', data: 'a' }], 'the id lasts')
  t.same(
    parse('id: 5\ndata: a\n\nid: 6\0\ndata: b\n\n').map(event => event.id),
    ['5', '5'],
    'an id with NUL is not one',
  )
  t.same(parse('data: a:b: c\n\n'), [{ id: '', event: 'message', data: 'a:b: c' }])
  t.same(parse('event: reconnect\n\n'), [], 'no data, no event')
})

t.test('waits double up to half a minute, half of each left to chance', async t => {
  t.equal(
    backoff(0, () => 0),
    500,
  )
  t.equal(
    backoff(0, () => 1),
    1_000,
  )
  t.equal(
    backoff(3, () => 1),
    8_000,
  )
  t.equal(
    backoff(100, () => 1),
    30_000,
  )
  t.equal(
    backoff(100, () => 0),
    15_000,
  )
})
