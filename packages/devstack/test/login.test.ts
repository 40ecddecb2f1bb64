import { webClient } from '@banking/contracts'
import { parts } from '@banking/testkit'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import t from 'tap'
import { clientToken, personToken, personTokens, runningBank, signIn } from '../src/login.ts'
import { people } from '../src/people.ts'

parts(t, 'postgres', 'redis', 'kafka', 'keycloak')
const bank = runningBank()
const alice = people.find(({ username }) => username === 'alice')

t.test('a person’s token for a service has that audience and that scope alone', async t => {
  const token = await personToken(bank, 'alice', 'payment')
  t.match(decodeProtectedHeader(token), { alg: 'ES256', typ: 'at+jwt' })
  t.match(decodeJwt(token), {
    iss: bank.status.issuer,
    aud: 'payment-service',
    scope: 'payment-api',
    sub: alice?.sub,
    client_id: webClient,
    realm_access: { roles: ['customer'] },
  })
})

t.test('a person’s own session token is good for no service', async t => {
  const { accessToken, idToken } = await personTokens(bank, 'alice')
  t.equal(decodeJwt(accessToken).aud, undefined)
  t.match(decodeJwt(idToken), { aud: webClient, sub: alice?.sub })
})

t.test('a service’s own token names the service it is for', async t => {
  t.match(decodeJwt(await clientToken(bank, 'payment-service', 'risk')), {
    aud: 'risk-service',
    client_id: 'payment-service',
  })
  t.equal(decodeJwt(await clientToken(bank, 'payment-service')).aud, undefined)
})

t.test('a session cookie opens the edge in that person’s name', async t => {
  const cookie = await signIn(bank, 'bob')
  t.match(cookie, /^__Host-session=[\w-]+$/)
  const answer = await fetch(new URL('/oauth2/userinfo', bank.status.baseUrl), { headers: { cookie, 'x-csrf': '1' } })
  t.equal(answer.status, 200)
  t.match(await answer.json(), { givenName: 'Bob', roles: ['customer'] })
})

t.test('a wrong password, an unknown person and an unknown service are named', async t => {
  await t.rejects(signIn(bank, 'rita', 'wrong'), /rita was not logged in: .*Invalid username or password/)
  await t.rejects(signIn(bank, 'mallory'), /There is no mallory\. There are: alice, bob/)
  await t.rejects(personToken(bank, 'alice', 'casino'), /There is no service casino\. There are: customer/)
})
