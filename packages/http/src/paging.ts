import Type, { type TSchema } from 'typebox'

/** Query of every list: keyset paging, newest first. */
export const page = Type.Object({
  after: Type.Optional(Type.String({ maxLength: 200, description: '`next` of the page before' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 50 })),
})

/** Shape of every list. `next` is absent on the last page. */
export const lists = <T extends TSchema>(item: T) =>
  Type.Object(
    { items: Type.Array(item), next: Type.Optional(Type.String({ description: '`after` of the next page' })) },
    { description: 'One page; the last one has no `next`.' },
  )
