import { isCanonical } from '../../bff/src/admission/canonical-path.ts'
import { securityHeaders } from '../../bff/src/pages/security-headers.ts'
import { createForwarder } from '../../bff/src/proxy/forwarder.ts'
import { createServer } from '../../packages/http/src/index.ts'
import { createLogger, createMetrics } from '../../packages/telemetry/src/index.ts'
import { type EdgeSettings, edgeConfig, publicOrigin } from './settings.ts'

/*
 * The edge without knowing who asks: the same server, header fields, log, measurements, path check and forwarding, and
 * a token of the same size that is always there. No such route exists in the product; this is what its sessions are
 * compared with.
 */
const settings = JSON.parse(process.env['SETTINGS'] ?? '') as EdgeSettings
const config = edgeConfig(settings)
const metrics = createMetrics('bff')
const headers = securityHeaders({ issuer: config.provider.issuer, publicOrigin, hsts: config.hsts })
const logger = createLogger({ name: 'bff' })
const app = await createServer({ title: '', description: '', logger, metrics, continueTrace: false, headers })
app.addHook('onRequest', (request, reply, done) => {
  if (isCanonical(request.raw.url as string)) done()
  else void reply.code(400).send()
})
app.removeAllContentTypeParsers()
const forwarder = createForwarder({
  sessions: { touch: () => undefined, find: () => ({ over: 'none' }) },
  streams: { open: () => undefined },
  admission: {
    admitUpload: () => undefined,
    streamsOf: () => () => undefined,
    clientOf: ({ raw }) => raw.socket.remoteAddress ?? '',
  },
  headers,
  sessionCookie: config.cookie.name,
  publicOrigin,
  metrics,
})
const token = 'x'.repeat(settings.tokenLength)
for (const upstream of config.upstreams) {
  const { forward } = forwarder.to(upstream, { atHand: () => token, obtain: () => token })
  for (const url of [upstream.prefix, `${upstream.prefix}/*`]) app.get(url, forward)
}
await app.listen({ host: '127.0.0.1', port: config.port })
