import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { trustedProxies } from '../admission/client-address.ts'
import { edgeCookiePrefix, loginCookiePrefix } from '../login/login-transaction.ts'
import { whyKeptBack } from '../proxy/passed-fields.ts'
import { Complaint } from './complaint.ts'

/** What a text of the file may stand for, beyond what JSON Schema can say. */
export type Form =
  | 'duration'
  | 'size'
  | 'publicOrigin'
  | 'issuer'
  | 'upstreamOrigin'
  | 'redisUrl'
  | 'hostAndPort'
  | 'keyPrefix'
  | 'path'
  | 'pathPattern'
  | 'scope'
  | 'cookieName'
  | 'fieldName'
  | 'proxies'
  | 'secretFile'
  | 'folder'
  | 'colour'

/** The parts of an option's schema that forms look at. Bounds are ms or bytes. */
export type Bounds = { from?: number; to?: number }

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const sizes = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }

const written = (value: number, table: Readonly<Record<string, number>>): string => {
  const [unit, factor] = Object.entries(table).findLast(([, each]) => value % each === 0 && value >= each) ?? ['', 1]
  return `${value / factor}${unit === '' ? Object.keys(table)[0] : unit}`
}
/** 900000 as `15m`. */
export const durationText = (ms: number): string => written(ms, units)
/** 1048576 as `1MB`. */
export const sizeText = (bytes: number): string => written(bytes, sizes)

