import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider from 'oidc-provider'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { type Edge, edge, origin, testUpstream } from './edge.ts'
import { alice, type TestProvider } from './provider.ts'

/** oidc-provider, a certified one that is not ours: a secret, no pushed requests, refresh tokens that rotate. */
async function realProvider(t: Test) {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const secret = randomBytes(24).toString('base64url')
  const logoutTokens: string[] = []
  let each: Edge
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const oidc = new Provider(issuer, {
    clients: [
      {
        client_id: 'banking-web-app',
        client_secret: secret,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        redirect_uris: [`${origin}/oauth2/callback`],
        post_logout_redirect_uris: [`${origin}/oauth2/signed_out`],
        backchannel_logout_uri: `${origin}/oauth2/backchannel_logout`,
        backchannel_logout_session_required: true,
        id_token_signed_response_alg: 'ES256',
      },
    ],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'one', alg: 'ES256', use: 'sig' } as never] },
    cookies: { keys: [secret] },
    claims: { openid: ['sub', 'name'] },
    conformIdTokenClaims: false,
    findAccount: (_context: unknown, accountId: string) => ({
      accountId,
      claims: () => ({ sub: accountId, name: alice.name }),
    }),
    features: {
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      revocation: { enabled: true },
    },
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    // What it sends to its clients: it would refuse loopback, and the edge of a test has no port.
    fetch: async (_url: unknown, { body }: { body?: unknown }) => {
      logoutTokens.push(String(body))
      const { statusCode } = await each.app.inject({
        method: 'POST',
        url: '/oauth2/backchannel_logout',
        headers: { host: 'localhost:3000', 'content-type': 'application/x-www-form-urlencoded' },
        payload: String(body),
      })
      return new Response(null, { status: statusCode })
    },
  } as never)
  const answer = oidc.callback()
  /** The person signs in and agrees. */
  const interact = async (request: IncomingMessage, response: ServerResponse) => {
    const grant = new oidc.Grant({ accountId: alice.sub, clientId: 'banking-web-app' })
    grant.addOIDCScope('openid')
    const result = { login: { accountId: alice.sub }, consent: { grantId: await grant.save() } }
    await oidc.interactionFinished(request, response, result)
  }
  server.on('request', (request, response) =>
    request.url?.startsWith('/interaction/') ? interact(request, response) : answer(request, response),
  )

  const secretFile = `${t.testdir({ secret: `${secret}\n` })}/secret`
  const upstream = await testUpstream(t)
  const payment: Upstream = {
    ...upstreamDefaults,
    name: 'payment',
    prefix: '/api/payments',
    origin: upstream.origin,
    token: 'session',
  }
  each = await edge(t, {
    provider: { issuer } as TestProvider,
    providerConfig: { credential: { method: 'client_secret_basic', secretFile }, pushedRequests: 'auto' },
    upstreams: [payment],
  })

  /** A browser's cookies at the provider. @returns the page, or the address of ours that it is sent to */
  const jar = new Map<string, string>()
  const visit = async (address: string, form?: URLSearchParams): Promise<{ back?: string; page: string }> => {
    const response = await fetch(address, {
      redirect: 'manual',
      headers: { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form === undefined ? {} : { method: 'POST', body: form }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';')
      jar.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
    }
    const location = response.headers.get('location')
    if (location === null) return { page: await response.text() }
    const next = new URL(location, address).href
    return next.startsWith(origin) ? { back: next, page: '' } : visit(next)
  }
  /** Goes to the provider's logout page and says yes. */
  const logOut = async (address: string) => {
    const { page } = await visit(address)
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page)?.[1] ?? ''
    return visit(`${issuer}/session/end/confirm`, new URLSearchParams({ xsrf, logout: 'yes' }))
  }
  const person = each.browser()
  const start = await person.open('/oauth2/start')
  const { back = '' } = await visit(String(start.headers.location))
  const callback = await person.comeBack(back)
  return { each, person, callback, logOut, issuer, logoutTokens, seen: upstream.seen, secret }
}

t.test('logs in at oidc-provider, with a secret and without pushed requests', async t => {
  const { each, person, callback, seen, secret } = await realProvider(t)
  t.equal(callback.statusCode, 302)
  t.match((await person.fetch('/oauth2/userinfo')).json(), { sub: alice.sub, name: alice.name })
  t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200)
  t.match(seen[0]?.headers.authorization, /^Bearer [^.]+$/, 'an opaque access token')
  t.notMatch(each.logged(), secret)
})

t.test('refreshes there by refresh tokens that rotate, again and again', async t => {
  const { each, person, seen } = await realProvider(t)
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(Array.from({ length: 5 }, () => person.fetch('/api/payments/accounts')))
    t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
    // Its access tokens live an hour, and a session ends when nobody does anything for a quarter of it.
    for (let spent = 0; spent < 56; spent += 8) {
      each.advance(8 * 60_000)
      t.equal((await person.fetch('/api/payments/accounts')).statusCode, 200)
    }
  }
  t.ok(new Set(seen.map(({ headers }) => headers.authorization)).size >= 3, 'new access tokens came')
})

t.test('is logged out by it when the person logs out there', async t => {
  const { person, logOut, issuer, logoutTokens } = await realProvider(t)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
  await logOut(`${issuer}/session/end`)
  t.equal(logoutTokens.length, 1)
  t.match((await person.fetch('/oauth2/userinfo')).json(), { code: 'login_required', reason: 'revoked' })
})

t.test('signs out by way of its logout page, and comes back', async t => {
  const { person, logOut } = await realProvider(t)
  const response = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
  const { back = '' } = await logOut(response.json().location)
  t.match(back, `${origin}/oauth2/signed_out?state=`)
  t.ok((await person.open(back.slice(origin.length), { crossSite: true })).statusCode < 400)
})
