import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import t, { type Test } from 'tap'
import { defaultLimits } from '../src/admission/limits.ts'
import { upstreamDefaults } from '../src/config/options.ts'
import { passedFields } from '../src/proxy/passed-fields.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { edge, testUpstream } from './edge.ts'

// What an upstream is told, and what it may say to a browser, field by field and byte by byte.

const publicHost = 'apps.example'
const plenty = { perSecond: 100_000, burst: 100_000 }
const unlimited = {
  ...defaultLimits,
  perSession: plenty,
  perAddress: plenty,
  perAddressInAll: plenty,
  logins: plenty,
}

/** An edge at `https://apps.example` before an upstream of each kind, and somebody who is logged in. */
async function serving(
  t: Test,
  more: Partial<Upstream> = {},
  answer?: (request: IncomingMessage, response: ServerResponse) => void,
  config: NonNullable<Parameters<typeof edge>[1]>['config'] = {},
) {
  const upstream = await testUpstream(t, answer)
  const common = { ...upstreamDefaults, origin: upstream.origin, token: 'none', ...more } as const
  const under = await edge(t, {
    upstreams: [
      { ...common, name: 'pages', prefix: '/pages', kind: 'pages' },
      { ...common, name: 'api', prefix: '/api', kind: 'api' },
    ] as Upstream[],
    config: { publicOrigin: `https://${publicHost}`, limits: unlimited, ...config },
  })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const person = under.browser()
  await person.login()
  const session = `Cookie: __Host-session=${person.cookie()}\r\nX-CSRF: 1\r\nSec-Fetch-Site: same-origin\r\n`
  /** A GET with exactly these lines. @returns status, the fields of the answer, and those that the upstream saw */
  const ask = async (path: string, lines: readonly string[] = []) => {
    const before = upstream.seen.length
    const text = await whole(
      port,
      `GET ${path} HTTP/1.1\r\nHost: ${publicHost}\r\n${session}${lines.map(line => `${line}\r\n`).join('')}`,
    )
    const [head = ''] = text.split('\r\n\r\n', 1)
    const [first = '', ...fields] = head.split('\r\n')
    const got = (name: string) =>
      fields.filter(line => line.toLowerCase().startsWith(`${name}: `)).map(line => line.slice(name.length + 2))
    return { status: Number(first.split(' ')[1]), got, told: toldOf(upstream.seen.slice(before).at(-1)?.raw) }
  }
  return { ...under, upstream, ask, port, session }
}

/** Each field that an upstream saw, with all its values. */
function toldOf(raw: readonly string[] = []): Record<string, string[]> {
  const told: Record<string, string[]> = {}
  for (let at = 0; at < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase()
    told[name] = [...(told[name] ?? []), raw[at + 1] as string]
  }
  return told
}

function whole(port: number, head: string): Promise<string> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port })
    let received = ''
    socket.setEncoding('latin1').on('data', text => {
      received += text
    })
    socket.on('close', () => resolve(received)).on('error', () => undefined)
    socket.write(`${head}Connection: close\r\n\r\n`, 'latin1')
  })
}

/** What says who somebody is, where a request came from, or how the connection is to be used. */
const hostile = [
  'authorization',
  'proxy-authorization',
  'proxy-connection',
  'dpop',
  'forwarded',
  'via',
  'x-forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-forwarded-prefix',
  'x-forwarded-ssl',
  'x-forwarded-uri',
  'x-forwarded-user',
  'x-forwarded-email',
  'x-forwarded-client-cert',
  'x-real-ip',
  'x-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'x-cluster-client-ip',
  'front-end-https',
  'x-url-scheme',
  'x-host',
  'x-original-url',
  'x-original-host',
  'x-rewrite-url',
  'x-envoy-external-address',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'remote-user',
  'remote-groups',
  'x-remote-user',
  'x-auth-request-user',
  'x-authenticated-user',
  'x-webauth-user',
  'x-user',
  'x-user-id',
  'x-username',
  'x-groups',
  'x-roles',
  'x-email',
  'x-jwt-payload',
  'x-access-token',
  'x-goog-iap-jwt-assertion',
  'x-amzn-oidc-data',
  'x-ms-client-principal',
  'cf-access-jwt-assertion',
  'oidc-claim-sub',
  'client-cert',
  'ssl-client-verify',
  'x-ssl-client-dn',
  'te',
  'keep-alive',
  'traceparent',
  'tracestate',
  'baggage',
  'x-request-id',
]
/** Fields that the edge makes itself, of those. */
const made = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'traceparent',
  'x-request-id',
]

