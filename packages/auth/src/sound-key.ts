import type { KeyObject } from 'node:crypto'

/**
 * Whether a key proves anything. An RSA key has 2048 bits at least and an odd public exponent from 65537 to 2^256 (FIPS
 * 186-5 §A.1.1): with 1 everybody can sign, small ones have had forgeries, and an even one belongs to no key at all. Keys
 * on a curve are sound once they can be read.
 */
export function isSoundKey({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): boolean {
  if (asymmetricKeyType !== 'rsa') return asymmetricKeyType !== undefined
  const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails
  return modulusLength >= 2048 && publicExponent >= 65_537n && publicExponent % 2n === 1n && publicExponent < 2n ** 256n
}
