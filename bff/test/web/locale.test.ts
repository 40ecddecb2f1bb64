import t from 'tap'
import { formatDistance } from '../../web/src/locale.ts'

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const now = Date.parse('2026-11-24T12:00:00Z')

t.test('a time to come is said as people say it, and never as more than five minutes longer than it is', async t => {
  for (const [ms, text] of [
    [second, 'in less than a minute'],
    [minute + 59 * second, 'in 1 minute'],
    [hour - second, 'in 59 minutes'],
    [hour, 'in about an hour'],
    [hour + 6 * minute, 'in over an hour'],
    [7 * hour + 54 * minute, 'in over 7 hours'],
    [7 * hour + 55 * minute, 'in about 8 hours'],
    [8 * hour - second, 'in about 8 hours'],
    [8 * hour + 5 * minute, 'in about 8 hours'],
    [8 * hour + 5 * minute + second, 'in over 8 hours'],
    [24 * hour - second, 'in about 24 hours'],
    [48 * hour - second, 'tomorrow'],
    [71 * hour, 'in 2 days'],
  ] as const)
    t.equal(formatDistance(now + ms, now), text)
})

t.test('a time that has passed is said the same way', async t => {
  for (const [ms, text] of [
    [0, 'just now'],
    [59 * second, 'just now'],
    [5 * minute, '5 minutes ago'],
    [hour + 2 * minute, 'about an hour ago'],
    [7 * hour + 30 * minute, 'over 7 hours ago'],
    [8 * hour - second, 'about 8 hours ago'],
    [47 * hour, 'yesterday'],
  ] as const)
    t.equal(formatDistance(now - ms, now), text)
  t.equal(formatDistance(new Date(now - 5 * minute).toISOString(), now), '5 minutes ago')
})
