import { noAnswer, Refusal, retryAfterSeconds } from './refusal.ts'

type Options = {
  method?: 'GET' | 'POST' | 'DELETE'
  body?: unknown
  headers?: Record<string, string>
  /** True for what the page does by itself: it never extends the session. */
  background?: boolean
  signal?: AbortSignal | undefined
  /** Milliseconds until the answer counts as lost. */
  timeout?: number
}

/** The BFF demands this header: a page of another origin cannot set it without a preflight that it never passes. */
const ownPage = { 'X-CSRF': '1' }

let sessionEnded: (reason: string) => void = () => {}

/** Registers who is told when a call finds that the session is over. Set once, by the session itself. */
export function onSessionEnd(listener: (reason: string) => void): void {
  sessionEnded = listener
}

/** Headers for a call; shared with the stream, which reads its own response. */
export const apiHeaders = (background: boolean): Record<string, string> =>
  background ? { ...ownPage, 'X-Background': '1' } : ownPage

/** Turns a refusing response into a {@link Refusal}; a 401 ends the session wherever it is met. */
export async function refusalOf(response: Response): Promise<Refusal> {
  const requestId = response.headers.get('x-request-id') ?? undefined
  const retryAfter = retryAfterSeconds(response.headers.get('retry-after'), Date.now())
  const document = await problemDocument(response)
  const text = (name: string): string | undefined => {
    const value = document[name]
    return typeof value === 'string' ? value : undefined
  }
  const refusal = new Refusal({
    code: text('code') ?? 'unexpected',
    status: response.status,
    title: text('title') ?? 'The answer was not usable.',
    reason: text('reason'),
    retryAfter,
    requestId: requestId ?? text('instance'),
  })
  if (response.status === 401) sessionEnded(refusal.reason ?? 'ended')
  return refusal
}

async function problemDocument(response: Response): Promise<Record<string, unknown>> {
  try {
    const body: unknown = await response.json()
    return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  } catch {
    // A proxy's own error page has no problem document; the status says what there is to say.
    return {}
  }
}

/**
 * One call of the API.
 * @throws Refusal for every answer that is not a success, and with code `no_answer` for none
 */
export async function call(path: string, options: Options = {}): Promise<Response> {
  const { method = 'GET', body, headers = {}, background = false, signal, timeout = 15_000 } = options
  const timer = AbortSignal.timeout(timeout)
  let response: Response
  try {
    response = await fetch(path, {
      method,
      headers: {
        Accept: 'application/json, application/problem+json',
        ...apiHeaders(background),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      signal: signal === undefined ? timer : AbortSignal.any([signal, timer]),
    })
  } catch (error) {
    throw noAnswer(error)
  }
  if (!response.ok) throw await refusalOf(response)
  return response
}

/** {@link call} with its JSON; an answer cut off midway counts as no answer. */
export async function callJson<T>(path: string, options: Options = {}): Promise<T> {
  const response = await call(path, options)
  try {
    return (await response.json()) as T
  } catch (error) {
    throw noAnswer(error)
  }
}
