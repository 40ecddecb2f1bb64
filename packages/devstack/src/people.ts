import { createHash } from 'node:crypto'
import type { Seed, SeedAccount, SeedPayment, SeedPerson } from '@banking/contracts'

/** No bank has this code: German bank codes do not begin with 9. */
const bankCode = '99977700'

/** A German IBAN with valid check digits (ISO 13616, mod 97) for an account number of up to ten digits. */
export function germanIban(accountNumber: number): string {
  const bban = bankCode + String(accountNumber).padStart(10, '0')
  const check = 98n - (BigInt(`${bban}131400`) % 97n) // D = 13, E = 14, then two zeros for the digits sought
  return `DE${String(check).padStart(2, '0')}${bban}`
}

/** The same id for the same name on every machine, in the form of a random UUID (version 4). */
function fixedId(name: string): string {
  const hex = createHash('sha256').update(`zero-trust-banking ${name}`).digest('hex')
  const variant = '89ab'[Number.parseInt(hex.charAt(16), 16) % 4]
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-')
}

type Details = Omit<SeedPerson, 'sub' | 'username' | 'email' | 'accounts'>

const person = (username: string, details: Details, accounts: SeedAccount[] = []): SeedPerson => ({
  sub: fixedId(`person ${username}`),
  username,
  email: `${username}@banking.example`,
  ...details,
  accounts,
})

const account = (
  id: string,
  number: number,
  name: string,
  kind: SeedAccount['kind'],
  balance: number,
): SeedAccount => ({
  id: fixedId(`account ${id}`),
  iban: germanIban(number),
  name,
  kind,
  currency: 'EUR',
  balance: String(balance),
})

const aliceCurrent = account('alice current', 1001200, 'Current account', 'current', 684_217)
const aliceSavings = account('alice savings', 1001201, 'Holiday savings', 'savings', 750_000)
const bobCurrent = account('bob current', 1001300, 'Current account', 'current', 539_640)
const bobSavings = account('bob savings', 1001301, 'Rainy day', 'savings', 310_000)
const carolCurrent = account('carol current', 1001400, 'Current account', 'current', 2_500_000)

/** Everybody who can log in at the development realm. All passwords are the same. */
export const people: readonly SeedPerson[] = [
  person(
    'alice',
    {
      givenName: 'Alice',
      familyName: 'Brandt',
      phone: '+49 30 901820 11',
      birthDate: '1988-04-17',
      address: { street: 'Lindenweg 12', postalCode: '10961', city: 'Berlin', country: 'DE' },
      roles: ['customer'],
      note: 'customer with a current and a savings account; pay Bob from here',
    },
    [aliceCurrent, aliceSavings],
  ),
  person(
    'bob',
    {
      givenName: 'Bob',
      familyName: 'Okafor',
      phone: '+49 40 334100 27',
      birthDate: '1979-11-02',
      address: { street: 'Fischmarkt 4a', postalCode: '22767', city: 'Hamburg', country: 'DE' },
      roles: ['customer'],
      note: 'customer; receives what Alice sends',
    },
    [bobCurrent, bobSavings],
  ),
  person(
    'carol',
    {
      givenName: 'Carol',
      familyName: 'Lindqvist',
      phone: '+49 89 220400 63',
      birthDate: '1969-07-29',
      address: { street: 'Isarufer 88', postalCode: '80469', city: 'Munich', country: 'DE' },
      roles: ['customer'],
      note: 'customer with 25,000.00: a payment above 10,000.00 is held',
    },
    [carolCurrent],
  ),
  person('olivia', {
    givenName: 'Olivia',
    familyName: 'Marek',
    phone: '+49 30 901820 40',
    birthDate: '1985-01-23',
    address: { street: 'Werderscher Markt 2', postalCode: '10117', city: 'Berlin', country: 'DE' },
    roles: ['loan-officer'],
    note: 'loan officer; may read one customer with a stated purpose',
  }),
  person('oscar', {
    givenName: 'Oscar',
    familyName: 'Lehmann',
    phone: '+49 30 901820 41',
    birthDate: '1991-09-08',
    address: { street: 'Kastanienallee 30', postalCode: '10435', city: 'Berlin', country: 'DE' },
    roles: ['loan-officer'],
    note: 'second loan officer, for four eyes',
  }),
  person('ada', {
    givenName: 'Ada',
    familyName: 'Yilmaz',
    phone: '+49 30 901820 50',
    birthDate: '1982-12-10',
    address: { street: 'Oranienstraße 19', postalCode: '10999', city: 'Berlin', country: 'DE' },
    roles: ['banking-admin'],
    note: 'administrator',
  }),
  person('aron', {
    givenName: 'Aron',
    familyName: 'Weiss',
    phone: '+49 30 901820 51',
    birthDate: '1976-03-05',
    address: { street: 'Rheinstraße 7', postalCode: '12159', city: 'Berlin', country: 'DE' },
    roles: ['banking-admin'],
    note: 'second administrator, for four eyes',
  }),
  person('rita', {
    givenName: 'Rita',
    familyName: 'Ferreira',
    phone: '+49 69 710020 15',
    birthDate: '1990-06-14',
    address: { street: 'Mainkai 21', postalCode: '60311', city: 'Frankfurt', country: 'DE' },
    roles: ['risk-analyst'],
    note: 'risk analyst',
  }),
  person('carl', {
    givenName: 'Carl',
    familyName: 'Novak',
    phone: '+49 69 710020 22',
    birthDate: '1973-10-30',
    address: { street: 'Römerberg 3', postalCode: '60311', city: 'Frankfurt', country: 'DE' },
    roles: ['compliance-officer'],
    note: 'compliance officer; may read the trial balance',
  }),
]

