import { childOf, currentTrace, formatTraceparent } from '@banking/telemetry'
import type { CustomFetch } from 'openid-client'
import { ProviderError } from './provider-error.ts'

/** Bytes of any answer of the provider. */
const answerLimit = 512 * 1024

/** fetch with a bound on the answer; network errors and "not now" answers become `unavailable`. */
export function boundedFetch(request: typeof fetch): CustomFetch {
  return async (url, init) => {
    let response: Response
    let body: Uint8Array<ArrayBuffer>
    try {
      response = await request(url, traced(init as RequestInit))
      body = await read(response)
    } catch (cause) {
      if (cause instanceof ProviderError) throw cause
      throw new ProviderError('unavailable', 'the identity provider cannot be reached', { cause })
    }
    if (response.status >= 500 || response.status === 429)
      throw new ProviderError('unavailable', `the identity provider answered ${response.status}`)
    const bodiless = response.status === 204 || response.status === 304
    return new Response(bodiless ? null : body, { status: response.status, headers: response.headers })
  }
}

/** The provider's own trace, if it keeps one, joins that of the request for whose sake it is asked. */
function traced(init: RequestInit): RequestInit {
  const trace = currentTrace()
  if (trace === undefined) return init
  const headers = new Headers(init.headers)
  headers.set('traceparent', formatTraceparent(childOf(trace)))
  return { ...init, headers }
}

async function read(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > answerLimit) throw new ProviderError('untrusted', 'the answer of the identity provider is too large')
    chunks.push(chunk)
  }
  const body = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}
