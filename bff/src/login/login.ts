import { problem } from '@banking/contracts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Events } from '../events/events.ts'
import { newCodeVerifier, newNonce, type Provider } from '../provider/oidc.ts'
import { cookiesOf } from '../sessions/cookies.ts'
import {
  edgeCookiePrefix,
  isLoginCookie,
  isStateOf,
  type LoginTransactions,
  loginOf,
  openLogins,
  parseState,
  remembered,
} from './login-transaction.ts'

type Destination = { returnTo: string; replaces?: string }

/** The browser's half of a login: transactions and the cookies that bind them to it. */
export type Login = {
  /** Opens a transaction and sets its cookie. @returns the provider's address to redirect to */
  begin(
    request: FastifyRequest,
    reply: FastifyReply,
    destination: Destination,
    how: { restarted: boolean; loginAgain?: boolean },
  ): Promise<string>
  /**
   * Takes the transaction that a `state` belongs to, and its cookie. It works once, in the browser that began.
   *
   * @returns undefined when this browser has no such login; `over` when it came too late or was taken before
   */
  take(request: FastifyRequest, reply: FastifyReply, state: string): ReturnType<LoginTransactions['take']>
}

/** Lax: a Strict cookie would not come along when the provider, another site, sends the browser back. */
const attributes = { path: '/', secure: true, httpOnly: true, sameSite: 'lax' } as const

/** The value of the cookie of the login that was taken last. It opens nothing any more. */
const lastCookie = `${edgeCookiePrefix}last-login`

export function createLogin(options: {
  transactions: LoginTransactions
  provider: Provider
  events: Events
  /** Logins that may be under way to the provider at once; 503 beyond, so that a flood of starts stays ours. */
  most: number
}): Login {
  const { transactions, provider, events, most } = options
  let beginning = 0

  return {
    async begin(request, reply, destination, { restarted, loginAgain }) {
      if (beginning >= most) throw problem('overloaded', undefined, { headers: { 'retry-after': '2' } })
      const codeVerifier = newCodeVerifier()
      const nonce = newNonce()
      let opened: Awaited<ReturnType<LoginTransactions['open']>> | undefined
      let address: string
      beginning++
      try {
        opened = await transactions.open({ codeVerifier, nonce, ...destination }, restarted)
        const { state } = opened
        address = await provider.begin({ state, nonce, codeVerifier, ...(loginAgain ? { loginAgain } : {}) })
      } catch (error) {
        // Nobody has its cookie. While the provider is away, each try would leave one for half an hour.
        if (opened !== undefined) await transactions.drop([opened.cookieValue]).catch(() => undefined)
        throw error
      } finally {
        beginning--
      }
      events.record('login.started', loginOf(opened.state) as string, {})
      const cookies = cookiesOf(request)
      const pushedOut = openedBefore(cookies).slice(0, 1 - openLogins)
      for (const name of pushedOut) reply.setCookie(name, '', { ...attributes, maxAge: 0 })
      // A browser of ours never holds more than it may: of a crowd that somebody made up, the rest pass away by themselves.
      await transactions.drop(pushedOut.slice(-openLogins).map(name => cookies[name] as string))
      reply.setCookie(opened.cookieName, opened.cookieValue, { ...attributes, maxAge: remembered / 1000 })
      return address
    },

    async take(request, reply, state) {
      const parsed = parseState(state)
      const cookieValue = parsed && (cookiesOf(request)[parsed.cookieName] ?? cookiesOf(request)[lastCookie])
      if (parsed === undefined || cookieValue === undefined || !isStateOf(state, cookieValue)) return undefined
      const transaction = await transactions.take(cookieValue)
      reply.setCookie(parsed.cookieName, '', { ...attributes, maxAge: 0 })
      // Somebody who goes back to the provider's form sends it again: the last one is told from a stranger's.
      reply.setCookie(lastCookie, cookieValue, { ...attributes, maxAge: remembered / 1000 })
      return transaction
    },
  }
}

/** Names of this browser's transaction cookies, the oldest first: the names begin with the time. */
const openedBefore = (cookies: ReturnType<typeof cookiesOf>): string[] =>
  Object.keys(cookies).filter(isLoginCookie).sort()
