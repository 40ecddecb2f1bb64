import { type Html, html } from './html.ts'

/** Whose pages these are. */
export type Brand = {
  name: string
  /** The one colour, `#rrggbb`; a shade of it that can be read is found for light and dark. */
  accent: string
}

/** Where the pages' only style sheet and script are served: nothing is inline, so the policy needs no exception. */
export const pageStyles = '/oauth2/page.css'
export const pageScript = '/oauth2/page.js'

export type Page = {
  title: string
  body: Html
  /** Where the browser goes by itself. With `script` the script does it, which also takes the fragment along. */
  next?: string
  /** Whether the page's links carry the fragment on, which no server sees. */
  script?: boolean
  wide?: boolean
}

/** A whole page. It works without script. */
export function renderPage(brand: Brand, { title, body, next, script = false, wide = false }: Page): string {
  const refresh = next === undefined ? undefined : html`<meta http-equiv="refresh" content="0;url=${next}">`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
${script && refresh !== undefined ? html`<noscript>${refresh}</noscript>` : refresh}
<title>${title} – ${brand.name}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${pageStyles}">
${script ? html`<script src="${pageScript}" defer></script>` : undefined}
</head>
<body>
<main${wide ? html` class="wide"` : undefined}>
<p class="brand">${brand.name}</p>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`.markup
}
