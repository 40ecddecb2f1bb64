import fc from 'fast-check'
import t from 'tap'
import { returnAddress } from '../src/login/return-address.ts'
import { edge } from './edge.ts'
import { alice } from './provider.ts'

const origin = 'http://localhost:3000'
const evil = 'evil.example'

/** Every way we know to write an address that is not ours; written here, at depth 0. */
const hostile: string[] = [
  // another place, plainly
  ...['http:', 'https:', 'HTTP:', 'hTTps:', 'ftp:', 'ws:', 'wss:', 'file:'].flatMap(scheme =>
    ['//', '///', '/', '', '\\\\', '\\/', '/\\', '////'].map(slashes => `${scheme}${slashes}${evil}`),
  ),
  // schemes that run or show something
  ...[
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\nscript:alert(1)',
    'java\tscript:alert(1)',
    ' javascript:alert(1)',
    '\u0001javascript:alert(1)',
    'javascript://%0aalert(1)',
    'vbscript:x',
    'data:text/html,<script>alert(1)</script>',
    'data:text/html;base64,PHNjcmlwdD4=',
    'blob:http://localhost:3000/x',
    'about:blank',
    'view-source:http://x',
    'mailto:a@b',
    'tel:1',
    'intent://x#Intent;end',
  ],
  // slashes and backslashes in front
  ...[
    '//',
    '///',
    '////',
    '/////',
    '\\\\',
    '\\/',
    '/\\',
    '/\\\\',
    '/\\/',
    '\\',
    '/\\/\\',
    '//\\',
    '/\\\\/',
    '\\/\\/',
    '\\\\\\',
  ].map(start => `${start}${evil}`),
  ...['//', '/\\', '///'].flatMap(start =>
    [
      `${evil}/`,
      `${evil}/%2f..`,
      `${evil}:80/`,
      `user@${evil}/`,
      `localhost@${evil}/`,
      `localhost:3000@${evil}`,
      `localhost%3a3000@${evil}`,
      `[::1]/`,
      '127.0.0.1/',
      '2130706433/',
      '0x7f000001/',
      `${evil}?localhost`,
      `${evil}#localhost`,
      `localhost.${evil}`,
      `${evil}\\@localhost`,
    ].map(rest => start + rest),
  ),
  // characters that browsers drop, and so bring two slashes together
  ...[
    '\t',
    '\n',
    '\r',
    '\r\n',
    '\u000b',
    '\f',
    '\0',
    ' ',
    '\u00a0',
    '\u0085',
    '\u1680',
    '\u2000',
    '\u2003',
    '\u2028',
    '\u2029',
    '\u202f',
    '\u205f',
    '\u3000',
    '\ufeff',
    '\u200b',
    '\u200e',
    '\u202e',
    '\u00ad',
    '\u007f',
    '\u0001',
    '\u001f',
    '\u009f',
  ].flatMap(gap =>
    [
      `/${gap}/${evil}`,
      `${gap}//${evil}`,
      `/${gap}\\${evil}`,
      `//${gap}${evil}`,
      `/${gap}${gap}/${evil}`,
      `${gap}/pay`,
      `/pay${gap}`,
      `/${gap}pay`,
    ].map(text => text),
  ),
  // segments that climb into a second slash
  ...['/.', '/..', '/./', '/../', '/./.', '/./..', '/x/..', '/x/../', '/./../', '/../..', '/x/y/../..'].flatMap(climb =>
    [`${climb}//${evil}`, `${climb}/\\${evil}`, `${climb}/%5c${evil}`].map(text => text),
  ),
  `/.\\${evil}`,
  `/./\\${evil}`,
  `/./../../\\${evil}`,
  `/..\\${evil}`,
  `/x/..\\..\\${evil}`,
  `/;/../..//${evil}`,
  `/%2e//${evil}`,
  `/%2e%2e//${evil}`,
  `/%2E/%2e//${evil}`,
  `/pay/%2e%2e//${evil}`,
  // not a path of ours
  '',
  evil,
  `.${evil}`,
  `@${evil}`,
  `:80`,
  '?x',
  '#x',
  'pay',
  './pay',
  '../pay',
  '~',
  '*',
  'null',
  'undefined',
  '[object Object]',
  `localhost:3000/pay`,
  'http://localhost:3000/pay',
  'http://localhost:3000',
  `http://localhost:3000@${evil}/`,
  `http://localhost:3000.${evil}/`,
  `http://localhost:3001/`,
  '\u2215\u2215evil.example',
  '\uff0f\uff0fevil.example',
  `http://localhost:3000\\@${evil}`,
  // header splitting
  '/x\r\nSet-Cookie: a=b',
  '/x\nLocation: //evil.example',
  '/%0d%0aSet-Cookie:a=b',
  '/x%0d%0a%0d%0a<script>',
  '/%0a/evil.example',
  '/%09/evil.example',
  '/%0b/evil.example',
  // encodings that do not decode
  '/%',
  '/%2',
  '/%zz',
  '/%c0%af',
  '/%c0%ae%c0%ae/',
  '/%ff',
  '/%u002f',
  '/%e0%80%af',
  '/%',
  // our own, but no page
  '/oauth2/sign_out',
  '/oauth2/start',
  '/oauth2/start?return_to=/',
  '/OAUTH2/start',
  '/oauth2',
  '/oauth2?x',
  '/oauth2#x',
  '/api/payments',
  '/api',
  '/API/x',
  '/./oauth2/start',
  '/x/../oauth2/sign_out',
  '/x/../api/payments',
  // too long
  `/${'a'.repeat(3000)}`,
]

