import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { apps, audienceOf, roles, scopeOf, webClient } from '@banking/contracts'
import { parts, stack } from '@banking/testkit'
import t from 'tap'

const { keycloak: url } = parts(t, 'keycloak')
const root = resolve(import.meta.dirname, '..')
const read = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'))

type Json = Record<string, unknown>
type Client = Json & {
  id: string
  clientId: string
  secret?: string
  attributes: Record<string, string>
  defaultClientScopes: string[]
  optionalClientScopes: string[]
}
type Executor = { executor: string; configuration: Json }

const apis = apps.map(app => app.name).filter(name => name !== 'bff')
/** Services that call others, and the APIs they may call. */
const callers: Record<string, string[]> = {
  'customer-service': ['risk-api'],
  'payment-service': ['risk-api'],
  'loan-service': ['risk-api'],
  'admin-service': ['audit-api', 'bff-api'],
}

t.test('the production file holds no person, no secret and no address of development', async t => {
  const text = readFileSync(join(root, 'k8s/realm/banking-realm.json'), 'utf8')
  const realm = JSON.parse(text)
  t.equal(realm.sslRequired, 'all')
  t.notOk('users' in realm)
  t.notMatch(text, /"(secret|password|credentials|privateKey|jwks\.string)"/i)
  t.notMatch(text, /localhost|127\.0\.0\.1|http:\/\//)
  t.notMatch(text, /https:\/\/[^"]*\*/, 'no wildcard')
})

t.test('development changes addresses and plain HTTP, and nothing else', async t => {
  const overlay = read('packages/devstack/realm/development.json')
  t.same(Object.keys(overlay).sort(), ['clientPolicies', 'clients', 'sslRequired'])
  t.equal(overlay.sslRequired, 'none')
  t.same(
    overlay.clients.map((client: Json) => [
      client.clientId,
      Object.keys(client).sort(),
      Object.keys(client.attributes as Json).sort(),
    ]),
    [
      [
        webClient,
        ['attributes', 'clientId', 'redirectUris', 'rootUrl'],
        ['backchannel.logout.url', 'jwks.url', 'post.logout.redirect.uris'],
      ],
    ],
  )
  const [policy, ...others] = overlay.clientPolicies.policies
  const [product] = read('k8s/realm/banking-realm.json').clientPolicies.policies
  t.same(others, [])
  t.same({ ...policy, profiles: [...policy.profiles, 'https-only'] }, product, 'the policy without HTTPS')
})

t.test('the running realm', async t => {
  const running = stack()
  const issuer = `${url}/realms/banking`
  const form = (body: Record<string, string>) => ({ method: 'POST', body: new URLSearchParams(body) })
  const { username = '', password = '' } = running?.admin ?? {}
  const login = await fetch(
    `${url}/realms/master/protocol/openid-connect/token`,
    form({ grant_type: 'password', client_id: 'admin-cli', username, password }),
  )
  const { access_token: adminToken } = (await login.json()) as { access_token: string }
  const admin = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${url}/admin/realms/banking${path}`, {
      headers: { authorization: `Bearer ${adminToken}` },
    })
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return (await response.json()) as T
  }
  const endpoint = (name: string): string => `${issuer}/protocol/openid-connect/${name}`
  const refused = async (response: Response): Promise<unknown> => ((await response.json()) as Json).error
  const clients = await admin<Client[]>('/clients?max=100')
  const clientOf = (clientId: string): Client => {
    const client = clients.find(candidate => candidate.clientId === clientId)
    if (client === undefined) throw new Error(`no client ${clientId}`)
    return client
  }
  const web = clientOf(webClient)

  await t.test('keeps sessions and tokens short', async t => {
    t.match(await admin(''), {
      enabled: true,
      accessTokenLifespan: 300,
      accessCodeLifespan: 60,
      ssoSessionIdleTimeout: 21 * 60,
      ssoSessionMaxLifespan: 8 * 3600,
      clientSessionIdleTimeout: 21 * 60,
      clientSessionMaxLifespan: 8 * 3600,
      offlineSessionMaxLifespanEnabled: true,
      rememberMe: false,
      revokeRefreshToken: false,
      attributes: { parRequestUriLifespan: '60' },
    })
  })

  await t.test('lets nobody in by themselves and slows down who guesses', async t => {
    t.match(await admin(''), {
      registrationAllowed: false,
      resetPasswordAllowed: false,
      editUsernameAllowed: false,
      duplicateEmailsAllowed: false,
      userManagedAccessAllowed: false,
      bruteForceProtected: true,
      permanentLockout: false,
      failureFactor: 5,
      waitIncrementSeconds: 60,
      maxFailureWaitSeconds: 900,
      otpPolicyCodeReusable: false,
    })
    const { passwordPolicy } = await admin<{ passwordPolicy: string }>('')
    for (const rule of ['length(12)', 'maxLength(128)', 'notUsername', 'notEmail', 'passwordHistory(5)'])
      t.match(passwordPolicy, rule)
  })

  await t.test('records what people, clients and administrators do', async t => {
    const events = await admin<Json & { enabledEventTypes: string[] }>('/events/config')
    t.match(events, { eventsEnabled: true, adminEventsEnabled: true, adminEventsDetailsEnabled: false })
    t.ok((events.eventsExpiration as number) >= 30 * 86_400)
    for (const type of [
      'LOGIN',
      'LOGOUT',
      'CODE_TO_TOKEN',
      'REFRESH_TOKEN',
      'TOKEN_EXCHANGE',
      'CLIENT_LOGIN',
      'REVOKE_GRANT',
    ]) {
      t.ok(events.enabledEventTypes.includes(type), type)
      t.ok(events.enabledEventTypes.includes(`${type}_ERROR`), `${type}_ERROR`)
    }
  })

  await t.test('signs with ES256 and publishes no other key', async t => {
    t.match(await admin(''), { defaultSignatureAlgorithm: 'ES256' })
    const { keys } = (await (await fetch(endpoint('certs'))).json()) as { keys: Json[] }
    t.ok(keys.length > 0)
    for (const key of keys) t.match(key, { kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' })
  })

  await t.test('has the five roles, each from its group and from nowhere else', async t => {
    const groups = await admin<{ path: string; realmRoles: string[] }[]>('/groups?briefRepresentation=false')
    t.same(
      Object.fromEntries(groups.map(group => [group.path, group.realmRoles])),
      Object.fromEntries(roles.map(role => [`/${role}s`, [role]])),
    )
    const people = await admin<{ id: string; username: string; requiredActions: string[] }[]>('/users?max=100')
    for (const { id, username } of people) {
      const direct = await admin<{ name: string }[]>(`/users/${id}/role-mappings/realm`)
      t.same(
        direct.filter(({ name }) => (roles as readonly string[]).includes(name)),
        [],
        `${username} has no role of their own`,
      )
    }
    const everybody = await admin<{ name: string }[]>('/roles/default-roles-banking/composites')
    t.same(
      everybody.filter(({ name }) => (roles as readonly string[]).includes(name)),
      [],
      'nor has everybody',
    )
  })

  await t.test('has one client for the web, one per API, and no other that works', async t => {
    const open = clients.filter(client => client.enabled && !client.bearerOnly).map(client => client.clientId)
    t.same(open.sort(), [webClient, ...apis.map(audienceOf)].sort())
    for (const clientId of open) {
      const client = clientOf(clientId)
      t.match(
        client,
        {
          publicClient: false,
          clientAuthenticatorType: 'client-jwt',
          fullScopeAllowed: false,
          implicitFlowEnabled: false,
          directAccessGrantsEnabled: false,
          frontchannelLogout: false,
          standardFlowEnabled: clientId === webClient,
          serviceAccountsEnabled: clientId in callers,
          webOrigins: [],
          attributes: {
            'token.endpoint.auth.signing.alg': 'ES256',
            'access.token.signed.response.alg': 'ES256',
            'access.token.header.type.rfc9068': 'true',
            'client.use.lightweight.access.token.enabled': 'false',
            'oauth2.device.authorization.grant.enabled': 'false',
            'oidc.ciba.grant.enabled': 'false',
          },
        },
        clientId,
      )
      t.same(
        client.optionalClientScopes.sort(),
        (clientId === webClient ? apis.map(scopeOf) : (callers[clientId] ?? [])).sort(),
        `${clientId} reaches what it calls`,
      )
    }
  })

  await t.test('the web client uses the code flow as strictly as it can be had', async t => {
    t.match(web, {
      standardFlowEnabled: true,
      consentRequired: false,
      attributes: {
        'pkce.code.challenge.method': 'S256',
        'require.pushed.authorization.requests': 'true',
        'exclude.issuer.from.auth.response': 'false',
        'id.token.signed.response.alg': 'ES256',
        'use.jwks.url': 'true',
        'use.refresh.tokens': 'true',
        'standard.token.exchange.enabled': 'true',
        'standard.token.exchange.enableRefreshRequestedTokenType': 'NO',
        'backchannel.logout.session.required': 'true',
      },
    })
    const origin = running?.baseUrl ?? 'http://localhost:3000'
    t.same(web.redirectUris, [`${origin}/oauth2/callback`])
    t.equal(web.attributes['post.logout.redirect.uris'], `${origin}/oauth2/signed_out`)
    t.equal(web.attributes['backchannel.logout.url'], `${origin}/oauth2/backchannel_logout`)
    t.equal(web.attributes['jwks.url'], `${origin}/oauth2/jwks`)
    t.same(web.defaultClientScopes.sort(), ['acr', 'basic', 'email', 'profile', 'roles'])
  })

  await t.test('a policy holds for clients that are added later, too', async t => {
    const { policies } = await admin<{ policies: Json[] }>('/client-policies/policies')
    t.match(policies, [{ name: 'every-client', enabled: true, conditions: [{ condition: 'any-client' }] }])
    const { profiles } = await admin<{ profiles: { name: string; executors: Executor[] }[] }>(
      '/client-policies/profiles',
    )
    const floor = profiles.find(profile => profile.name === 'confidential-code-only')
    t.same(floor?.executors.map(({ executor }) => executor).sort(), [
      'full-scope-disabled',
      'pkce-enforcer',
      'reject-implicit-grant',
      'reject-ropc-grant',
      'secure-client-authenticator',
      'secure-signature-algorithm',
      'secure-signature-algorithm-signed-jwt',
    ])
  })

  await t.test('a session’s token opens nothing; with a scope it opens that one service', async t => {
    const [person] = await admin<{ id: string }[]>('/users?username=alice&exact=true')
    if (person === undefined) return t.fail('alice is not there')
    const example = (kind: string, scope: string) =>
      admin<Json>(
        `/clients/${web.id}/evaluate-scopes/generate-example-${kind}-token?${new URLSearchParams({ scope, userId: person.id })}`,
      )
    const session = await example('access', 'openid')
    t.notOk('aud' in session, 'no audience')
    t.match(session, {
      iss: issuer,
      typ: 'Bearer',
      azp: webClient,
      client_id: webClient,
      sub: person.id,
      scope: 'openid',
    })
    t.match(session, { sid: String, acr: '1', realm_access: { roles: ['customer'] } })
    for (const api of apis) {
      const token = await example('access', `openid ${scopeOf(api)}`)
      t.match(token, { aud: audienceOf(api), scope: `openid ${scopeOf(api)}` }, api)
      const known = [
        'acr',
        'aud',
        'auth_time',
        'azp',
        'client_id',
        'exp',
        'iat',
        'iss',
        'jti',
        'realm_access',
        'scope',
        'sid',
        'sub',
        'typ',
      ]
      t.same(
        Object.keys(token).filter(claim => !known.includes(claim)),
        [],
        `${api}: nothing else about the person`,
      )
    }
    const id = await example('id', 'openid')
    t.match(id, {
      typ: 'ID',
      aud: webClient,
      sid: String,
      acr: '1',
      name: String,
      email: String,
      realm_access: { roles: ['customer'] },
    })
    return undefined
  })

  await t.test('refuses every other way to a token', async t => {
    const ways: [string, Record<string, string>, string][] = [
      [
        'a password',
        { grant_type: 'password', client_id: 'admin-cli', username: 'alice', password: 'development-only' },
        'invalid_client',
      ],
      ['a client id alone', { grant_type: 'client_credentials', client_id: 'payment-service' }, 'invalid_client'],
      [
        'the web client without its key',
        { grant_type: 'authorization_code', client_id: webClient, code: 'x' },
        'invalid_client',
      ],
      ['an unknown client', { grant_type: 'client_credentials', client_id: 'banking-api-gateway' }, 'invalid_client'],
    ]
    for (const [name, body, error] of ways)
      t.equal(await refused(await fetch(endpoint('token'), form(body))), error, name)
    for (const client of clients.filter(candidate => candidate.secret !== undefined)) {
      const body = { grant_type: 'client_credentials', client_id: client.clientId, client_secret: client.secret ?? '' }
      const response = await fetch(endpoint('token'), form(body))
      t.notOk(response.ok, `${client.clientId}: the secret that Keycloak made up opens nothing`)
    }
    const par = await fetch(endpoint('ext/par/request'), form({ client_id: webClient, response_type: 'code' }))
    t.notOk(par.ok, 'a pushed request without the key')
    t.notOk('request_uri' in ((await par.json()) as Json))
    const registration = await fetch(`${issuer}/clients-registrations/openid-connect`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: ['https://attacker.example/'] }),
    })
    t.ok([401, 403].includes(registration.status), `registration: ${registration.status}`)
  })

  await t.test('takes a login only from a pushed request, to the exact address', async t => {
    const authorize = (members: Record<string, string>) =>
      fetch(
        `${endpoint('auth')}?${new URLSearchParams({
          client_id: webClient,
          response_type: 'code',
          redirect_uri: (web.redirectUris as string[])[0] ?? '',
          scope: 'openid',
          code_challenge: 'x'.repeat(43),
          code_challenge_method: 'S256',
          ...members,
        })}`,
        { redirect: 'manual' },
      )
    const plain = await authorize({})
    const back = new URL(plain.headers.get('location') ?? '')
    t.equal(back.searchParams.get('error'), 'invalid_request')
    t.equal(back.searchParams.get('iss'), issuer, 'an error, too, says who sent it (RFC 9207)')
    const redirectUris = [
      'https://attacker.example/',
      `${(web.redirectUris as string[])[0]}/`,
      `${(web.redirectUris as string[])[0]}?x=1`,
    ]
    for (const redirect_uri of redirectUris) {
      const response = await authorize({ redirect_uri })
      t.equal(response.status, 400, redirect_uri)
      t.notOk(response.headers.has('location'), redirect_uri)
    }
  })

  await t.test('shows its pages in no frame', async t => {
    const page = await fetch(`${endpoint('auth')}?client_id=nobody`)
    t.match(page.headers.get('content-security-policy'), /frame-ancestors 'none'/)
    t.equal(page.headers.get('x-frame-options'), 'DENY')
    t.equal(page.headers.get('referrer-policy'), 'no-referrer')
    t.equal(page.headers.get('x-content-type-options'), 'nosniff')
  })

  await t.test('has no scope for tokens that outlive the session', async t => {
    for (const client of clients.filter(candidate => candidate.enabled))
      t.notOk(
        [...client.defaultClientScopes, ...client.optionalClientScopes].includes('offline_access'),
        client.clientId,
      )
  })
})
