import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { utimesSync, writeFileSync } from 'node:fs'
import { eventually, testLogger } from '@banking/testkit'
import { decodeJwt, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import { readClientAuthentication } from '../src/provider/client-authentication.ts'
import { createProvider, type ProviderConfig, providerDefaults } from '../src/provider/oidc.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { type Edge, edge, origin, testUpstream } from './edge.ts'
import { alice, testProvider } from './provider.ts'

type Claims = Record<string, unknown>
const minute = 60_000

async function logsIn(t: Test, each: Edge, message = 'logs in') {
  const person = each.browser()
  await person.login()
  t.match((await person.fetch('/oauth2/userinfo')).json(), { sub: alice.sub }, message)
  return person
}

/** An edge with a secret in front of a provider that has nothing but what OpenID Connect requires. */
async function bare(t: Test, more: Partial<ProviderConfig> = {}, path = '/', upstreams?: readonly Upstream[]) {
  const provider = await testProvider(t, undefined, { path })
  provider.settings.secret.value = 'a%secret:with+signs'
  provider.settings.expiresIn = false
  provider.settings.refreshTokens = false
  provider.hooks.discovery = ({ issuer, authorization_endpoint, token_endpoint, jwks_uri }) => ({
    issuer,
    authorization_endpoint,
    token_endpoint,
    jwks_uri,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  })
  // RFC 9207 is an extension too.
  provider.hooks.response = response => {
    response.delete('iss')
    return response
  }
  const secretFile = `${t.testdir({ secret: `${provider.settings.secret.value}\n` })}/secret`
  const credential = { method: 'client_secret_basic', secretFile } as const
  const each = await edge(t, {
    provider,
    ...(upstreams && { upstreams }),
    providerConfig: { credential, pushedRequests: 'auto', assumedLifetime: 5 * minute, ...more },
  })
  return { ...each, secretFile }
}

t.test('logs in at a provider that has nothing but what OpenID Connect requires, and out again', async t => {
  const each = await bare(t)
  const start = await each.browser().open('/oauth2/start')
  const address = new URL(String(start.headers.location))
  t.match(Object.fromEntries(address.searchParams), {
    response_type: 'code',
    client_id: 'banking-web-app',
    redirect_uri: `${origin}/oauth2/callback`,
    scope: 'openid',
    code_challenge_method: 'S256',
    code_challenge: /^[A-Za-z0-9_-]{43}$/,
    state: /./,
    nonce: /./,
  })
  const person = await logsIn(t, each)
  const response = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.equal(response.statusCode, 200)
  t.match(response.json().location, /^\//, 'there is no logout at the provider to go to')
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
  t.same(Object.keys(each.provider.calls).sort(), ['authorization_code', 'discovery', 'jwks'])
})

t.test('an issuer that ends with a slash is found, and is another than the one without', async t => {
  const each = await bare(t, {}, '/tenant/')
  t.match(each.provider.issuer, /\/tenant\/$/)
  await logsIn(t, each)
  t.match(each.provider.asked('discovery'), [{ url: '/tenant/.well-known/openid-configuration' }])
  const issuer = each.provider.issuer.slice(0, -1)
  const other = await bare(t, { issuer }, '/tenant/')
  t.equal((await other.browser().open('/oauth2/start')).statusCode, 503)
})

t.test('without a refresh token the session lasts as long as its token is believed to', async t => {
  const each = await bare(t)
  const person = await logsIn(t, each)
  each.advance(4 * minute)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
  each.advance(2 * minute)
  t.match((await person.fetch('/api/payments/accounts')).json(), { code: 'login_required' })
})

t.test('without auth_time the login itself counts as the proof of who this is', async t => {
  const each = await bare(t)
  each.provider.hooks.idToken = ({ auth_time: _, ...claims }) => claims
  const began = Date.now()
  const person = await logsIn(t, each)
  const { session } = (await person.fetch('/oauth2/userinfo')).json()
  t.ok(Date.parse(session.authTime) >= began)
  t.equal(Date.parse(session.absoluteTimeoutAt) - Date.parse(session.authTime), each.config.session.absolute)
})

t.test('an upstream that refuses a token which cannot be renewed logs nobody out', async t => {
  const upstream = await testUpstream(t, (_request, response) => {
    response.statusCode = 401
    response.end()
  })
  const api = { ...upstreamDefaults, name: 'api', prefix: '/api', origin: upstream.origin, token: 'session' as const }
  const each = await bare(t, {}, '/', [api])
  const person = await logsIn(t, each)
  t.match((await person.fetch('/api/accounts')).json(), { code: 'upstream_failed', status: 502 })
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test(
  'pushes requests where the provider offers it, unless told not to, and stops where it must and cannot',
  async t => {
    const modes = { auto: [1, 0], required: [1, 503], never: [0, 0] } as const
    for (const [pushedRequests, [withEndpoint, withoutEndpoint]] of Object.entries(modes)) {
      const each = await edge(t, { providerConfig: { pushedRequests: pushedRequests as keyof typeof modes } })
      await logsIn(t, each, pushedRequests)
      t.equal(each.provider.calls['par'] ?? 0, withEndpoint)
      const lacking = await edge(t, { providerConfig: { pushedRequests: pushedRequests as keyof typeof modes } })
      lacking.provider.hooks.discovery = ({ pushed_authorization_request_endpoint: _, ...document }) => document
      if (withoutEndpoint === 0) await logsIn(t, lacking, pushedRequests)
      else t.equal((await lacking.browser().open('/oauth2/start')).statusCode, withoutEndpoint)
    }
  },
)

t.test('compares iss on the callback also where the provider does not announce it', async t => {
  const each = await edge(t)
  each.provider.hooks.discovery = ({ authorization_response_iss_parameter_supported: _, ...document }) => document
  each.provider.hooks.response = response => {
    response.set('iss', 'https://evil.example')
    return response
  }
  const person = each.browser()
  t.equal((await person.comeBack(await person.start())).statusCode, 400)
  t.equal(each.provider.calls['authorization_code'], undefined)
  each.provider.hooks.response = response => {
    response.delete('iss')
    return response
  }
  await logsIn(t, each)
})

t.test('takes ID tokens of each algorithm that is configured, and of no other', async t => {
  for (const alg of ['ES256', 'RS256', 'PS256', 'EdDSA'] as const) {
    const each = await edge(t, { providerConfig: { idTokenAlgorithms: [alg] } })
    await each.provider.rotateKey(alg)
    const person = await logsIn(t, each, alg)
    each.advance(6 * minute)
    t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200, `${alg}, refreshed`)
    await each.provider.rotateKey(alg === 'ES256' ? 'RS256' : 'ES256')
    const other = each.browser()
    t.equal((await other.comeBack(await other.start())).statusCode, 400, `not ${alg}`)
    t.equal(other.cookie(), undefined)
  }
  const both = await edge(t, { providerConfig: { idTokenAlgorithms: ['RS256', 'ES256'] } })
  await logsIn(t, both)
  await both.provider.rotateKey('RS256')
  await logsIn(t, both, 'a provider can be moved from one to another')
})

t.test(
  'takes no RSA key that proves nothing: anybody signs with an exponent of 1, and short keys are factored',
  async t => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const { n } = publicKey.export({ format: 'jwk' })
    /** RFC 8017 §9.2: with an exponent of 1 the encoded hash is the signature. */
    const unsigned = (text: string): Buffer => {
      const info = Buffer.from('3031300d060960864801650304020105000420', 'hex')
      const end = Buffer.concat([Buffer.of(0), info, createHash('sha256').update(text).digest()])
      return Buffer.concat([Buffer.of(0, 1), Buffer.alloc(256 - 2 - end.length, 0xff), end])
    }
    const small = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 })
    const nearly = generateKeyPairSync('rsa', { modulusLength: 2040 })
    const by = (key: KeyObject) => (text: string) => sign('sha256', Buffer.from(text), key)
    const ways: Record<string, [jwk: Record<string, unknown>, signed: (text: string) => Buffer, isTaken: boolean]> = {
      'an exponent of 1': [{ n, e: 'AQ' }, unsigned, false],
      'an exponent of 1, written longer': [{ n, e: 'AAAB' }, unsigned, false],
      'an exponent of 3': [small.publicKey.export({ format: 'jwk' }) as never, by(small.privateKey), false],
      'an even exponent': [{ n, e: 'AQAC' }, by(privateKey), false],
      '2040 bits': [nearly.publicKey.export({ format: 'jwk' }) as never, by(nearly.privateKey), false],
      'a sound key': [{ n, e: 'AQAB' }, by(privateKey), true],
    }
    for (const [way, [jwk, signed, isTaken]] of Object.entries(ways)) {
      const each = await edge(t, { providerConfig: { idTokenAlgorithms: ['RS256'] } })
      const { provider } = each
      provider.hooks.jwks = () => [{ ...jwk, kty: 'RSA', kid: 'rsa', alg: 'RS256', use: 'sig' }]
      provider.hooks.sign = async claims => {
        const parts = [{ alg: 'RS256', kid: 'rsa' }, claims].map(part =>
          Buffer.from(JSON.stringify(part)).toString('base64url'),
        )
        return `${parts.join('.')}.${signed(parts.join('.')).toString('base64url')}`
      }
      const person = each.browser()
      const answer = await person.comeBack(await person.start())
      t.equal(person.cookie() !== undefined, isTaken, `${way}: ${answer.statusCode}`)
    }
  },
)

