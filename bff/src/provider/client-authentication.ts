import type { Logger } from '@banking/telemetry'
import * as client from 'openid-client'
import { type ClientKeys, readClientKeys } from './client-keys.ts'
import { readCredentialFile } from './credential-file.ts'

/** How the BFF proves who it is at the provider (OpenID Connect Core 1.0 §9), and the file that holds the proof. */
export type ClientCredential =
  | { method: 'private_key_jwt'; keyFile: string }
  | { method: 'client_secret_basic' | 'client_secret_post'; secretFile: string }

export type ClientAuthentication = {
  authenticate: client.ClientAuth
  /** The keys to publish; a secret has none. */
  keys?: ClientKeys
}

/**
 * Reads the client's credential; a file that changes is read again.
 *
 * @throws Error when the file cannot be used; the message never holds what is in it
 */
export async function readClientAuthentication(
  credential: ClientCredential,
  logger: Logger,
): Promise<ClientAuthentication> {
  if (credential.method === 'private_key_jwt') {
    const keys = await readClientKeys(credential.keyFile, logger)
    return {
      keys,
      authenticate: async (server, metadata, body, headers) =>
        client.PrivateKeyJwt(await keys.signing())(server, metadata, body, headers),
    }
  }
  const secret = await readCredentialFile(credential.secretFile, parseSecret, logger)
  const by = credential.method === 'client_secret_basic' ? client.ClientSecretBasic : client.ClientSecretPost
  return {
    authenticate: async (server, metadata, body, headers) => by(await secret())(server, metadata, body, headers),
  }
}

/** One line; editors and `echo` end it with a newline that is not part of the secret. */
function parseSecret(text: string): string {
  const secret = text.replace(/\r?\n$/, '')
  if (secret === '') throw new Error('it is empty')
  if (/[\r\n]/.test(secret)) throw new Error('it has more than one line: write the secret alone')
  return secret
}
