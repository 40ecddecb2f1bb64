import t from 'tap'
import { loginAddress, matchRoute } from '../../web/src/router.ts'

t.test('each page has its path', async t => {
  t.same(matchRoute('/'), { name: 'overview' })
  t.same(matchRoute('/accounts/0b6c1f0e-0000-4000-8000-000000000001'), {
    name: 'account',
    id: '0b6c1f0e-0000-4000-8000-000000000001',
  })
  t.same(matchRoute('/pay'), { name: 'pay' })
  t.same(matchRoute('/pay/'), { name: 'pay' }, 'a trailing slash is forgiven')
  t.same(matchRoute('/payments/abc'), { name: 'payment', id: 'abc' })
  t.same(matchRoute('/notifications'), { name: 'notifications' })
  t.same(matchRoute('/security'), { name: 'security' })
})

t.test('an id that could leave its place in an API path is no page', async t => {
  for (const path of [
    '/accounts/..%2f..%2foauth2',
    '/accounts/a/b',
    '/accounts/',
    '/accounts/a?b',
    '/accounts/a#b',
    `/payments/${'a'.repeat(65)}`,
    '//pay',
    '/PAY',
    '/api/payments',
    '/oauth2/start',
  ])
    t.same(matchRoute(path), { name: 'not-found' }, path)
})

t.test('the login leads back to the same place, query and fragment included', async t => {
  t.equal(
    loginAddress({ pathname: '/pay', search: '?from=a&x=%26', hash: '#name' }),
    '/oauth2/start?return_to=%2Fpay%3Ffrom%3Da%26x%3D%2526%23name',
  )
  t.equal(
    loginAddress({ pathname: '//evil.example', search: '', hash: '' }),
    '/oauth2/start?return_to=%2F',
    'and never to a place that is none of ours',
  )
})
