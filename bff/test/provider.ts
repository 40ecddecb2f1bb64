import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { createLocalJWKSet, decodeJwt, exportJWK, generateKeyPair, type JWK, jwtVerify, SignJWT } from 'jose'
import type { Test } from 'tap'

export type Answer = { status: number; body: unknown; type?: string; headers?: Record<string, string> }
type Claims = Record<string, unknown>
type Algorithm = 'ES256' | 'RS256' | 'PS256' | 'EdDSA'
type Grant = 'authorization_code' | 'refresh_token' | 'exchange'

/** Ways to misbehave: each may replace what an honest provider would have said. */
type Hooks = {
  discovery?: (document: Claims) => Claims | Answer
  jwks?: (keys: JWK[]) => JWK[]
  par?: (parameters: URLSearchParams) => Answer | Promise<Answer>
  /** What goes back to the browser's callback. */
  response?: (parameters: URLSearchParams) => URLSearchParams
  idToken?: (claims: Claims, grant: Grant) => Claims
  /** Signs the ID token in another way. */
  sign?: (claims: Claims) => Promise<string>
  token?: (grant: Grant, honest: () => Promise<Answer>, parameters: URLSearchParams) => Promise<Answer>
  revocation?: () => Promise<Answer>
  userinfo?: (claims: Claims) => Claims | Answer
  /** Who is signed in here when a real browser comes to the login page; Alice when absent. */
  visitor?: () => Person
}

export type Person = {
  sub: string
  name: string
  given_name: string
  email: string
  roles: string[]
  /** Epoch seconds; now when absent. */
  auth_time?: number
}

export const alice: Person = {
  sub: '0b0f7c1e-0000-4000-8000-00000000a11c',
  name: 'Alice Adams',
  given_name: 'Alice',
  email: 'alice@example.test',
  roles: ['customer'],
}
export const bob: Person = {
  ...alice,
  sub: '0b0f7c1e-0000-4000-8000-000000000b0b',
  name: 'Bob Brown',
  given_name: 'Bob',
}

type Request = { parameters: URLSearchParams }
type Code = { parameters: URLSearchParams; person: Person }

/**
 * An OpenID provider on a real socket with real signatures: PAR, PKCE, client authentication by key or secret, refresh
 * with or without rotation, RFC 8693 exchange, userinfo, revocation, logout. Honest unless a hook says otherwise, and it
 * counts what it is asked.
 *
 * @param clientKeys what the client publishes; without them it has a secret, see `settings.secret`
 */