t.test('at default settings a key for another algorithm than RS256 ends and begins nothing', async t => {
  const { idTokenAlgorithms } = providerDefaults
  t.same(idTokenAlgorithms, ['RS256'], 'what OpenID Connect Registration says for a client that says nothing')
  for (const alg of ['ES256', 'PS256', 'EdDSA'] as const) {
    const each = await edge(t, { providerConfig: { idTokenAlgorithms } })
    const { provider } = each
    await provider.rotateKey('RS256', 'old')
    const old = { ...(await exportJWK(provider.publicKey())), kid: 'old', alg: 'RS256', use: 'sig' }
    const person = await logsIn(t, each)
    const [idToken = ''] = provider.issued.filter(token => token.split('.').length === 3)
    await provider.rotateKey(alg)
    provider.hooks.jwks = keys => [...keys, old]
    // By now the edge asks for keys that it does not know.
    each.advance(31_000)
    const logout_token = await provider.logoutToken({ sid: String(decodeJwt(idToken)['sid']) })
    const told = await each.app.inject({
      method: 'POST',
      url: '/oauth2/backchannel_logout',
      headers: { host: 'localhost:3000', 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ logout_token }).toString(),
    })
    t.equal(told.statusCode, 400, alg)
    t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'the session lives')
    const other = each.browser()
    t.equal((await other.comeBack(await other.start())).statusCode, 400, `no login with ${alg}`)
  }
})

