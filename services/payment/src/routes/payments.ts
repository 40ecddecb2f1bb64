import { problem, problemContentType } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import { fingerprint, parseKey } from '../idempotency.ts'
import { type Decide, Payment, PaymentOrder, readOrder } from '../payment.ts'
import type { PaymentStore } from '../payment-store.ts'
import { IdParams } from './schemas.ts'

const tags = ['payments']
const access = { roles: ['customer'], scope: 'payment-api', owner: 'the debtor account’s owner is the caller' } as const

const KeyHeader = Type.Object({
  'idempotency-key': Type.String({
    description: 'fresh for each payment, the same for each retry: 1 to 255 of A-Z a-z 0-9 _ -; kept for seven days',
  }),
})

const replayed = {
  'idempotency-replayed': {
    type: 'string',
    enum: ['true'],
    description: 'present when this is the first answer again',
  },
}

/** Sending money, looking at it, and taking it back while it is held. */
export async function paymentRoutes(
  app: Server,
  { payments, decide }: { payments: PaymentStore; decide: Decide },
): Promise<void> {
  app.post(
    '/',
    {
      config: { access },
      // Before the schema, which asks for the same: a key that is missing is a problem of its own.
      preValidation: async request => void parseKey(request.headers['idempotency-key']),
      schema: {
        operationId: 'placePayment',
        summary: 'Send money',
        tags,
        headers: KeyHeader,
        body: PaymentOrder,
        response: {
          201: Type.Object(Payment.properties, { description: 'The money has moved.', headers: replayed }),
          202: Type.Object(
            { ...Payment.properties, state: Type.Literal('held') },
            { description: 'The payment waits for a person, its money reserved.', headers: replayed },
          ),
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const key = parseKey(request.headers['idempotency-key'])
      const order = readOrder(request.body)
      const answer = await payments.place({
        subject: request.user.sub,
        key,
        fingerprint: fingerprint(request.body),
        order,
        decision: await decide(order),
        trace: request.trace,
        correlationId: request.id,
      })
      if (answer.replayed) reply.header('idempotency-replayed', 'true')
      return (
        reply
          .code(answer.status)
          .header('cache-control', 'no-store')
          .type(answer.status < 400 ? 'application/json; charset=utf-8' : problemContentType)
          // The stored bytes, not a new rendering of them.
          .serializer((body: string) => body)
          .send(answer.body as never)
      )
    },
  )

  app.get(
    '/:id',
    {
      config: { access },
      schema: {
        operationId: 'getPayment',
        summary: 'One payment that you ordered',
        tags,
        params: IdParams,
        response: { 200: Payment, ...refusals },
      },
    },
    async request => {
      const payment = await payments.find(request.params.id, request.user.sub)
      if (payment === undefined) throw problem('not_found')
      return payment
    },
  )

  app.post(
    '/:id/cancel',
    {
      config: { access },
      schema: {
        operationId: 'cancelPayment',
        summary: 'Take a held payment back',
        tags,
        description: 'Needs no key: a second call is refused with already_resolved and changes nothing.',
        params: IdParams,
        response: { 200: Payment, ...refusals },
      },
    },
    async request => payments.cancel(request.params.id, request.user.sub, request.trace, request.id),
  )
}
