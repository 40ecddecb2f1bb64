export type Day<T> = { key: string; name: 'today' | 'yesterday' | 'date'; at: string; items: T[] }

/** The calendar day of a moment where the reader is, as `2026-11-24`. */
export function dayOf(at: string | Date, timeZone?: string): string {
  // en-CA writes ISO dates; with timeZone undefined Intl takes the reader's own.
  return new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' }).format(
    typeof at === 'string' ? new Date(at) : at,
  )
}

/** The day before, by the calendar: 24 hours earlier would miss it when the clocks change. */
function dayBefore(key: string): string {
  const date = new Date(`${key}T00:00:00Z`)
  date.setUTCDate(date.getUTCDate() - 1)
  return date.toISOString().slice(0, 10)
}

/** Groups items by the reader's calendar day, keeping their order. */
export function groupByDay<T extends { at: string }>(items: readonly T[], now: Date, timeZone?: string): Day<T>[] {
  const today = dayOf(now, timeZone)
  const yesterday = dayBefore(today)
  const days: Day<T>[] = []
  for (const item of items) {
    const key = dayOf(item.at, timeZone)
    const last = days.at(-1)
    if (last?.key === key) {
      last.items.push(item)
      continue
    }
    days.push({
      key,
      name: key === today ? 'today' : key === yesterday ? 'yesterday' : 'date',
      at: item.at,
      items: [item],
    })
  }
  return days
}
