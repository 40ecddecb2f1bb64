import t from 'tap'
import { dayOf, groupByDay } from '../../web/src/day.ts'

const items = (...times: string[]) => times.map(at => ({ at }))

t.test('items are grouped by the day of the reader, not of the server', async t => {
  const postings = items('2026-11-24T22:30:00Z', '2026-11-24T23:30:00Z')
  t.equal(groupByDay(postings, new Date('2026-11-24T23:40:00Z'), 'UTC').length, 1)
  t.same(
    groupByDay(postings.toReversed(), new Date('2026-11-24T23:40:00Z'), 'Europe/Berlin').map(day => day.key),
    ['2026-11-25', '2026-11-24'],
  )
  t.equal(dayOf('2026-11-24T03:00:00Z', 'America/New_York'), '2026-11-23')
})

t.test('today and yesterday have names, older days have dates', async t => {
  const days = groupByDay(
    items('2026-11-24T10:00:00Z', '2026-11-24T09:00:00Z', '2026-11-23T09:00:00Z', '2026-11-21T09:00:00Z'),
    new Date('2026-11-24T12:00:00Z'),
    'UTC',
  )
  t.same(
    days.map(day => [day.name, day.items.length]),
    [
      ['today', 2],
      ['yesterday', 1],
      ['date', 1],
    ],
  )
})

t.test('yesterday is found across the change of clocks and of the year', async t => {
  const berlin = groupByDay(items('2026-03-28T23:30:00+01:00'), new Date('2026-03-29T23:30:00+02:00'), 'Europe/Berlin')
  t.equal(berlin[0]?.name, 'yesterday', '23 hours long')
  const newYear = groupByDay(items('2025-12-31T12:00:00Z'), new Date('2026-01-01T12:00:00Z'), 'UTC')
  t.equal(newYear[0]?.name, 'yesterday')
})

t.test('no items make no days', async t => {
  t.same(groupByDay([], new Date(), 'UTC'), [])
})
