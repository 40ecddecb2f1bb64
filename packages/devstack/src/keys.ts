import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JWK } from 'jose'

/** A JWK Set with private ES256 keys; the first is the one to sign with. */
export type KeySet = { keys: JWK[] }

/** The key set of an OAuth client in `<folder>/<name>.json`, made on first use. */
export async function clientKeys(folder: string, name: string): Promise<KeySet> {
  return (await provided(join(folder, `${name}.json`), async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    const key = await exportJWK(privateKey)
    return { keys: [{ ...key, kid: randomBytes(9).toString('base64url'), alg: 'ES256', use: 'sig' }] }
  })) as KeySet
}

/** Sealing keys for one purpose in `<folder>/<name>.json`, made on first use. @returns its path */
export async function sealingKeyFile(folder: string, name: 'session' | 'pii'): Promise<string> {
  const file = join(folder, `${name}.json`)
  await provided(file, async () => {
    const kid = randomBytes(9).toString('base64url')
    return { current: kid, keys: { [kid]: randomBytes(32).toString('base64url') } }
  })
  return file
}

export const publicKeys = ({ keys }: KeySet): KeySet => ({
  keys: keys.map(({ d: _secret, ...key }) => key as JWK),
})

/** What is being made now: replicas start together, and must not each get a key of its own. */
const making = new Map<string, Promise<unknown>>()

function provided(file: string, make: () => Promise<unknown>): Promise<unknown> {
  const known = making.get(file)
  if (known !== undefined) return known
  const made = readOrMake(file, make).finally(() => making.delete(file))
  making.set(file, made)
  return made
}

async function readOrMake(file: string, make: () => Promise<unknown>): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  await mkdir(join(file, '..'), { recursive: true, mode: 0o700 })
  const value = await make()
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(value)}\n`, { mode: 0o600 })
  await rename(draft, file)
  return value
}
