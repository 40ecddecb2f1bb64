export { type Check, healthServer } from './health.ts'
export { lists, page } from './paging.ts'
export { serve } from './serve.ts'
export { createServer, type Server, type ServerOptions } from './server.ts'
