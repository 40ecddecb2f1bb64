import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { clientToken, personToken, personTokens } from '@banking/devstack'
import t from 'tap'
import { wholeBank } from '../bank.ts'
import { realmAdmin } from '../realm-admin.ts'

const bank = wholeBank(t)
const { issuer, apps } = bank.status

/** A route of each service that a customer may call. */
const doors = {
  customer: '/api/customers/me',
  payment: '/api/payments/accounts',
  notification: '/api/notifications/count',
} as const
type Service = keyof typeof doors

async function knock(service: Service, authorization?: string): Promise<Response> {
  const url = new URL(doors[service], apps.find(({ name }) => name === service)?.url)
  return fetch(url, { headers: authorization === undefined ? {} : { authorization } })
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const decode = (part: string | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(part ?? '', 'base64url').toString())

for (const service of Object.keys(doors) as Service[]) {
  t.test(`${service} takes the person’s own token for it and nothing else`, async t => {
    const good = await personToken(bank, 'alice', service)
    t.equal((await knock(service, `Bearer ${good}`)).status, 200)

    const [header = '', payload = '', signature = ''] = good.split('.')
    const head = decode(header)
    const claims = decode(payload)
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const signed = (claims: object, head: object) => {
      const input = `${encode(head)}.${encode(claims)}`
      const key = { key: stranger.privateKey, dsaEncoding: 'ieee-p1363' } as const
      return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
    }
    const jwks = (await (await fetch(`${issuer}/protocol/openid-connect/certs`)).json()) as { keys: { kid: string }[] }
    const publicKey = JSON.stringify(jwks.keys.find(({ kid }) => kid === head['kid']))
    const hmacInput = `${encode({ ...head, alg: 'HS256' })}.${payload}`
    const own = await personTokens(bank, 'alice')
    const other = service === 'payment' ? 'customer' : 'payment'

    const refused: Record<string, string> = {
      unsigned: `${encode({ ...head, alg: 'none' })}.${payload}.`,
      'without its signature': `${header}.${payload}.`,
      'with a changed claim': `${header}.${encode({ ...claims, sub: 'somebody-else' })}.${signature}`,
      'signed by another key': signed(claims, head),
      'of another issuer': signed({ ...claims, iss: `${issuer}/` }, head),
      'signed by HMAC with the public key': `${hmacInput}.${createHmac('sha256', publicKey).update(hmacInput).digest('base64url')}`,
      'for another audience': await personToken(bank, 'alice', other),
      'the session’s own': own.accessToken,
      'the ID token': own.idToken,
      'the refresh token': own.refreshToken ?? '',
    }
    for (const [name, token] of Object.entries(refused)) {
      const response = await knock(service, `Bearer ${token}`)
      t.equal(response.status, 401, name)
      t.match(response.headers.get('www-authenticate'), /^Bearer .*error="invalid_token"/, name)
      t.match(await response.json(), { code: 'token_invalid' }, name)
    }
    const anonymous = await knock(service)
    t.equal(anonymous.status, 401)
    t.match(anonymous.headers.get('www-authenticate'), /^Bearer/)
    t.notMatch(anonymous.headers.get('www-authenticate'), 'error=')
    t.equal((await knock(service, 'Basic YTpi')).status, 401)
  })
}

t.test('a token that was good is refused once it has expired', async t => {
  const admin = realmAdmin(bank)
  await admin.setLifetime(5)
  t.teardown(() => admin.setLifetime(undefined))
  const tokens = new Map<Service, string>()
  for (const service of Object.keys(doors) as Service[]) {
    const token = await personToken(bank, 'alice', service)
    t.equal((await knock(service, `Bearer ${token}`)).status, 200, service)
    tokens.set(service, token)
  }
  // 5 s of life and 10 s that clocks may differ.
  await new Promise(resolve => setTimeout(resolve, 16_000))
  for (const [service, token] of tokens) {
    const response = await knock(service, `Bearer ${token}`)
    t.equal(response.status, 401, service)
    t.match(response.headers.get('www-authenticate'), 'error="invalid_token"', service)
  }
})

t.test('a service’s own token opens no service that it has no business with', async t => {
  for (const service of Object.keys(doors) as Service[]) {
    const client = service === 'payment' ? 'customer-service' : 'payment-service'
    const refusal = await clientToken(bank, client, service).catch((error: unknown) => error)
    t.match(refusal, { error: 'invalid_scope' }, `${client} gets none for ${service}`)
    for (const token of [await clientToken(bank, client), await clientToken(bank, client, 'risk')]) {
      const response = await knock(service, `Bearer ${token}`)
      t.equal(response.status, 401, service)
      t.match(await response.json(), { code: 'token_invalid' })
    }
  }
})

t.test('a staff member’s token does not open a customer’s routes', async t => {
  const token = await personToken(bank, 'olivia', 'payment')
  const response = await knock('payment', `Bearer ${token}`)
  t.equal(response.status, 403)
  t.match(await response.json(), { code: 'role_missing' })
})
