import { Money } from '@banking/contracts'
import Type, { type Static } from 'typebox'

const categories = ['payment', 'welcome'] as const
export type Category = (typeof categories)[number]

/** What a page can link to; ids and the reader's own amount, never a name or the other side's account. */
export const NotificationData = Type.Object(
  {
    paymentId: Type.Optional(Type.String({ format: 'uuid' })),
    /** The reader's own account. */
    accountId: Type.Optional(Type.String({ format: 'uuid' })),
    amount: Type.Optional(Money),
  },
  { additionalProperties: false },
)
export type NotificationData = Static<typeof NotificationData>

export const Notification = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    seq: Type.Integer({ minimum: 1, description: 'position in the reader’s own stream' }),
    category: Type.Enum([...categories]),
    title: Type.String(),
    text: Type.String(),
    at: Type.String({ format: 'date-time' }),
    readAt: Type.Optional(Type.String({ format: 'date-time' })),
    data: NotificationData,
  },
  { additionalProperties: false, title: 'Notification' },
)
export type Notification = Static<typeof Notification>

/** A notification before it has an id and a number. */
export type Draft = {
  userId: string
  category: Category
  title: string
  text: string
  data: NotificationData
}
