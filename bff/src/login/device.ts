/** By what their User-Agent says; the first that matches counts, since most of them also name those after them. */
const browsers: readonly (readonly [RegExp, string])[] = [
  [/\bEdg(?:e|A|iOS)?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/\b(?:HeadlessChrome|Chrome|Chromium|CriOS)\//, 'Chrome'],
  [/\bVersion\/.*\bSafari\//, 'Safari'],
]
const systems: readonly (readonly [RegExp, string])[] = [
  [/\biPhone\b/, 'iPhone'],
  [/\biPad\b/, 'iPad'],
  [/\bAndroid\b/, 'Android'],
  [/\bWindows NT\b/, 'Windows'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bLinux\b/, 'Linux'],
]

/** More than any browser says of itself. */
const longest = 512

/**
 * A few words by which a person recognises a device of theirs, e.g. `Firefox on Linux`. Only our own words: whatever
 * the header holds, nothing of it is kept.
 *
 * @param userAgent the header of the login, which anybody may write as they like
 */
export function deviceOf(userAgent: string | undefined): string {
  const text = userAgent !== undefined && userAgent.length <= longest ? userAgent : ''
  const first = (list: typeof browsers) => list.find(([pattern]) => pattern.test(text))?.[1]
  const browser = first(browsers)
  const system = first(systems)
  if (browser === undefined) return 'Unknown browser'
  return system === undefined ? browser : `${browser} on ${system}`
}
