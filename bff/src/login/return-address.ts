/** How often a path may be decoded by what stands between us and the page: proxies, routers, scripts. */
const depths = 3
/** Characters, as it came and as it is kept: of letters beyond ASCII each becomes up to nine. */
const longest = 2048

/** White space and what is not seen: dropped or trimmed by some, which brings together what stands around it. */
const unseen = /[\s\p{Cf}\p{Z}]/gu
/** A segment of dots, as URL parsers know it: escaped too, and parted by a backslash too (URL Standard §4.4). */
const dotSegment = /[/\\](?:\.|%2e){1,2}(?=[/\\?#]|$)/i

/**
 * The one rule for where a login may lead back to: an address of our own origin, which comes back as it was. Query and
 * fragment may be anything. The path begins with one slash, and at none of three decode depths does it begin with two, or
 * have a dot segment or a control character. The URL parser's own text is returned, never the one that was given.
 *
 * @param given the `return_to` of a request
 * @param origin our public origin, e.g. `https://banking.example`
 * @returns path, query and fragment, or undefined when the rule is broken
 */
export function returnAddress(given: unknown, origin: string): string | undefined {
  if (typeof given !== 'string' || given.length > longest) return undefined
  // What the parser would drop, or write in another way, no browser has in a path that it sends.
  const [path = ''] = given.split(/[?#]/, 1)
  if (!/^\/(?![/\\])/.test(path) || /[\s\\\p{Cf}\p{Z}]/u.test(path) || /\p{Cc}/u.test(given)) return undefined
  const url = URL.parse(given, origin)
  if (url === null || url.origin !== origin) return undefined
  const address = url.href.slice(origin.length)
  if (address.length > longest) return undefined
  // After the parser: its dot segments may have brought slashes to the front, `/./%2f%2fevil.example`.
  if (!isDecodable(url.pathname) || !isLocal(url.pathname)) return undefined
  // Nothing under these is a page: leading back there would log out, loop, or show a bare document.
  if (/^\/(?:oauth2|api)(?:[/?#]|$)/i.test(url.pathname)) return undefined
  return address
}

function isLocal(path: string): boolean {
  let text = path
  for (let depth = 0; depth < depths; depth++) {
    const seen = text.replace(unseen, '')
    if (!/^\/(?![/\\])/.test(seen) || dotSegment.test(seen) || /\p{Cc}/u.test(text)) return false
    text = decode(text)
  }
  return true
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** As the most lenient decoder does it: what is no UTF-8, or no escape, hides nothing that stands beside it. */
const decode = (text: string): string =>
  text.replace(/(?:%[0-9a-f]{2})+/gi, escapes =>
    isDecodable(escapes)
      ? decodeURIComponent(escapes)
      : escapes.replace(/%[0-7][0-9a-f]/gi, ascii => decodeURIComponent(ascii)),
  )
