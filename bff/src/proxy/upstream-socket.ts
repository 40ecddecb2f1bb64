import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** Called as the socket opens, and for all that is read; the memory of a chunk is read into again after the call. */
type SocketListener = { onOpen(): void; onRead(chunk: Buffer): void }

/**
 * Bytes that are read at once. One block for all plain connections, since each read is over before the next one
 * begins: new memory for each read makes the collector the dearest part of a large answer, and a block for each
 * connection the dearest part of an idle stream.
 */
const readBlock = Buffer.allocUnsafeSlow(64 * 1024)
/** ms of silence after which the kernel asks whether the other side is still there. */
const keepAliveDelay = 60_000

/**
 * Connections to one upstream. Those of `https:` verify its certificate and name (RFC 9110 §4.3.4), say the name in
 * the handshake (RFC 6066 §3), and resume the last session (RFC 8446 §2.2).
 */
export function createSocketFactory(origin: string): (listener: SocketListener) => Socket {
  const { protocol, hostname, port } = new URL(origin)
  const host = hostname.replace(/^\[|\]$/g, '')
  const settings = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveDelay }
  if (protocol === 'http:') {
    const address = { host, port: Number(port || 80), ...settings }
    return ({ onOpen, onRead }) => {
      const callback = (size: number): boolean => {
        onRead(readBlock.subarray(0, size))
        return true
      }
      return connect({ ...address, onread: { buffer: readBlock, callback } }).on('connect', onOpen)
    }
  }
  const address = { host, port: Number(port || 443), ALPNProtocols: ['http/1.1'] }
  const name = isIP(host) === 0 ? { servername: host } : {}
  let session: Buffer | undefined
  return ({ onOpen, onRead }) => {
    const socket = connectTls({ ...address, ...name, ...(session === undefined ? {} : { session }) })
    socket.setNoDelay(true).setKeepAlive(true, keepAliveDelay)
    let isVerified = false
    let offered: Buffer | undefined
    const keepSession = (): void => {
      if (isVerified && offered !== undefined) session = offered
    }
    // TLS 1.2 offers one before the certificate was looked at.
    socket.on('session', ticket => {
      offered = ticket
      keepSession()
    })
    socket.on('secureConnect', () => {
      isVerified = true
      keepSession()
      onOpen()
    })
    return socket.on('data', onRead)
  }
}
