import { randomUUID } from 'node:crypto'
import { webClient } from '@banking/contracts'
import type { Bank } from '@banking/devstack'
import type { Test } from 'tap'

/** One line of Keycloak's own record. */
type RealmEvent = {
  /** Epoch ms. */
  time: number
  type: string
  userId?: string
  sessionId?: string
  error?: string
  details?: Record<string, string>
}

type Client = { id: string; attributes: Record<string, string> }
type User = { id: string }

/** What an administrator of the realm does at Keycloak's admin API. */
export type RealmAdmin = {
  /** Seconds that access tokens of the web client live; undefined is the realm's own. */
  setLifetime(seconds: number | undefined): Promise<void>
  /** Whether a refresh token is good for one use. */
  setRotation(rotate: boolean): Promise<void>
  /** The record of one person's session at the provider, or of all that this person did, oldest first. */
  events(who: { username: string; sessionId?: string }, ...types: string[]): Promise<RealmEvent[]>
  /**
   * Makes a client for another edge, like the bank's own but for its addresses; it is gone at teardown.
   *
   * @returns its id, for `clientId`
   */
  addEdge(t: Test, publicOrigin: string): Promise<string>
  /** Ends all sessions of a person; the provider tells every client that wants to hear of it. */
  logOut(username: string): Promise<void>
}

export function realmAdmin({ status }: Bank): RealmAdmin {
  const { origin } = new URL(status.issuer)
  const { username, password } = status.admin

  /** Logs in for each call: the administrator's token lives for a minute. */
  const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const grant = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username, password })
    const login = await fetch(`${origin}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: grant })
    const { access_token: token } = (await login.json()) as { access_token: string }
    const answer = await fetch(`${origin}/admin/realms/banking${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`Keycloak answers ${answer.status} to ${method} ${path}: ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }
  const userId = async (name: string): Promise<string> => {
    const [user] = await call<User[]>('GET', `/users?exact=true&username=${name}`)
    if (user === undefined) throw new Error(`there is no ${name} in the realm`)
    return user.id
  }

  return {
    async setLifetime(seconds) {
      const [client] = await call<Client[]>('GET', `/clients?clientId=${webClient}`)
      const attributes = {
        ...client?.attributes,
        'access.token.lifespan': seconds === undefined ? '' : String(seconds),
      }
      await call('PUT', `/clients/${client?.id}`, { ...client, attributes })
    },
    async setRotation(rotate) {
      await call('PUT', '', { revokeRefreshToken: rotate, refreshTokenMaxReuse: 0 })
    },
    async events(who, ...types) {
      const query = new URLSearchParams({ user: await userId(who.username), max: '1000' })
      for (const type of types) query.append('type', type)
      const events = await call<RealmEvent[]>('GET', `/events?${query}`)
      return events
        .filter(({ sessionId }) => who.sessionId === undefined || sessionId === who.sessionId)
        .sort((a, b) => a.time - b.time)
    },
    async addEdge(t, publicOrigin) {
      const [own] = await call<Client[]>('GET', `/clients?clientId=${webClient}`)
      if (own === undefined) throw new Error(`there is no ${webClient} in the realm`)
      const id = randomUUID()
      const clientId = `edge-${id}`
      await call('POST', '/clients', {
        ...own,
        id,
        clientId,
        rootUrl: publicOrigin,
        redirectUris: [`${publicOrigin}/oauth2/callback`],
        protocolMappers: [],
        attributes: {
          ...own.attributes,
          'jwks.url': `${publicOrigin}/oauth2/jwks`,
          'post.logout.redirect.uris': `${publicOrigin}/oauth2/signed_out`,
          'backchannel.logout.url': `${publicOrigin}/oauth2/backchannel_logout`,
        },
      })
      t.teardown(() => call('DELETE', `/clients/${id}`))
      return clientId
    },
    async logOut(name) {
      await call('POST', `/users/${await userId(name)}/logout`)
    },
  }
}