t.test('takes no algorithm for the provider announcing it, nor for having a key of it', async t => {
  const each = await edge(t)
  const { provider } = each
  const rsa = await generateKeyPair('RS256', { extractable: true })
  const rsaJwk = { ...(await exportJWK(rsa.publicKey)), kid: 'rsa' }
  const pem = await exportSPKI(provider.publicKey())
  const jwk = await exportJWK(provider.publicKey())
  provider.hooks.discovery = document => ({
    ...document,
    id_token_signing_alg_values_supported: ['none', 'HS256', 'RS256', 'ES256'],
  })
  provider.hooks.jwks = keys => [...keys, rsaJwk, { kty: 'oct', kid: 'shared', k: 'AAAA'.repeat(16) }]
  const signed = (alg: string, kid: string, key: CryptoKey | Uint8Array) => (claims: JWTPayload) =>
    new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(key)
  const bytes = (text: string) => new TextEncoder().encode(text)
  const der = Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64')
  const wrong: Record<string, (claims: JWTPayload) => string | Promise<string>> = {
    none: claims => new UnsecuredJWT(claims).encode(),
    'none with the name of a key': claims => {
      const header = Buffer.from(JSON.stringify({ alg: 'none', kid: provider.kid() })).toString('base64url')
      return `${header}.${new UnsecuredJWT(claims).encode().split('.')[1]}.`
    },
    'HS256 by the public key as PEM': signed('HS256', provider.kid(), bytes(pem)),
    'HS256 by the public key as DER': signed('HS256', provider.kid(), der),
    'HS256 by the public key as JWK': signed('HS256', provider.kid(), bytes(JSON.stringify(jwk))),
    'HS256 by a key that is published': signed('HS256', 'shared', Buffer.from('AAAA'.repeat(16), 'base64url')),
    RS256: signed('RS256', 'rsa', rsa.privateKey),
  }
  for (const [name, sign] of Object.entries(wrong)) {
    provider.hooks.sign = async claims => sign(claims)
    const person = each.browser()
    t.equal((await person.comeBack(await person.start())).statusCode, 400, name)
    t.equal(person.cookie(), undefined, name)
  }
  t.equal(provider.calls['jwks'], undefined, 'none of them is worth a look at the keys')
  delete provider.hooks.sign
  const person = await logsIn(t, each)
  provider.hooks.sign = async claims => new UnsecuredJWT(claims).encode()
  each.advance(6 * minute)
  t.not((await person.fetch('/api/payments/accounts')).statusCode, 200, 'refreshed')
})

