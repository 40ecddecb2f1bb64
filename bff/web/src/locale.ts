/** The reader's own conventions, for numbers: what they type and read must be what they are used to. */
export const locale: string = navigator.languages[0] ?? navigator.language

/** English words with the reader's regional order and clock, since the page's text is English. */
const dateLocale: string = (() => {
  const own = new Intl.Locale(locale)
  if (own.language === 'en') return locale
  const region = own.maximize().region
  return region === undefined ? 'en-GB' : `en-${region}`
})()

const times = new Intl.DateTimeFormat(dateLocale, { hour: 'numeric', minute: '2-digit' })
const exactTimes = new Intl.DateTimeFormat(dateLocale, { dateStyle: 'long', timeStyle: 'medium' })
const shortTimes = new Intl.DateTimeFormat(dateLocale, { dateStyle: 'medium', timeStyle: 'short' })
const days = new Intl.DateTimeFormat(dateLocale, { weekday: 'long', day: 'numeric', month: 'long' })
const daysOfYear = new Intl.DateTimeFormat(dateLocale, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
})
const regions = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'code' })

export const formatTime = (at: string | number): string => times.format(new Date(at))
export const formatExactTime = (at: string | number): string => exactTimes.format(new Date(at))
export const formatShortTime = (at: string | number): string => shortTimes.format(new Date(at))
export const formatRegion = (country: string): string => regions.of(country) ?? country

/** The year is named only when it is not this one. */
export function formatDay(at: string | number): string {
  const date = new Date(at)
  return (date.getFullYear() === new Date().getFullYear() ? days : daysOfYear).format(date)
}

const minute = 60_000
const hour = 60 * minute
/** ms by which an hour may be missed to be called about that hour. */
const about = 5 * minute
const units = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/**
 * `just now`, `5 minutes ago`, `in about 8 hours`, `in over 7 hours`, `tomorrow`: as people say it, and so that nothing
 * is promised for longer than it lasts. Minutes and days are rounded towards now.
 */
export function formatDistance(at: string | number, now: number): string {
  const distance = new Date(at).getTime() - now
  const minutes = Math.trunc(distance / minute)
  if (minutes === 0) return distance > 0 ? 'in less than a minute' : 'just now'
  if (Math.abs(minutes) < 60) return units.format(minutes, 'minute')
  if (Math.abs(distance) >= 24 * hour) return units.format(Math.trunc(distance / (24 * hour)), 'day')
  const length = lengthOf(Math.abs(distance))
  return distance > 0 ? `in ${length}` : `${length} ago`
}

function lengthOf(ms: number): string {
  const nearest = Math.round(ms / hour)
  const isAbout = Math.abs(ms - nearest * hour) <= about
  const hours = isAbout ? nearest : Math.floor(ms / hour)
  return `${isAbout ? 'about' : 'over'} ${hours === 1 ? 'an hour' : `${hours} hours`}`
}