t.test('each field that passes to its kind passes once, as it was written, in any case of its name', async t => {
  const { ask } = await serving(t)
  t.ok(passedFields.pages.length > passedFields.api.length + 20)
  for (const kind of ['pages', 'api'] as const)
    for (const name of new Set([...passedFields.pages, ...passedFields.api])) {
      // These two are looked at before: a value of another page would be refused.
      const value = name === 'sec-fetch-site' ? 'same-origin' : name === 'origin' ? `https://${publicHost}` : 'it; "is"'
      const lines = name === 'sec-fetch-site' ? [] : [`${name.toUpperCase()}: ${value}`]
      const { status, told } = await ask(`/${kind}`, lines)
      t.equal(status, 200, `${kind} ${name}`)
      t.same(told[name], passedFields[kind].includes(name) ? [value] : undefined, `${kind} ${name}`)
    }
})

t.test('a field that has one value and comes twice is refused, a list is joined', async t => {
  const { ask, upstream } = await serving(t, { requestHeaders: ['x-purpose'] })
  const lists = ['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'cache-control', 'content-encoding']
  lists.push('content-language', 'if-match', 'if-none-match', 'sec-ch-ua')
  for (const name of [...passedFields.pages, 'x-purpose']) {
    // Of these two values one is another site's, and already that is refused.
    if (name === 'origin' || name === 'sec-fetch-site') continue
    const before = upstream.seen.length
    const { status, told } = await ask('/pages', [`${name}: a`, `${name.toUpperCase()}: b`])
    if (lists.includes(name)) t.same([status, told[name]], [200, ['a, b']], name)
    else t.same([status, upstream.seen.length], [400, before], name)
  }
  for (const name of ['origin', 'sec-fetch-site'])
    t.ok((await ask('/pages', [`${name}: same-origin`, `${name}: same-origin`])).status >= 400, name)
})

t.test(
  'what says who, from where or by which connection never passes, to neither kind, however it is spelt',
  async t => {
    const { ask } = await serving(t)
    for (const kind of ['pages', 'api'])
      for (const name of hostile)
        for (const spelling of [
          name,
          name.toUpperCase(),
          name.replaceAll('-', '_'),
          name.replace('-', '_'),
          `${name}_`,
        ]) {
          const { status, told } = await ask(`/${kind}`, [`${spelling}: smuggled`])
          t.equal(status, 200, `${kind} ${spelling}`)
          t.notMatch(JSON.stringify(told), 'smuggled', `${kind} ${spelling}`)
          t.ok((told[name]?.length ?? 0) <= 1, 'at most the edge’s own')
          t.notOk(
            Object.keys(told).some(each => each.includes('_')),
            `${kind} ${spelling}`,
          )
          if (!made.includes(name)) t.equal(told[name], undefined, `${kind} ${spelling}`)
        }
  },
)

t.test('what Connection names stays here, and of what the edge makes nothing goes with it', async t => {
  const { ask } = await serving(t, { requestHeaders: ['x-purpose'] })
  for (const name of ['User-Agent', 'referer', 'X-CSRFToken', 'hx-request', 'x-purpose', 'Accept', 'cookie']) {
    const line = name === 'cookie' ? 'Cookie: theme=dark' : `${name}: a`
    t.same((await ask('/pages', [line])).told[name.toLowerCase()], [line.split(': ')[1]], name)
    const { told } = await ask('/pages', [line, `Connection: ${name}, x-forwarded-for`, 'Connection: FORWARDED , host'])
    t.equal(told[name.toLowerCase()], undefined, name)
    t.same(told['x-forwarded-for'], ['127.0.0.1'])
    t.same(told['forwarded'], [`for=127.0.0.1;host=${publicHost};proto=https`])
    t.same(told['host'], [publicHost])
  }
})

t.test('further fields pass where the file names them, and only there', async t => {
  const { ask } = await serving(t, { requestHeaders: ['x-purpose', 'tus-resumable'] })
  for (const path of ['/pages', '/api']) {
    t.same((await ask(path, ['X-Purpose: audit 7'])).told['x-purpose'], ['audit 7'])
    t.same((await ask(path, ['x_purpose: audit 7'])).told['x-purpose'], undefined)
    t.equal((await ask(path, ['X-Purposes: audit 7'])).told['x-purposes'], undefined)
  }
  const without = await serving(t)
  for (const path of ['/pages', '/api'])
    t.equal((await without.ask(path, ['X-Purpose: audit 7'])).told['x-purpose'], undefined)
})

t.test('an address of a login is no referrer for anybody', async t => {
  const { ask } = await serving(t)
  const own = `https://${publicHost}/pages/1?q=2`
  t.same((await ask('/pages', [`Referer: ${own}`])).told['referer'], [own])
  t.equal((await ask('/pages', [`Referer: https://${publicHost}/oauth2/callback?code=c`])).told['referer'], undefined)
})

t.test('says where a request came from as the configuration and the admission know it', async t => {
  for (const [publicOrigin, host, port, proto, quotedHost] of [
    ['https://apps.example', 'apps.example', '443', 'https', 'apps.example'],
    ['https://apps.example:8443', 'apps.example:8443', '8443', 'https', '"apps.example:8443"'],
    ['http://localhost:3000', 'localhost:3000', '3000', 'http', '"localhost:3000"'],
    ['http://localhost', 'localhost', '80', 'http', 'localhost'],
    ['http://[::1]:3000', '[::1]:3000', '3000', 'http', '"[::1]:3000"'],
  ] as const) {
    const { upstream, app, browser } = await serving(t, {}, undefined, {
      publicOrigin,
      trustedProxies: ['10.0.0.0/8', 'fd00::/8'],
    })
    for (const [peer, forwardedFor, client, node] of [
      ['192.0.2.7', undefined, '192.0.2.7', '192.0.2.7'],
      ['2001:db8::7', undefined, '2001:db8::7', '"[2001:db8::7]"'],
      ['::ffff:192.0.2.7', undefined, '192.0.2.7', '192.0.2.7'],
      // Nobody believes it of a stranger.
      ['192.0.2.7', '198.51.100.1', '192.0.2.7', '192.0.2.7'],
      ['2001:db8::7', '198.51.100.1', '2001:db8::7', '"[2001:db8::7]"'],
      // A proxy of ours: the rightmost that is none, without its port.
      ['10.0.0.1', '198.51.100.1', '198.51.100.1', '198.51.100.1'],
      ['10.0.0.1', '198.51.100.1:4711', '198.51.100.1', '198.51.100.1'],
      ['10.0.0.1', '[2001:db8::9]:4711', '2001:db8::9', '"[2001:db8::9]"'],
      ['fd00::1', '192.0.2.66, 198.51.100.1, 10.0.0.2', '198.51.100.1', '198.51.100.1'],
      ['10.0.0.1', '198.51.100.1, evil";host=evil', '10.0.0.1', '10.0.0.1'],
      ['10.0.0.1', undefined, '10.0.0.1', '10.0.0.1'],
    ] as const) {
      const person = browser(peer)
      await person.login()
      for (const [path, upstreamHost] of [
        ['/pages', host],
        ['/api', new URL(upstream.origin).host],
      ] as const) {
        const { statusCode } = await person.fetch(path, {
          headers: {
            forwarded: 'for=6.6.6.6',
            'x-forwarded-host': 'evil.example',
            ...(forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor }),
          },
        })
        t.equal(statusCode, 200)
        const about = `${publicOrigin} ${peer} ${forwardedFor} ${path}`
        t.match(
          toldOf(upstream.seen.at(-1)?.raw),
          {
            host: [upstreamHost],
            forwarded: [`for=${node};host=${quotedHost};proto=${proto}`],
            'x-forwarded-for': [client],
            'x-forwarded-host': [host],
            'x-forwarded-port': [port],
            'x-forwarded-proto': [proto],
          },
          about,
        )
      }
    }
    await app.close()
  }
})