type Side = SeedAccount | string

/** One past payment; a side that is a string is the world outside. Days count back from the day of seeding. */
function past(daysAgo: number, from: Side, to: Side, cents: number, reference: string): SeedPayment {
  const outside = typeof from === 'string' ? from : typeof to === 'string' ? to : undefined
  const key = [daysAgo, reference, cents].join(' ')
  return {
    id: fixedId(`payment ${key}`),
    daysAgo,
    ...(typeof from === 'string' ? {} : { debtorAccountId: from.id }),
    ...(typeof to === 'string' ? {} : { creditorAccountId: to.id }),
    ...(outside === undefined ? {} : { counterparty: outside }),
    amount: String(cents),
    reference,
  }
}

/** Two months of ordinary life, so that a feed looks like one. */
const payments: readonly SeedPayment[] = [
  past(57, 'Nordlicht Studios GmbH', aliceCurrent, 412_500, 'Salary, first month'),
  past(56, 'Hafen Logistik AG', bobCurrent, 338_900, 'Wages, first month'),
  past(55, aliceCurrent, 'Hausverwaltung Krüger', 118_000, 'Rent Lindenweg 12, first month'),
  past(54, bobCurrent, 'Wohnbau Elbe eG', 96_500, 'Rent Fischmarkt 4a, first month'),
  past(52, aliceCurrent, 'Marktkauf', 8_743, 'Card payment, groceries'),
  past(49, aliceCurrent, aliceSavings, 40_000, 'Holiday fund'),
  past(47, bobCurrent, 'Stadtwerke Hamburg', 7_420, 'Electricity'),
  past(44, carolCurrent, 'Galerie Seidl', 145_000, 'Invoice 2217'),
  past(41, bobCurrent, aliceCurrent, 6_450, 'Concert tickets'),
  past(38, aliceCurrent, 'Bahn Fernverkehr', 11_990, 'Berlin to Munich and back'),
  past(35, bobCurrent, bobSavings, 25_000, 'Rainy day'),
  past(33, aliceCurrent, 'Buchladen am Platz', 3_480, 'Card payment'),
  past(29, carolCurrent, 'Allgäu Energie', 21_350, 'Heating'),
  past(27, 'Nordlicht Studios GmbH', aliceCurrent, 412_500, 'Salary, second month'),
  past(26, 'Hafen Logistik AG', bobCurrent, 338_900, 'Wages, second month'),
  past(25, aliceCurrent, 'Hausverwaltung Krüger', 118_000, 'Rent Lindenweg 12, second month'),
  past(24, bobCurrent, 'Wohnbau Elbe eG', 96_500, 'Rent Fischmarkt 4a, second month'),
  past(21, aliceCurrent, aliceSavings, 40_000, 'Holiday fund'),
  past(19, aliceCurrent, 'Marktkauf', 10_217, 'Card payment, groceries'),
  past(16, 'Kunsthandel Lindqvist', carolCurrent, 620_000, 'Drawing, consignment 88'),
  past(13, aliceCurrent, bobCurrent, 12_000, 'Birthday present for Mara'),
  past(10, bobCurrent, 'Fahrrad Petersen', 28_900, 'Repair'),
  past(8, carolCurrent, aliceCurrent, 35_000, 'Website, second half'),
  past(6, aliceCurrent, 'Telekommunikation Nord', 3_999, 'Internet'),
  past(5, bobCurrent, 'Bäckerei Holm', 1_260, 'Card payment'),
  past(3, bobCurrent, carolCurrent, 9_500, 'Frame for the print'),
  past(2, aliceCurrent, 'Kino Babylon', 2_400, 'Card payment'),
  past(1, aliceCurrent, bobCurrent, 1_850, 'Lunch'),
]

/** The development story, from which every service's seed and the realm's users are made. */
export const seed: Seed = { people, payments }