export async function testProvider(
  t: Test,
  clientKeys?: () => Promise<JWK[]>,
  { path = '/realms/banking' }: { path?: string } = {},
) {
  let alg: Algorithm = 'ES256'
  let { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  let kid = 'key-1'
  const hooks: Hooks = {}
  const calls: Record<string, number> = {}
  const seen: {
    call: string
    url: string
    authorization: string | undefined
    traceparent: string | undefined
    parameters: URLSearchParams
  }[] = []
  const issued: string[] = []
  const revoked: string[] = []
  const assertions = new Set<string>()
  const requests = new Map<string, Request>()
  const codes = new Map<string, Code>()
  const grants = new Map<string, { person: Person; sid: string }>()
  const accessTokens = new Map<string, { person: Person; sid: string }>()
  const settings = {
    lifetime: 300,
    rotate: false,
    expiresIn: true as boolean,
    exchangedLifetime: 300,
    refreshTokens: true as boolean,
    secret: { by: 'client_secret_basic', value: '' } as {
      by: 'client_secret_basic' | 'client_secret_post'
      value: string
    },
  }
  const exchanged = new Map<string, { audience: string; scope: string | null; sub: string }>()
  let issuer = ''
  let base = ''
  const count = (call: string, { url = '', headers }: IncomingMessage, parameters = new URLSearchParams()): void => {
    calls[call] = (calls[call] ?? 0) + 1
    const traceparent = headers['traceparent'] as string | undefined
    seen.push({ call, url, authorization: headers.authorization, traceparent, parameters })
  }
  const secret = (kind: string): string => {
    const value = `${kind}-${randomBytes(24).toString('base64url')}`
    issued.push(value)
    return value
  }

  const authenticateBySecret = (request: IncomingMessage, parameters: URLSearchParams): Answer | undefined => {
    const [scheme, credentials = ''] = request.headers.authorization?.split(' ') ?? []
    // RFC 6749 §2.3.1: both halves are form-encoded.
    const basic = Buffer.from(credentials, 'base64')
      .toString()
      .split(':')
      .map(half => decodeURIComponent(half.replaceAll('+', ' ')))
    const posted = [parameters.get('client_id'), parameters.get('client_secret')]
    const [id, value] = settings.secret.by === 'client_secret_basic' ? basic : posted
    const isOne = settings.secret.by === 'client_secret_basic' ? scheme === 'Basic' && posted[1] === null : !scheme
    const isRight = isOne && id === 'banking-web-app' && value === settings.secret.value
    return isRight ? undefined : { status: 401, body: { error: 'invalid_client' } }
  }

  const authenticate = async (request: IncomingMessage, parameters: URLSearchParams): Promise<Answer | undefined> => {
    if (clientKeys === undefined) return authenticateBySecret(request, parameters)
    const assertion = parameters.get('client_assertion') ?? ''
    try {
      const keys = createLocalJWKSet({ keys: await clientKeys() })
      const { payload } = await jwtVerify(assertion, keys, { subject: 'banking-web-app' })
      if (payload.aud !== issuer) throw new Error('aud must be the issuer, as a string')
      if (assertions.has(String(payload.jti))) throw new Error('jti was used before')
      if ((payload.exp ?? 0) - (payload.iat ?? 0) > 60) throw new Error('it lives too long')
      assertions.add(String(payload.jti))
      return undefined
    } catch (error) {
      return { status: 401, body: { error: 'invalid_client', error_description: (error as Error).message } }
    }
  }

  const idTokenFor = async (grant: Grant, person: Person, sid: string, accessToken: string, nonce?: string) => {
    const now = Math.floor(Date.now() / 1000)
    const honest: Claims = {
      iss: issuer,
      aud: 'banking-web-app',
      sub: person.sub,
      iat: now,
      exp: now + 300,
      auth_time: person.auth_time ?? now,
      sid,
      at_hash: halfHash(alg, accessToken),
      name: person.name,
      given_name: person.given_name,
      email: person.email,
      realm_access: { roles: person.roles },
      ...(nonce === undefined ? {} : { nonce }),
    }
    const claims = hooks.idToken?.(honest, grant) ?? honest
    const token =
      (await hooks.sign?.(claims)) ??
      (await new SignJWT(claims).setProtectedHeader({ alg, ...(kid === '' ? {} : { kid }) }).sign(privateKey))
    issued.push(token)
    return token
  }

  const tokensFor = async (grant: Grant, person: Person, sid: string, nonce?: string): Promise<Answer> => {
    const access_token = secret('access')
    accessTokens.set(access_token, { person, sid })
    const refresh_token = settings.refreshTokens ? secret('refresh') : undefined
    if (refresh_token !== undefined) grants.set(refresh_token, { person, sid })
    return {
      status: 200,
      body: {
        access_token,
        refresh_token,
        token_type: 'Bearer',
        ...(settings.expiresIn ? { expires_in: settings.lifetime } : {}),
        id_token: await idTokenFor(grant, person, sid, access_token, nonce),
        unknown_member: 'to be ignored',
      },
    }
  }

  const redeem = async (grant: Grant, parameters: URLSearchParams): Promise<Answer> => {
    const invalid = { status: 400, body: { error: 'invalid_grant' } }
    if (grant === 'authorization_code') {
      const code = codes.get(parameters.get('code') ?? '')
      codes.delete(parameters.get('code') ?? '')
      if (code === undefined) return invalid
      const verifier = parameters.get('code_verifier') ?? ''
      const challenge = createHash('sha256').update(verifier).digest('base64url')
      if (challenge !== code.parameters.get('code_challenge')) return invalid
      if (parameters.get('redirect_uri') !== code.parameters.get('redirect_uri')) return invalid
      return tokensFor(grant, code.person, randomBytes(12).toString('hex'), code.parameters.get('nonce') ?? undefined)
    }
    if (grant === 'refresh_token') {
      const token = parameters.get('refresh_token') ?? ''
      const known = grants.get(token)
      if (known === undefined) return invalid
      if (settings.rotate) grants.delete(token)
      const answer = await tokensFor(grant, known.person, known.sid)
      if (!settings.rotate) (answer.body as Claims)['refresh_token'] = token
      return answer
    }
    const subject = accessTokens.get(parameters.get('subject_token') ?? '')
    if (subject === undefined) return { status: 400, body: { error: 'invalid_request' } }
    const audience = parameters.get('audience') ?? ''
    const access_token = secret(`for-${audience.replaceAll(/[^\w-]/g, '_')}`)
    exchanged.set(access_token, { audience, scope: parameters.get('scope'), sub: subject.person.sub })
    return {
      status: 200,
      body: {
        access_token,
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'Bearer',
        expires_in: settings.exchangedLifetime,
        scope: parameters.get('scope') ?? undefined,
      },
    }
  }

  const login = (authorizationUrl: string, person: Person = alice): string => {
    const address = new URL(authorizationUrl)
    const uri = address.searchParams.get('request_uri')
    const request = uri === null ? { parameters: address.searchParams } : requests.get(uri)
    if (uri !== null) requests.delete(uri)
    if (request === undefined) throw new Error('the request_uri is unknown or was used before')
    const code = secret('code')
    codes.set(code, { parameters: request.parameters, person })
    const state = request.parameters.get('state') ?? ''
    const response = new URLSearchParams({ state, iss: issuer, code })
    return `${request.parameters.get('redirect_uri')}?${hooks.response?.(response) ?? response}`
  }

  /** What the provider's logout page does with a browser. @returns where it is sent then */
  const signOut = (endSessionUrl: string, change: (back: URLSearchParams) => void = () => undefined): string => {
    const { searchParams } = new URL(endSessionUrl)
    if (!issued.includes(searchParams.get('id_token_hint') ?? '')) throw new Error('id_token_hint is no ID token')
    const back = new URL(searchParams.get('post_logout_redirect_uri') ?? '')
    const state = searchParams.get('state')
    if (state !== null) back.searchParams.set('state', state)
    change(back.searchParams)
    return back.href
  }

  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const path = new URL(request.url ?? '/', issuer).pathname
    if (path.endsWith('/.well-known/openid-configuration')) {
      count('discovery', request)
      const document: Claims = {
        issuer,
        authorization_endpoint: `${base}/auth`,
        token_endpoint: `${base}/token`,
        pushed_authorization_request_endpoint: `${base}/par`,
        revocation_endpoint: `${base}/revoke`,
        end_session_endpoint: `${base}/logout`,
        userinfo_endpoint: `${base}/userinfo`,
        jwks_uri: `${base}/certs`,
        id_token_signing_alg_values_supported: [alg],
        authorization_response_iss_parameter_supported: true,
        code_challenge_methods_supported: ['S256'],
      }
      const said = hooks.discovery?.(document) ?? document
      return 'status' in said ? (said as Answer) : { status: 200, body: said }
    }
    if (path.endsWith('/certs')) {
      count('jwks', request)
      const keys = [{ ...(await exportJWK(publicKey)), ...(kid === '' ? {} : { kid }), alg, use: 'sig' }]
      return { status: 200, body: { keys: hooks.jwks?.(keys) ?? keys } }
    }
    if (path.endsWith('/userinfo')) {
      count('userinfo', request)
      const token = accessTokens.get(request.headers.authorization?.replace(/^Bearer /, '') ?? '')
      if (token === undefined) return { status: 401, body: { error: 'invalid_token' } }
      const { sub, name, given_name, email } = token.person
      const said = hooks.userinfo?.({ sub, name, given_name, email }) ?? { sub, name, given_name, email }
      return 'status' in said ? (said as Answer) : { status: 200, body: said }
    }
    if (path.endsWith('/auth'))
      return { status: 302, body: '', headers: { location: login(`${base}${request.url}`, hooks.visitor?.()) } }
    if (path.endsWith('/logout'))
      return { status: 302, body: '', headers: { location: signOut(`${base}${request.url}`) } }
    const parameters = new URLSearchParams(await text(request))
    if (path.endsWith('/par')) {
      count('par', request, parameters)
      const refusal = await authenticate(request, parameters)
      if (refusal !== undefined) return refusal
      if (hooks.par !== undefined) return hooks.par(parameters)
      const request_uri = `urn:ietf:params:oauth:request_uri:${randomBytes(12).toString('base64url')}`
      requests.set(request_uri, { parameters })
      return { status: 201, body: { request_uri, expires_in: 60 } }
    }
    if (path.endsWith('/token')) {
      const type = parameters.get('grant_type') ?? ''
      const grant = (type.endsWith('token-exchange') ? 'exchange' : type) as Grant
      count(grant, request, parameters)
      const refusal = await authenticate(request, parameters)
      if (refusal !== undefined) return refusal
      const honest = () => redeem(grant, parameters)
      return hooks.token === undefined ? honest() : hooks.token(grant, honest, parameters)
    }
    if (path.endsWith('/revoke')) {
      count('revocation', request, parameters)
      const refusal = await authenticate(request, parameters)
      if (refusal !== undefined) return refusal
      if (hooks.revocation !== undefined) return hooks.revocation()
      revoked.push(parameters.get('token') ?? '')
      grants.delete(parameters.get('token') ?? '')
      return { status: 200, body: '' }
    }
    return { status: 404, body: { error: 'not_found' } }
  }

  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    void answer(request).then(({ status, body, type, headers }) => {
      response.writeHead(status, { 'content-type': type ?? 'application/json', ...headers })
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  const listen = (port: number) => new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as AddressInfo
  issuer = `http://127.0.0.1:${port}${path}`
  base = issuer.replace(/\/$/, '')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })

  return {
    issuer,
    hooks,
    calls,
    /** The requests of one kind, as they came. */
    asked: (call: string) => seen.filter(each => each.call === call),
    settings,
    /** Every token, code and ID token that was ever given out. */
    issued,
    /** Its own name for the session of the login that was finished last. */
    lastSid: () => String(decodeJwt(issued.findLast(token => token.split('.').length === 3) ?? '')['sid']),
    revoked,
    exchanged,
    requests,
    /** What the person does at the provider. @returns the address the browser is sent back to */
    login,
    signOut,
    /** A logout token as the provider would send it, but for what is changed. */
    async logoutToken(
      who: { sid?: string; sub?: string },
      change: (claims: Claims) => Claims = claims => claims,
      header: Claims = {},
    ): Promise<string> {
      const now = Math.floor(Date.now() / 1000)
      const claims = change({
        iss: issuer,
        aud: 'banking-web-app',
        iat: now,
        exp: now + 120,
        jti: randomBytes(12).toString('hex'),
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
        ...who,
      })
      return new SignJWT(claims)
        .setProtectedHeader({ alg, ...(kid === '' ? {} : { kid }), typ: 'logout+jwt', ...header })
        .sign(privateKey)
    },
    /** A new key; it may have no name, ''. */
    async rotateKey(to: Algorithm = alg, name = `key-${randomBytes(4).toString('hex')}`) {
      alg = to
      ;({ privateKey, publicKey } = await generateKeyPair(alg, { extractable: true }))
      kid = name
    },
    forgetAccessTokens: () => accessTokens.clear(),
    forgetGrants: () => grants.clear(),
    async stop() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
    start: () => listen(port),
    privateKey: () => privateKey,
    publicKey: () => publicKey,
    kid: () => kid,
  }
}

/** OpenID Connect Core 1.0 §3.1.3.6 */
const halfHash = (alg: Algorithm, text: string): string => {
  const digest = createHash(alg === 'EdDSA' ? 'sha512' : 'sha256')
    .update(text)
    .digest()
  return digest.subarray(0, digest.length / 2).toString('base64url')
}

export type TestProvider = Awaited<ReturnType<typeof testProvider>>
