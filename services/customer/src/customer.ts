import type { SeedPerson } from '@banking/contracts'
import Type, { type Static } from 'typebox'

/** What is personal about a customer. Each field is sealed by itself. */
export type PersonalData = {
  givenName: string
  familyName: string
  email: string
  phone: string
  birthDate: string
  address: SeedPerson['address']
}

export const states = ['active', 'restricted'] as const

export type Customer = PersonalData & {
  /** `sub` of the person at the identity provider. */
  id: string
  state: (typeof states)[number]
  memberSince: Date
}

const Address = Type.Object({
  street: Type.String(),
  postalCode: Type.String(),
  city: Type.String(),
  country: Type.String({ description: 'ISO 3166-1 alpha-2' }),
})

/** A customer as a page shows one: enough to recognise, not enough to take over. */
export const Profile = Type.Object(
  {
    id: Type.String(),
    givenName: Type.String(),
    familyName: Type.String(),
    email: Type.String({ description: 'masked: a•••@example.org' }),
    phone: Type.String({ description: 'masked: the last two digits' }),
    birthDate: Type.String({ description: 'masked: the year' }),
    address: Address,
    state: Type.Enum([...states]),
    memberSince: Type.String({ format: 'date-time' }),
  },
  { title: 'Profile' },
)
export type Profile = Static<typeof Profile>

/** What of a customer leaves the service. */
export function profileOf(customer: Customer): Profile {
  const { id, givenName, familyName, address, state } = customer
  return {
    id,
    givenName,
    familyName,
    email: maskEmail(customer.email),
    phone: maskPhone(customer.phone),
    birthDate: maskBirthDate(customer.birthDate),
    address,
    state,
    memberSince: customer.memberSince.toISOString(),
  }
}

/** `alice@example.org` → `a•••@example.org`; what has no `@` is hidden whole. */
export function maskEmail(email: string): string {
  const at = email.lastIndexOf('@')
  if (at < 1) return '•••'
  return `${Array.from(email)[0]}•••${email.slice(at)}`
}

/** `+49 30 1234567` → `•••67`. */
export const maskPhone = (phone: string): string => `•••${phone.replace(/\D/g, '').slice(-2)}`

/** `1987-04-12` → `1987-••-••`. */
export const maskBirthDate = (birthDate: string): string =>
  /^\d{4}-\d{2}-\d{2}$/.test(birthDate) ? `${birthDate.slice(0, 4)}-••-••` : '•••'
