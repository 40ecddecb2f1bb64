import type { Provider } from '../../bff/src/provider/oidc.ts'
import { connectRedis } from '../../bff/src/redis.ts'
import { storeExchanged } from '../../bff/src/sessions/exchange.ts'
import { identityOf } from '../../bff/src/sessions/seal.ts'
import { createSessionStore } from '../../bff/src/sessions/session-store.ts'
import { createSessions } from '../../bff/src/sessions/sessions.ts'
import { createLogger, createMetrics } from '../../packages/telemetry/src/index.ts'
import { type EdgeSettings, edgeConfig } from './settings.ts'

/** Tokens as the provider gave them to one person who logged in. */
export type LoginTokens = { accessToken: string; idToken: string; refreshToken: string; exchanged: string }

/**
 * Sessions as a login writes them, all with the same tokens. The tokens are declared to last as long as the session,
 * so that no refresh falls into a measurement.
 *
 * @returns the values of the Cookie field
 */
export async function beginSessions(settings: EdgeSettings, tokens: LoginTokens, count: number): Promise<string[]> {
  const config = edgeConfig(settings)
  const logger = createLogger({ name: 'bench', level: 'error' })
  const metrics = createMetrics('bench')
  const redis = connectRedis({ ...config.redis, logger, metrics })
  while (
    !(await redis.check().then(
      () => true,
      () => false,
    ))
  )
    await new Promise(resolve => setTimeout(resolve, 50))
  const { perUser, ...times } = config.session
  const store = createSessionStore(redis, times.absolute)
  // Nothing here asks it anything: a session begins with the tokens that a login brought.
  const provider = {} as Provider
  const keys = config.sessionKeys
  const sessions = createSessions({ store, keys, provider, times, perUser, logger, metrics, now: Date.now })
  const authTime = Date.now()
  const expiresAt = authTime + times.absolute
  const { exchanged, ...own } = tokens
  const [upstream] = config.upstreams
  const cookies: string[] = []
  const begin = async (): Promise<void> => {
    const person = { sub: crypto.randomUUID(), sid: crypto.randomUUID(), name: 'Alice Adams', givenName: 'Alice' }
    const login = {
      tokens: { ...own, expiresAt },
      person: { ...person, roles: ['customer'], authTime },
      device: 'Chromium on Linux',
    }
    const session = await sessions.begin(login, undefined)
    const cookie = session === 'again' ? undefined : session.cookie
    const identity = identityOf(cookie)
    if (identity === undefined) throw new Error('no session was begun')
    const token = { token: exchanged, issuedAt: authTime, expiresAt }
    if (upstream?.token === 'exchange') await storeExchanged(store, keys, identity, upstream, token)
    cookies.push(`__Host-session=${cookie}`)
  }
  for (let begun = 0; begun < count; begun += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - begun) }, begin))
  await redis.close()
  return cookies
}
