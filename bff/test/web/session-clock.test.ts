import t from 'tap'
import { sessionPhase } from '../../web/src/session-clock.ts'

const minute = 60_000
const ends = { lastSeenAt: 0, idleTimeoutAt: 15 * minute, absoluteTimeoutAt: 480 * minute }

t.test('a session is active, then warned about, then over', async t => {
  t.same(sessionPhase(ends, 0), {
    phase: 'active',
    cause: 'idle',
    endsAt: 15 * minute,
    changesAt: 13 * minute,
  })
  t.equal(sessionPhase(ends, 13 * minute - 1).phase, 'active')
  t.equal(sessionPhase(ends, 13 * minute).phase, 'warning')
  t.equal(sessionPhase(ends, 15 * minute - 1).phase, 'warning')
  t.equal(sessionPhase(ends, 15 * minute).phase, 'ended')
})

t.test('the absolute end wins when it comes first, or at the same moment', async t => {
  const late = { lastSeenAt: 470 * minute, idleTimeoutAt: 485 * minute, absoluteTimeoutAt: 480 * minute }
  t.match(sessionPhase(late, 478 * minute), { phase: 'warning', cause: 'absolute', endsAt: 480 * minute })
  t.equal(sessionPhase({ ...late, idleTimeoutAt: 480 * minute }, 0).cause, 'absolute')
})

t.test('a very short idle time still has a time without a warning', async t => {
  const short = { lastSeenAt: 0, idleTimeoutAt: minute, absoluteTimeoutAt: 480 * minute }
  t.equal(sessionPhase(short, 0).phase, 'active')
  t.equal(sessionPhase(short, 0).changesAt, 40_000)
})

t.test('times out of order do no harm', async t => {
  t.equal(sessionPhase({ lastSeenAt: 99, idleTimeoutAt: 50, absoluteTimeoutAt: 200 }, 49).phase, 'active')
  t.equal(sessionPhase({ lastSeenAt: 99, idleTimeoutAt: 50, absoluteTimeoutAt: 200 }, 50).phase, 'ended')
})
