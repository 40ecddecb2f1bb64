import { randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import t, { type Test } from 'tap'
import type { ProviderConfig } from '../src/provider/oidc.ts'
import { type Edge, edge, origin } from './edge.ts'
import { alice, bob, type Person, testProvider } from './provider.ts'

/**
 * The modules of the OpenID Foundation's conformance suite for relying parties, by their names. The suite sees requests
 * only, so a client that checks nothing passes some of them: here each says whether a session came out.
 */

type Claims = Record<string, unknown>

/** A key of an algorithm that is not configured. */
const alternate = await generateKeyPair('RS256', { extractable: true })
const alternateJwk = { ...(await exportJWK(alternate.publicKey)), kid: 'alternate' }
type Fault = (each: Edge) => void | Promise<void>

const without =
  (name: string) =>
  ({ [name]: _, ...claims }: Claims): Claims =>
    claims
const withClaims = (changed: Claims) => (claims: Claims) => ({ ...claims, ...changed })
const idToken =
  (change: (claims: Claims) => Claims): Fault =>
  ({ provider }) => {
    provider.hooks.idToken = change
  }

/** A login leads to a session, and its token to an upstream. */
async function accepts(t: Test, each: Edge): Promise<void> {
  const person = each.browser()
  await person.login()
  t.match((await person.fetch('/oauth2/userinfo')).json(), { sub: alice.sub, name: alice.name })
  t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200)
}

/** A login leads to a page and nothing else: no session, no cookie, no further call. Without the fault it succeeds. */
async function rejects(t: Test, fault: Fault, more: { config?: Partial<ProviderConfig>; calls?: object } = {}) {
  const each = await edge(t, more.config === undefined ? {} : { providerConfig: more.config })
  const { provider, browser } = each
  await fault(each)
  const person = browser()
  const response = await person.comeBack(await person.start())
  t.equal(response.statusCode, 400)
  t.match(response.headers['content-type'], 'text/html')
  t.equal(person.cookie(), undefined, 'no session')
  const { discovery: _, jwks: __, ...calls } = provider.calls
  t.same(calls, more.calls ?? { par: 1, authorization_code: 1 }, 'no further call')
  for (const hook of Object.keys(provider.hooks)) delete provider.hooks[hook as keyof typeof provider.hooks]
  await accepts(t, each)
}

/** An edge that proves itself by a secret, in front of a provider that knows no pushed requests. */
async function plain(t: Test, by: 'client_secret_basic' | 'client_secret_post', more: Partial<ProviderConfig> = {}) {
  const provider = await testProvider(t)
  provider.settings.secret = { by, value: 's3cret-of-the-client' }
  provider.hooks.discovery = without('pushed_authorization_request_endpoint')
  const folder = t.testdir({ secret: `${provider.settings.secret.value}\n` })
  const credential = { method: by, secretFile: `${folder}/secret` }
  return edge(t, { provider, providerConfig: { credential, pushedRequests: 'auto', ...more } })
}

