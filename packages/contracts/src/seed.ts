import type { Role } from './apps.ts'
import type { Currency } from './money.ts'

/** A person of the development story; the realm overlay and every service's seed are made from the same list. */
export type SeedPerson = {
  /** `sub`: fixed in the development realm, so that the seeds of all services match. */
  sub: string
  username: string
  givenName: string
  familyName: string
  email: string
  phone: string
  birthDate: string
  address: { street: string; postalCode: string; city: string; country: string }
  roles: readonly Role[]
  /** What the person can show in a demonstration. */
  note: string
  accounts: readonly SeedAccount[]
}

export type SeedAccount = {
  id: string
  iban: string
  name: string
  kind: 'current' | 'savings'
  currency: Currency
  /** Balance after the whole story, in minor units: what a person sees at first login. */
  balance: string
}

/** A past payment between two seeded accounts, or with the world outside when one side is missing. */
export type SeedPayment = {
  id: string
  daysAgo: number
  debtorAccountId?: string
  creditorAccountId?: string
  counterparty?: string
  amount: string
  reference: string
}

/** The file that `SEED_FILE` names. */
export type Seed = { people: readonly SeedPerson[]; payments: readonly SeedPayment[] }
