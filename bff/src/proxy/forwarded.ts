/** Says where a request came from, as name and value in turn. `client` is an address without port or zone. */
export type ForwardedFields = (client: string) => string[]

/**
 * Makes the fields by which an upstream learns who asked and under which address: `Forwarded` (RFC 7239), and the
 * customary X-Forwarded-For, -Host, -Port and -Proto. The address is the admission's, the rest the configuration's:
 * nothing of what a request says of these things goes on. There is one hop, since whoever stands before the edge is
 * known to the edge alone.
 *
 * @param publicOrigin scheme, host and port that browsers use
 */
export function createForwardedFields(publicOrigin: string): ForwardedFields {
  const { protocol, host, port } = new URL(publicOrigin)
  const proto = protocol.slice(0, -1)
  const rest = `;host=${quoted(host)};proto=${proto}`
  const fixed = [
    'x-forwarded-host',
    host,
    'x-forwarded-port',
    port || (proto === 'https' ? '443' : '80'),
    'x-forwarded-proto',
    proto,
  ]
  return client => {
    // A connection that is gone has no address any more.
    const node = client === '' ? 'unknown' : client.includes(':') ? `"[${client}]"` : client
    return ['forwarded', `for=${node}${rest}`, 'x-forwarded-for', client || 'unknown', ...fixed]
  }
}

/** A value as RFC 7239 §4 has it: a colon is none of a token's characters. */
const quoted = (host: string): string => (/^[\w.-]+$/.test(host) ? host : `"${host}"`)
