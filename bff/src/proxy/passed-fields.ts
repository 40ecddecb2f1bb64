import type { Upstream } from './upstreams.ts'

/** What any upstream is told: what a request asks for, and what its body is. */
const content = [
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'content-encoding',
  'content-language',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'range',
] as const

/**
 * The request header fields that pass to an upstream of each kind, in lower case. Those more of `pages` are what
 * browsers and the scripts of ordinary applications send: none of them says who somebody is.
 */
export const passedFields: Readonly<Record<Upstream['kind'], readonly string[]>> = {
  api: content,
  pages: [
    ...content,
    'cache-control',
    'user-agent',
    'sec-ch-ua',
    'sec-ch-ua-mobile',
    'sec-ch-ua-platform',
    'dnt',
    'save-data',
    'sec-gpc',
    // Where the request came from, for the application's own checks: CSRF, framing, prefetching.
    'origin',
    'referer',
    'sec-fetch-dest',
    'sec-fetch-mode',
    'sec-fetch-site',
    'sec-fetch-user',
    'sec-purpose',
    // Tokens against CSRF: Django, Rails and Laravel, Angular and Axios.
    'x-csrf-token',
    'x-csrftoken',
    'x-xsrf-token',
    // Scripts that ask for a part of a page: jQuery, htmx, Turbo.
    'x-requested-with',
    'hx-boosted',
    'hx-current-url',
    'hx-history-restore-request',
    'hx-prompt',
    'hx-request',
    'hx-target',
    'hx-trigger',
    'hx-trigger-name',
    'turbo-frame',
    'x-turbo-request-id',
  ],
}

/** Those of them that are lists: several fields mean the same as one with commas (RFC 9110 §5.3). */
export const listFields: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-encoding',
  'content-language',
  'if-match',
  'if-none-match',
  'sec-ch-ua',
])

/** Names that no configuration lets pass, by what they are for, and why. The allow-list keeps out all others. */
const refusals: readonly (readonly [pattern: RegExp, why: string])[] = [
  [
    /^(?:connection|content-length|expect|host|http2-settings|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.+|sec-websocket-.+)$/,
    'It concerns the connection to the browser, and the edge has its own to the upstream',
  ],
  [
    /^(?:authorization|cookie2?|dpop|x-api-authorization|x-(?:access|id)-token)$/,
    'The upstream gets the token that `token` says; `pages` get the cookies that are not the edge’s',
  ],
  [
    /^(?:forwarded(?:-.+)?|via|.*-client-?ip|x-originating-ip|x-forwarded.*|(?:x-)?(?:real|client|original|true-client|cluster-client)-ip|x-(?:cluster|envoy|original|rewrite)-.+|(?:cf-connecting|fastly-client|true-client)-.+|x-(?:host|scheme|url-scheme|script-name)|front-end-https)$/,
    'Where a request came from the edge alone says, and an upstream would believe anybody',
  ],
  [
    /^(?:x-)?http-method(?:-override)?$|^x-method-override$/,
    'The edge decides by the method that it sees: another behind it would go round its rules',
  ],
  [
    /^(?:.+-)?(?:impersonate|hasura)(?:-.+)?$|^(?:sm|iv|shib|wl-proxy)-.+$|^x-.*(?:user(?!-agent)|account|login|tenant|scopes?|permissions|admin).*$|^.*-?(?:private-token|client-?cert)$|^x-(?:amzn-oidc|auth|authelia|authenticated|authentik|claims?|client-(?:cert|dn|verify)|consumer|credential|email|goog|groups?|iap|identity|jwt|ms-(?:client|token)|oidc|pomerium|principal|remote|roles?|saml|ssl|sso|subject|token|user(?!-agent)|userinfo|username|vouch|webauth)(?:-.+)?$|^(?:auth|authenticated|cf-access|client-cert|oidc|remote|ssl|tailscale)(?:-.+)?$/,
    'An upstream may take it for the word of the edge on who somebody is, and anybody can send it',
  ],
  [/^(?:b3|baggage|traceparent|tracestate|x-b3-.+|x-request-id)$/, 'Traces and request ids begin at the edge'],
]

/**
 * Why a request header field must not pass, whatever the configuration says.
 *
 * @param name in lower case
 * @returns a sentence without its full stop; undefined when it may pass
 */
export function whyKeptBack(name: string): string | undefined {
  return refusals.find(([pattern]) => pattern.test(name))?.[1]
}
