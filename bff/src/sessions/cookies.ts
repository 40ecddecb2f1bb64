import type { FastifyRequest } from 'fastify'

/** All cookies of a request, by name; of two with one name the first counts. For those few routes that need them. */
export function cookiesOf({ raw, server }: FastifyRequest): Record<string, string | undefined> {
  return raw.headers.cookie === undefined ? {} : server.parseCookie(raw.headers.cookie)
}

/**
 * The value of one cookie: of exactly this name, where a cookie begins, not of one that ends like it, nor from a value
 * that quotes it. Only spaces and tabs around it are none of it: what else JavaScript calls space makes another name,
 * which another site of our domain can set.
 *
 * @param header the Cookie field (RFC 6265 §4.2.1), several of them joined with `;`
 * @returns undefined when it is missing, and when it came more than once
 */
export function onlyCookie(header: string, name: string): string | undefined {
  let value: string | undefined
  for (let at = 0, end = 0; at < header.length; at = end + 1) {
    end = endOfCookie(header, at)
    const start = skipSpace(header, at)
    if (!header.startsWith(name, start)) continue
    const equals = skipSpace(header, start + name.length)
    if (equals >= end || header[equals] !== '=') continue
    if (value !== undefined) return undefined
    value = header.slice(equals + 1, end).trim()
  }
  return value
}

/**
 * A Cookie field without some of its cookies. A semicolon ends a cookie in quotes too: for a server that reads quotes
 * the one behind it would be a part of this one.
 *
 * @param isDropped asked by name, without the spaces around it; a cookie without `=` is all name
 * @returns undefined when nothing is left
 */
export function withoutCookies(header: string, isDropped: (name: string) => boolean): string | undefined {
  const kept: string[] = []
  for (let at = 0, end = 0; at < header.length; at = end + 1) {
    end = endOfCookie(header, at)
    const cookie = header.slice(at, end).trim()
    if (cookie !== '' && !isDropped((cookie.split('=', 1)[0] as string).trim())) kept.push(cookie)
  }
  return kept.length === 0 ? undefined : kept.join('; ')
}

function endOfCookie(header: string, at: number): number {
  const end = header.indexOf(';', at)
  return end === -1 ? header.length : end
}

function skipSpace(header: string, from: number): number {
  let at = from
  while (header[at] === ' ' || header[at] === '\t') at++
  return at
}