const encoded = (text: string): string => {
  const bytes = Buffer.from(text)
  return `/${[...bytes.subarray(1)].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('')}`
}
/** Only what matters is encoded: slashes, backslashes, controls and dots. */
const specials = (text: string): string =>
  text[0] + text.slice(1).replace(/[/\\\s\p{Cc}\p{Cf}]/gu, character => encodeURIComponent(character))

/** As the most lenient decoder does it. */
const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text.replaceAll(/%[0-7][0-9a-f]/gi, ascii => decodeURIComponent(ascii))
  }
}

t.test('accepts no hostile address at any of three depths', t => {
  let refused = 0
  for (const text of hostile) {
    const forms = [
      text,
      ...(text.startsWith('/')
        ? [specials(text), specials(specials(text)).replaceAll('%25', '%25'), encoded(text), encodeURI(encoded(text))]
        : []),
    ]
    for (const form of forms) {
      const address = returnAddress(form, origin)
      // An encoded path may be harmless; what comes back must then stay here, whoever decodes it how often.
      if (address === undefined) {
        refused++
        continue
      }
      const depths = [address]
      for (let depth = 0; depth < 2; depth++) depths.push(decoded(depths.at(-1) as string))
      for (const depth of depths) {
        const url = new URL(depth, `${origin}/`)
        if (url.origin !== origin || !depth.startsWith('/') || /^\/[/\\]/.test(depth) || /[\r\n\t\\]/.test(depth))
          t.fail(`${JSON.stringify(form)} became ${JSON.stringify(address)}`)
      }
      t.ok(form !== text, `${encodeURIComponent(text)} was accepted as it stands`)
    }
  }
  t.ok(refused > 1000, `${refused} refused`)
  t.ok(hostile.length > 400, `${hostile.length} in the list`)
  t.end()
})

t.test('accepts nothing but text', t => {
  for (const value of [undefined, null, 1, {}, [], ['/pay'], true, { toString: () => '/pay' }])
    t.equal(returnAddress(value, origin), undefined)
  t.end()
})

t.test('keeps the addresses of our own pages, query and fragment too', t => {
  for (const address of [
    '/',
    '/pay',
    '/accounts/0192f3c4-aaaa-7bbb-8ccc-1234567890ab?from=2026-01-01&to=2026-02-01',
    '/notifications#n-41',
    '/pay?creditor=caf%C3%A9',
    '/apiary',
    '/oauth2x',
    '/accounts/a-b_c~d',
    '/pay?amount=1.50&to=a@b',
  ])
    t.equal(returnAddress(address, origin), address)
  t.equal(returnAddress('/a/../pay', origin), '/pay', 'as the parser reads it')
  t.end()
})

