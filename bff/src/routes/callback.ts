import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { actorOf, type Events } from '../events/events.ts'
import { deviceOf } from '../login/device.ts'
import type { Login } from '../login/login.ts'
import { type LoginTransaction, parseState } from '../login/login-transaction.ts'
import type { Pages } from '../pages/pages.ts'
import { type Provider, ProviderError } from '../provider/oidc.ts'
import { identityOf } from '../sessions/seal.ts'
import { sessionCookieOf, setSessionCookie } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'

export type CallbackOptions = {
  login: Login
  sessions: Sessions
  provider: Provider
  events: Events
  pages: Pages
  /** ms from the moment a person proved who they are to the end of the session. */
  absolute: number
  now: () => number
}

/** A session that would end sooner than this is not begun. */
const worthwhile = 60_000

/** Where the provider sends the browser back to (RFC 6749 §4.1.2, RFC 9207). */
export default async function callback(app: Server, options: CallbackOptions): Promise<void> {
  const { login, sessions, provider, pages, events } = options
  app.get(
    '/oauth2/callback',
    {
      exposeHeadRoute: false,
      schema: {
        operationId: 'finishLogin',
        summary: 'Takes the identity provider’s answer, begins the session and leads back to the page',
        tags: ['login'],
        response: { 302: Type.Null({ description: 'to the page that was asked for' }), ...refusals },
      },
    },
    async (request, reply) => {
      const response = new URLSearchParams((request.raw.url as string).split('?')[1] ?? '')
      const state = response.get('state') ?? ''
      const transaction = await login.take(request, reply, state)
      if (transaction === undefined || 'over' in transaction) return lost(request, reply, state, transaction?.returnTo)
      const restarted = parseState(state)?.restarted ?? true
      let result: Awaited<ReturnType<Provider['finish']>>
      try {
        result = await provider.finish(response, { ...transaction, state })
      } catch (error) {
        if (isExpiredAtProvider(error) && !restarted) return restart(request, reply, transaction, false)
        throw asLoginProblem(error)
      }
      // Their session at the provider is older than ours may get, or a logout covers it: they prove anew who they are.
      const isOld = result.person.authTime + options.absolute - options.now() < worthwhile
      const device = deviceOf(request.headers['user-agent'])
      const begun = isOld ? 'again' : await sessions.begin({ ...result, device }, transaction.replaces)
      if (begun === 'again') {
        if (restarted) throw problem('login_failed', 'The identity provider did not ask you to sign in again.')
        return restart(request, reply, transaction, true)
      }
      setSessionCookie(reply, begun.cookie)
      const { person } = result
      events.record(
        'session.started',
        identityOf(begun.cookie)?.id ?? '',
        { actor: actorOf(person), device, authTime: new Date(person.authTime).toISOString() },
        { seq: 1 },
      )
      request.log.info('logged in')
      return reply.redirect(transaction.returnTo, 302)
    },
  )

  const restart = async (
    request: FastifyRequest,
    reply: FastifyReply,
    { returnTo, replaces }: LoginTransaction,
    loginAgain: boolean,
  ) => {
    const destination = { returnTo, ...(replaces === undefined ? {} : { replaces }) }
    return reply.redirect(await login.begin(request, reply, destination, { restarted: true, loginAgain }), 302)
  }

  /** No transaction: it came too late, was used before, began in another browser, or somebody made the address up. */
  const lost = async (request: FastifyRequest, reply: FastifyReply, state: string, returnTo = '/') => {
    const found = await sessions.find(sessionCookieOf(request))
    if ('session' in found) return reply.redirect(returnTo, 302)
    // From a page of ours the Strict cookie comes along: whoever is signed in is led on from there.
    if (parseState(state)?.restarted === false)
      return pages.restart(reply, `/oauth2/start?again=1&return_to=${encodeURIComponent(returnTo)}`)
    throw problem('login_expired')
  }
}

/** Keycloak's word for a login page that was left open too long. */
const isExpiredAtProvider = (error: unknown): boolean =>
  error instanceof ProviderError && error.description === 'authentication_expired'

function asLoginProblem(error: unknown): unknown {
  if (!(error instanceof ProviderError)) return error
  if (error.kind === 'unavailable' || error.kind === 'client') return error
  if (error.error === 'access_denied')
    return problem('login_failed', 'You did not finish signing in, or you may not use this site.', { cause: error })
  return problem('login_failed', undefined, { cause: error })
}