function quantity(
  text: string,
  table: Readonly<Record<string, number>>,
  show: (value: number) => string,
  bounds: Bounds,
  example: string,
): number {
  const [, digits, unit = ''] = /^(\d{1,12})([A-Za-z]+)$/.exec(text) ?? []
  const factor = table[unit]
  if (digits === undefined || factor === undefined)
    throw new Complaint(
      'is not a whole number with its unit',
      'Without the unit nobody could tell what it means',
      `Write for example ${example}; units are ${Object.keys(table).join(', ')}`,
    )
  const value = Number(digits) * factor
  const { from = 0, to = Number.POSITIVE_INFINITY } = bounds
  if (value < from || value > to)
    throw new Complaint(
      `is out of its range, ${show(from)} to ${show(to)}`,
      'Beyond it nothing would work as it should',
      `Write a value from ${show(from)} to ${show(to)}`,
    )
  return value
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

function secureUrl(text: string, example: string): URL {
  const url = URL.parse(text)
  if (url === null || url.hostname === '')
    throw new Complaint('is not a URL', 'Nothing can be reached there', `Write for example ${example}`)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw new Complaint(
      'has a user, query or fragment',
      'It names a server, not a request',
      `Write for example ${example}`,
    )
  if (url.hostname.includes('*'))
    throw new Complaint('is a pattern', 'Whoever matches it would be trusted', 'Name one host')
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new Complaint(
      'is neither https nor http',
      'Browsers and providers speak nothing else',
      `Write for example ${example}`,
    )
  if (url.protocol === 'http:' && !loopback.test(url.hostname))
    throw new Complaint(
      'uses http beyond this machine',
      'Tokens and cookies would cross the network in the clear, and anybody on the way could put in their own keys',
      'Use https; http is for localhost, 127.0.0.1 and [::1] only',
    )
  return url
}

function originAlone(text: string, url: URL): string {
  if (url.origin !== text)
    throw new Complaint(
      'is more than scheme, host and port',
      'Addresses are made by putting paths behind it',
      `Write ${url.origin}`,
    )
  return text
}

const segment = '[A-Za-z0-9_~-][A-Za-z0-9._~-]*'
const canonicalPath = new RegExp(`^/(?:${segment}(?:/${segment})*)?$`)

const access = { read: 0o004, write: 0o002 }

/** The path of a file that is there; relative ones begin at the configuration's own folder. */
function existing(text: string, folder: string): string {
  const path = resolve(folder, text)
  let isFile: boolean
  try {
    isFile = statSync(path).isFile()
  } catch (cause) {
    // The text is not repeated: somebody may have put the secret itself here.
    throw new Complaint(
      `names a file that cannot be read (${(cause as NodeJS.ErrnoException).code})`,
      `Relative paths begin at ${folder}`,
      'Give the path of a file that the edge may read',
    )
  }
  if (!isFile)
    throw new Complaint('names something that is not a file', 'There is nothing to read', 'Give the path of a file')
  return path
}

/** One parser per form: the value, or a {@link Complaint}. `folder` is the configuration file's. */
export const forms: Readonly<Record<Form, (text: string, bounds: Bounds, folder: string) => string | number>> = {
  duration: (text, bounds) => quantity(text, units, durationText, bounds, '15m'),
  size: (text, bounds) => quantity(text, sizes, sizeText, bounds, '1MB'),
  publicOrigin: text => originAlone(text, secureUrl(text, 'https://bank.example')),
  issuer: text => {
    secureUrl(text, 'https://id.bank.example/realms/banking')
    const metadata = text.search(/\/\.well-known\/(?:openid-configuration|oauth-authorization-server)\b/)
    if (metadata !== -1)
      throw new Complaint(
        'is the address of the provider’s metadata',
        'The issuer is what stands before it',
        `Write ${text.slice(0, metadata)}`,
      )
    return text
  },
  upstreamOrigin: text => {
    const url = URL.parse(text)
    if (url === null || !/^https?:$/.test(url.protocol))
      throw new Complaint(
        'is not an http or https URL',
        'Nothing can be reached there',
        'Write for example http://127.0.0.1:4000',
      )
    return originAlone(text, url)
  },
  redisUrl: text => {
    const url = URL.parse(text)
    if (url === null || !/^rediss?:$/.test(url.protocol))
      throw new Complaint(
        'is not a redis: or rediss: URL',
        'Sessions are kept there',
        'Write for example redis://127.0.0.1:6379',
      )
    if (url.password !== '')
      throw new Complaint(
        'has a password in it',
        'Secrets in configuration end up in repositories, logs and process lists',
        'Write the password into a file and name it in redis.passwordFile; the user goes into redis.username',
      )
    return text
  },
  hostAndPort: text => {
    if (text.includes(','))
      throw new Complaint(
        'is several in one place',
        'Each is an item of the list',
        'Put each on a line of its own, with - before it; a variable that holds them all stands behind the name of the list, without -',
      )
    const port = Number(/^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(text)?.[1] ?? 0)
    if (port < 1 || port > 65_535)
      throw new Complaint(
        'is not host:port',
        'Nothing can be reached there',
        'Write for example redis-1.internal:26379',
      )
    return text
  },
  keyPrefix: text => {
    if (text !== '' && (text.length > 64 || !/^(?:[A-Za-z0-9._-]+:)+$/.test(text)))
      throw new Complaint(
        'is not a prefix of keys',
        'A brace would change where keys lie, and without a colon at its end one prefix could be the beginning of another',
        'Write letters, digits, - . _ and : at its end, 64 at most, for example staff:',
      )
    return text
  },
  path: text => {
    if (!canonicalPath.test(text))
      throw new Complaint(
        'is not a canonical path',
        'Two servers could read it in two ways',
        'Write for example /api/orders: it begins with /, has no / at its end, and only letters, digits, - . _ ~ between',
      )
    return text
  },
  pathPattern: text => {
    if (!canonicalPath.test(text.replace(/(?<=\/):[A-Za-z][A-Za-z0-9_]*(?=\/|$)/g, 'x')))
      throw new Complaint(
        'is not a canonical path',
        'Two servers could read it in two ways',
        'Write for example /api/orders/:id/events: it begins with /, has no / at its end, and only letters, digits, - . _ ~ between; a name after : stands for one segment',
      )
    return text
  },
  scope: text => {
    if (!text.split(' ').includes('openid'))
      throw new Complaint('lacks openid', 'Without it the provider does not say who logged in', `Write openid ${text}`)
    return text
  },
  cookieName: text => {
    if (!text.startsWith('__Host-'))
      throw new Complaint(
        'does not begin with __Host-',
        'Without the prefix another host of the same domain can set the session of a browser, and a network without TLS can too',
        `Write __Host-${text.replace(/[^A-Za-z0-9_-]/g, '')}`,
      )
    if (!/^__Host-[A-Za-z0-9_-]{1,64}$/.test(text))
      throw new Complaint(
        'has characters that cookie names should not have',
        'Browsers disagree about them',
        'Use letters, digits, - and _',
      )
    if ([loginCookiePrefix, edgeCookiePrefix].some(own => text.startsWith(own) || own.startsWith(text)))
      throw new Complaint(
        'is the name of the cookies of logins under way',
        'One would overwrite the other',
        'Choose another name',
      )
    return text
  },
  fieldName: text => {
    if (!/^[A-Za-z0-9-]+$/.test(text))
      throw new Complaint(
        'has other characters than letters, digits and -',
        'Many applications read _, and some any other, as if it were -: two names would be one',
        `Write for example ${text.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'x-purpose'}, and one name on each line`,
      )
    const name = text.toLowerCase()
    const why = whyKeptBack(name)
    if (why !== undefined) throw new Complaint('is a header field that never passes', why, 'Remove the line')
    return name
  },
  proxies: text => {
    try {
      trustedProxies([text])
    } catch (error) {
      const [what = '', ...remedy] = (error as Error).message.split(': ')
      throw new Complaint(what, 'What a trusted proxy says of its clients is believed', remedy.join(': '))
    }
    return text
  },
  colour: text => {
    if (!/^#[0-9A-Fa-f]{6}$/.test(text))
      throw new Complaint(
        'is no colour',
        'It goes into the style sheet of the pages',
        "Write for example '#0b6159', with quotes",
      )
    return text
  },
  secretFile: (text, _bounds, folder) => {
    const path = existing(text, folder)
    // Windows has no such bits.
    const mode = process.platform === 'win32' ? 0 : statSync(path).mode
    if (mode & (access.read | access.write))
      throw new Complaint(
        'can be read or changed by every user of this machine',
        'Whoever reads it can pass for the edge or open sessions',
        'chmod o-rwx the file; in Kubernetes set defaultMode: 0440 on the secret’s volume',
      )
    return path
  },
  folder: (text, _bounds, folder) => {
    const path = resolve(folder, text)
    try {
      statSync(dirname(path))
    } catch {
      throw new Complaint(
        'names a folder in a folder that does not exist',
        `Relative paths begin at ${folder}`,
        'Give the folder of the built web app',
      )
    }
    return path
  },
}
