import { type Problem, problem, type Role, roles } from '@banking/contracts'
import type { FastifyInstance } from 'fastify'
import { scopeInsufficient } from './bearer.ts'
import type { Principal } from './claims.ts'

/**
 * Who may call a route: stated once, on the route, as `config.access`. It is enforced here, and the documentation, the
 * mesh's policies and the role × endpoint tests are made of the same statement.
 */
export type Access =
  | 'public'
  | {
      /** People with one of these roles. */
      roles?: readonly Role[]
      /** Services that act for themselves, by their client id. */
      services?: readonly string[]
      scope: string
      /** The ownership rule that the handler applies, in words. */
      owner?: string
      /** The caller has to say why, in `X-Purpose`. */
      purpose?: true
    }

/** What one route states. */
export type RouteAccess = { method: string; path: string; access: Access }

const stated = new WeakMap<object, RouteAccess[]>()
const members = new Set(['roles', 'services', 'scope', 'owner', 'purpose'])
/** RFC 6749 §A.1, and no space: it stands in lists. */
const clientId = /^[\x21-\x7e]{1,255}$/
const scopeToken = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/** From here on the app takes no route without a well-formed `config.access`, and its document says what each asks. */
export function requireAccess(app: FastifyInstance): void {
  const list: RouteAccess[] = []
  stated.set(app.server, list)
  app.addHook('onRoute', route => {
    const { access } = route.config ?? {}
    const flaw = flawOf(access)
    if (access === undefined || flaw !== undefined)
      throw new Error(`Route ${[route.method].flat().join()} ${route.url} ${flaw}`)
    for (const method of [route.method].flat()) list.push({ method, path: route.url, access })
    if (access !== 'public') route.schema = { ...route.schema, security: [{ bearer: [access.scope] }] }
  })
}

/**
 * Every route of an app with what it states, sorted by path and method. A HEAD that only mirrors its GET is left out.
 *
 * @throws Error when the auth plugin was never registered
 */
export function routeAccess(app: Pick<FastifyInstance, 'server'>): readonly RouteAccess[] {
  const list = stated.get(app.server)
  if (list === undefined) throw new Error('@banking/auth is not registered')
  const read = new Set(list.filter(({ method }) => method === 'GET').map(({ path }) => path))
  return list
    .filter(({ method, path }) => method !== 'HEAD' || !read.has(path))
    .sort((a, b) => (a.path === b.path ? compare(a.method, b.method) : compare(a.path, b.path)))
}

const compare = (a: string, b: string): number => (a < b ? -1 : 1)

function flawOf(access: unknown): string | undefined {
  if (access === undefined) return 'states no config.access: say who may call it, or `public`'
  if (access === 'public') return undefined
  if (typeof access !== 'object' || access === null) return 'states an access that is neither `public` nor an object'
  const { roles: people, services, scope, owner, purpose } = access as Record<string, unknown>
  const unknown = Object.keys(access).find(name => !members.has(name))
  if (unknown !== undefined) return `states an unknown member of access: ${unknown}`
  if (typeof scope !== 'string' || !scopeToken.test(scope)) return 'states no scope'
  if (people === undefined && services === undefined) return 'states neither roles nor services'
  if (people !== undefined && !isList(people, role => roles.includes(role as Role))) return 'states an unknown role'
  if (services !== undefined && !isList(services, id => clientId.test(id))) return 'states a malformed client id'
  if (owner !== undefined && typeof owner !== 'string') return 'states an ownership rule that is not a sentence'
  if (purpose !== undefined && purpose !== true) return 'states a purpose that is not `true`'
  return undefined
}

const isList = (value: unknown, test: (item: string) => boolean): boolean =>
  Array.isArray(value) && value.length > 0 && value.every(item => typeof item === 'string' && test(item))

/**
 * @param purpose the value of `X-Purpose`
 * @throws Problem `scope_insufficient`, `role_missing` or `purpose_missing` (all 403)
 */
export function authorize(access: Exclude<Access, 'public'>, principal: Principal, purpose: unknown): void {
  const refusal = refusalOf(access, principal, purpose)
  if (refusal !== undefined) throw refusal
}

function refusalOf(access: Exclude<Access, 'public'>, principal: Principal, purpose: unknown): Problem | undefined {
  if (!principal.scopes.includes(access.scope)) return scopeInsufficient(access.scope)
  const allowed =
    principal.kind === 'person'
      ? access.roles?.some(role => principal.roles.includes(role))
      : access.services?.includes(principal.client)
  if (allowed !== true) return problem('role_missing')
  if (access.purpose && !isPurpose(purpose)) return problem('purpose_missing')
  return undefined
}

/** Printable, and long enough to say something: it is read by people who ask why. */
const isPurpose = (value: unknown): boolean =>
  typeof value === 'string' && /^[\x21-\x7e][\x20-\x7e]{7,199}$/.test(value)
