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
      for (let depth = 0; depth < 2; depth++) depths.push(decodeURIComponent(depths.at(-1) as string))
      for (const depth of depths) {
        const url = new URL(depth, `${origin}/`)
        if (url.origin !== origin || !depth.startsWith('/') || /^\/[/\\]/.test(depth) || /[\r\n\t\\]/.test(depth))
          t.fail(`${JSON.stringify(form)} became ${JSON.stringify(address)}`)
      }
      t.ok(form !== text, `${JSON.stringify(text)} was accepted as it stands`)
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
