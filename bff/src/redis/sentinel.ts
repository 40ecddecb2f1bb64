import { type Client, keepConnection, type Target, within } from './connection.ts'

/** A Redis that Sentinel watches over. */
export type SentinelConfig = {
  /** The name under which Sentinel knows the master. */
  name: string
  /** `host:port` of each sentinel. */
  nodes: readonly string[]
  username?: string
  password?: string
  tls?: boolean
}

export type Sentinels = {
  /** Where the master is by the newest configuration that a sentinel knows. Rejects when none of them answers. */
  master(): Promise<{ host: string; port: number }>
  close(): void
}

/** ms between two looks at where the master is. */
const lookEvery = 1_000
/** ms that a sentinel may take. */
const patience = 500

/**
 * Asks all sentinels, always over connections that are open already. One that was cut off from the others may name an
 * old master, so the answer with the highest configuration epoch counts.
 *
 * @param onMaster called about every second with the present master
 */
export function watchSentinels(
  config: SentinelConfig,
  onMaster: (master: { host: string; port: number }) => void,
): Sentinels {
  const { name, nodes, tls = false, username, password } = config
  const credentials = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  }
  const tried: Promise<void>[] = []
  const connections = nodes.map(node => {
    const target: Target = { ...addressOf(node), tls, ...credentials }
    let failure = new Error('no connection yet')
    const { promise, resolve } = Promise.withResolvers<void>()
    tried.push(promise)
    const connection = keepConnection({
      find: async () => target,
      onReady: () => resolve(),
      onAway(cause) {
        failure = cause
        resolve()
      },
    })
    return { connection, failure: () => failure }
  })

  const ask = async (client: Client) => {
    const address = (await client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name])) as unknown
    if (!Array.isArray(address)) throw new Error(`it knows no master "${name}"`)
    const facts = (await client.sendCommand(['SENTINEL', 'MASTER', name])) as unknown
    return { host: String(address[0]), port: Number(address[1]), epoch: Number(factOf(facts, 'config-epoch')) }
  }

  const master = async () => {
    // At the start each of them gets its chance: the first to answer may be the one that was cut off.
    await within(patience, Promise.all(tried)).catch(() => undefined)
    const answers = await Promise.allSettled(
      connections.map(async ({ connection: { client }, failure }) => {
        if (client === undefined) throw failure()
        return within(patience, ask(client))
      }),
    )
    const known = answers.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value] : []))
    const [newest] = known.sort((a, b) => b.epoch - a.epoch)
    if (newest === undefined) throw new Error(`no sentinel names the master: ${answers.map(failureOf).join('; ')}`)
    return { host: newest.host, port: newest.port }
  }

  const failureOf = (answer: PromiseSettledResult<unknown>, at: number): string => {
    const { message, code } = (answer as PromiseRejectedResult).reason as NodeJS.ErrnoException
    return `${nodes[at]} ${message || code}`
  }

  const timer = setInterval(() => master().then(onMaster, () => undefined), lookEvery)
  return {
    master,
    close() {
      clearInterval(timer)
      for (const { connection } of connections) connection.close()
    },
  }
}

function addressOf(node: string): { host: string; port: number } {
  const at = node.lastIndexOf(':')
  return { host: node.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(node.slice(at + 1)) }
}

/** Sentinel 6.2 answers a map in RESP3 too, older ones a flat list. */
function factOf(facts: unknown, name: string): unknown {
  if (Array.isArray(facts)) return facts[facts.indexOf(name) + 1]
  return (facts as Record<string, unknown>)[name]
}