t.test('Basic', async t => {
  t.test('oidcc-client-test', async t => accepts(t, await edge(t)))
  t.test('oidcc-client-test-invalid-iss', t => rejects(t, idToken(withClaims({ iss: 'https://evil.example' }))))
  t.test('oidcc-client-test-invalid-aud', t => rejects(t, idToken(withClaims({ aud: 'somebody-else' }))))
  t.test('oidcc-client-test-missing-sub', t => rejects(t, idToken(without('sub'))))
  t.test('oidcc-client-test-missing-iat', t => rejects(t, idToken(without('iat'))))
  t.test('oidcc-client-test-missing-aud', t => rejects(t, idToken(without('aud'))))
  t.test('oidcc-client-test-invalid-athash', t =>
    rejects(t, idToken(withClaims({ at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }))),
  )
  t.test('oidcc-client-test-nonce-invalid', t => rejects(t, idToken(withClaims({ nonce: 'x'.repeat(43) }))))

  t.test('oidcc-client-test-kid-absent-single-jwks', async t => {
    const each = await edge(t)
    await each.provider.rotateKey('ES256', '')
    await accepts(t, each)
    await each.provider.rotateKey('ES256', '')
    await accepts(t, each)
  })

  t.test('oidcc-client-test-kid-absent-multiple-jwks', t =>
    rejects(t, async ({ provider }) => {
      provider.hooks.sign = claims =>
        new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).sign(provider.privateKey())
      provider.hooks.jwks = keys => [...keys, ...keys.map(key => ({ ...key, kid: 'another' }))]
    }),
  )

  t.test('oidcc-client-test-idtoken-sig-rs256', async t => {
    const each = await edge(t, { providerConfig: { idTokenAlgorithms: ['RS256'] } })
    await each.provider.rotateKey('RS256')
    await accepts(t, each)
  })

  t.test('oidcc-client-test-idtoken-sig-none', t =>
    rejects(t, ({ provider }) => {
      provider.hooks.sign = async claims => new UnsecuredJWT(claims).encode()
    }),
  )

  for (const alg of ['RS256', 'ES256'] as const)
    t.test(`oidcc-client-test-invalid-sig-${alg.toLowerCase()}`, t =>
      rejects(
        t,
        async ({ provider }) => {
          await provider.rotateKey(alg)
          const { privateKey } = await generateKeyPair(alg)
          provider.hooks.sign = claims =>
            new SignJWT(claims).setProtectedHeader({ alg, kid: provider.kid() }).sign(privateKey)
        },
        { config: { idTokenAlgorithms: [alg] } },
      ),
    )

  t.test('oidcc-client-test-invalid-sig-hs256', t =>
    rejects(t, ({ provider }) => {
      provider.hooks.sign = claims =>
        new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode('a'.repeat(32)))
    }),
  )

  t.test('oidcc-client-test-userinfo-invalid-sub', t =>
    rejects(
      t,
      ({ provider }) => {
        provider.hooks.idToken = without('name')
        provider.hooks.userinfo = withClaims({ sub: bob.sub })
      },
      { config: { userinfo: true }, calls: { par: 1, authorization_code: 1, userinfo: 1 } },
    ),
  )

  t.test('oidcc-client-test-scope-userinfo-claims', async t => {
    const each = await edge(t, { providerConfig: { userinfo: true, scope: 'openid profile email' } })
    const { provider } = each
    provider.hooks.idToken = ({ name: _, given_name: __, email: ___, ...claims }) => claims
    await accepts(t, each)
    t.equal(provider.calls['userinfo'], 1)
    delete provider.hooks.idToken
    await accepts(t, each)
    t.equal(provider.calls['userinfo'], 1, 'an ID token that has the name is enough')
  })

  t.test('oidcc-client-test-userinfo-bearer-header', async t => {
    const each = await edge(t, { providerConfig: { userinfo: true } })
    each.provider.hooks.idToken = without('name')
    await accepts(t, each)
    t.match(each.provider.asked('userinfo'), [{ url: /\/userinfo$/, authorization: /^Bearer access-/ }])
  })

  t.test('oidcc-client-test-client-secret-basic', async t => accepts(t, await plain(t, 'client_secret_basic')))
  t.test('oidcc-client-test-client-secret-post', async t => accepts(t, await plain(t, 'client_secret_post')))
})

