import { eventually, parts, testProxy } from '@banking/testkit'
import t from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import { edge, internalApp, origin, testUpstream } from './edge.ts'

t.test(
  'a Redis that takes two seconds for each answer is a 503 everywhere, soon, and costs nobody the cookie',
  async t => {
    const url = new URL(parts(t, 'redis').redis)
    const link = await testProxy(t, { host: url.hostname, port: Number(url.port) })
    const upstream = await testUpstream(t)
    const common = { ...upstreamDefaults, origin: upstream.origin }
    const it = await edge(t, {
      redisUrl: `redis://127.0.0.1:${link.port}`,
      upstreams: [
        { ...common, name: 'api', prefix: '/api/payments', token: 'session' },
        { ...common, name: 'wiki', prefix: '/wiki', kind: 'pages', token: 'session' },
      ],
    })
    const internal = await internalApp(t, it)
    const [alice, other] = [it.browser(), it.browser()]
    await alice.login()
    const callback = await other.start()
    const logoutToken = await it.provider.logoutToken({ sid: 'nobody' })
    const bearer = await internal.identity.token({ service: 'bff', client: 'admin-service' })
    link.slow(2_000)
    // What is remembered is good for 600 ms.
    await eventually(async () => (await alice.fetch('/oauth2/userinfo')).statusCode === 503)

    const form = { method: 'POST', headers: { origin, 'content-type': 'application/x-www-form-urlencoded' } } as const
    const id = 'x'.repeat(43)
    const asks: Record<string, () => Promise<{ statusCode: number; headers: Record<string, unknown>; body: string }>> =
      {
        'who it is': () => alice.fetch('/oauth2/userinfo'),
        'who it is, or nobody': () => alice.fetch('/oauth2/userinfo?anonymous=1'),
        'a call': () => alice.fetch('/api/payments/accounts'),
        'a call with a body': () => alice.fetch('/api/payments', { method: 'POST', headers: { origin }, payload: 'x' }),
        'a page': () => alice.open('/wiki/page'),
        'the start page': () => alice.open('/'),
        'the sign-in page': () => alice.open('/oauth2/sign_in'),
        'a login': () => alice.open('/oauth2/start'),
        'a first login': () => it.browser().open('/oauth2/start'),
        'the way back from the provider': () => other.comeBack(callback),
        'a sign-out': () => alice.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } }),
        'a sign-out by form': () => alice.open('/oauth2/sign_out', form),
        'own sessions': () => alice.fetch('/oauth2/sessions'),
        'the end of one': () => alice.fetch(`/oauth2/sessions/${id}`, { method: 'DELETE', headers: { origin } }),
        'the end of one by form': () => alice.open(`/oauth2/sessions/${id}/end`, form),
        'the end of all others': () => alice.fetch('/oauth2/sessions', { method: 'DELETE', headers: { origin } }),
        'the end of all others by form': () => alice.open('/oauth2/sessions/end_others', form),
        'a logout at the provider': () =>
          it.app.inject({
            method: 'POST',
            url: '/oauth2/backchannel_logout',
            headers: { host: 'localhost:3000', 'content-type': 'application/x-www-form-urlencoded' },
            payload: new URLSearchParams({ logout_token: logoutToken }).toString(),
          }),
        'the end of all by staff': () =>
          internal.app.inject({
            method: 'DELETE',
            url: '/internal/users/nobody/sessions',
            headers: { authorization: `Bearer ${bearer}` },
          }),
      }
    for (const [name, ask] of Object.entries(asks)) {
      const started = performance.now()
      const { statusCode, headers, body } = await ask()
      t.ok(performance.now() - started < 1_900, `${name}: nobody waits for Redis`)
      t.equal(statusCode, 503, name)
      t.match(headers['retry-after'], /^[1-9]\d*$/, name)
      t.match(body, /The session store does not answer|sessions_unavailable/, name)
      t.notMatch(String(headers['set-cookie']), '__Host-session', name)
    }
    link.slow(0)
    await eventually(async () => (await alice.fetch('/oauth2/userinfo')).statusCode === 200)
    t.equal((await alice.open('/wiki/page')).statusCode, 200, 'all is as it was')
  },
)
