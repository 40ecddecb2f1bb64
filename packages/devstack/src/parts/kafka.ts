import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createTopics } from '@banking/messaging'
import { createLogger } from '@banking/telemetry'
import { complete, type Program } from '../process.ts'
import { cached, fetchLibraries, java } from './artifacts.ts'
import type { Origin, Part, Site } from './part.ts'
import { exists } from './system.ts'

const version = '4.4.0'
const artifacts = [`org.apache.kafka:kafka_2.13:${version}`, 'org.slf4j:slf4j-simple:1.7.36']
/** Enough that keys spread and a second consumer has work. */
const partitions = 6

/**
 * Apache Kafka from Maven artifacts: KRaft, one node that is broker and controller.
 * @param topics made when missing, each with its dead letters; clients may not create any
 */
export function kafkaPart(site: Site, ports: { broker: number; controller: number }, topics: readonly string[]): Part {
  const external = site.environment['KAFKA_BROKERS']
  const brokers = external ?? `127.0.0.1:${ports.broker}`
  const data = join(site.state, 'kafka')
  const client = { brokers: brokers.split(','), logger: createLogger({ name: 'devstack', level: 'silent' }) }
  let libraries = ''
  let runtime = ''

  const properties = () => ({
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${ports.broker},CONTROLLER://127.0.0.1:${ports.controller}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports.broker}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': join(data, 'log'),
    'auto.create.topics.enable': false,
    'group.initial.rebalance.delay.ms': 0,
    'offsets.topic.num.partitions': 4,
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'log.cleaner.dedupe.buffer.size': 16_777_216,
    'num.network.threads': 2,
    'num.io.threads': 4,
  })

  return {
    name: 'kafka',
    needs: [],
    ports: external === undefined ? [ports.broker, ports.controller] : [],
    async locate(): Promise<Origin> {
      const facts = { program: 'Apache Kafka', url: brokers }
      if (external !== undefined) return { kind: 'external', ...facts, version: '', source: 'KAFKA_BROKERS' }
      runtime = await java(site)
      const folder = await cached(site, `kafka-${version}`, draft => fetchLibraries(site, 'kafka', artifacts, draft))
      libraries = join(folder, 'lib', '*')
      return { kind: 'real', ...facts, version, source: 'Maven kafka_2.13' }
    },
    async program(): Promise<Program> {
      await mkdir(data, { recursive: true })
      const settings = join(data, 'server.properties')
      await writeFile(settings, lines(properties()))
      if (!(await exists(join(data, 'log', 'meta.properties')))) {
        await rm(join(data, 'log'), { recursive: true, force: true })
        const golden = await cached(site, `kafka-${version}-formatted`, draft =>
          format(site, { runtime, libraries, draft, properties: properties() }),
        )
        await cp(join(golden, 'log'), join(data, 'log'), { recursive: true })
      }
      // 6 partitions of idle topics and a few clients need little; the serial collector has no threads of its own.
      const options = [
        '-Xms96m',
        '-Xmx256m',
        '-XX:+UseSerialGC',
        '-XX:TieredStopAtLevel=1',
        '-XX:+ExitOnOutOfMemoryError',
      ]
      const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error'
      return {
        name: 'kafka',
        command: runtime,
        args: [...options, quiet, '-cp', libraries, 'kafka.Kafka', settings],
        cwd: data,
      }
    },
    answers: async () => {
      for (const address of brokers.split(',')) await connects(address)
      await createTopics({ ...client, topics: [] })
    },
    prepare: () => createTopics({ ...client, topics, partitions }),
  }
}

/** Cheaper than asking a client, which tries for seconds. */
async function connects(address: string): Promise<void> {
  const { hostname, port } = new URL(`kafka://${address}`)
  const socket = connect({ host: hostname, port: Number(port) })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(2_000) })
  } finally {
    socket.destroy()
  }
}

/** A formatted, empty log folder, kept because it takes a second of Java each time. */
async function format(
  site: Site,
  options: { runtime: string; libraries: string; draft: string; properties: Record<string, unknown> },
): Promise<void> {
  const settings = join(options.draft, 'server.properties')
  await writeFile(settings, lines({ ...options.properties, 'log.dirs': join(options.draft, 'log') }))
  const id = randomBytes(16).toString('base64url').replace(/^-/, 'A') // a leading dash would read as an option
  const args = ['-Xmx128m', '-XX:+UseSerialGC', '-cp', options.libraries]
  const tool = ['kafka.tools.StorageTool', 'format', '-t', id, '-c', settings]
  await complete(site.guard, { name: 'kafka format', command: options.runtime, args: [...args, ...tool] })
}

const lines = (properties: Record<string, unknown>): string =>
  Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
