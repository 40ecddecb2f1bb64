import type { Server } from '@banking/http'
import Type from 'typebox'
import type { ClientKeys } from '../provider/client-keys.ts'

const Key = Type.Object({
  kty: Type.String(),
  crv: Type.Optional(Type.String()),
  x: Type.Optional(Type.String()),
  y: Type.Optional(Type.String()),
  n: Type.Optional(Type.String()),
  e: Type.Optional(Type.String()),
  kid: Type.String(),
  use: Type.String(),
  alg: Type.String(),
})

/** The public keys by which the identity provider recognises this client (RFC 7517 §5). */
export default async function jwks(app: Server, options: { keys: ClientKeys }): Promise<void> {
  app.get(
    '/oauth2/jwks',
    {
      schema: {
        operationId: 'getClientKeys',
        summary: 'Public keys of this client',
        tags: ['login'],
        response: { 200: Type.Object({ keys: Type.Array(Key) }, { description: 'a JWK Set' }) },
      },
    },
    async (_request, reply) => {
      reply.header('cache-control', 'public, max-age=60')
      return { keys: (await options.keys.published()) as Type.Static<typeof Key>[] }
    },
  )
}