t.test('proves itself by an RSA key where the provider knows nothing better', async t => {
  for (const alg of ['PS256', 'RS256']) {
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    const jwk = { ...(await exportJWK(privateKey)), kid: 'rsa', alg, private_note: 'not to be published' }
    const keyFile = `${t.testdir({ keys: JSON.stringify({ keys: [jwk] }) })}/keys`
    const each = await edge(t, { providerConfig: { credential: { method: 'private_key_jwt', keyFile } } })
    await logsIn(t, each, alg)
    const published = (await each.app.inject('/oauth2/jwks')).json()
    t.same(Object.keys(published.keys[0]).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'], 'the public half alone')
  }
})

t.test('starts with no client key or secret that could not be used, and says why without showing it', async t => {
  const { logger } = testLogger()
  const ec = await exportJWK((await generateKeyPair('ES256', { extractable: true })).privateKey)
  const p384 = await exportJWK((await generateKeyPair('ES384', { extractable: true })).privateKey)
  const rsa = await exportJWK((await generateKeyPair('PS256', { extractable: true })).privateKey)
  const { d: _, ...pub } = ec
  const wrong: [string, unknown, RegExp][] = [
    ['private_key_jwt', 'not JSON', /JSON/],
    ['private_key_jwt', { keys: [] }, /no key|with a key/],
    ['private_key_jwt', { keys: [{ ...pub, kid: 'a' }] }, /must be a private key/],
    ['private_key_jwt', { keys: [ec] }, /"kid"/],
    [
      'private_key_jwt',
      {
        keys: [
          { ...ec, kid: 'a' },
          { ...ec, kid: 'a' },
        ],
      },
      /same "kid"/,
    ],
    ['private_key_jwt', { keys: [{ ...p384, kid: 'a' }] }, /P-256/],
    ['private_key_jwt', { keys: [{ ...rsa, kid: 'a' }] }, /"alg" is PS256 or RS256/],
    ['private_key_jwt', { keys: [{ ...rsa, kid: 'a', alg: 'HS256' }] }, /"alg" is PS256 or RS256/],
    ['client_secret_basic', '', /empty/],
    ['client_secret_basic', '\n', /empty/],
    ['client_secret_post', 'one\ntwo\n', /more than one line/],
  ]
  for (const [method, content, message] of wrong) {
    const file = `${t.testdir({ file: typeof content === 'string' ? content : JSON.stringify(content) })}/file`
    const credential = { method, keyFile: file, secretFile: file } as ProviderConfig['credential']
    const error = await readClientAuthentication(credential, logger).then(
      () => undefined,
      error => error as Error,
    )
    t.match(error?.message, message, String(message))
    t.notMatch(error?.message, String(ec.d))
  }
})

t.test('uses a new secret once its file has it, and the old one while the file is of no use', async t => {
  const each = await bare(t)
  const { provider, secretFile } = each
  await logsIn(t, each)
  const write = async (content: string, seconds: number) => {
    writeFileSync(secretFile, content)
    utimesSync(secretFile, new Date(), new Date(Date.now() + seconds * 1000))
    // The edge looks at the file at most every 2 s.
    await new Promise(resolve => setTimeout(resolve, 2_050))
  }
  await write('', 5)
  await logsIn(t, each, 'an empty file changes nothing')
  t.match(each.logged(), 'client credential cannot be read again')
  await write('the next secret', 10)
  provider.settings.secret.value = 'the next secret'
  await logsIn(t, each, 'the new one is used')
  for (const secret of ['a%secret:with+signs', 'the next secret']) t.notMatch(each.logged(), secret)
})

t.test('raises the alarm for a wrong secret, and tells where to look', async t => {
  const each = await bare(t)
  each.provider.settings.secret.value = 'another'
  const person = each.browser()
  t.equal((await person.comeBack(await person.start())).statusCode, 503)
  t.match(
    each.lines().filter(line => line['alert'] === 'client_refused'),
    [{ clientId: 'banking-web-app', method: 'client_secret_basic', msg: /compare client id, authentication method/ }],
  )
})

t.test('follows endpoints that move without a restart, within an hour or once a call has failed', async t => {
  const each = await edge(t)
  const { provider } = each
  await logsIn(t, each)
  t.equal(provider.calls['discovery'], 1)
  provider.hooks.discovery = document => ({ ...document, token_endpoint: `${provider.issuer}/moved/token` })
  each.advance(61 * minute)
  await logsIn(t, each, 'nobody waits for the metadata')
  await eventually(() => each.logged().includes('has changed its metadata'))
  await logsIn(t, each)
  t.match(provider.asked('authorization_code').at(-1), { url: /\/moved\/token$/ })

  provider.hooks.discovery = document => ({ ...document, token_endpoint: `${provider.issuer}/again/token` })
  provider.hooks.token = async (_grant, honest) =>
    provider.asked('authorization_code').at(-1)?.url.includes('/again/') ? honest() : { status: 404, body: 'gone' }
  each.advance(2 * minute)
  const person = each.browser()
  t.equal((await person.comeBack(await person.start())).statusCode, 400)
  await eventually(() => provider.calls['discovery'] === 3)
  await logsIn(t, each, 'one failed call, and it is found')
})

t.test('keeps the old metadata when the new is not to be had or of somebody else', async t => {
  const each = await edge(t)
  const { provider } = each
  await logsIn(t, each)
  for (const said of [
    { status: 500, body: '' },
    { status: 200, body: { issuer: 'https://evil.example', token_endpoint: 'https://evil.example/token' } },
  ]) {
    provider.hooks.discovery = () => said
    const before = provider.calls['discovery'] ?? 0
    each.advance(61 * minute)
    await logsIn(t, each)
    await eventually(() => provider.calls['discovery'] !== before)
    await logsIn(t, each)
  }
  t.match(each.logged(), 'the old one is kept')
})

t.test('believes keys for five minutes, in an outage of the provider for fifteen, and then nothing', async t => {
  const each = await edge(t)
  const { provider } = each
  await logsIn(t, each)
  await logsIn(t, each)
  t.equal(provider.calls['jwks'], 1)
  each.advance(5 * minute + 1_000)
  await logsIn(t, each)
  t.equal(provider.calls['jwks'], 2)
  provider.hooks.jwks = () => 'away' as never
  each.advance(5 * minute + 1_000)
  await logsIn(t, each, 'the old keys are used')
  each.advance(10 * minute)
  const person = each.browser()
  const response = await person.comeBack(await person.start())
  t.equal(response.statusCode, 503)
  t.equal(person.cookie(), undefined)
})

t.test('a key that the provider has withdrawn is good for nothing once the keys are read again', async t => {
  const each = await edge(t)
  const { provider } = each
  await logsIn(t, each)
  const [old, kid] = [provider.privateKey(), provider.kid()]
  await provider.rotateKey()
  await logsIn(t, each)
  const { SignJWT } = await import('jose')
  provider.hooks.sign = claims => new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid }).sign(old)
  const person = each.browser()
  t.equal((await person.comeBack(await person.start())).statusCode, 400)
  t.equal(person.cookie(), undefined)
})