t.test('Config', async t => {
  t.test('oidcc-client-test-discovery-openid-config', async t => {
    const each = await edge(t)
    const { issuer } = each.provider
    each.provider.hooks.discovery = withClaims({ token_endpoint: `${issuer}/elsewhere/token` })
    await accepts(t, each)
    t.match(each.provider.asked('authorization_code'), [{ url: /\/elsewhere\/token$/ }])
  })

  t.test('oidcc-client-test-discovery-jwks-uri-keys', async t => {
    const each = await edge(t)
    const { issuer } = each.provider
    each.provider.hooks.discovery = withClaims({ jwks_uri: `${issuer}/elsewhere/certs` })
    // Keys that are none of ours to judge: for encryption, of another kind, of no kind that is known.
    each.provider.hooks.jwks = keys => [
      { kty: 'oct', kid: 'decoy', k: 'AAAA' },
      { kty: 'XYZ', kid: 'strange' },
      ...keys.map(key => ({ ...key, use: 'enc', kid: 'encryption' })),
      ...keys,
    ]
    await accepts(t, each)
    t.match(each.provider.asked('jwks'), [{ url: /\/elsewhere\/certs$/ }])
  })

  t.test('oidcc-client-test-discovery-issuer-mismatch', t => stopsAtDiscovery(t))

  t.test('oidcc-client-test-signing-key-rotation', async t => {
    const each = await edge(t)
    await accepts(t, each)
    await each.provider.rotateKey()
    await accepts(t, each)
    t.equal(each.provider.calls['jwks'], 2)
  })

  t.test('oidcc-client-test-signing-key-rotation-just-before-signing', async t => {
    const each = await edge(t)
    const { provider } = each
    provider.hooks.token = async (grant, honest) => {
      if (grant === 'authorization_code') await provider.rotateKey()
      return honest()
    }
    await accepts(t, each)
    const before = provider.calls['jwks'] ?? 0
    await accepts(t, each)
    t.equal(provider.calls['jwks'], before + 1, 'fetched once more, a moment after the last time')
  })
})

async function stopsAtDiscovery(t: Test): Promise<void> {
  for (const issuer of [
    'https://evil.example',
    (given: string) => `${given}/`,
    (given: string) => given.toUpperCase(),
  ]) {
    const each = await edge(t)
    const { provider } = each
    provider.hooks.discovery = withClaims({ issuer: typeof issuer === 'string' ? issuer : issuer(provider.issuer) })
    const person = each.browser()
    const response = await person.open('/oauth2/start')
    t.equal(response.statusCode, 503)
    t.equal(response.headers.location, undefined)
    t.same(Object.keys(provider.calls), ['discovery'], 'no further call')
    t.match(each.logged(), `not ${provider.issuer}: configure the issuer exactly`)
    delete provider.hooks.discovery
    await accepts(t, each)
  }
}

t.test('Refresh', async t => {
  const minute = 60_000
  /** A session whose token must be refreshed now, at a provider that then misbehaves. */
  const refreshing = async (t: Test, change: (claims: Claims) => Claims) => {
    const each = await edge(t)
    each.provider.hooks.idToken = (claims, grant) => (grant === 'refresh_token' ? change(claims) : claims)
    const person = each.browser()
    await person.login()
    await person.fetch('/api/payments/accounts')
    each.advance(6 * minute)
    const seen = each.seen.length
    const response = await person.fetch('/api/payments/accounts')
    return { ...each, person, response, passedOn: each.seen.length - seen }
  }

  t.test('oidcc-client-test-refresh-token', async t => {
    const { response, provider, passedOn } = await refreshing(t, claims => claims)
    t.equal(response.statusCode, 200)
    t.equal(passedOn, 1)
    t.match(provider.calls, { refresh_token: 1, exchange: 2 })
    const [first, second] = provider.asked('exchange').map(({ parameters }) => parameters.get('subject_token'))
    t.not(first, second, 'the new access token is used')
  })

  for (const [module, change] of [
    ['oidcc-client-test-refresh-token-invalid-issuer', withClaims({ iss: 'https://evil.example' })],
    ['oidcc-client-test-refresh-token-invalid-sub', withClaims({ sub: bob.sub })],
  ] as const)
    t.test(module, async t => {
      const { response, provider, person, passedOn } = await refreshing(t, change)
      t.ok([401, 503].includes(response.statusCode), String(response.statusCode))
      t.equal(passedOn, 0)
      t.equal(provider.calls['exchange'], 1, 'the new access token is not used')
      if (module.endsWith('sub'))
        t.match((await person.fetch('/oauth2/userinfo')).json(), { code: 'login_required' }, 'the session is over')
    })
})

