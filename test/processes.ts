import { runningBank } from '@banking/devstack'
import type { Test } from 'tap'
import { eventually } from './bank.ts'

/** The process of a part or an app as the launcher knows it now: after a restart it is another one. */
export const pidOf = (name: string): number => {
  const { parts, apps } = runningBank().status
  const pid = [...parts, ...apps].find(one => one.name === name)?.pid
  if (pid === undefined || pid <= 1) throw new Error(`the launcher knows no process of ${name}`)
  return pid
}

/** Stops a part's process where it stands; it goes on at teardown at the latest. */
export function freeze(t: Test, name: string): () => void {
  const pid = pidOf(name)
  let isFrozen = true
  process.kill(pid, 'SIGSTOP')
  const thaw = () => {
    if (isFrozen) process.kill(pid, 'SIGCONT')
    isFrozen = false
  }
  t.teardown(thaw)
  return thaw
}

export const seconds = (count: number) => new Promise(resolve => setTimeout(resolve, count * 1000))

/** Waits until the launcher has another process than `before` for an app, and it is ready. */
export const isBack = (name: string, before: number): Promise<boolean> =>
  eventually(
    async () => runningBank().status.apps.some(app => app.name === name && app.pid !== before && app.readyMs > 0),
    is => is,
    60,
  )
