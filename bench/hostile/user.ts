import { Agent, get } from 'node:http'
import { browserFields } from '../edge/load.ts'

export type User = { url: string; cookie: string; seconds: number }
/** ms from the time at which a request was due; who waited for longer than {@link patience} is among `failures`. */
export type Waits = { p50: number; p99: number; most: number; requests: number; failures: number }

const every = 20
const patience = 30_000

/*
 * Somebody who asks fifty times a second, however long the answers take. Its input is its one argument, its output one
 * message.
 */
if (import.meta.main) {
  const { url, cookie, seconds } = JSON.parse(process.argv[2] ?? '') as User
  const agent = new Agent({ keepAlive: true })
  const waits: number[] = []
  let failures = 0
  const ask = (due: number): Promise<void> =>
    new Promise(resolve => {
      const done = (isGood: boolean): void => {
        waits.push(performance.now() - due)
        if (!isGood) failures++
        resolve()
      }
      get(url, { agent, headers: { ...browserFields, cookie }, timeout: patience }, answer => {
        answer.resume()
        answer.on('close', () => done(answer.complete && answer.statusCode === 200))
      })
        .on('timeout', function (this: { destroy(): void }) {
          this.destroy()
        })
        .on('error', () => done(false))
    })
  const started = performance.now()
  const asked: Promise<void>[] = []
  for (let n = 0; n < (seconds * 1_000) / every; n++) {
    const due = started + n * every
    await new Promise(resolve => setTimeout(resolve, due - performance.now()))
    asked.push(ask(due))
  }
  await Promise.all(asked)
  const sorted = waits.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN
  const result: Waits = { p50: at(0.5), p99: at(0.99), most: at(1), requests: waits.length, failures }
  process.send?.(result)
  process.disconnect?.()
}
