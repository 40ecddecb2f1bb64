import type { Guard, Program } from '../process.ts'

export const partNames = ['postgres', 'redis', 'kafka', 'keycloak'] as const
export type PartName = (typeof partNames)[number]

/** The environment variable with the address of one that runs elsewhere. */
export const addressVariable: Readonly<Record<PartName, string>> = {
  postgres: 'POSTGRES_URL',
  redis: 'REDIS_URL',
  kafka: 'KAFKA_BROKERS',
  keycloak: 'KEYCLOAK_URL',
}

/** Where a part comes from; a row of the table and of the status file. */
export type Origin = {
  kind: 'external' | 'real'
  /** "PostgreSQL" */
  program: string
  version: string
  /** Where it was found: an environment variable, a path, a package. */
  source: string
  /** How the apps reach it. */
  url: string
}

/** One part of the platform: found, started, asked whether it is ready, stopped. A stand-in implements the same. */
export type Part = {
  name: PartName
  /** Parts that must be ready before this one starts. */
  needs: readonly PartName[]
  /** TCP ports it listens on when it runs here. */
  ports: readonly number[]
  /**
   * Finds the program: an address in the environment, else the real program, fetched into the cache if need be.
   * @throws Error that says what is missing and how to get it
   */
  locate(): Promise<Origin>
  /** Prepares the data folder and says what to run. Not called for an external part. */
  program(): Promise<Program>
  /** Resolves once it answers as its clients will ask it, else rejects; called again and again. */
  answers(): Promise<void>
  /** What the bank needs to find in it (databases, topics, a realm); called once after each first start. */
  prepare?(): Promise<void>
}

/** What every part is made from. */
export type Site = {
  /** Folder of this run's data. */
  state: string
  guard: Guard
  environment: Readonly<Record<string, string | undefined>>
  /** Tells the person what takes long. */
  progress(source: string, text: string): void
}

/** The one password of everything in development. It opens nothing that is reachable from another machine. */
export const developmentPassword = 'development-only'

/** What an external part answered. @throws Error that names the variable with its address */
export async function reached<T>(variable: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw new Error(`What ${variable} names does not answer: ${(cause as Error).message}`, { cause })
  }
}
