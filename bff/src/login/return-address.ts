/** How often an address may be decoded by what stands between us and the page: proxies, routers, scripts. */
const depths = 3
/** Characters, as it came and as it is kept: of letters beyond ASCII each becomes up to nine. */
const longest = 2048

/**
 * The one rule for where a login may lead back to: a path of our own origin. The first character is `/`, the second
 * neither `/` nor `\`, there is no control character, space or backslash at any of three decode depths, and what the
 * URL parser makes of it is still on our origin. The parser's own text is returned, never the one that was given.
 *
 * @param given the `return_to` of a request
 * @param origin our public origin, e.g. `https://banking.example`
 * @returns path, query and fragment, or undefined when the rule is broken
 */
export function returnAddress(given: unknown, origin: string): string | undefined {
  if (typeof given !== 'string' || given.length > longest) return undefined
  let text = given
  for (let depth = 0; depth < depths; depth++) {
    if (!isLocal(text)) return undefined
    const decoded = decode(text)
    if (decoded === undefined) return undefined
    if (decoded === text) break
    text = decoded
  }
  const url = URL.parse(given, origin)
  if (url === null || url.origin !== origin) return undefined
  const address = url.pathname + url.search + url.hash
  if (address.length > longest) return undefined
  // Dot segments may have brought two slashes to the front: `/.//evil.example`.
  if (!isLocal(address)) return undefined
  // Nothing under these is a page: leading back there would log out, loop, or show a bare document.
  if (/^\/(?:oauth2|api)(?:[/?#]|$)/i.test(url.pathname)) return undefined
  return address
}

function isLocal(text: string): boolean {
  return text[0] === '/' && text[1] !== '/' && text[1] !== '\\' && !/[\s\\\p{Cc}\p{Cf}\p{Z}]/u.test(text)
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