t.test('each request on one connection behind a trusted proxy is its own client’s', async t => {
  const { port, session, upstream } = await serving(t, {}, undefined, { trustedProxies: ['127.0.0.1'] })
  const one = (client: string) =>
    `GET /pages HTTP/1.1\r\nHost: ${publicHost}\r\n${session}X-Forwarded-For: ${client}\r\n`
  await whole(port, `${one('192.0.2.1')}\r\n${one('192.0.2.2')}\r\n${one('192.0.2.3')}`)
  t.same(
    upstream.seen.map(({ headers }) => headers['x-forwarded-for']),
    ['192.0.2.1', '192.0.2.2', '192.0.2.3'],
  )
})

t.test('says nothing of it to whom the file does not want told', async t => {
  const { ask } = await serving(t, { forwarded: false })
  for (const path of ['/pages', '/api'])
    t.same(
      Object.keys((await ask(path, ['X-Forwarded-For: 192.0.2.9', 'Forwarded: for=192.0.2.9'])).told).filter(name =>
        name.includes('forwarded'),
      ),
      [],
    )
})

t.test('asks for the host that the file says, on all ways to the upstream, and never for the browser’s', async t => {
  for (const host of ['public', 'upstream'] as const) {
    const { browser, upstream } = await serving(t, { host })
    const expected = host === 'public' ? publicHost : new URL(upstream.origin).host
    const person = browser()
    await person.login()
    const from = { host: 'evil.example', origin: `https://${publicHost}` }
    for (const more of [
      {},
      { method: 'POST', payload: 'a=1' },
      { method: 'POST', payload: 'x'.repeat(40_000) },
      { headers: { accept: 'text/event-stream' } },
    ] as const)
      for (const path of ['/pages', '/api']) {
        const { statusCode } = await person.fetch(path, {
          ...more,
          headers: { ...('headers' in more ? more.headers : {}), ...from },
        })
        t.equal(statusCode, 200)
        t.same(
          toldOf(upstream.seen.at(-1)?.raw)['host'],
          [expected],
          `${host} ${path} ${JSON.stringify(more).slice(0, 60)}`,
        )
      }
  }
})

