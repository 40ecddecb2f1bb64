import { readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Origin, PartName } from './parts/part.ts'
import { commandOf, isAlive } from './process.ts'

export type PartStatus = Origin & { name: PartName; pid: number; readyMs: number }
export type AppStatus = {
  name: string
  url: string
  healthUrl: string
  /** What the edge answers to other services. */
  internalUrl?: string
  pid: number
  readyMs: number
}

/** `.dev/status.json`: what runs, for programs. Addresses are base URLs without a slash at the end. */
export type Status = {
  /** Everything answers. */
  ready: boolean
  /** The BFF's public origin. */
  baseUrl: string
  issuer: string
  /** `pid` is the real program's, 0 while it is down; an external part has none. */
  parts: PartStatus[]
  apps: AppStatus[]
  logins: { username: string; password: string; roles: readonly string[]; note: string }[]
  /** Keycloak's console. */
  admin: { username: string; password: string }
  flags: { replicas: number; tokenSeconds: number; rotate: boolean }
  /** The launcher's own process: when it is gone, the file is stale. */
  pid: number
}

export const statusFile = (state: string): string => join(state, 'status.json')
/** Private keys of the clients and of the session store, beside the status file. */
export const keysFolder = (state: string): string => join(state, 'keys')

/** Replaces the file at once, so that a reader never sees half of it. Only its owner may read the passwords. */
export async function writeStatus(state: string, status: Status): Promise<void> {
  const file = statusFile(state)
  await mkdir(dirname(file), { recursive: true })
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(status, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, file)
}

/** The status of a running stack; undefined when none runs, or when its launcher is gone. */
export function readStatus(file: string): Status | undefined {
  let status: Status
  try {
    status = JSON.parse(readFileSync(file, 'utf8')) as Status
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  if (!isAlive(status.pid)) return undefined
  const command = commandOf(status.pid)
  return command === '' || command.includes('devstack') ? status : undefined // else the number was given away again
}
