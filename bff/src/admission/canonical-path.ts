/** RFC 3986 `pchar` without `;` (matrix parameters: half the servers cut there), percent-encodings apart. */
const plain = /^(?:\/|(?:\/[A-Za-z0-9\-._~!$&'()*+,=:@%]+)+\/?)$/
const query = /^[\x21\x22\x24-\x5b\x5d\x5e-\x7e]*$/

/**
 * Whether a request target is in its one canonical form, so that every server on the way reads the same path: origin
 * form, no empty and no dot segment, no `;`, no fragment, no control or non-ASCII byte, nothing encoded that needs no
 * encoding, and no encoded slash, backslash, percent sign or control character. All else is refused with 400; nothing
 * is ever repaired.
 *
 * @param target the request target as it came, e.g. `/api/payments/accounts?limit=5`
 */
export function isCanonical(target: string): boolean {
  const cut = target.indexOf('?')
  const path = cut === -1 ? target : target.slice(0, cut)
  if (cut !== -1 && !query.test(target.slice(cut + 1))) return false
  if (!plain.test(path)) return false
  if (path.includes('/.') && /\/\.{1,2}(?:\/|$)/.test(path)) return false
  return !path.includes('%') || path.split('/').every(isCanonicalSegment)
}

function isCanonicalSegment(segment: string): boolean {
  if (!segment.includes('%')) return true
  if (/%(?![0-9A-Fa-f]{2})/.test(segment)) return false
  let decoded: string
  try {
    decoded = decodeURIComponent(segment)
  } catch {
    return false // not UTF-8: overlong forms are how `%c0%af` becomes a slash
  }
  // A character that needs no encoding has two spellings, and a filter knows only one of them.
  if (/%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])/.test(segment)) return false
  // Fullwidth and other look-alikes turn into the real thing in whatever normalises after us.
  const forms = decoded + decoded.normalize('NFKC')
  return !/[/\\%;#?\p{Cc}\p{Cf}]/u.test(forms) && !/^\.{1,2}$/.test(decoded.normalize('NFKC'))
}
