/** Length by country, ISO 13616 registry; a country that is not listed is judged by its check digits alone. */
const lengths: Readonly<Record<string, number>> = Object.fromEntries(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 ' +
    'FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 ' +
    'LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 ' +
    'SI19 SK24 SM27 ST25 SV28 TN24 TR26 UA29 VA22 VG24 XK20'
  )
    .split(' ')
    .map(entry => [entry.slice(0, 2), Number(entry.slice(2))]),
)

export type IbanCheck =
  | { state: 'empty' }
  | { state: 'incomplete'; country?: string; missing?: number }
  | { state: 'invalid'; why: 'characters' | 'too_long' | 'check_digits' }
  | { state: 'valid'; iban: string; country: string }

/** Without the spaces and dashes people copy along, in capitals. */
export const compactIban = (text: string): string => text.replace(/[\s\u00a0-]/gu, '').toUpperCase()

/** In groups of four, as printed: `DE89 3704 0044 0532 0130 00`. */
export const groupIban = (text: string): string => compactIban(text).replace(/(.{4})(?=.)/gu, '$1 ')

/** ISO 7064 mod 97-10: country and check digits moved to the end, letters as 10–35, the remainder is 1. */
function hasCheckDigits(iban: string): boolean {
  let remainder = 0
  for (const sign of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(sign, 36)
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97
  }
  return remainder === 1
}

/** What can be said about an IBAN while it is typed; only the bank knows whether the account exists. */
export function checkIban(text: string): IbanCheck {
  const iban = compactIban(text)
  if (iban === '') return { state: 'empty' }
  if (!/^[A-Z]{0,2}$|^[A-Z]{2}\d{0,2}$|^[A-Z]{2}\d{2}[A-Z0-9]+$/.test(iban))
    return { state: 'invalid', why: 'characters' }
  if (iban.length < 2) return { state: 'incomplete' }
  const country = iban.slice(0, 2)
  const length = lengths[country]
  if (iban.length < (length ?? 15)) {
    return length === undefined
      ? { state: 'incomplete', country }
      : { state: 'incomplete', country, missing: length - iban.length }
  }
  if (iban.length > (length ?? 34)) return { state: 'invalid', why: 'too_long' }
  if (hasCheckDigits(iban)) return { state: 'valid', iban, country }
  return { state: 'invalid', why: 'check_digits' }
}

/**
 * Groups an IBAN while it is typed and says where the caret belongs: after the same letter or digit as before, since
 * setting an input's value throws it to the end.
 */
export function typeIban(text: string, caret: number): { text: string; caret: number } {
  const grouped = groupIban(text)
  let signs = compactIban(text.slice(0, caret)).length
  if (caret >= text.length) return { text: grouped, caret: grouped.length }
  let place = 0
  while (signs > 0 && place < grouped.length) {
    if (grouped[place] !== ' ') signs--
    place++
  }
  return { text: grouped, caret: place }
}