const deepLinks = [
  '/search?q=foo%20bar',
  '/files/My%20File.pdf',
  '/s?q=100%25',
  '/s?q=100%',
  '/files/100%25.pdf',
  '/s?path=C:%5Ctemp',
  '/s?path=C:\\temp',
  '/notes?text=one%0Atwo%0D%0Athree',
  '/notes?text=%00%09',
  '/s?q=%F0%9F%91%A9%E2%80%8D%F0%9F%91%A9%E2%80%8D%F0%9F%91%A7#%E2%9D%A4%EF%B8%8F',
  '/albums/%F0%9F%8F%B3%EF%B8%8F%E2%80%8D%F0%9F%8C%88',
  '/s?latin=caf%E9',
  '/s?next=https://evil.example//x/../y',
  '/a?b?c#d#e?f',
  '/a?',
  '/a#',
  '/a?#',
  '/s?a=b+c&d=%2B',
  '/s#/route/../x//y',
]

t.test('keeps what people search for, attach and share', t => {
  for (const address of deepLinks) t.equal(returnAddress(address, origin), address)
  t.equal(returnAddress('/search?q=foo bar', origin), '/search?q=foo%20bar', 'as the parser writes it')
  t.equal(returnAddress('/s?q=👩‍👩‍👧', origin), `/s?q=${encodeURIComponent('👩‍👩‍👧')}`)
  t.end()
})

t.test('an address is refused however its dot segments or escapes hide where it leads', t => {
  for (const start of ['', '/.', '/..', '/x/..', '/%2e', '/%2E%2e', '/./.', '/x/./..'])
    for (const slashes of [
      '%2f%2f',
      '%2F/',
      '/%2f',
      '%5c%5c',
      '%5C/',
      '/%5c',
      '%2f%5C',
      '%252f%252f',
      '%2f%252f',
      '%20%2f',
      '%E2%80%8B%2f',
    ])
      for (const rest of [evil, `${evil}/%25zz`, `${evil}/%25ff`, `${evil}?a#b`])
        t.equal(returnAddress(`${start}/${slashes}${rest}`, origin), undefined, `${start}/${slashes}${rest}`)
  t.end()
})

t.test('keeps no address that is long, as it came or as it would be kept', t => {
  const ascii = (length: number) => `/${'a'.repeat(length - 1)}`
  t.equal(returnAddress(ascii(2048), origin), ascii(2048))
  t.equal(returnAddress(ascii(2049), origin), undefined)
  t.equal(returnAddress(`/${'a/../'.repeat(500)}pay`, origin), undefined, 'though the parser would read /pay')
  const euros = (count: number) => `/${'€'.repeat(count)}`
  t.equal(returnAddress(euros(227), origin)?.length, 1 + 227 * 9)
  t.equal(returnAddress(euros(228), origin), undefined)
  t.end()
})

t.test('sends a login that asks for another place to the start page', async t => {
  const { browser } = await edge(t)
  for (const text of [
    `//${evil}`,
    `/\\${evil}`,
    `https://${evil}`,
    '/%09/evil.example',
    'javascript:alert(1)',
    '/./../../\\evil.example',
  ]) {
    const person = browser()
    t.equal((await person.login(alice, text)).headers.location, '/', text)
  }
  const person = browser()
  const repeated = await person.open('/oauth2/start?return_to=/pay&return_to=//evil.example')
  t.equal(repeated.statusCode, 400, 'said twice is said not at all')
})

// Properties.

const runs = { numRuns: 2_000 }
/** As a browser writes what follows the origin, `?` and `#` with nothing behind them included. */
const asBrowserWrites = (path: string, search: string, hash: string): string => {
  const url = new URL(path, origin)
  url.search = search
  url.hash = hash
  return url.href.slice(url.origin.length)
}
/** What a path of a page is made of, as it stands in the address. */
const piece = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_~!$&'()*+,;=:@.-]{1,8}$/),
  fc.constantFrom(
    '%20',
    '%25',
    '%2525',
    'a%5Ca',
    'a%2Fa',
    '%3F',
    '%23',
    '%2E',
    '%C3%A9',
    '%e4%b8%ad',
    '..',
    '%25zz',
    '%25ff',
  ),
  fc.constantFrom('👩‍👩‍👧', '❤️', '🏳️‍🌈', 'é', 'ü', '中', '\u00ad', '\u200d', '\u3000').map(encodeURIComponent),
)
const segment = fc
  .tuple(fc.stringMatching(/^[A-Za-z0-9_-]$/), fc.array(piece, { maxLength: 4 }), fc.stringMatching(/^[A-Za-z0-9_-]$/))
  .map(([first, pieces, last]) => first + pieces.join('') + last)
