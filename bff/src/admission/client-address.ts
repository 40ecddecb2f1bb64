import { BlockList, isIP, isIPv6 } from 'node:net'

/** Whether an address belongs to a proxy of ours, whose word about its own client is believed. */
export type TrustedProxies = (address: string) => boolean

/** The widest range that may be one's own network: 10.0.0.0/8, fd00::/8. Two halves of everything are everything. */
const widest = 8
/** Proxies in a row; nobody has more, and an attacker's list must not cost more. */
const longestChain = 16

/**
 * Reads the proxies that stand before the edge.
 *
 * @param ranges addresses or CIDR ranges, e.g. `10.4.0.0/16`, `fd00:4::/32`, `192.0.2.7`
 * @throws Error with the range and the remedy; a range that would trust strangers is refused
 */
export function trustedProxies(ranges: readonly string[]): TrustedProxies {
  if (ranges.length === 0) return () => false
  const list = new BlockList()
  for (const range of ranges) addRange(list, range)
  return address => isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

function addRange(list: BlockList, range: string): void {
  const wrong = (remedy: string) => new Error(`${JSON.stringify(range)} ${remedy}`)
  const [base = '', length, ...rest] = range.split('/')
  const version = isIP(base)
  if (version === 0 || base.includes('%') || rest.length > 0)
    throw wrong('is no address and no CIDR range: write for example 10.4.0.0/16; names and wildcards are not taken')
  if (version === 6 && mappedIPv4(base) !== undefined) throw wrong('is an IPv4 range in IPv6 form: write it as IPv4')
  const bits = version === 4 ? 32 : 128
  const prefix = Number(length ?? bits)
  if (!/^\d{1,3}$/.test(length ?? '1') || prefix > bits) throw wrong(`has no prefix length from ${widest} to ${bits}`)
  if (prefix < widest)
    throw wrong(
      `would trust strangers: anybody there could name any client address. List only your own proxies, /${widest} or longer`,
    )
  if (!isNetwork(base, prefix)) throw wrong('has bits set behind its prefix: write the first address of the range')
  list.addSubnet(base, prefix, version === 4 ? 'ipv4' : 'ipv6')
}

/** Whether an address is the first of its range: `10.1.2.3/8` was meant to be something else. */
function isNetwork(address: string, prefix: number): boolean {
  const parts = isIPv6(address) ? groups(address) : address.split('.').map(Number)
  const width = isIPv6(address) ? 16 : 8
  return parts.every((part, at) => {
    const free = Math.min(width, Math.max(0, (at + 1) * width - prefix))
    return (part & ((1 << free) - 1)) === 0
  })
}

/**
 * The address of the client: the socket's, or, when that is a trusted proxy's, the rightmost address of X-Forwarded-For
 * that is not. Each hop appends whom it saw, so what a client wrote itself stands to the left of its own address and is
 * never reached. An entry that is no address ends the walk: the proxy that passed it on is then the client. `Forwarded`
 * and all other such fields are not read, here or anywhere else.
 *
 * @param peer the socket's remote address
 * @param forwardedFor values of the X-Forwarded-For fields, in the order in which they came
 * @returns an address without zone; IPv4-mapped IPv6 as IPv4
 */
export function clientAddress(peer: string, forwardedFor: readonly string[], isTrusted: TrustedProxies): string {
  let client = plain(peer)
  if (forwardedFor.length === 0 || !isTrusted(client)) return client
  const entries = forwardedFor.join(',').split(',')
  for (let hops = 0; hops < longestChain && entries.length > 0; hops++) {
    const entry = hop((entries.pop() as string).trim())
    if (entry === undefined) return client
    client = entry
    if (!isTrusted(client)) return client
  }
  return client
}

/** An address as proxies write it: alone, or with a port (`192.0.2.1:80`, `[2001:db8::1]:80`). */
function hop(entry: string): string | undefined {
  const [, bracketed, withPort] = /^(?:\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(entry) ?? []
  const address = bracketed ?? withPort ?? entry
  const version = isIP(address)
  if (version === 0 || address.includes('%') || (bracketed !== undefined && version !== 6)) return undefined
  return plain(address)
}

/** Without zone, and IPv4 as IPv4: one address has one spelling. */
function plain(address: string): string {
  const [bare = ''] = address.split('%', 1)
  return bare.includes(':') ? (mappedIPv4(bare) ?? bare) : bare
}

/** The IPv4 address of `::ffff:192.0.2.1`, in any spelling (RFC 4291 §2.5.5.2). */
function mappedIPv4(address: string): string | undefined {
  const [g0, g1, g2, g3, g4, g5, high = 0, low = 0] = groups(address)
  if (g0 !== 0 || g1 !== 0 || g2 !== 0 || g3 !== 0 || g4 !== 0 || g5 !== 0xffff) return undefined
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
}

/** The eight groups of an IPv6 address. */
function groups(address: string): number[] {
  const quad = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const [, before = '', a, b, c, d] = quad ?? []
  const pair = (high: unknown, low: unknown) => ((Number(high) << 8) | Number(low)).toString(16)
  const text = quad === null ? address : `${before}${pair(a, b)}:${pair(c, d)}`
  const [head = '', tail] = text.split('::')
  const parts = (side: string | undefined) => (side === undefined || side === '' ? [] : side.split(':'))
  const [left, right] = [parts(head), parts(tail)]
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  return [...left, ...zeros, ...right].map(group => Number.parseInt(group, 16))
}

/**
 * Who is counted as one: an IPv4 address, or the /64 of an IPv6 address, since one customer has at least that many.
 *
 * @param address as {@link clientAddress} gives it
 */
export function addressBlock(address: string): string {
  if (!address.includes(':')) return address
  return `${groups(address)
    .slice(0, 4)
    .map(group => group.toString(16))
    .join(':')}::/64`
}

/**
 * The /48 that a block lies in, of which a customer may have all 65,536 (RFC 6177); undefined for an IPv4 address, of
 * which nobody has so many.
 *
 * @param block as {@link addressBlock} gives it
 */
export function siteOf(block: string): string | undefined {
  const end = block.indexOf('::/64')
  return end === -1 ? undefined : `${block.slice(0, block.lastIndexOf(':', end - 1))}::/48`
}
