import { callJson } from './api.ts'
import { createSharedResource } from './resource.ts'

/** `GET /api/customers/me`; phone, e-mail and birth date come masked. */
export type Profile = {
  id: string
  givenName: string
  familyName: string
  email: string
  phone: string
  birthDate: string
  address: { street: string; postalCode: string; city: string; country: string }
  state: string
  memberSince: string
}

export const profile = createSharedResource<Profile>(options => callJson<Profile>('/api/customers/me', options))