/** Answers with the fields that the query names. */
const asAsked = (request: IncomingMessage, response: ServerResponse): void => {
  for (const [name, value] of new URL(request.url ?? '', 'http://x').searchParams) response.appendHeader(name, value)
  response.end('shown')
}
const query = (fields: readonly (readonly [string, string])[]) =>
  `?${new URLSearchParams(fields.map(field => [...field]))}`

t.test('an application speaks for its own pages, within what guards the origin', async t => {
  const { ask } = await serving(t, {}, asAsked)
  const { got } = await ask('/pages')
  const always = {
    'x-content-type-options': ['nosniff'],
    'cross-origin-resource-policy': ['same-origin'],
    'strict-transport-security': ['max-age=31536000'],
  }
  const usual = {
    ...always,
    'content-security-policy': ["frame-ancestors 'self'"],
    'x-frame-options': ['SAMEORIGIN'],
    'referrer-policy': ['same-origin'],
    'cross-origin-opener-policy': ['same-origin-allow-popups'],
    'permissions-policy': [],
  }
  for (const [name, values] of Object.entries(usual)) t.same(got(name), values, name)

  for (const [fields, expected] of [
    [
      [['content-security-policy', "default-src 'self'"]],
      { 'content-security-policy': ["default-src 'self'", "frame-ancestors 'self'"] },
    ],
    // Of two policies browsers follow both: this one lets nobody frame it.
    [
      [['content-security-policy', 'frame-ancestors https://evil.example']],
      { 'content-security-policy': ['frame-ancestors https://evil.example', "frame-ancestors 'self'"] },
    ],
    [
      [['x-frame-options', 'DENY']],
      { 'x-frame-options': ['DENY'], 'content-security-policy': ["frame-ancestors 'none'"] },
    ],
    [
      [
        ['X-Frame-Options', 'sameorigin'],
        ['x-frame-options', 'deny'],
      ],
      { 'x-frame-options': ['DENY'], 'content-security-policy': ["frame-ancestors 'none'"] },
    ],
    [[['x-frame-options', 'ALLOWALL']], { 'x-frame-options': ['SAMEORIGIN'] }],
    [[['x-frame-options', 'ALLOW-FROM https://evil.example']], { 'x-frame-options': ['SAMEORIGIN'] }],
    [[['referrer-policy', 'no-referrer']], { 'referrer-policy': ['no-referrer'] }],
    [[['cross-origin-opener-policy', 'same-origin']], { 'cross-origin-opener-policy': ['same-origin'] }],
    [[['permissions-policy', 'camera=()']], { 'permissions-policy': ['camera=()'] }],
    [
      [['content-security-policy-report-only', "default-src 'none'"]],
      { 'content-security-policy-report-only': ["default-src 'none'"] },
    ],
    [[['x-content-type-options', 'sniff']], {}],
    [[['cross-origin-resource-policy', 'cross-origin']], {}],
    [[['strict-transport-security', 'max-age=0']], {}],
    [[['access-control-allow-origin', '*']], { 'access-control-allow-origin': [] }],
    [[['clear-site-data', '"*"']], { 'clear-site-data': [] }],
    [
      [
        ['nel', '{}'],
        ['report-to', '{}'],
      ],
      { nel: [], 'report-to': [] },
    ],
    [[['service-worker-allowed', '/']], { 'service-worker-allowed': [] }],
    // For one hop only, the application says.
    [
      [
        ['connection', 'content-security-policy'],
        ['content-security-policy', 'x'],
      ],
      {},
    ],
    [
      [
        ['connection', 'x-frame-options'],
        ['x-frame-options', 'DENY'],
      ],
      {},
    ],
  ] as [[string, string][], Record<string, string[]>][]) {
    const answer = await ask(`/pages${query(fields)}`)
    for (const [name, values] of Object.entries({ ...usual, ...expected }))
      t.same(answer.got(name), values, `${JSON.stringify(fields)}: ${name}`)
  }
})

