import { connect } from 'node:net'
import type { Load, Result } from './load.ts'

/*
 * The load generator where there is no wrk: one request at a time per connection, answers told apart by their
 * Content-Length alone. Its input is its one argument, its output one line of JSON.
 */
const load = JSON.parse(process.argv[2] ?? '') as Load
const { hostname, port, host, pathname } = new URL(load.url)
const result: Result = { requests: 0, failures: 0 }
const end = performance.now() + load.seconds * 1000
const fields = Object.entries({ host, ...load.headers }).map(([name, value]) => `${name}: ${value}\r\n`)
const requests = (load.cookies.length === 0 ? [''] : load.cookies).map(cookie =>
  Buffer.from(`GET ${pathname} HTTP/1.1\r\n${fields.join('')}${cookie && `cookie: ${cookie}\r\n`}\r\n`, 'latin1'),
)
let next = 0

await Promise.all(Array.from({ length: load.connections }, connection))
console.log(JSON.stringify(result))

function connection(): Promise<void> {
  return new Promise(resolve => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    let head = ''
    let left = -1
    const send = (): void => {
      if (performance.now() >= end) return void socket.destroy()
      socket.write(requests[next++ % requests.length] as Buffer)
    }
    socket.on('connect', send)
    socket.on('data', (chunk: Buffer) => {
      if (left === -1) {
        head += chunk.toString('latin1')
        const cut = head.indexOf('\r\n\r\n')
        if (cut === -1) return
        const length = Number(/^content-length: *(\d+)/im.exec(head.slice(0, cut))?.[1])
        if (!head.startsWith('HTTP/1.1 2') || Number.isNaN(length)) result.failures++
        left = length - (head.length - cut - 4)
        head = ''
      } else left -= chunk.length
      if (left > 0) return
      left = -1
      result.requests++
      send()
    })
    socket.on('error', () => result.failures++)
    socket.on('close', () => resolve())
  })
}
