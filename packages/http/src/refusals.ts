import { problemContentType } from '@banking/contracts'
import Type from 'typebox'

const ProblemDocument = Type.Object(
  {
    type: Type.String({ format: 'uri' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'stable; docs/problems.md says what to do' }),
    detail: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String({ description: 'urn:request: and the request id' })),
  },
  { additionalProperties: true, title: 'Problem' },
)

const refusal = (description: string) => ({
  description,
  content: { [problemContentType]: { schema: ProblemDocument } },
})

/** What every route may answer besides its own responses (RFC 9457): `response: { 200: Thing, ...refusals }`. */
export const refusals = {
  '4xx': refusal('Refused; the problem says why.'),
  '5xx': refusal('Not now; a read, or a write with an Idempotency-Key, may be repeated.'),
} as const
