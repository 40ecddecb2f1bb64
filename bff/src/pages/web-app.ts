import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Pages } from './pages.ts'

/** A built web app: its folder, and its addresses. Each is the same static shell: it needs no cookie, its script decides what to show. */
export type WebApp = { root: string; paths: readonly string[] }

/** Files that browsers ask for by a fixed name. */
const namedFiles = ['/favicon.svg', '/favicon.ico', '/robots.txt', '/manifest.webmanifest']

/** Serves what `vite build` made, as it is now: a watching build may replace it while we run. */
export default async function webApp(app: FastifyInstance, options: WebApp & { pages: Pages }): Promise<void> {
  const { root, paths, pages } = options
  await app.register(fastifyStatic, {
    root,
    serve: false,
    cacheControl: false,
    acceptRanges: false,
    dotfiles: 'ignore',
    suppressWarning: true,
  })

  const shell = (_request: unknown, reply: FastifyReply) => {
    if (!existsSync(join(root, 'index.html'))) return pages.unbuilt(reply)
    return reply.header('cache-control', 'no-cache').sendFile('index.html')
  }
  for (const path of paths)
    for (const url of path === '/' ? [path] : [path, `${path}/`]) app.get(url, { schema: { hide: true } }, shell)

  // Their names hold a hash of their content: a name never means anything else.
  app.get<{ Params: { '*': string } }>('/assets/*', { schema: { hide: true } }, (request, reply) =>
    reply.header('cache-control', 'public, max-age=31536000, immutable').sendFile(join('assets', request.params['*'])),
  )
  for (const url of namedFiles)
    app.get(url, { schema: { hide: true } }, (_request, reply) =>
      reply.header('cache-control', 'public, max-age=3600').sendFile(url.slice(1)),
    )
}