t.test('where the edge’s security headers count, an application changes none of them', async t => {
  const { ask } = await serving(t, { securityHeaders: 'edge' }, asAsked)
  const edgeOwn = async (path: string, fields: [string, string][]) => {
    const { got } = await ask(`${path}${query(fields)}`)
    t.equal(got('content-security-policy').length, 1)
    t.match(got('content-security-policy')[0], /^default-src 'none'; .*frame-ancestors 'none'/)
    t.same(got('x-frame-options'), ['DENY'])
    t.same(got('referrer-policy'), ['same-origin'])
    t.same(got('cross-origin-opener-policy'), ['same-origin'])
    t.match(got('permissions-policy')[0], /camera=\(\)/)
  }
  for (const path of ['/pages', '/api']) {
    await edgeOwn(path, [])
    await edgeOwn(path, [
      ['content-security-policy', 'default-src *'],
      ['x-frame-options', 'ALLOWALL'],
      ['referrer-policy', 'unsafe-url'],
      ['cross-origin-opener-policy', 'unsafe-none'],
      ['permissions-policy', 'camera=*'],
    ])
  }
})

t.test('the edge’s own pages stay as strict as ever beside an application at /', async t => {
  const upstream = await testUpstream(t, asAsked)
  const { browser } = await edge(t, {
    upstreams: [
      { ...upstreamDefaults, name: 'site', prefix: '/', origin: upstream.origin, kind: 'pages', token: 'none' },
    ],
  })
  const person = browser()
  for (const path of ['/oauth2/sign_in', '/oauth2/nothing', '/x']) {
    const { headers } = await person.open(path)
    t.match(
      headers['content-security-policy'],
      /^default-src 'none'; .*frame-ancestors 'none'.*trusted-types 'none'$/,
      path,
    )
    t.equal(headers['x-frame-options'], 'DENY', path)
  }
})

