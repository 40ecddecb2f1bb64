import { type Dispatcher, Pool } from 'undici'
import type { ClientRequest, HttpClient, HttpClientOptions } from '../../bff/src/proxy/http-client.ts'

/** undici's pool and parser in the place of the edge's own client: the row that says what the latter is worth. */
export function createUndiciClient(options: HttpClientOptions): HttpClient {
  const { origin, connections, connectTimeout, headersTimeout, maxHeaderSize } = options
  const bodyTimeout = Number.isFinite(options.bodyTimeout) ? options.bodyTimeout : 0
  const connect = { timeout: connectTimeout }
  const pool = new Pool(origin, { connections, pipelining: 1, connect, headersTimeout, bodyTimeout, maxHeaderSize })
  return {
    send(request, handler) {
      let controller: Dispatcher.DispatchController | undefined
      let stopped: Error | undefined
      pool.dispatch(dispatchOptions(request), {
        onRequestStart(given) {
          controller = given
          if (stopped === undefined) handler.onSent()
          else given.abort(stopped)
        },
        onResponseStart({ rawHeaders }, status) {
          if (status >= 200) handler.onHead(status, (rawHeaders as (string | Buffer)[]).map(latin1))
        },
        onResponseData: (_controller, chunk) => handler.onData(chunk),
        onResponseEnd: () => handler.onEnd(),
        onResponseError: (_controller, error) => handler.onError(error),
      })
      return {
        abort(reason) {
          stopped = reason
          controller?.abort(reason)
        },
        pause: () => controller?.pause(),
        resume: () => controller?.resume(),
      }
    },
    destroy: () => pool.destroy(),
  }
}

function dispatchOptions({ method, path, headers, token, body }: ClientRequest): Dispatcher.DispatchOptions {
  const fields = token === undefined ? [...headers] : [...headers, 'authorization', `Bearer ${token}`]
  return { method: method as Dispatcher.HttpMethod, path, headers: fields, body }
}

const latin1 = (part: string | Buffer): string => (typeof part === 'string' ? part : part.toString('latin1'))
