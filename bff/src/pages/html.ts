/** A piece of HTML. Only {@link html} makes one, so whatever stands in it was written by us or escaped. */
export type Html = { readonly markup: string }

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

type Value = string | number | Html | readonly Html[] | undefined

/**
 * HTML from a template: every value is escaped, for text and for quoted attributes alike, unless it is HTML already.
 *
 * @example html`<a href="${address}">${label}</a>`
 */
export function html(parts: TemplateStringsArray, ...values: Value[]): Html {
  return { markup: parts.reduce((text, part, index) => text + markupOf(values[index - 1]) + part) }
}

function markupOf(value: Value): string {
  if (value === undefined) return ''
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return value.replace(/[&<>"']/g, character => escapes[character] as string)
  return 'markup' in value ? value.markup : value.map(({ markup }) => markup).join('')
}