t.test('FAPI 2', async t => {
  const m = (name: string) => `fapi2-security-profile-final-client-test-${name}`
  const now = () => Math.floor(Date.now() / 1000)

  t.test('fapi2-security-profile-final-client-test-happy-path', async t => accepts(t, await edge(t)))

  t.test(m('valid-aud-as-array'), async t => {
    const each = await edge(t)
    each.provider.hooks.idToken = withClaims({ aud: ['banking-web-app'] })
    await accepts(t, each)
  })

  t.test(m('token-endpoint-response-without-expires_in'), async t => {
    const each = await edge(t)
    each.provider.settings.expiresIn = false
    await accepts(t, each)
  })

  t.test(m('token-type-case-insensitivity'), async t => {
    const each = await edge(t)
    each.provider.hooks.token = async (_grant, honest) => {
      const answer = await honest()
      return { ...answer, body: { ...(answer.body as object), token_type: 'bEaReR' } }
    }
    await accepts(t, each)
  })

  t.test('fapi2-security-profile-final-client-refresh-token-test', async t => {
    const each = await edge(t)
    const person = each.browser()
    await person.login()
    each.provider.forgetAccessTokens()
    t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200, 'refreshed and tried again')
    t.match(each.provider.calls, { refresh_token: 1, exchange: 2 })
  })

  t.test(m('discovery-issuer-mismatch'), t => stopsAtDiscovery(t))

  const faults: Record<string, Fault> = {
    'invalid-iss': idToken(withClaims({ iss: 'https://evil.example' })),
    'invalid-aud': idToken(withClaims({ aud: 'somebody-else' })),
    'invalid-secondary-aud': idToken(withClaims({ aud: ['banking-web-app', 'https://evil.example'] })),
    'invalid-null-alg': ({ provider }) => {
      provider.hooks.sign = async claims => new UnsecuredJWT(claims).encode()
    },
    'invalid-alternate-alg': ({ provider }) => {
      provider.hooks.jwks = keys => [...keys, alternateJwk]
      provider.hooks.sign = claims =>
        new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'alternate' }).sign(alternate.privateKey)
    },
    'invalid-expired-exp': idToken(claims => ({ ...claims, exp: now() - 301 })),
    'invalid-missing-exp': idToken(without('exp')),
    'invalid-missing-aud': idToken(without('aud')),
    'invalid-missing-iss': idToken(without('iss')),
    'invalid-missing-nonce': idToken(without('nonce')),
    'invalid-nonce': idToken(withClaims({ nonce: 'x'.repeat(43) })),
  }
  for (const [name, fault] of Object.entries(faults)) t.test(m(name), t => rejects(t, fault))

  const responses: Record<string, (response: URLSearchParams) => void> = {
    'invalid-authorization-response-iss': response => response.set('iss', 'https://evil.example'),
    'remove-authorization-response-iss': response => response.delete('iss'),
    'ensure-authorization-response-with-invalid-state-fails': response => response.set('state', 'x'.repeat(60)),
    'ensure-authorization-response-with-invalid-missing-state-fails': response => response.delete('state'),
  }
  for (const [name, change] of Object.entries(responses))
    t.test(m(name), t =>
      rejects(
        t,
        ({ provider }) => {
          provider.hooks.response = response => {
            change(response)
            return response
          }
        },
        { calls: { par: 1 } },
      ),
    )
})

