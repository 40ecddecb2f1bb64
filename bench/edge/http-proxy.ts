import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'

/* `@fastify/http-proxy` as its documentation uses it: no session, no header rules, no log, no measurement. */
const { port, upstream } = JSON.parse(process.env['SETTINGS'] ?? '') as { port: number; upstream: string }
const app = Fastify()
await app.register(httpProxy, { upstream })
await app.listen({ host: '127.0.0.1', port })
