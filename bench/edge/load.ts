import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cores, findProgram } from './programs.ts'

const run = promisify(execFile)

export type Load = {
  url: string
  /** Fields of every request. */
  headers: Readonly<Record<string, string>>
  /** Values of the Cookie field, used in turn. */
  cookies: readonly string[]
  connections: number
  seconds: number
}

export type Result = { requests: number; failures: number }

/** What a browser's `fetch` sends beside its cookie. */
export const browserFields: Readonly<Record<string, string>> = {
  accept: 'application/json',
  'accept-encoding': 'gzip, deflate, br, zstd',
  'accept-language': 'en-GB,en;q=0.9,de;q=0.8',
  referer: 'http://localhost:3000/accounts',
  'sec-ch-ua': '"Chromium";v="141", "Not?A_Brand";v="8"',
  'sec-fetch-dest': 'empty',
  'sec-fetch-mode': 'cors',
  'sec-fetch-site': 'same-origin',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  'x-csrf': '1',
}

/** A load generator: wrk where it is installed, else a small one of our own, each in a process of its own. */
export function loadGenerator(folder: string): { name: string; apply: (load: Load) => Promise<Result> } {
  const wrk = findProgram('wrk')
  const pinned = (command: readonly string[]) => ['-c', String(cores.rest), ...command]
  if (wrk === undefined)
    return {
      name: 'our own (install wrk for a leaner one)',
      async apply(load) {
        const program = join(import.meta.dirname, 'client.ts')
        const { stdout } = await run('taskset', pinned([process.execPath, program, JSON.stringify(load)]))
        return JSON.parse(stdout) as Result
      },
    }
  return {
    name: 'wrk',
    async apply({ url, headers, cookies, connections, seconds }) {
      const script = join(folder, 'load.lua')
      writeFileSync(join(folder, 'cookies'), cookies.join('\n'))
      writeFileSync(
        script,
        `local requests, at = {}, 0
function init()
  for cookie in io.lines("${join(folder, 'cookies')}") do
    wrk.headers["cookie"] = cookie
    requests[#requests + 1] = wrk.format()
  end
  if #requests == 0 then requests[1] = wrk.format() end
end
function request()
  at = at % #requests + 1
  return requests[at]
end`,
      )
      const fields = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
      const options = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, ...fields]
      const { stdout } = await run('taskset', pinned([wrk, ...options, url]))
      const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0)
      const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0)
      const broken = [...(/Socket errors:(.*)/.exec(stdout)?.[1] ?? '').matchAll(/\d+/g)]
      return { requests, failures: broken.reduce((sum, [count]) => sum + Number(count), refused) }
    },
  }
}
