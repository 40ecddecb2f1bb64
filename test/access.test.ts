import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Access, type RouteAccess, routeAccess } from '@banking/auth'
import { type AppName, roles, scopeOf } from '@banking/contracts'
import type { TestIssuer } from '@banking/testkit'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { edge, internalApp } from '../bff/test/edge.ts'
import { customerApp } from '../services/customer/test/app.ts'
import { notificationApp } from '../services/notification/test/app.ts'
import { bank } from '../services/payment/test/app.ts'

const file = resolve(import.meta.dirname, '../docs/access.md')

type Claims = Omit<Parameters<TestIssuer['token']>[0], 'service'>
type Subject = { name: string; claims: Claims; may: (access: Exclude<Access, 'public'>) => boolean }

/** Everybody who can hold a valid token for a service. */
const subjects = (service: AppName): Subject[] => [
  ...roles.map(role => ({
    name: role,
    claims: { roles: [role] },
    may: (access: Exclude<Access, 'public'>) => access.roles?.includes(role) === true,
  })),
  { name: 'a person without a role', claims: { roles: [] }, may: () => false },
  { name: 'a person without the scope', claims: { roles: [...roles], scope: 'openid' }, may: () => false },
  ...['payment-service', 'customer-service', 'loan-service', 'audit-service', 'risk-service', 'admin-service'].map(
    client => ({
      name: client,
      claims: { client, roles: [...roles], scope: scopeOf(service) },
      may: (access: Exclude<Access, 'public'>) => access.services?.includes(client) === true,
    }),
  ),
]

/** Asks for a route with an id that does not exist: whoever may ask gets past the door and finds nothing. */
const knock = (app: FastifyInstance, { method, path }: RouteAccess, headers: Record<string, string>) =>
  app.inject({
    method: method as 'GET',
    url: path.replace(/:[a-zA-Z]+/g, randomUUID()),
    headers: { 'x-purpose': 'Matrix of all roles', ...headers },
    // A stream is answered for ever; its head is enough.
    payloadAsStream: true,
    ...(method === 'POST' ? { payload: {} } : {}),
  })

type Built = { app: unknown; identity: TestIssuer }

const services: readonly [AppName, (t: Test) => Promise<Built>][] = [
  ['customer', customerApp],
  ['payment', bank],
  ['notification', t => notificationApp(t)],
  // The edge's own: what a browser may ask of it is decided by the session.
  ['bff', async t => internalApp(t, await edge(t))],
]

const documented: string[] = []

for (const [service, build] of services) {
  t.test(`every route of ${service} opens for whom it declares and for nobody else`, async t => {
    const built = await build(t)
    const app = built.app as FastifyInstance
    const { token } = built.identity
    await app.ready()
    const routes = routeAccess(app)
    t.ok(routes.length > 0)
    for (const route of routes) {
      documented.push(rowOf(service, route))
      if (route.access === 'public') {
        t.fail(`${route.method} ${route.path} is open to everybody`)
        continue
      }
      const anonymous = await knock(app, route, {})
      t.equal(anonymous.statusCode, 401, `${route.method} ${route.path} without a token`)
      for (const { name, claims, may } of subjects(service)) {
        const authorization = `Bearer ${await token({ service, ...claims })}`
        const { statusCode } = await knock(app, route, { authorization })
        const text = `${route.method} ${route.path} as ${name}: ${statusCode}`
        if (may(route.access)) t.ok(statusCode !== 401 && statusCode !== 403 && statusCode < 500, text)
        else t.equal(statusCode, 403, text)
      }
    }
  })
}

t.test('docs/access.md is what the routes declare', async t => {
  const rows = readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => /^\| [a-z]+ \| `/.test(line))
  t.strictSame(rows, documented, 'update the table in docs/access.md: one row per route')
})

function rowOf(service: string, { method, path, access }: RouteAccess): string {
  if (access === 'public') return `| ${service} | \`${method} ${path}\` | everybody | | |`
  const who = [...(access.roles ?? []), ...(access.services ?? [])].join(', ')
  const rule = [access.owner, access.purpose ? 'with a purpose' : undefined].filter(Boolean).join('; ')
  return `| ${service} | \`${method} ${path}\` | ${who} | \`${access.scope}\` | ${rule} |`
}
