import { constants, createHash, sign } from 'node:crypto'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import {
  base64url,
  ecPair,
  guardedApp,
  type HostileIssuer,
  hmac,
  hostileIssuer,
  json,
  type KeyPair,
  mint,
  publicJwk,
  rsaPair,
} from './hostile-issuer.ts'

/** Row of the attack corpus: a token, and what it gets. Without `expect` it is the 401 of an invalid token. */
type Attack = { name: string; token: string; expect?: 'accepted' | 'role_missing' | 'scope_insufficient' | 'malformed' }

const invalidChallenge = 'Bearer error="invalid_token", error_description="The access token is not valid here."'
const outcomes = {
  accepted: { status: 200 },
  invalid: { status: 401, code: 'token_invalid', challenge: invalidChallenge },
  missing: { status: 401, code: 'token_missing', challenge: 'Bearer' },
  malformed: {
    status: 400,
    code: 'authorization_malformed',
    challenge:
      'Bearer error="invalid_request", error_description="Send exactly one Authorization header with one bearer token."',
  },
  role_missing: { status: 403, code: 'role_missing' },
  scope_insufficient: {
    status: 403,
    code: 'scope_insufficient',
    challenge: 'Bearer error="insufficient_scope", scope="payment-api"',
  },
  unavailable: { status: 503, code: 'keys_unavailable' },
} as const
type Outcome = keyof typeof outcomes

/** An answer in the terms of {@link outcomes}, so that one comparison says it all. */
function outcomeOf(response: { statusCode: number; headers: Record<string, unknown>; json: () => unknown }): unknown {
  const { code } = response.json() as { code?: string }
  const challenge = response.headers['www-authenticate']
  return { status: response.statusCode, ...(code && { code }), ...(challenge ? { challenge } : {}) }
}

/** Segments of a token long enough to be recognised in an answer. */
const echoes = (token: string, answer: string): boolean =>
  token.split('.').some(segment => segment.length > 12 && answer.includes(segment))

async function attack(t: Test, issuer: HostileIssuer, attacks: readonly Attack[], options = {}) {
  const { app } = await guardedApp(t, issuer, options)
  // The first row is the good token: from here on the keys are known.
  await app.inject({ url: '/accounts', headers: { authorization: `Bearer ${attacks[0]?.token}` } })
  const before = issuer.fetches()
  for (const { name, token, expect = 'invalid' } of attacks) {
    const response = await app.inject({ url: '/accounts', headers: { authorization: `Bearer ${token}` } })
    t.same(outcomeOf(response), outcomes[expect as Outcome], name)
    if (response.statusCode !== 200) t.notOk(echoes(token, response.body), `${name}: nothing of it comes back`)
  }
  t.equal(issuer.fetches(), before, 'no key was fetched for any of them')
  t.equal(issuer.baited(), 0, 'no address out of a token was called')
}

