import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SeedPerson, webClient } from '@banking/contracts'
import { type KeySet, publicKeys } from './keys.ts'
import { type Administrator, keycloakVersion } from './parts/keycloak.ts'
import { developmentPassword } from './parts/part.ts'

type Json = string | number | boolean | null | Json[] | { [key: string]: Json }
type JsonObject = { [key: string]: Json }
type Client = { id: string; clientId: string; clientAuthenticatorType: string; attributes: Record<string, string> }

export type Realm = {
  name: string
  /** The document that is imported. */
  document: JsonObject
  /** Changes whenever anything changes that an import writes. */
  hash: string
}

/** The product's realm file with the development overlay and the people laid over it. */
export async function readRealm(root: string, people: readonly SeedPerson[]): Promise<Realm> {
  const read = async (path: string) => JSON.parse(await readFile(join(root, path), 'utf8')) as JsonObject
  const product = await read('k8s/realm/banking-realm.json')
  const overlay = await read('packages/devstack/realm/development.json')
  const merged = merge(product, overlay) as JsonObject
  const document: JsonObject = {
    ...merged,
    users: [...list(merged['users']), ...people.map(person => user(person, merged))],
  }
  const hash = createHash('sha256').update(keycloakVersion).update(JSON.stringify(document)).digest('hex').slice(0, 16)
  return { name: String(document['realm']), document, hash }
}

/** Objects are merged; lists too when their elements have a name or client id, else the overlay's list stands. */
function merge(base: Json | undefined, over: Json): Json {
  if (Array.isArray(base) && Array.isArray(over)) {
    if (![...base, ...over].every(element => identity(element) !== undefined)) return over
    const result = [...base]
    for (const element of over) {
      const at = result.findIndex(candidate => identity(candidate) === identity(element))
      if (at < 0) result.push(element)
      else result[at] = merge(result[at], element)
    }
    return result
  }
  if (isObject(base) && isObject(over)) {
    const result: JsonObject = { ...base }
    for (const [key, value] of Object.entries(over)) result[key] = merge(base[key], value)
    return result
  }
  return over
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const list = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : [])
const identity = (value: Json): Json | undefined =>
  isObject(value) ? (value['clientId'] ?? value['name'] ?? value['username']) : undefined

/** Roles come from groups alone, so a person is put into the group that grants each role. */
function user(person: SeedPerson, realm: JsonObject): JsonObject {
  const groups = person.roles.map(role => {
    const group = list(realm['groups']).find(entry => isObject(entry) && list(entry['realmRoles']).includes(role))
    if (!isObject(group)) throw new Error(`No group of the realm grants the role ${role}.`)
    return group['path'] ?? `/${group['name']}`
  })
  return {
    id: person.sub,
    username: person.username,
    firstName: person.givenName,
    lastName: person.familyName,
    email: person.email,
    emailVerified: true,
    enabled: true,
    requiredActions: [],
    groups,
    credentials: [{ type: 'password', value: developmentPassword, temporary: false }],
  }
}

/** What a run sets in a realm that was imported before, since an import leaves an existing realm alone. */
export type RealmSettings = {
  /** The BFF's public origin. */
  origin: string
  /** Lifetime of an access token in seconds; the realm file's own without it. */
  tokenSeconds?: number | undefined
  /** Refresh tokens are good for one use. */
  rotate: boolean
  /** Private keys of the clients that authenticate by `jwks.string`. */
  keys: (client: string) => Promise<KeySet>
}

/**
 * Imports the realm unless the same one is there already.
 * @returns whether it was imported
 */
export async function provideRealm(administrator: Administrator, realm: Realm): Promise<boolean> {
  const api = await adminApi(administrator)
  const found = await api.get<{ attributes?: Record<string, string> }>(`/${realm.name}`)
  if (found?.attributes?.['development.hash'] === realm.hash) return false
  if (found !== undefined) await api.send('DELETE', `/${realm.name}`)
  const attributes = { ...(realm.document['attributes'] as JsonObject), 'development.hash': realm.hash }
  await api.send('POST', '', { ...realm.document, attributes })
  return true
}

/** Sets what differs from run to run: addresses, lifetimes, rotation, the clients' public keys. */
export async function tuneRealm(administrator: Administrator, realm: Realm, settings: RealmSettings): Promise<void> {
  // The token that imported a realm does not know it yet: rights are written into a token when it is issued.
  const api = await adminApi(administrator)
  const path = `/${realm.name}`
  const lifetime = settings.tokenSeconds ?? Number(realm.document['accessTokenLifespan'] ?? 300)
  await api.send('PUT', path, {
    accessTokenLifespan: lifetime,
    revokeRefreshToken: settings.rotate,
    refreshTokenMaxReuse: 0,
  })
  const clients = (await api.get<Client[]>(`${path}/clients?max=100`)) ?? []
  await Promise.all(
    clients.map(async client => {
      if (client.clientId === webClient) {
        const { origin } = settings
        await api.send('PUT', `${path}/clients/${client.id}`, {
          ...client,
          rootUrl: origin,
          redirectUris: [`${origin}/oauth2/callback`],
          attributes: {
            ...client.attributes,
            'jwks.url': `${origin}/oauth2/jwks`,
            'post.logout.redirect.uris': `${origin}/oauth2/signed_out`,
            'backchannel.logout.url': `${origin}/oauth2/backchannel_logout`,
          },
        })
      } else if (client.attributes?.['use.jwks.string'] === 'true') {
        const keys = JSON.stringify(publicKeys(await settings.keys(client.clientId)))
        if (client.attributes['jwks.string'] === keys) return
        const attributes = { ...client.attributes, 'jwks.string': keys }
        await api.send('PUT', `${path}/clients/${client.id}`, { ...client, attributes })
      }
    }),
  )
}

type AdminApi = {
  get<T>(path: string): Promise<T | undefined>
  send(method: string, path: string, body?: unknown): Promise<void>
}

/** Keycloak's admin API below `/admin/realms`, logged in as the console's administrator. */
async function adminApi({ url, username, password }: Administrator): Promise<AdminApi> {
  const form = { grant_type: 'password', client_id: 'admin-cli', username, password }
  const login = await request(`${url}/realms/master/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams(form),
  })
  if (!login.ok)
    throw new Error(`Keycloak at ${url} does not let ${username} in: ${login.status} ${await login.text()}`)
  const { access_token: token } = (await login.json()) as { access_token: string }
  const call = (method: string, path: string, body?: unknown) =>
    request(`${url}/admin/realms${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  return {
    async get<T>(path: string) {
      const answer = await call('GET', path)
      if (answer.status === 404) return undefined
      if (!answer.ok) throw new Error(`Keycloak answers ${answer.status} to GET ${path}: ${await answer.text()}`)
      return (await answer.json()) as T
    },
    async send(method, path, body) {
      const answer = await call(method, path, body)
      if (!answer.ok) throw new Error(`Keycloak answers ${answer.status} to ${method} ${path}: ${await answer.text()}`)
    },
  }
}

/** Its first answers right after the start can fail on a connection that was closed meanwhile. */
async function request(url: string, init: RequestInit): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await fetch(url, { ...init, signal: AbortSignal.timeout(60_000) })
    } catch (error) {
      if (attempt === 3) throw error
      await sleep(200)
    }
  }
}
