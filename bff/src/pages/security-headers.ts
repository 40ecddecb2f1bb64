/** Name and value of header fields. */
export type SecurityHeaders = Readonly<Record<string, string>>

/** HTTP Strict Transport Security (RFC 6797). `maxAge` in ms. */
export type Hsts = { maxAge: number; includeSubDomains: boolean; preload: boolean }

/**
 * The security header fields of every answer (ASVS 5.0 V3.4), pages, problems and proxied answers alike.
 *
 * @param issuer where the form of the sign-out page is redirected to: Chromium checks `form-action` on the redirect too
 * @param publicOrigin without https HSTS would say what is not true
 */
export function securityHeaders({
  issuer,
  publicOrigin,
  hsts,
}: {
  issuer: string
  publicOrigin: string
  hsts: Hsts
}): SecurityHeaders {
  return Object.freeze({
    'content-security-policy': [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data:",
      "font-src 'self'",
      "connect-src 'self'",
      "manifest-src 'self'",
      `form-action 'self' ${new URL(issuer).origin}`,
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ].join('; '),
    ...(publicOrigin.startsWith('https:') ? { 'strict-transport-security': hstsValue(hsts) } : {}),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    // Not `no-referrer`: that makes the Origin of our own forms "null".
    'referrer-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy':
      'accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=(), xr-spatial-tracking=()',
  })
}

const hstsValue = ({ maxAge, includeSubDomains, preload }: Hsts): string =>
  [
    `max-age=${maxAge / 1000}`,
    ...(includeSubDomains ? ['includeSubDomains'] : []),
    ...(preload ? ['preload'] : []),
  ].join('; ')

/** What the edge says on the answers of an application that speaks for its own pages. */
export type ApplicationHeaders = {
  /** Whatever the application says. */
  always: SecurityHeaders
  /** Where the application says nothing. */
  unlessSaid: readonly (readonly [name: string, value: string])[]
  /** Name and value in turn, by the application's X-Frame-Options. */
  framing: Readonly<Record<'DENY' | 'SAMEORIGIN', readonly string[]>>
}

/**
 * The edge's fields for applications with pages of their own: what guards the origin and the session as a whole, and
 * defaults that no ordinary page notices.
 *
 * @param headers as {@link securityHeaders} makes them
 */
export function applicationHeaders(headers: SecurityHeaders): ApplicationHeaders {
  const ofOrigin = ['strict-transport-security', 'x-content-type-options', 'cross-origin-resource-policy']
  return {
    always: Object.fromEntries(Object.entries(headers).filter(([name]) => ofOrigin.includes(name))),
    unlessSaid: [
      ['referrer-policy', 'same-origin'],
      // Unlike on our own pages a window that a page opens at another origin may answer it, as in payments.
      ['cross-origin-opener-policy', 'same-origin-allow-popups'],
    ],
    // A policy of its own, beside the application's: browsers follow both, and X-Frame-Options only where no policy
    // speaks of frames (CSP3 §6.4.2). What a person has logged in to is in no frame of another site.
    framing: {
      DENY: ['content-security-policy', "frame-ancestors 'none'", 'x-frame-options', 'DENY'],
      SAMEORIGIN: ['content-security-policy', "frame-ancestors 'self'", 'x-frame-options', 'SAMEORIGIN'],
    },
  }
}
