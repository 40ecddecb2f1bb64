import { isUnambiguous, problem } from '@banking/contracts'
import type { FastifyInstance } from 'fastify'

/** No body of ours nests deeper than five levels. */
const maxDepth = 16

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * JSON is the only body a server takes, and literally: bytes that are not UTF-8 are refused instead of replaced, and so
 * is a member that comes twice, of which another parser on the way may have seen the other one (RFC 7493 §2).
 */
export function takeJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  // Fastify's own two: JSON of any bytes, and text, which is no document of ours.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const coding = request.headers['content-encoding']
    if (coding !== undefined && coding.toLowerCase() !== 'identity')
      return done(problem('media_type_unsupported', 'Send the body without a content coding.'))
    let text: string
    try {
      text = utf8.decode(body)
    } catch (cause) {
      return done(problem('body_malformed', 'The body is not UTF-8.', { cause }))
    }
    void parse(request, text, (error, value) => {
      if (error === null && !isUnambiguous(text, maxDepth))
        return done(problem('body_malformed', 'The body names a member twice or nests too deeply.'))
      done(error, value)
    })
  })
}
