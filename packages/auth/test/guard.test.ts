import t from 'tap'
import { guardedApp, hostileIssuer } from './hostile-issuer.ts'

t.test('smoke', async t => {
  const issuer = await hostileIssuer(t)
  const { app } = await guardedApp(t, issuer)
  const r = await app.inject({ url: '/accounts', headers: { authorization: `Bearer ${issuer.token()}` } })
  t.equal(r.statusCode, 200); t.comment(r.body, r.headers)
  for (const [url, headers] of [['/accounts', {}], ['/accounts', { authorization: 'Bearer a.b.c' }], ['/internal', { authorization: `Bearer ${issuer.token()}` }], ['/staff', { authorization: `Bearer ${issuer.token({scope:'x'})}` }], ['/nope', {}], ['/open', {}]] as const) {
    const r = await app.inject({ url, headers })
    t.comment(url, r.statusCode, r.headers['www-authenticate'], r.body)
  }
})
