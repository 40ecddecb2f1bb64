import { createServer } from 'node:http'

/* The service behind all of them where there is no nginx. */
const fields = { 'content-type': 'application/json', 'cache-control': 'no-store', vary: 'accept' }
const bodies = [1000, 100_000].map(size => JSON.stringify({ items: 'x'.repeat(size) }))
createServer((request, response) => {
  const body = bodies[request.url?.endsWith('/large') ? 1 : 0] as string
  response.writeHead(200, { ...fields, 'content-length': body.length })
  response.end(body)
}).listen(Number(process.argv[2]), '127.0.0.1')