t.test('Back-channel logout', async t => {
  const event = 'http://schemas.openid.net/event/backchannel-logout'
  const m = (name: string) => `oidcc-client-test-rp-backchannel-rpinitlogout${name}`
  type Make = (each: Edge, who: { sid: string; sub: string }) => Promise<string>
  /** A person who is logged in, and what becomes of the session when the provider sends this. */
  const told = async (t: Test, make: Make) => {
    const each = await edge(t)
    // Known from the start: what is refused is the algorithm.
    each.provider.hooks.jwks = keys => [...keys, alternateJwk]
    const person = each.browser()
    const somebody: Person = { ...alice, sub: randomUUID() }
    let sid = ''
    each.provider.hooks.idToken = claims => {
      sid = String(claims['sid'])
      return claims
    }
    await person.login(somebody)
    const token = await make(each, { sid, sub: somebody.sub })
    const response = await each.app.inject({
      method: 'POST',
      url: '/oauth2/backchannel_logout',
      headers: { host: 'localhost:3000', 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ logout_token: token }).toString(),
    })
    t.equal(response.headers['cache-control'], 'no-store')
    return { status: response.statusCode, isLoggedIn: (await person.fetch('/oauth2/userinfo')).statusCode === 200 }
  }

  t.test('oidcc-client-test-rp-backchannel-rpinitlogout', async t =>
    t.same(await told(t, ({ provider }, who) => provider.logoutToken(who)), { status: 200, isLoggedIn: false }),
  )

  const claims =
    (change: (claims: Claims) => Claims): Make =>
    (each, who) =>
      each.provider.logoutToken(who, change)
  const wrong: Record<string, Make> = {
    '-alg-none': async ({ provider }, who) => {
      const [, payload] = (await provider.logoutToken(who)).split('.')
      return `${Buffer.from('{"alg":"none","typ":"logout+jwt"}').toString('base64url')}.${payload}.`
    },
    '-wrong-alg': async ({ provider }, who) => {
      const [, payload = ''] = (await provider.logoutToken(who)).split('.')
      return new SignJWT(JSON.parse(Buffer.from(payload, 'base64url').toString()))
        .setProtectedHeader({ alg: 'RS256', kid: 'alternate', typ: 'logout+jwt' })
        .sign(alternate.privateKey)
    },
    '-no-event': claims(without('events')),
    '-wrong-event': claims(withClaims({ events: { [`${event}/other`]: {} } })),
    '-with-nonce': claims(withClaims({ nonce: 'n-0S6_WzA2Mj' })),
    '-wrong-aud': claims(withClaims({ aud: 'somebody-else' })),
    '-wrong-iss': claims(withClaims({ iss: 'https://evil.example' })),
  }
  for (const [name, make] of Object.entries(wrong))
    t.test(m(name), async t => t.same(await told(t, make), { status: 400, isLoggedIn: true }))
})

t.test('RP-initiated logout', async t => {
  /** A sign-out that leads through the provider and comes back changed. */
  const signsOut = async (t: Test, change?: (back: URLSearchParams) => void) => {
    const { browser, provider } = await edge(t)
    const person = browser()
    await person.login()
    const response = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
    const { searchParams } = new URL(response.json().location)
    t.equal(searchParams.get('post_logout_redirect_uri'), `${origin}/oauth2/signed_out`)
    t.match(searchParams.get('state'), /^.{43}$/)
    t.equal(
      (await person.fetch('/oauth2/userinfo')).statusCode,
      401,
      'the session is over before the provider is asked',
    )
    return person.open(provider.signOut(response.json().location, change).slice(origin.length), { crossSite: true })
  }

  t.test('oidcc-client-test-rp-init-logout', async t => {
    const { statusCode } = await signsOut(t)
    t.ok(statusCode < 400, String(statusCode))
  })

  const changes: Record<string, (back: URLSearchParams) => void> = {
    'oidcc-client-test-rp-init-logout-other-state': back => back.set('state', 'x'.repeat(43)),
    'oidcc-client-test-rp-init-logout-no-state': back => back.delete('state'),
  }
  for (const [module, change] of Object.entries(changes))
    t.test(module, async t => {
      const response = await signsOut(t, change)
      t.equal(response.statusCode, 400)
      t.match(response.body, 'This sign-out could not be confirmed.')
    })
})
