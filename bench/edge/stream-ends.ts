import { createServer } from 'node:http'
import { connect } from 'node:net'

/* Both ends of idle event streams: the service that opens them, and the browsers that hold them. */
const [, , role, argument = ''] = process.argv
if (role === 'upstream') {
  createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: hello\n\n')
  }).listen(Number(argument), '127.0.0.1', 4096, () => process.send?.('listening'))
} else {
  const { url, cookies, headers, perSession } = JSON.parse(argument)
  const { hostname, port, host } = new URL(url)
  const fields = Object.entries({ ...headers, host, accept: 'text/event-stream' }).map(([k, v]) => `${k}: ${v}\r\n`)
  let opened = 0
  const open = (n: number): Promise<void> =>
    new Promise(resolve => {
      const cookie = cookies[Math.floor(n / perSession)]
      // 127.0.0.x: no address has more connections than one may have.
      const localAddress = `127.0.${1 + (n >> 12)}.${1 + ((n >> 4) % 250)}`
      const socket = connect({ host: hostname, port: Number(port), localAddress })
      socket.write(`GET /api/payments/events HTTP/1.1\r\n${fields.join('')}cookie: ${cookie}\r\n\r\n`)
      let received = ''
      socket.on('data', chunk => {
        received += chunk
        if (!received.includes('data: hello')) return
        opened++
        socket.removeAllListeners('data').resume()
        resolve()
      })
      socket.on('error', () => resolve())
      socket.on('close', () => resolve())
    })
  let next = 0
  process.on('message', async (total: number) => {
    while (next < total) {
      const batch = Math.min(100, total - next)
      await Promise.all(Array.from({ length: batch }, () => open(next++)))
    }
    process.send?.(opened)
  })
}
