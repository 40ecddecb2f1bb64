import { createHash } from 'node:crypto'
import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import type { Events } from '../events/events.ts'
import type { LogoutToken } from '../provider/logout-token.ts'
import { type Provider, ProviderError } from '../provider/oidc.ts'
import type { Redis } from '../redis.ts'
import type { Sessions } from '../sessions/sessions.ts'

/** Bytes; a logout token has less than two thousand. */
const bodyLimit = 64 * 1024

/**
 * Where the provider tells that a login has ended there (OpenID Connect Back-Channel Logout 1.0 §2.5-2.8). Nothing of
 * a browser is looked at: the signature in the token is the whole proof. A store that is away is a 503, so that the
 * provider knows that nothing has ended.
 */
export default async function backchannelLogout(
  app: Server,
  options: { sessions: Sessions; provider: Provider; redis: Redis; events: Events; now: () => number },
): Promise<void> {
  const { sessions, provider, redis, events, now } = options
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { bodyLimit, parseAs: 'string' },
    (_request, body, done) => done(null, body),
  )
  // Whatever else comes is no logout token, and that is all there is to say.
  app.addContentTypeParser('*', { bodyLimit, parseAs: 'string' }, (_request, _body, done) => done(null))

  app.post(
    '/oauth2/backchannel_logout',
    {
      schema: {
        operationId: 'backchannelLogout',
        summary: 'The identity provider ends sessions: a form with one logout_token',
        tags: ['session'],
        response: { 200: Type.Null({ description: 'ended, or there was none' }), ...refusals },
      },
    },
    async (request, reply) => {
      const [token, ...more] = new URLSearchParams(typeof request.body === 'string' ? request.body : '').getAll(
        'logout_token',
      )
      if (token === undefined || more.length > 0) throw refused('Send a form with exactly one logout_token.')
      let who: LogoutToken
      try {
        who = await provider.logoutToken(token)
      } catch (error) {
        if (!(error instanceof ProviderError) || error.kind !== 'untrusted') throw error
        request.log.warn({ reason: error.message }, 'logout token refused')
        throw refused()
      }
      const used = `j:{${createHash('sha256').update(who.jti).digest('base64url')}}`
      if (Number(await redis.run('EXISTS', used)) > 0) throw refused('This logout_token was used before.')
      const { sid, sub } = who
      if (sid !== undefined && sub !== undefined && !(await sessions.areOf({ sid }, sub))) {
        request.log.warn('logout token refused: its sid is a login of somebody else than its sub')
        throw refused()
      }
      const ended = await sessions.endBy(sid === undefined ? { sub: sub as string } : { sid })
      // Only now: a logout that failed may be sent again.
      const forget = String(Math.max(1, who.goodUntil - now()))
      if ((await redis.run('SET', used, '1', 'NX', 'PX', forget)) === null)
        throw refused('This logout_token was used before.')
      request.log.info({ ended }, 'logged out by the identity provider')
      const actor = { ...(sub === undefined ? {} : { sub }), ...(sid === undefined ? {} : { sid }) }
      const data = { from: 'provider', actor, sessions: ended } as const
      events.record('logout.received', sid ?? (sub as string), data)
      // An empty body, not the four characters of JSON's null.
      return reply.send(undefined as unknown as null)
    },
  )
}

/** RFC 6749 §5.2 names the error, as Back-Channel Logout §2.8 allows. */
const refused = (detail?: string) =>
  problem('logout_token_invalid', detail, { extensions: { error: 'invalid_request' } })
