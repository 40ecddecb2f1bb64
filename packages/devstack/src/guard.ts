import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { GuardMessage } from './process.ts'

/**
 * The guard: a process in its own session, started before anything else, that outlives even a SIGKILL of the launcher.
 * It reads one JSON message a line from the launcher; when that pipe closes it ends every process group it was told of
 * and then itself.
 */
const grace = 8_000
const groups = new Map<number, NodeJS.Signals>()
const files = new Map<string, number>()
let mark = ''

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as GuardMessage
  if ('mark' in message) mark = message.mark
  else if ('file' in message) files.set(message.file, message.pid)
  else if ('gone' in message) groups.delete(message.gone)
  else groups.set(message.group, message.signal)
}

const strays = (): number[] => (mark === '' ? [] : marked(mark))
for (const [group, signal] of groups) send(-group, signal)
const deadline = Date.now() + grace
while (Date.now() < deadline && [...groups.keys()].some(group => send(-group, 0))) {
  await new Promise(resolve => setTimeout(resolve, 50))
}
for (const group of groups.keys()) send(-group, 'SIGKILL')
for (const pid of strays()) send(pid, 'SIGKILL')
for (const [file, pid] of files) if (isFrom(file, pid)) rmSync(file, { force: true })

/** @returns whether there was anything to send it to. */
function send(target: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(target, signal)
    return true
  } catch {
    return false
  }
}

/** Processes that carry the run's mark in their environment: what left its group is found too (Linux only). */
function marked(value: string): number[] {
  try {
    return readdirSync('/proc')
      .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter(name => {
        try {
          return readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(value)
        } catch {
          return false
        }
      })
      .map(Number)
  } catch {
    return []
  }
}

/** Whether a status file was written by this launcher, not by one that came after it. */
function isFrom(file: string, pid: number): boolean {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { pid?: number }).pid === pid
  } catch {
    return false
  }
}
