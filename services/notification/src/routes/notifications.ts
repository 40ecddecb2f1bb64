import { roles } from '@banking/contracts'
import { lists, page, refusals, type Server } from '@banking/http'
import Type from 'typebox'
import { Notification } from '../notification.ts'
import type { NotificationStore } from '../notification-store.ts'

const access = { roles, scope: 'notification-api', owner: 'the inbox of the token’s subject' } as const
const tags = ['inbox']

const Seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const ListQuery = Type.Object({
  ...page.properties,
  after: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,15}$', description: '`next` of the page before' })),
  unread: Type.Optional(Type.Boolean({ description: 'only what is not read yet' })),
})

/** The inbox of the person who asks. */
export async function notificationRoutes(app: Server, { store }: { store: NotificationStore }): Promise<void> {
  app.get(
    '',
    {
      config: { access },
      schema: {
        operationId: 'listNotifications',
        summary: 'The reader’s inbox, newest first',
        tags,
        querystring: ListQuery,
        response: { 200: lists(Notification), ...refusals },
      },
    },
    async ({ query, user }) =>
      store.list(user.sub, {
        limit: query.limit ?? 50,
        ...(query.after === undefined ? {} : { after: BigInt(query.after) }),
        ...(query.unread === undefined ? {} : { unread: query.unread }),
      }),
  )

  app.get(
    '/count',
    {
      config: { access },
      schema: {
        operationId: 'countNotifications',
        summary: 'How many notifications are unread',
        tags,
        response: { 200: Type.Object({ unread: Type.Integer({ minimum: 0 }) }), ...refusals },
      },
    },
    async ({ user }) => ({ unread: await store.countUnread(user.sub) }),
  )

  app.post(
    '/:id/read',
    {
      config: { access },
      schema: {
        operationId: 'readNotification',
        summary: 'Marks one as read; again changes nothing',
        tags,
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: { 204: Type.Null({ description: 'It is read.' }), ...refusals },
      },
    },
    async ({ params, user }, reply) => {
      await store.markRead(user.sub, params.id)
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/read-all',
    {
      config: { access },
      schema: {
        operationId: 'readAllNotifications',
        summary: 'Marks all up to one as read; what arrived later stays unread',
        tags,
        body: Type.Object({ upTo: Seq }, { additionalProperties: false }),
        response: { 204: Type.Null({ description: 'They are read.' }), ...refusals },
      },
    },
    async ({ body, user }, reply) => {
      await store.markAllRead(user.sub, BigInt(body.upTo))
      return reply.code(204).send(null)
    },
  )
}