t.test('keys that cannot be had cost no refresh token that was used up', async t => {
  const each = await edge(t)
  const { provider } = each
  provider.settings.rotate = true
  const person = await logsIn(t, each)
  await person.fetch('/api/payments/accounts')
  provider.hooks.jwks = () => 'away' as never
  each.advance(16 * minute - 70_000)
  t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200)
  each.advance(6 * minute)
  t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200)
  t.equal(provider.calls['refresh_token'], 2)
  t.match(each.logged(), 'a refreshed ID token could not be verified')
  provider.hooks.idToken = claims => ({ ...claims, sub: 'somebody else' })
  each.advance(6 * minute)
  t.equal((await person.fetch('/api/payments/accounts')).statusCode, 401, 'whom it is about is looked at all the same')
})

t.test('finds the roles where it is told, and takes nothing else for them', async t => {
  const cases: [string, Claims, string[]][] = [
    ['realm_access.roles', { realm_access: { roles: ['a', 7, 'b', null] } }, ['a', 'b']],
    ['https://bank.example/roles', { 'https://bank.example/roles': ['a'] }, ['a']],
    ['resource_access.web.roles', { resource_access: { web: { roles: ['a'] } } }, ['a']],
    ['roles', { roles: 'administrator' }, []],
    ['roles', { realm_access: { roles: ['administrator'] } }, []],
    ['roles.length', { roles: ['a'] }, []],
    ['constructor.name', {}, []],
    ['__proto__', {}, []],
  ]
  for (const [rolesClaim, claims, roles] of cases) {
    const each = await edge(t, { providerConfig: { rolesClaim } })
    each.provider.hooks.idToken = ({ realm_access: _, ...honest }) => ({ ...honest, ...claims })
    const person = await logsIn(t, each)
    t.same((await person.fetch('/oauth2/userinfo')).json().roles, roles, rolesClaim)
  }
})

t.test('a refresh whose owner lost its claim on it ends at once, as nothing that the provider said', async t => {
  const each = await edge(t)
  const { provider, config } = each
  await logsIn(t, each)
  const { logger } = testLogger()
  const authentication = await readClientAuthentication(config.provider.credential, logger)
  const ours = createProvider({ ...config.provider, authentication, publicOrigin: origin, logger })
  const { promise: called, resolve: asked } = Promise.withResolvers<void>()
  provider.hooks.token = (_grant, honest) => {
    asked()
    return new Promise(() => honest)
  }
  const controller = new AbortController()
  const person = { sub: alice.sub, name: alice.name, givenName: alice.given_name, roles: [], authTime: 0 }
  const refreshing = ours.refresh('refresh', person, controller.signal)
  await called
  const abortedAt = performance.now()
  controller.abort()
  t.match(await refreshing.catch(error => error), { name: 'ProviderError', kind: 'unavailable' })
  t.ok(performance.now() - abortedAt < 5_000, 'long before the time limit of a call')
  t.match(await ours.refresh('refresh', person, controller.signal).catch(error => error), { kind: 'unavailable' })
  t.equal(provider.calls['refresh_token'], 1, 'and one that is over before it began asks nothing')
})
