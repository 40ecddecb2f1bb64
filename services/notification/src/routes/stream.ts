import type { Readable } from 'node:stream'
import { roles } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import type { Streams } from '../streams.ts'

const Headers = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ pattern: '^(0|[1-9][0-9]{0,15})$', description: 'seq of the last notification that the reader has' }),
  ),
})

/** To the type checker a stream, to a reader of the document text. */
const EventStream = Type.Unsafe<Readable>({ type: 'string' })

/** The same inbox, live. */
export async function streamRoutes(app: Server, { streams }: { streams: Streams }): Promise<void> {
  app.get(
    '/stream',
    {
      config: {
        access: { roles, scope: 'notification-api', owner: 'the inbox of the token’s subject' },
      },
      schema: {
        operationId: 'streamNotifications',
        summary: 'The inbox as it grows, as server-sent events',
        description:
          '`notification` (with an id: its seq), `count` ({unread}), and `reconnect` before the server ends the stream: ' +
          'when the token ends or the server stops. A comment every 20 s keeps it alive.',
        tags: ['inbox'],
        headers: Headers,
        response: {
          200: { description: 'Does not end by itself.', content: { 'text/event-stream': { schema: EventStream } } },
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const lastEventId = request.headers['last-event-id']
      const stream = await streams.open({
        userId: request.user.sub,
        lastSeq: lastEventId === undefined ? undefined : BigInt(lastEventId),
        endsAt: request.user.expiresAt * 1000,
      })
      return reply
        .headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
        .type('text/event-stream')
        .send(stream)
    },
  )
}
