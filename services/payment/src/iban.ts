import { problem } from '@banking/contracts'

const form = /^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$/

/**
 * The electronic form of an IBAN (ISO 13616): no spaces, upper case, check digits verified (ISO 7064, mod 97-10).
 *
 * @throws Problem `iban_invalid`
 */
export function parseIban(text: string): string {
  const iban = text.replaceAll(' ', '').toUpperCase()
  if (!form.test(iban) || remainder(iban) !== 1) throw problem('iban_invalid')
  return iban
}

/** The first four characters go to the end, letters count from A = 10, and the number is taken modulo 97. */
function remainder(iban: string): number {
  let rest = 0
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36)
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97
  }
  return rest
}