t.test('HSTS says what the file says, with https alone', async t => {
  for (const [hsts, expected] of [
    [{ maxAge: 31_536_000_000, includeSubDomains: false, preload: false }, 'max-age=31536000'],
    [{ maxAge: 63_072_000_000, includeSubDomains: true, preload: false }, 'max-age=63072000; includeSubDomains'],
    [
      { maxAge: 63_072_000_000, includeSubDomains: true, preload: true },
      'max-age=63072000; includeSubDomains; preload',
    ],
    [{ maxAge: 0, includeSubDomains: false, preload: false }, 'max-age=0'],
  ] as const) {
    const { ask, app } = await serving(t, {}, undefined, { hsts })
    for (const path of ['/pages', '/api', '/oauth2/jwks'])
      t.same((await ask(path)).got('strict-transport-security'), [expected], path)
    await app.close()
  }
  const plain = await serving(t, {}, undefined, { publicOrigin: 'http://localhost:3000' })
  for (const path of ['/pages', '/api', '/oauth2/jwks'])
    t.same((await plain.ask(path)).got('strict-transport-security'), [], path)
})

t.test('a redirect of the upstream to itself leads to the edge, never elsewhere', async t => {
  const { ask, upstream } = await serving(t, {}, asAsked)
  const self = upstream.origin
  for (const [location, expected] of [
    ['/pages/2?a=b#c', '/pages/2?a=b#c'],
    ['../x', '../x'],
    [`${self}/pages/2`, `https://${publicHost}/pages/2`],
    [self, `https://${publicHost}`],
    [`${self}?a=b`, `https://${publicHost}?a=b`],
    // It knows the host, and not that it is reached by TLS.
    [`http://${publicHost}/pages/2`, `https://${publicHost}/pages/2`],
    [`https://${publicHost}/pages/2`, `https://${publicHost}/pages/2`],
    // As a path alone this would be another host.
    [`${self}//evil.example/x`, `https://${publicHost}//evil.example/x`],
    [`${self}/\\evil.example/x`, `https://${publicHost}/\\evil.example/x`],
    // Looks like it and is not.
    [`${self}0/x`, `${self}0/x`],
    [`${self}.evil.example/x`, `${self}.evil.example/x`],
    [`http://${publicHost}.evil.example/`, `http://${publicHost}.evil.example/`],
    [`http://${publicHost}@evil.example/`, `http://${publicHost}@evil.example/`],
    ['https://docs.example/x', 'https://docs.example/x'],
  ] as const)
    for (const path of ['/pages', '/api'])
      t.same((await ask(`${path}${query([['location', location]])}`)).got('location'), [expected], location)
})

t.test('cookies of pages are for the public host and its TLS, and an API has none', async t => {
  const cookies: [string, string | undefined][] = [
    ['a=1; Path=/', 'a=1; Path=/; Secure'],
    ['a=1', 'a=1; Secure'],
    ['a="x=y, z"; HttpOnly; SameSite=Lax', 'a="x=y, z"; HttpOnly; SameSite=Lax; Secure'],
    ['a=1; secure; Path=/x', 'a=1; secure; Path=/x'],
    ['a=1; Domain=apps.example; Secure', 'a=1; Domain=apps.example; Secure'],
    ['a=1; Domain=.example; Secure', 'a=1; Domain=.example; Secure'],
    ['a=1; Domain=127.0.0.1; Path=/; Secure', 'a=1; Path=/; Secure'],
    ['a=1;domain=internal ; Path=/', 'a=1; Path=/; Secure'],
    ['a=1; Domain=evilapps.example', 'a=1; Secure'],
    ['a=1; Domain=ample', 'a=1; Secure'],
    ['__Host-session=evil; Path=/; Secure', undefined],
    ['__HOST-edge-x=1', undefined],
    ['=__Host-session=evil', undefined],
  ]
  const { ask } = await serving(t, {}, asAsked)
  for (const [set, expected] of cookies) {
    const asked = query([['set-cookie', set]])
    t.same((await ask(`/pages${asked}`)).got('set-cookie'), expected === undefined ? [] : [expected], set)
    t.same((await ask(`/api${asked}`)).got('set-cookie'), [], set)
  }
  t.same(
    (
      await ask(
        `/pages${query([
          ['set-cookie', 'a=1'],
          ['set-cookie', 'b=2; Secure'],
        ])}`,
      )
    ).got('set-cookie'),
    ['a=1; Secure', 'b=2; Secure'],
    'each of them',
  )
  const plain = await serving(t, {}, asAsked, { publicOrigin: 'http://localhost:3000' })
  t.same((await plain.ask(`/pages${query([['set-cookie', 'a=1; Path=/']])}`)).got('set-cookie'), ['a=1; Path=/'])
})
