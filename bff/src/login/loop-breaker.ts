import { problem } from '@banking/contracts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { cookiesOf } from '../sessions/cookies.ts'
import { edgeCookiePrefix } from './login-transaction.ts'

/** Stops a browser that is sent round in circles, e.g. because it does not keep our session cookie. */
export type LoopBreaker = {
  /** @throws Problem `login_looping` when this browser was sent on too often within a minute */
  count(request: FastifyRequest, reply: FastifyReply): void
}

const cookieName = `${edgeCookiePrefix}attempts`
const window = 60_000
const attempts = 8

/**
 * The count is the browser's own: it protects nobody but the person before it.
 *
 * @param now epoch ms
 */
export const createLoopBreaker = (now: () => number): LoopBreaker => ({
  count(request, reply) {
    const at = now()
    const [count = 0, since = at] = (cookiesOf(request)[cookieName] ?? '')
      .split('.')
      .map(Number)
      .filter(part => Number.isSafeInteger(part) && part > 0)
    const isSameWindow = since <= at && at - since < window
    const next = isSameWindow ? count + 1 : 1
    const start = isSameWindow ? since : at
    if (next > attempts)
      throw problem('login_looping', undefined, {
        headers: { 'retry-after': String(Math.ceil((start + window - at) / 1000)) },
      })
    reply.setCookie(cookieName, `${next}.${start}`, {
      path: '/',
      secure: true,
      httpOnly: true,
      sameSite: 'lax',
      maxAge: window / 1000,
    })
  },
})
