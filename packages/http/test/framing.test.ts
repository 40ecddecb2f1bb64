import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { createLogger, createMetrics } from '@banking/telemetry'
import t, { type Test } from 'tap'
import { createServer } from '../src/index.ts'

// What could be read in two ways is read in none: two who disagree about the end of a request are how one person's
// request becomes the beginning of another's (RFC 9112 §11.2).

async function testServer(t: Test) {
  const app = await createServer({
    title: 'Test',
    description: 'A server for tests.',
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics: createMetrics('test'),
  })
  t.teardown(() => app.close())
  const asked: string[] = []
  app.addHook('preHandler', (request, _reply, done) => done(void asked.push(`${request.method} ${request.url}`)))
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.get('/*', async () => 'got')
  app.post('/*', async request => `<${String(request.body ?? '')}>`)
  await app.listen({ host: '127.0.0.1', port: 0 })
  /** @returns everything that is said until the server closes; the client sends no more after its bytes */
  const say = (bytes: readonly string[]): Promise<string> => {
    const socket = connect({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1' }).setNoDelay()
    t.teardown(() => socket.destroy())
    const said = text(socket)
    void (async () => {
      for (const piece of bytes) {
        socket.write(piece, 'latin1')
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    })()
    return said
  }
  return { asked, say }
}

const victim = 'GET /victim HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
const post = (fields: string, body: string) =>
  `POST /x HTTP/1.1\r\nhost: a\r\ncontent-type: x/y\r\n${fields}\r\n\r\n${body}`
const chunks = '3\r\nabc\r\n0\r\n\r\n'

const refused: Record<string, string> = {
  'a coding before chunked': post('transfer-encoding: gzip, chunked', chunks),
  'a coding before chunked, at a path that cannot be decoded': post('transfer-encoding: gzip, chunked', chunks).replace(
    '/x',
    '/%zz',
  ),
  'a coding that nobody knows before chunked': post('transfer-encoding: x, chunked', chunks),
  'a coding in a field of its own': post('transfer-encoding: x\r\ntransfer-encoding: chunked', chunks),
  'a coding in a field of its own, behind': post('transfer-encoding: chunked\r\ntransfer-encoding: x', chunks),
  'chunked twice': post('transfer-encoding: chunked, chunked', chunks),
  'chunked twice, in two fields': post('transfer-encoding: chunked\r\nTransfer-Encoding: chunked', chunks),
  'chunked that is not last': post('transfer-encoding: chunked, gzip', chunks),
  'identity before chunked': post('transfer-encoding: identity, chunked', chunks),
  'identity alone': post('transfer-encoding: identity', chunks),
  'an unknown coding alone': post('transfer-encoding: xchunked', chunks),
  'an empty coding': post('transfer-encoding:', chunks),
  'an empty coding before chunked': post('transfer-encoding: ,chunked', chunks),
  'chunked with a parameter': post('transfer-encoding: chunked;q=1', chunks),
  'chunked in quotes': post('transfer-encoding: "chunked"', chunks),
  'a tab inside of a coding': post('transfer-encoding: chu\tnked', chunks),
  'a vertical tab before chunked': post('transfer-encoding: \x0bchunked', chunks),
  'a coding on the next line': post('transfer-encoding:\r\n chunked', chunks),
  'a space before the colon': post('transfer-encoding : chunked', chunks),
  'chunks in HTTP/1.0': post('transfer-encoding: chunked', chunks).replace('1.1', '1.0'),
  'a length beside chunks': post('content-length: 3\r\ntransfer-encoding: chunked', chunks),
  'two lengths': post('content-length: 3\r\ncontent-length: 4', 'abc'),
  'a length with a sign': post('content-length: +3', 'abc'),
  'a length in hexadecimal': post('content-length: 0x3', 'abc'),
  'a list of lengths': post('content-length: 3, 3', 'abc'),
  'a chunk with a sign': post('transfer-encoding: chunked', '+3\r\nabc\r\n0\r\n\r\n'),
  'a chunk of 0x3': post('transfer-encoding: chunked', '0x3\r\nabc\r\n0\r\n\r\n'),
  'a space behind the size of a chunk': post('transfer-encoding: chunked', '3 \r\nabc\r\n0\r\n\r\n'),
  'a chunk that ends with LF': post('transfer-encoding: chunked', '3\nabc\r\n0\r\n\r\n'),
  'chunk data that ends with LF': post('transfer-encoding: chunked', '3\r\nabc\n0\r\n\r\n'),
  'two spaces before the target': 'GET  /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'three spaces before the target': 'GET   /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'two spaces behind the target': 'GET /x  HTTP/1.1\r\nhost: a\r\n\r\n',
  'a tab before the target': 'GET\t/x HTTP/1.1\r\nhost: a\r\n\r\n',
  'a tab behind the target': 'GET /x\tHTTP/1.1\r\nhost: a\r\n\r\n',
  'a space in the target': 'GET /x y HTTP/1.1\r\nhost: a\r\n\r\n',
  'a space before the method': ' GET /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'a space at the end of the line': 'GET /x HTTP/1.1 \r\nhost: a\r\n\r\n',
  'a line that ends with LF': 'GET /x HTTP/1.1\nhost: a\r\n\r\n',
  'a line that ends with CR': 'GET /x HTTP/1.1\rhost: a\r\n\r\n',
  'an empty line that ends with LF': '\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'no version': 'GET /x\r\nhost: a\r\n\r\n',
  'no target': 'GET HTTP/1.1\r\nhost: a\r\n\r\n',
  'a method in small letters': 'get /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'a version in small letters': 'GET /x http/1.1\r\nhost: a\r\n\r\n',
  'a version of one number': 'GET /x HTTP/1\r\nhost: a\r\n\r\n',
  'a version that is too large': 'GET /x HTTP/1.10\r\nhost: a\r\n\r\n',
  'another version': 'GET /x HTTP/2.0\r\nhost: a\r\n\r\n',
  'an old version': 'GET /x HTTP/0.9\r\nhost: a\r\n\r\n',
  'another protocol': 'DESCRIBE /x RTSP/1.0\r\nhost: a\r\n\r\n',
  'a protocol of radio stations': 'SOURCE /x ICE/1.0\r\nhost: a\r\n\r\n',
  'a field that ends with LF': 'GET /x HTTP/1.1\r\nhost: a\nx: y\r\n\r\n',
  'a CR in a field': 'GET /x HTTP/1.1\r\nhost: a\r\nx: y\rz\r\n\r\n',
  'a NUL in a field': 'GET /x HTTP/1.1\r\nhost: a\r\nx: y\0z\r\n\r\n',
  'a folded field': 'GET /x HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n',
  'a space before the first field': 'GET /x HTTP/1.1\r\n host: a\r\n\r\n',
  'a head that ends with LF LF': 'GET /x HTTP/1.1\r\nhost: a\n\n',
}

for (const [what, request] of Object.entries(refused))
  t.test(`refuses ${what}, and takes nothing behind it`, async t => {
    const { say, asked } = await testServer(t)
    const cuts = [[request + victim], [request.slice(0, 5), request.slice(5, 9), request.slice(9) + victim]]
    for (const pieces of cuts) {
      const said = await say(pieces)
      t.match(said, /^HTTP\/1\.1 400 .*\r\nconnection: close\r\n/is)
      t.equal(said.match(/HTTP\/1\.1 \d/g)?.length, 1, 'one answer')
    }
    t.same(asked, [])
  })

const taken: Record<string, string> = {
  'no body': 'GET /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'a length': post('content-length: 3', 'abc'),
  chunks: post('transfer-encoding: chunked', chunks),
  'chunks in capitals': post('TRANSFER-ENCODING: Chunked', chunks),
  'chunks with a space behind': post('transfer-encoding: chunked ', chunks),
  'chunks with an extension and a trailer': post('transfer-encoding: chunked', '3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n'),
  'an empty line before': '\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n',
  'a query of every character': "GET /x?a=!$&'()*+,;:@/?-._~[]|^{}%20 HTTP/1.1\r\nhost: a\r\n\r\n",
}

for (const [what, request] of Object.entries(taken))
  t.test(`takes ${what}, and then the next`, async t => {
    const { say, asked } = await testServer(t)
    for (const pieces of [[request + victim], [...request, victim]]) {
      asked.length = 0
      const said = await say(pieces)
      t.match(said, /^HTTP\/1\.1 200 .*HTTP\/1\.1 200 .*got$/s)
      t.equal(asked.length, 2)
      t.equal(asked[1], 'GET /victim')
    }
  })
