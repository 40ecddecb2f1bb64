import { audienceOf } from '@banking/contracts'
import { type Flag, help, readFlags } from './flags.ts'
import { clientToken, personToken, personTokens, runningBank } from './login.ts'

const flags: Record<string, Flag> = {
  id: { text: 'the ID token of the person instead (no service takes it)' },
  help: { text: 'this text' },
}

const usage = `Prints an access token of the running stack, for development only.

  pnpm token alice payment      Alice's token for the payment service
  pnpm token alice --id         her ID token
  pnpm token payment-service    the service's own token, for no audience
  pnpm token payment-service risk   the service's own token for another service`

/** `pnpm token`. Only the token goes to standard output. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    const { switches, rest } = readFlags(args, flags)
    const [who, service] = rest
    if (switches.has('help') || who === undefined) {
      console.log(help(usage, flags))
      process.exitCode = who === undefined && !switches.has('help') ? 1 : 0
      return
    }
    const bank = runningBank()
    const isPerson = bank.status.logins.some(({ username }) => username === who)
    if (!isPerson && who.endsWith(audienceOf('bff').slice('bff'.length)))
      console.log(await clientToken(bank, who, service))
    else if (switches.has('id')) console.log((await personTokens(bank, who)).idToken)
    else if (service === undefined) throw new Error(`For which service? For example: pnpm token ${who} payment`)
    else console.log(await personToken(bank, who, service))
  } catch (error) {
    console.error(explain(error))
    process.exitCode = 1
  }
}

/** OAuth errors carry what the provider said beside the message. */
export function explain(error: unknown): string {
  const {
    message,
    error: code,
    error_description: description,
  } = error as Error & {
    error?: string
    error_description?: string
  }
  return [message, code, description].filter(part => part !== undefined).join(' · ')
}