t.test('A: algorithms and signatures', async t => {
  const issuer = await hostileIssuer(t)
  const { pair } = issuer
  const enc = ecPair()
  const p384 = ecPair('P-384')
  const koblitz = ecPair('secp256k1')
  const stranger = ecPair()
  const rsa = rsaPair()
  const small = rsaPair(1024)
  issuer.keys = [
    ...issuer.keys,
    publicJwk(enc, { kid: 'enc', alg: 'ECDH-ES', use: 'enc' }),
    publicJwk(enc, { kid: 'enc-es256', alg: 'ES256', use: 'enc' }),
    publicJwk(p384, { kid: 'p384' }),
    publicJwk(koblitz, { kid: 'koblitz' }),
    publicJwk(rsa, { kid: 'rsa', alg: 'RS256' }),
    publicJwk(small, { kid: 'small', alg: 'RS256' }),
    { kty: 'oct', kid: 'oct', alg: 'HS256', k: base64url('secret') },
  ]
  const good = issuer.token()
  const [header = '', claims = '', signature = ''] = good.split('.')
  const other = issuer.token({ sub: 'somebody-else' }).split('.')
  const withAlg = (alg: unknown, key: Parameters<typeof mint>[2] = pair.privateKey) =>
    mint(issuer.header({ alg }), issuer.claims(), key)
  const unsigned = (alg: unknown) => mint(issuer.header({ alg }), issuer.claims(), () => Buffer.alloc(0))
  const raw = (bytes: Buffer) => mint(issuer.header(), issuer.claims(), () => bytes)
  const spki = pair.publicKey.export({ type: 'spki', format: 'pem' }) as string
  const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
  const scalar = (hex: string) => Buffer.from(hex.padStart(64, '0'), 'hex')
  const scalars = ['0', '1', order.replace(/51$/, '50'), order]
  const rsaSign = (hash: string) => (input: string) => sign(hash, Buffer.from(input), rsa.privateKey)
  const pss = (input: string) =>
    sign('sha256', Buffer.from(input), { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 0 })
  const flip = (segment: string, at: number) => {
    const bytes = Buffer.from(segment, 'base64url')
    bytes.writeUInt8((bytes[at] ?? 0) ^ 1, at)
    return bytes.toString('base64url')
  }
  await attack(t, issuer, [
    { name: '0 the good token, which all of these vary', token: good, expect: 'accepted' },
    { name: '1 alg none, empty signature', token: unsigned('none') },
    { name: '2 alg none, junk signature', token: withAlg('none', () => Buffer.from('junk')) },
    ...['None', 'nOnE', 'NONE', 'none ', ''].map(alg => ({ name: `3-4 alg "${alg}"`, token: unsigned(alg) })),
    { name: '5 alg absent', token: withAlg(undefined) },
    ...[null, 1, ['ES256'], { ES256: 1 }, true].map(alg => ({
      name: `6 alg ${JSON.stringify(alg)}`,
      token: withAlg(alg),
    })),
    { name: '7 HS256 with the public key in PEM', token: withAlg('HS256', hmac(spki)) },
    { name: '8 HS256 with the PEM less its newline', token: withAlg('HS256', hmac(spki.trim())) },
    {
      name: '8 HS256 with the key in DER',
      token: withAlg('HS256', hmac(pair.publicKey.export({ type: 'spki', format: 'der' }))),
    },
    { name: '8 HS256 with the JWK', token: withAlg('HS256', hmac(JSON.stringify(issuer.keys[0]))) },
    {
      name: '8 HS256 with the coordinate x',
      token: withAlg('HS256', hmac(Buffer.from(pair.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'))),
    },
    { name: '8 ES256 in the header, HMAC in the signature', token: withAlg('ES256', hmac(spki)) },
    { name: '9 HS256 with an empty key', token: withAlg('HS256', hmac('')) },
    {
      name: '9 HS256 with the published symmetric key',
      token: mint(issuer.header({ alg: 'HS256', kid: 'oct' }), issuer.claims(), hmac('secret')),
    },
    {
      name: '10 RS256 where only ES256 is taken',
      token: mint(issuer.header({ alg: 'RS256', kid: 'rsa' }), issuer.claims(), rsaSign('sha256')),
    },
    { name: '11 RS512', token: mint(issuer.header({ alg: 'RS512', kid: 'rsa' }), issuer.claims(), rsaSign('sha512')) },
    {
      name: '12 ES256 with an RSA key id',
      token: mint(issuer.header({ kid: 'rsa' }), issuer.claims(), rsaSign('sha256')),
    },
    { name: '12 RS256 with an EC key id', token: withAlg('RS256', rsaSign('sha256')) },
    {
      name: '13 signed by the encryption key',
      token: mint(issuer.header({ kid: 'enc' }), issuer.claims(), enc.privateKey),
    },
    {
      name: '13 signed by an encryption key that calls itself ES256',
      token: mint(issuer.header({ kid: 'enc-es256' }), issuer.claims(), enc.privateKey),
    },
    ...scalars.flatMap(r =>
      scalars.map(s => ({
        name: `14 r=${r.slice(-4)} s=${s.slice(-4)}`,
        token: raw(Buffer.concat([scalar(r), scalar(s)])),
      })),
    ),
    {
      name: '15 ECDSA signature in DER',
      token: withAlg('ES256', input => sign('sha256', Buffer.from(input), pair.privateKey)),
    },
    {
      name: '16 signature too short',
      token: `${header}.${claims}.${base64url(Buffer.from(signature, 'base64url').subarray(0, 63))}`,
    },
    {
      name: '16 signature too long',
      token: `${header}.${claims}.${base64url(Buffer.concat([Buffer.from(signature, 'base64url'), Buffer.alloc(1)]))}`,
    },
    {
      name: '16 signature padded with zeros',
      token: `${header}.${claims}.${base64url(Buffer.concat([Buffer.alloc(32), Buffer.from(signature, 'base64url')]))}`,
    },
    {
      name: '17 ES256 with a P-384 key',
      token: mint(issuer.header({ kid: 'p384' }), issuer.claims(), p384.privateKey),
    },
    {
      name: '17 ES256 with a secp256k1 key',
      token: mint(issuer.header({ kid: 'koblitz' }), issuer.claims(), koblitz.privateKey),
    },
    { name: '18 EdDSA, unexpected', token: withAlg('EdDSA') },
    { name: '18 Ed25519, unexpected', token: withAlg('Ed25519') },
    { name: '19 signature stripped', token: `${header}.${claims}.` },
    { name: '20 two segments', token: `${header}.${claims}` },
    { name: '20 one segment', token: header },
    { name: '21 four segments', token: `${good}.${signature}` },
    { name: '22 bit flipped in the header', token: `${flip(header, 2)}.${claims}.${signature}` },
    { name: '22 bit flipped in the claims', token: `${header}.${flip(claims, 20)}.${signature}` },
    { name: '22 bit flipped in the signature', token: `${header}.${claims}.${flip(signature, 10)}` },
    { name: '23 claims of one token under the signature of another', token: `${header}.${other[1]}.${signature}` },
    {
      name: '24 signed by another realm’s key under our key id',
      token: mint(issuer.header(), issuer.claims(), stranger.privateKey),
    },
    {
      name: '26 PS256 with the wrong salt',
      token: mint(issuer.header({ alg: 'PS256', kid: 'rsa' }), issuer.claims(), pss),
    },
    {
      name: '27 RS256 with a published key of 1024 bits',
      token: mint(issuer.header({ alg: 'RS256', kid: 'small' }), issuer.claims(), input =>
        sign('sha256', Buffer.from(input), small.privateKey),
      ),
    },
  ])
})

t.test('A: RSA, where a realm signs with PS256', async t => {
  const issuer = await hostileIssuer(t)
  const [good, weak, cubic, enc] = [rsaPair(), rsaPair(1024), rsaPair(2048, 3), rsaPair()]
  issuer.keys = [
    publicJwk(good, { kid: 'good', alg: 'PS256' }),
    publicJwk(weak, { kid: 'weak', alg: 'PS256' }),
    publicJwk(cubic, { kid: 'cubic', alg: 'PS256' }),
    publicJwk(enc, { kid: 'enc', alg: 'RSA-OAEP', use: 'enc' }),
  ]
  const token = (
    { privateKey }: KeyPair,
    kid: string,
    alg = 'PS256',
    padding = constants.RSA_PKCS1_PSS_PADDING,
    saltLength = 32,
    hash = 'sha256',
  ) =>
    mint(issuer.header({ alg, kid }), issuer.claims(), input =>
      sign(hash, Buffer.from(input), {
        key: privateKey,
        padding,
        ...(padding === constants.RSA_PKCS1_PSS_PADDING ? { saltLength } : {}),
      }),
    )
  const pkcs1 = constants.RSA_PKCS1_PADDING
  const pss = constants.RSA_PKCS1_PSS_PADDING
  const digest = (input: string) => createHash('sha256').update(input).digest()
  await attack(
    t,
    issuer,
    [
      { name: '0 the good token', token: token(good, 'good'), expect: 'accepted' },
      { name: '10 RS256', token: token(good, 'good', 'RS256', pkcs1) },
      { name: '11 PS512', token: token(good, 'good', 'PS512', pss, 64, 'sha512') },
      { name: '12 ES256 with an RSA key id', token: mint(issuer.header(), issuer.claims(), ecPair().privateKey) },
      { name: '13 the realm’s encryption key', token: token(enc, 'enc') },
      { name: '25 a published key with exponent 3', token: token(cubic, 'cubic') },
      {
        name: '25 a signature that is nothing but the padded digest',
        token: mint(issuer.header({ alg: 'PS256' }), issuer.claims(), input =>
          Buffer.concat([Buffer.from([0, 1, 255, 0]), digest(input), Buffer.alloc(220)]),
        ),
      },
      { name: '26 PKCS#1 padding under PS256', token: token(good, 'good', 'PS256', pkcs1) },
      { name: '26 wrong salt length', token: token(good, 'good', 'PS256', pss, 0) },
      { name: '26 wrong hash', token: token(good, 'good', 'PS256', pss, 32, 'sha512') },
      { name: '27 a published key of 1024 bits', token: token(weak, 'weak') },
    ],
    { algorithms: ['PS256'] },
  )
})

t.test('B: selection of the key', async t => {
  const issuer = await hostileIssuer(t)
  const { pair, origin } = issuer
  const attacker = ecPair()
  const jwk = publicJwk(attacker, { kid: 'good', alg: 'ES256' })
  const bait = `${origin}/bait`
  const kids: unknown[] = [
    ...[undefined, '', null, 7, { kid: 'good' }, ['good'], true, 'x'.repeat(65), 'x'.repeat(5000)],
    ...[
      '../../dev/null',
      '/proc/self/environ',
      "' OR 1=1 --",
      '*)(uid=*))(|(uid=*',
      '{"$gt":""}',
      '$(id)',
      'a\r\nX: y',
    ],
    ...['__proto__', 'constructor', 'toString', 'undefined', 'null', 'Good', 'good ', 'gооd', 'good\0'],
  ]
  await attack(t, issuer, [
    { name: '0 the good token', token: issuer.token(), expect: 'accepted' },
    ...kids.map(kid => ({
      name: `28-33 kid ${JSON.stringify(kid)?.slice(0, 30)}`,
      token: mint(issuer.header({ kid }), issuer.claims(), pair.privateKey),
    })),
    { name: '29 kid unknown', token: issuer.token({}, { kid: 'u3Rn-ZudQOshzngoo9Yf_oUfrxYzjGyFK2sqLuIrO1w' }) },
    {
      name: '34 lone surrogate in kid',
      token: mint('{"alg":"ES256","typ":"at+jwt","kid":"\\ud800"}', issuer.claims(), pair.privateKey),
    },
    { name: '35 jku', token: mint(issuer.header({ jku: bait }), issuer.claims(), attacker.privateKey) },
    {
      name: '35 jku, signed by the good key',
      token: mint(issuer.header({ jku: bait }), issuer.claims(), pair.privateKey),
    },
    { name: '35 x5u', token: mint(issuer.header({ x5u: bait }), issuer.claims(), attacker.privateKey) },
    {
      name: '35 jku without kid',
      token: mint(issuer.header({ kid: undefined, jku: bait }), issuer.claims(), attacker.privateKey),
    },
    {
      name: '35 iss of the attacker, with keys',
      token: mint(issuer.header(), issuer.claims({ iss: `${origin}/bait` }), attacker.privateKey),
    },
    { name: '36 embedded jwk', token: mint(issuer.header({ jwk }), issuer.claims(), attacker.privateKey) },
    { name: '36 embedded x5c', token: mint(issuer.header({ x5c: ['MIIB'] }), issuer.claims(), attacker.privateKey) },
    { name: '37 good token with jwk', token: mint(issuer.header({ jwk }), issuer.claims(), pair.privateKey) },
  ])
})

t.test('B: hostile key sets', async t => {
  const sets: {
    name: string
    arrange: (issuer: HostileIssuer) => void
    expect: Outcome
  }[] = [
    {
      name: '39 an encryption key and a symmetric key beside the good one',
      arrange: issuer => {
        issuer.keys = [{ kty: 'oct', kid: 'oct', k: 'AAAA' }, { kty: 'EC', kid: 'junk' }, null, 7, ...issuer.keys]
      },
      expect: 'accepted',
    },
    {
      name: '39 a decoy encryption key under the same key id',
      arrange: issuer => issuer.keys.unshift(publicJwk(ecPair(), { kid: 'good', use: 'enc' })),
      expect: 'accepted',
    },
    {
      name: '39 two signature keys under one key id',
      arrange: issuer => issuer.keys.push(publicJwk(ecPair(), { kid: 'good', alg: 'ES256' })),
      expect: 'unavailable',
    },
    {
      name: '39 the key is for another algorithm',
      arrange: issuer => {
        issuer.keys = [publicJwk(issuer.pair, { kid: 'good', alg: 'ES512' })]
      },
      expect: 'unavailable',
    },
    {
      name: '39 the key is not for verifying',
      arrange: issuer => {
        issuer.keys = [publicJwk(issuer.pair, { kid: 'good', alg: 'ES256', use: undefined, key_ops: ['deriveBits'] })]
      },
      expect: 'unavailable',
    },
    {
      name: '39 the point is not on the curve',
      arrange: issuer => {
        issuer.keys = [publicJwk(issuer.pair, { kid: 'good', alg: 'ES256', x: base64url(Buffer.alloc(32, 1)) })]
      },
      expect: 'unavailable',
    },
    {
      name: '39 ten thousand keys',
      arrange: issuer => {
        issuer.keys = [...issuer.keys, ...Array.from({ length: 10_000 }, (_, kid) => ({ kty: 'EC', kid: `${kid}` }))]
      },
      expect: 'unavailable',
    },
    {
      name: '39 a hundred and one keys',
      arrange: issuer => issuer.keys.push(...Array.from({ length: 100 }, (_, kid) => ({ kty: 'EC', kid: `${kid}` }))),
      expect: 'unavailable',
    },
    {
      name: '39 five megabytes',
      arrange: issuer =>
        issuer.answers((_request, response) => json(response, { keys: issuer.keys, padding: 'x'.repeat(5_000_000) })),
      expect: 'unavailable',
    },
    {
      name: '39 an endless answer',
      arrange: issuer =>
        issuer.answers((_request, response) => {
          const more = (): void => {
            while (!response.destroyed && response.write('{"keys":['.repeat(1000)));
          }
          response.on('drain', more)
          more()
        }),
      expect: 'unavailable',
    },
    {
      name: '39 HTML with status 200',
      arrange: issuer => issuer.answers((_request, response) => response.end('<html>Sign in to this network</html>')),
      expect: 'unavailable',
    },
    {
      name: '39 a redirect',
      arrange: issuer =>
        issuer.answers((_request, response) => response.writeHead(302, { location: `${issuer.origin}/bait` }).end()),
      expect: 'unavailable',
    },
    {
      name: '39 status 500',
      arrange: issuer => issuer.answers((_request, response) => response.writeHead(500).end('{"keys":[]}')),
      expect: 'unavailable',
    },
    {
      name: '39 status 204',
      arrange: issuer => issuer.answers((_request, response) => response.writeHead(204).end()),
      expect: 'unavailable',
    },
    {
      name: '39 the connection is cut',
      arrange: issuer => issuer.answers(request => request.socket.destroy()),
      expect: 'unavailable',
    },
    {
      name: '39 an empty set',
      arrange: issuer => issuer.answers((_request, response) => json(response, { keys: [] })),
      expect: 'unavailable',
    },
    {
      name: '39 no set',
      arrange: issuer => issuer.answers((_request, response) => json(response, {})),
      expect: 'unavailable',
    },
    {
      name: '39 null',
      arrange: issuer => issuer.answers((_request, response) => json(response, null)),
      expect: 'unavailable',
    },
    {
      name: '39 keys is an object',
      arrange: issuer => issuer.answers((_request, response) => json(response, { keys: { good: issuer.keys[0] } })),
      expect: 'unavailable',
    },
  ]
  for (const { name, arrange, expect } of sets) {
    const issuer = await hostileIssuer(t)
    arrange(issuer)
    const { app } = await guardedApp(t, issuer)
    const response = await app.inject({ url: '/accounts', headers: { authorization: `Bearer ${issuer.token()}` } })
    t.same(outcomeOf(response), outcomes[expect], name)
    if (expect === 'unavailable') t.match(response.headers['retry-after'], /^\d+$/, `${name}: says when to come again`)
    t.equal(issuer.baited(), 0, `${name}: nothing else was called`)
    t.equal(issuer.fetches(), 1, `${name}: one fetch`)
    await app.close()
  }
})

t.test('C: claims', async t => {
  const issuer = await hostileIssuer(t)
  const { pair, url } = issuer
  const now = Math.floor(Date.now() / 1000)
  const row = (name: string, claims: Record<string, unknown>, expect?: Attack['expect']): Attack => ({
    name,
    token: issuer.token(claims),
    ...(expect === undefined ? {} : { expect }),
  })
  const each = (name: string, claim: string, values: unknown[], expect?: Attack['expect']): Attack[] =>
    values.map(value => row(`${name}: ${JSON.stringify(value)?.slice(0, 40)}`, { [claim]: value }, expect))
  /** The claims as text, for what no object can say. */
  const text = (name: string, edit: (json: string) => string, expect?: Attack['expect']): Attack => ({
    name,
    token: mint(issuer.header(), edit(JSON.stringify(issuer.claims())), pair.privateKey),
    ...(expect === undefined ? {} : { expect }),
  })
  const header = (name: string, members: Record<string, unknown>, expect?: Attack['expect']): Attack => ({
    name,
    token: issuer.token({}, members),
    ...(expect === undefined ? {} : { expect }),
  })
  const strange = [undefined, null, '', 7, true, [], {}]
  await attack(t, issuer, [
    row('0 the good token', {}, 'accepted'),
    row('41 expired', { exp: now - 11, iat: now - 300 }),
    row('41 expired within the skew', { exp: now - 5, iat: now - 300 }, 'accepted'),
    ...each('42-43 exp', 'exp', [
      undefined,
      `${now + 300}`,
      null,
      true,
      [now + 300],
      now + 300.5,
      1e308,
      -1e308,
      0,
      -1,
    ]),
    text('43 exp is NaN', json => json.replace(/"exp":\d+/, '"exp":NaN')),
    row('44 not valid yet', { nbf: now + 60 }),
    row('44 valid from now on', { nbf: now }, 'accepted'),
    row('44 valid within the skew', { nbf: now + 5 }, 'accepted'),
    ...each('45 nbf', 'nbf', [`${now}`, 1e308, null, {}]),
    row('46 issued in the future', { iat: now + 60, exp: now + 300 }),
    ...each('46 iat', 'iat', [undefined, null, `${now}`, 1e308, -1]),
    row('47 issued long ago', { iat: now - 86_400, exp: now + 300 }),
    row('48 lives longer than the policy', { exp: now + 86_400 }),
    row('48 ends before it begins', { iat: now + 5, exp: now + 5 }),
    ...each('49-51 iss', 'iss', [
      ...strange,
      [url],
      { url },
      url.replace('banking', 'master'),
      `${url}/`,
      url.toUpperCase(),
      url.replace('http:', 'https:'),
      url.replace('127.0.0.1', 'localhost'),
      url.replace('127.0.0.1', 'user@127.0.0.1'),
      url.replace(/:\d+/, ''),
      url.replace('banking', 'bаnking'),
      `${url}?x`,
    ]),
    ...each('52-56 aud', 'aud', [
      ...strange,
      'loan-service',
      ['loan-service'],
      [['payment-service']],
      { 0: 'payment-service' },
      'payment-service-evil',
      'payment-service account',
      'Payment-Service',
      'payment',
      'banking-web-app',
      ['payment-service', 'loan-service'],
      ['payment-service', 'payment-service'],
    ]),
    row('56 aud is a list of us alone', { aud: ['payment-service'] }, 'accepted'),
    ...each('57 sub', 'sub', [undefined, null, '', 7, ['a'], {}, 'x'.repeat(256), 'a\0b', 'a\nb']),
    text('57 lone surrogate in sub', json => json.replace(/"sub":"[^"]*"/, '"sub":"\\ud800"')),
    row(
      '58 a service’s own token with a person’s id',
      { sid: undefined, azp: 'loan-service', client_id: 'loan-service' },
      'role_missing',
    ),
    row('58 the web client without a session', { sid: undefined }, 'role_missing'),
    ...each('57 jti', 'jti', [undefined, null, '', 7, 'x'.repeat(256)]),
    ...each('58 sid', 'sid', [null, '', 7, {}, ['a']]),
    row('59 ID token', { typ: 'ID', aud: 'banking-web-app', nonce: 'n', at_hash: 'h' }),
    header('59 ID token with an access token’s claims', { typ: 'JWT' }),
    row('59 a nonce', { nonce: 'n' }),
    row('59 an at_hash', { at_hash: 'h' }),
    row('60 refresh token', { typ: 'Refresh' }),
    row('61 offline token', { typ: 'Offline' }),
    row('62 logout token', { typ: 'Logout', events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }),
    header('62 logout token by its header', { typ: 'logout+jwt' }),
    row('62 events', { events: {} }),
    header('63 DPoP proof', { typ: 'dpop+jwt' }),
    row('63 a bound token as a bearer token', { cnf: { jkt: 'x' } }),
    row('64 client assertion', { iss: 'banking-web-app', sub: 'banking-web-app', aud: url, typ: undefined }),
    header('65 request object', { typ: 'oauth-authz-req+jwt' }),
    header('66 introspection answer', { typ: 'token-introspection+jwt' }),
    row('67 action token', { typ: 'reset-credentials' }),
    row('67 registration token', { typ: 'RegistrationAccessToken' }),
    row('68 token of the master realm', { iss: url.replace('banking', 'master') }),
    row('69 a person’s token in another client’s hands', { azp: 'account-console', client_id: 'account-console' }),
    row('69 azp and client_id disagree', { client_id: 'account-console' }),
    ...each('69 azp', 'azp', [null, '', 7, ['banking-web-app']]),
    row('69 client_id alone', { azp: undefined }, 'accepted'),
    row('69 azp alone', { client_id: undefined }, 'accepted'),
    row('69 neither', { azp: undefined, client_id: undefined }),
    {
      name: '70 another environment with the same names',
      token: mint(
        issuer.header(),
        issuer.claims({ iss: 'https://auth.banking.local/realms/banking' }),
        ecPair().privateKey,
      ),
    },
    row(
      '71 the role only in resource_access',
      { realm_access: undefined, resource_access: { 'payment-service': { roles: ['customer'] } } },
      'role_missing',
    ),
    row('71 no role', { realm_access: { roles: [] } }, 'role_missing'),
    ...each('72 realm_access', 'realm_access', [
      null,
      'customer',
      ['customer'],
      {},
      { roles: 'customer' },
      { roles: [['customer']] },
      { roles: { 0: 'customer' } },
      { roles: Array.from({ length: 101 }, () => 'x') },
    ]),
    ...each(
      '73 role',
      'realm_access',
      [{ roles: ['Customer', 'customer ', ' customer', 'custоmer', 'customers', 'banking-admin'] }],
      'role_missing',
    ),
    text('74 realm_access twice', json => json.replace('"realm_access"', '"realm_access":{"roles":[]},"realm_access"')),
    text('74 roles twice', json => json.replace('"roles"', '"roles":[],"roles"')),
    ...each('75 scope', 'scope', [
      null,
      ['payment-api'],
      { 0: 'payment-api' },
      7,
      'payment-api  x',
      ' payment-api',
      'payment-api\n',
      'payment-api"',
    ]),
    ...each(
      '75 scope',
      'scope',
      [undefined, '', 'payment-apis', 'xpayment-api', 'payment-api:read', 'Payment-Api', 'openid'],
      'scope_insufficient',
    ),
    row('75 one scope of two', { scope: 'openid payment-api' }, 'accepted'),
    ...each('76 acr', 'acr', [null, '', 1, ['1']]),
    ...each('76 auth_time', 'auth_time', [null, `${now}`, 1.5, -1]),
    ...[undefined, null, '', 7, 'JWT', 'at+jwt;x', 'at+jwt ', 'application/application/at+jwt', ['at+jwt']].map(typ =>
      header(`79 header typ ${JSON.stringify(typ)}`, { typ }),
    ),
    ...['AT+JWT', 'application/at+jwt', 'Application/At+Jwt'].map(typ =>
      header(`79 header typ ${typ}`, { typ }, 'accepted'),
    ),
    ...each('79 payload typ', 'typ', [undefined, null, 'bearer', ['Bearer'], 'DPoP']),
    ...['[]', '[{}]', '"text"', 'null', '7', 'true', '', '{', '{}'].map(json =>
      text(`80 claims ${json || 'empty'}`, () => json),
    ),
    text('80 claims in an array', json => `[${json}]`),
    text('81 sub twice', json => json.replace('"sub"', '"sub":"somebody-else","sub"')),
    text('81 sub twice, once escaped', json => json.replace('"sub"', '"\\u0073ub":"somebody-else","sub"')),
    {
      name: '81 alg twice',
      token: mint('{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"good"}', issuer.claims(), pair.privateKey),
    },
    text(
      '82 __proto__ claims',
      json => json.replace('{', '{"__proto__":{"sub":"somebody-else","polluted":true},'),
      'accepted',
    ),
    text('82 sub only in __proto__', json => json.replace('"sub"', '"__proto__":{"sub":"x"},"sub_"')),
    text('82 constructor and toString', json => json.replace('{', '{"constructor":1,"toString":2,'), 'accepted'),
    text('83 nested a thousand times', json => json.replace('{', `{"deep":${'['.repeat(1000)}${']'.repeat(1000)},`)),
    {
      name: '84 invalid UTF-8',
      token: mint(
        issuer.header(),
        Buffer.concat([Buffer.from(JSON.stringify(issuer.claims()).replace('}', '')), Buffer.from([0xff])]),
        pair.privateKey,
      ),
    },
    {
      name: '84 invalid UTF-8 inside a string',
      token: mint(
        issuer.header(),
        Buffer.from(JSON.stringify(issuer.claims({ sub: 'aÿb' })), 'latin1'),
        pair.privateKey,
      ),
    },
    text('84 byte order mark', json => `\ufeff${json}`),
    {
      name: '84 UTF-16 header',
      token: mint(Buffer.from(JSON.stringify(issuer.header()), 'utf16le'), issuer.claims(), pair.privateKey),
    },
    ...[['exp'], [], ['b64'], 'exp', 0, null, ['x', 'x'], Array.from({ length: 65 }, (_, i) => `x${i}`)].map(crit =>
      header(`85 crit ${JSON.stringify(crit).slice(0, 20)}`, { crit, b64: undefined }),
    ),
    header('86 b64 false', { b64: false }),
    header('86 b64 false and crit', { b64: false, crit: ['b64'] }),
    header('87 zip', { zip: 'DEF' }),
  ])
  t.equal(({} as { polluted?: unknown }).polluted, undefined, '82 no prototype was changed')
})

t.test('D: encoding', async t => {
  const issuer = await hostileIssuer(t)
  const good = issuer.token()
  const [header = '', claims = '', signature = ''] = good.split('.')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const sibling = alphabet[alphabet.indexOf(signature.at(-1) ?? '') ^ 1]
  await attack(t, issuer, [
    { name: '0 the good token', token: good, expect: 'accepted' },
    { name: '88 padding', token: `${header}==.${claims}=.${signature}==`, expect: 'malformed' },
    { name: '88 padding at the end', token: `${good}==` },
    {
      name: '88 standard base64',
      token: good
        .replaceAll('-', '+')
        .replaceAll('_', '/')
        .replace(/\.[^.]*$/, '.++//'),
    },
    { name: '88 percent-encoded', token: good.replaceAll('.', '%2e'), expect: 'malformed' },
    { name: '88 a space inside', token: `${header}. ${claims}.${signature}`, expect: 'malformed' },
    { name: '89 other unused bits in the signature', token: `${header}.${claims}.${signature.slice(0, -1)}${sibling}` },
    {
      name: '90 JWE of five parts',
      token: `${base64url({ alg: 'dir', enc: 'A256GCM' })}..${claims}.${claims}.${signature}`,
    },
    {
      name: '90 JSON serialisation',
      token: JSON.stringify({ protected: header, payload: claims, signature }),
      expect: 'malformed',
    },
    { name: '90 a signed token in a signed token', token: issuer.token({}, { cty: 'JWT', typ: 'JWT' }) },
    { name: '91 a token of 7,900 characters', token: issuer.token({ filler: 'x'.repeat(5400) }), expect: 'accepted' },
    { name: '91 a token of 9,000 characters', token: issuer.token({ filler: 'x'.repeat(6400) }) },
  ])
})

t.test('D: transport', async t => {
  const issuer = await hostileIssuer(t)
  const { app } = await guardedApp(t, issuer)
  const good = issuer.token()
  const other = issuer.token({ sub: 'somebody-else' })
  const port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port)

  /** Sends bytes as they stand and reads to the end. */
  const send = (lines: readonly string[], method = 'GET', body = ''): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let answer = ''
      socket.setEncoding('latin1').on('data', chunk => (answer += chunk))
      socket.on('end', () => resolve(answer)).on('error', reject)
      const text = [`${method} /accounts HTTP/1.1`, 'Host: x', 'Connection: close', ...lines, '', body].join('\r\n')
      socket.write(text, 'latin1')
    })

  const rows: { name: string; lines: string[]; expect: Outcome }[] = [
    { name: 'the good token', lines: [`Authorization: Bearer ${good}`], expect: 'accepted' },
    { name: 'no token', lines: [], expect: 'missing' },
    {
      name: '92 two headers',
      lines: [`Authorization: Bearer ${good}`, `Authorization: Bearer ${other}`],
      expect: 'malformed',
    },
    {
      name: '92 the same header twice',
      lines: [`Authorization: Bearer ${good}`, `authorization: Bearer ${good}`],
      expect: 'malformed',
    },
    {
      name: '92 another scheme beside it',
      lines: ['Authorization: Basic YTpi', `AUTHORIZATION: Bearer ${good}`],
      expect: 'malformed',
    },
    { name: '93 joined by a comma', lines: [`Authorization: Bearer ${good}, Bearer ${other}`], expect: 'malformed' },
    { name: '94 bearer', lines: [`Authorization: bearer ${good}`], expect: 'accepted' },
    { name: '94 BEARER', lines: [`authorization: BEARER ${good}`], expect: 'accepted' },
    { name: '95 two spaces', lines: [`Authorization: Bearer  ${good}`], expect: 'malformed' },
    { name: '95 tab', lines: [`Authorization: Bearer\t${good}`], expect: 'malformed' },
    { name: '95 no-break space', lines: [`Authorization: Bearer\xa0${good}`], expect: 'malformed' },
    { name: '95 text after it', lines: [`Authorization: Bearer ${good} x`], expect: 'malformed' },
    { name: '95 no token after the scheme', lines: ['Authorization: Bearer'], expect: 'malformed' },
    { name: '95 empty header', lines: ['Authorization:'], expect: 'missing' },
    { name: '96 Basic', lines: ['Authorization: Basic YTpi'], expect: 'missing' },
    { name: '96 DPoP', lines: [`Authorization: DPoP ${good}`], expect: 'missing' },
    { name: '96 Token', lines: [`Authorization: Token ${good}`], expect: 'missing' },
    { name: '96 Bearerish', lines: [`Authorization: Bearerish ${good}`], expect: 'missing' },
    { name: '96 the bare token', lines: [`Authorization: ${good}`], expect: 'missing' },
    { name: '98 in a cookie', lines: [`Cookie: access_token=${good}; token=${good}`], expect: 'missing' },
    {
      name: '99 identity headers of a gateway',
      lines: [
        'X-Forwarded-User: admin',
        'X-Jwt-Payload: e30',
        'X-Auth-Request-User: admin',
        'X-Forwarded-Client-Cert: URI=spiffe://banking',
      ],
      expect: 'missing',
    },
    {
      name: '102 an upgrade without a token',
      lines: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x'],
      expect: 'missing',
    },
  ]
  for (const { name, lines, expect } of rows) {
    const answer = await send(lines)
    const { status, ...rest } = outcomes[expect] as { status: number; code?: string; challenge?: string }
    t.match(answer, new RegExp(`^HTTP/1.1 ${status} `), name)
    if (rest.code) t.match(answer, `"code":"${rest.code}"`, `${name}: code`)
    if (rest.challenge)
      t.match(answer.toLowerCase(), `www-authenticate: ${rest.challenge}\r\n`.toLowerCase(), `${name}: challenge`)
    if (status !== 200) t.notOk(echoes(good, answer), `${name}: nothing of it comes back`)
  }

  t.match(await send([`Authorization: Bearer ${good}`, ' folded']), /^HTTP\/1.1 400 /, '95 obs-fold')
  t.match(await send([`Authorization: Bearer ${'x'.repeat(17_000)}`]), /^HTTP\/1.1 431 /, '91 a token of 17 KB')
  t.match(
    await send(
      [`Authorization: Bearer ${good}`, 'Content-Length: 5', 'Transfer-Encoding: chunked'],
      'POST',
      '0\r\n\r\n',
    ),
    /^HTTP\/1.1 400 /,
    '100 Content-Length and Transfer-Encoding',
  )
  t.match(
    await send([`Authorization: Bearer ${good}`, 'X-Forwarded-User: admin', 'X-Auth-Request-User: admin']),
    /"sub":"6a1cf1f5-6a0c-4a86-8a6f-3d3f4d1a0001"/,
    '99 identity headers beside a token have no effect',
  )

  const query = await app.inject({ url: `/accounts?access_token=${good}` })
  t.same(outcomeOf(query), outcomes.missing, '97 token in the query')
  const form = await app.inject({
    method: 'POST',
    url: '/accounts',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: `access_token=${good}`,
  })
  t.same(outcomeOf(form), outcomes.missing, '97 token in a form')
  t.equal(issuer.fetches(), 1, 'one fetch in all')
})
