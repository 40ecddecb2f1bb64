import { type Flag, help, readFlags } from './flags.ts'
import { runningBank, signIn } from './login.ts'
import { explain } from './token.ts'

const flags: Record<string, Flag> = { help: { text: 'this text' } }

const usage = `Logs a person in and prints the session cookie, for development only.

  curl -H "Cookie: $(pnpm -s session alice)" -H 'X-CSRF: 1' http://localhost:3000/api/payments/accounts`

/** `pnpm session`. Only the cookie goes to standard output. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    const { switches, rest } = readFlags(args, flags)
    const [username] = rest
    if (switches.has('help') || username === undefined) {
      console.log(help(usage, flags))
      process.exitCode = username === undefined && !switches.has('help') ? 1 : 0
      return
    }
    console.log(await signIn(runningBank(), username))
  } catch (error) {
    console.error(explain(error))
    process.exitCode = 1
  }
}
