import { generateKeyPairSync, sign } from 'node:crypto'

/**
 * A certificate that nobody but its own key vouches for (RFC 5280).
 *
 * @param until two digits each of year, month and day
 */
export function selfSigned(host = 'localhost', until = '450101'): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
    const content = Buffer.concat(parts)
    const length = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 255]
    return Buffer.concat([Buffer.of(tag, ...length), content])
  }
  const algorithm = der(0x30, Buffer.from('06082a8648ce3d040302', 'hex'))
  const name = der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(host)))))
  const time = (text: string) => der(0x17, Buffer.from(text))
  const body = der(
    0x30,
    der(0x02, Buffer.of(1)),
    algorithm,
    name,
    der(0x30, time('240101000000Z'), time(`${until}000000Z`)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const certificate = der(0x30, body, algorithm, der(0x03, Buffer.of(0), sign('sha256', body, privateKey)))
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n')
  return {
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  }
}
