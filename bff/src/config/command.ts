import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError } from '@banking/config'
import { exportJWK, generateKeyPair } from 'jose'
import type { BffConfig } from './config.ts'
import { editorSchema, reference } from './reference.ts'
import { durationText } from './scalars.ts'

/** What the process was asked to do: run with a file, or print something and end. */
export type Command = { run: 'serve' | 'check'; file: string } | { run: 'print'; text: string }

const help = `The edge: logs people in at an OpenID provider, keeps sessions in Redis, forwards requests with tokens.

  --config <file>      start with this configuration; CONFIG_FILE in the environment says the same
  --check              only say whether the configuration is good, and what it means
  --new-keys <folder>  make session-keys.json and client-keys.json there, and print the public client key
  --print-reference    every option, as Markdown
  --print-schema       the same as JSON Schema, for editors
  --help

docs/ten-minute-start.md leads from nothing to a login.
`

/**
 * Reads the command line.
 *
 * @throws ConfigError that says what can be written instead
 */
export async function readCommand(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Command> {
  const { values } = parse(args)
  if (values.help) return { run: 'print', text: help }
  if (values['print-reference']) return { run: 'print', text: reference() }
  if (values['print-schema']) return { run: 'print', text: editorSchema() }
  if (values['new-keys'] !== undefined) return { run: 'print', text: await newKeys(values['new-keys']) }
  const file = values.config ?? (env['CONFIG_FILE'] || undefined)
  if (file === undefined)
    throw new ConfigError([
      'no configuration file is named. Write --config <file>, or set CONFIG_FILE; --help says more.',
    ])
  return { run: values.check ? 'check' : 'serve', file }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: args.filter((arg, at) => arg !== '--' || at > 0),
      options: {
        config: { type: 'string', short: 'c' },
        check: { type: 'boolean' },
        'new-keys': { type: 'string' },
        'print-reference': { type: 'boolean' },
        'print-schema': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new ConfigError([`${(error as Error).message}. --help lists what can be written.`])
  }
}

/** Makes both key files, readable by this user alone; one that is there stays as it is. */
async function newKeys(folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const kid = () => randomBytes(9).toString('base64url')
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const common = { kid: kid(), alg: 'ES256', use: 'sig' }
  const sealing = kid()
  const files: [string, unknown][] = [
    ['session-keys.json', { current: sealing, keys: { [sealing]: randomBytes(32).toString('base64url') } }],
    ['client-keys.json', { keys: [{ ...(await exportJWK(privateKey)), ...common }] }],
  ]
  const said: string[] = []
  for (const [name, content] of files) {
    const file = join(folder, name)
    try {
      writeFileSync(file, `${JSON.stringify(content)}\n`, { mode: 0o600, flag: 'wx' })
      said.push(`${file} is new.`)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw new ConfigError([`${file} cannot be written (${(error as NodeJS.ErrnoException).code}).`])
      said.push(`${file} is there already and stays as it is.`)
    }
  }
  if (said[1]?.endsWith('is new.') === true)
    said.push(
      '',
      'For a provider that takes private_key_jwt and does not fetch /oauth2/jwks itself, the public key:',
      JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), ...common }] }),
    )
  return `${said.join('\n')}\n`
}

/** A good configuration in a few lines: what the edge will do, and what the provider must know. */
export function summary(file: string, config: BffConfig): string {
  const { provider, publicOrigin, session, redis, web } = config
  const lines: [string, string][] = [
    ['browsers', `${publicOrigin}, here on ${config.host}:${config.port}; health on port ${config.healthPort}`],
    ['provider', `${provider.issuer} as ${provider.clientId}, ${provider.credential.method}`],
    ['to register', `redirect URI ${publicOrigin}/oauth2/callback, after logout ${publicOrigin}/oauth2/signed_out`],
    ['', `back-channel logout ${publicOrigin}/oauth2/backchannel_logout`],
    ...(provider.credential.method === 'private_key_jwt'
      ? [['', `keys ${publicOrigin}/oauth2/jwks`] satisfies [string, string]]
      : []),
    [
      'sessions',
      `${durationText(session.idle)} idle, ${durationText(session.absolute)} in all, in ${'url' in redis ? new URL(redis.url).host : `Sentinel’s ${redis.sentinel.name}`}`,
    ],
    ...config.upstreams.map(({ prefix, origin, kind, token, audience }): [string, string] => [
      prefix,
      `${origin}, ${kind}, ${token === 'exchange' ? `a token for ${audience}` : token === 'session' ? 'the session’s token' : 'no token'}`,
    ]),
    ...(web === undefined ? [] : [['web app', web.root] satisfies [string, string]]),
  ]
  const width = Math.max(...lines.map(([name]) => name.length))
  return `${file} is good.\n${lines.map(([name, text]) => `  ${name.padEnd(width)}  ${text}\n`).join('')}`
}