const path = fc.array(segment, { maxLength: 4 }).map(segments => `/${segments.join('/')}`)
/** Anything a script or a form may put there, whole or in pieces of escapes. */
const anything = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc
    .array(
      fc.oneof(piece, fc.constantFrom('%0A', '%0D', '%00', '%', '\\', '%5C', '//', '+', '&', '=', '%09', ' ', '../')),
      {
        maxLength: 8,
      },
    )
    .map(pieces => pieces.join('')),
)

t.test('every address that a browser has on our origin comes back as it was', t => {
  fc.assert(
    fc.property(path, anything, anything, (path, search, hash) => {
      const address = asBrowserWrites(path, search, hash)
      fc.pre(address.length <= 2048 && !/^\/(?:oauth2|api)(?:[/?#]|$)/i.test(address))
      return returnAddress(address, origin) === address
    }),
    runs,
  )
  t.pass('in all of them')
  t.end()
})

t.test('whatever is asked for, what comes back stays on our origin, however often it is decoded', t => {
  const token = fc.constantFrom(
    ...['/', '\\', '.', '..', '%2f', '%5c', '%2e', '%2E%2e', '%25', '%252f', '%255c', '%252e', '%25zz', '%ff'],
    ...['\t', '\n', ' ', '%09', '%0a', '%20', '\u200b', '%E2%80%8B', '\u3000', ';', '@', ':', '?', '#', '%3f', '%23'],
    ...[evil, 'http:', 'javascript:', 'a', 'oauth2', 'api', '\u2215', '\uff0f', '%EF%BC%8F'],
  )
  const address = fc.array(token, { minLength: 1, maxLength: 12 }).map(tokens => `/${tokens.join('')}`)
  let accepted = 0
  fc.assert(
    fc.property(address, given => {
      const kept = returnAddress(given, origin)
      if (kept === undefined) return true
      accepted++
      // What was kept once is kept again: no second look reads it differently.
      if (returnAddress(kept, origin) !== kept) return false
      let text = kept.split(/[?#]/, 1)[0] as string
      for (let depth = 0; depth < 3; depth++) {
        // Trimmed and freed of what is not seen, as some servers and pages do.
        for (const read of [text, text.replaceAll(/[\s\p{Cf}\p{Z}]/gu, '')]) {
          const url = new URL(read, `${origin}/oauth2/callback`)
          if (url.origin !== origin || /^\/[/\\]/.test(url.pathname) || !read.startsWith('/')) return false
          if (/^\/(?:oauth2|api)(?:\/|$)/i.test(url.pathname) && depth === 0) return false
        }
        text = decoded(text)
      }
      return true
    }),
    { numRuns: 20_000 },
  )
  t.ok(accepted > 1_000, `${accepted} accepted`)
  t.end()
})

t.test('a login leads back to the very address that was asked for', async t => {
  const { browser } = await edge(t)
  for (const address of deepLinks) {
    const person = browser()
    t.equal((await person.login(alice, address)).headers.location, address)
    const again = await person.open(`/oauth2/start?again=1&return_to=${encodeURIComponent(address)}`)
    t.equal(again.headers.location, address, 'also from the sign-in page of who is signed in')
  }
})

t.test('a login that came too late leads back there too', async t => {
  const { browser, advance } = await edge(t)
  for (const address of deepLinks) {
    const person = browser()
    const callback = await person.start(address)
    advance(11 * 60_000)
    const late = await person.comeBack(callback)
    t.ok(late.body.includes(encodeURIComponent(address)), address)
  }
})
