import { readableOn, textOn } from './colour.ts'
import type { Brand } from './page.ts'

const light = { ground: '#f4f6f5', card: '#ffffff' }
const dark = { ground: '#0e1413', card: '#17201e' }

const accents = (accent: string, card: string): string => {
  const shade = readableOn(accent, card)
  return `--accent: ${shade};\n  --on-accent: ${textOn(shade)};`
}

/** The style sheet of all pages of the edge, in the brand's colour, for light and dark. */
export const pageSheet = ({ accent }: Brand): string => `:root {
  color-scheme: light dark;
  --ground: ${light.ground};
  --card: ${light.card};
  --text: #16201d;
  --muted: #55635e;
  --line: #d7dfdc;
  --edge: #7b8a85;
  ${accents(accent, light.card)}
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: ${dark.ground};
    --card: ${dark.card};
    --text: #e8efec;
    --muted: #a3b3ad;
    --line: #2b3936;
    --edge: #73857f;
    ${accents(accent, dark.card).replace('\n', '\n  ')}
  }
}
@media (prefers-contrast: more) {
  :root { --muted: var(--text); --line: var(--edge); }
}
* { box-sizing: border-box; }
body {
  margin: 0;
  min-height: 100vh;
  display: grid;
  place-items: center;
  padding: 1.5rem;
  background: var(--ground);
  color: var(--text);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: break-word;
}
main {
  width: 100%;
  max-width: 32rem;
  min-width: 0;
  padding: 2.25rem 2.25rem 2.5rem;
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 0.875rem;
  position: relative;
  overflow: hidden;
}
main::before {
  content: "";
  position: absolute;
  inset: 0 0 auto;
  height: 4px;
  background: var(--accent);
}
main.wide { max-width: 44rem; }
h1 { margin: 0 0 0.75rem; font-size: 1.625rem; line-height: 1.25; letter-spacing: -0.01em; text-wrap: balance; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.0625rem; line-height: 1.4; }
p { margin: 0 0 1rem; }
ul { margin: 0 0 1rem; padding-left: 1.25rem; }
li { margin-bottom: 0.375rem; }
main > :last-child { margin-bottom: 0; }
.brand { margin-bottom: 1.5rem; color: var(--accent); font-weight: 650; }
.muted { color: var(--muted); font-size: 0.9375rem; }
.note {
  padding: 0.875rem 1rem;
  border: 1px solid var(--line);
  border-left: 4px solid var(--accent);
  border-radius: 0.5rem;
}
.actions { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 1.75rem 0 0; }
.actions form { margin: 0; }
.action {
  display: inline-block;
  min-height: 2.75rem;
  padding: 0.625rem 1.25rem;
  border: 1px solid var(--accent);
  border-radius: 0.5rem;
  background: var(--accent);
  color: var(--on-accent);
  font: inherit;
  font-weight: 600;
  line-height: 1.4;
  text-decoration: none;
  cursor: pointer;
}
.action:hover { text-decoration: underline; }
.action.quiet { border-color: var(--edge); background: transparent; color: var(--text); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
.reference { margin-top: 2rem; padding-top: 1rem; border-top: 1px solid var(--line); }
code { font-size: 0.875em; overflow-wrap: anywhere; }
.sessions { margin: 0; padding: 0; list-style: none; border: 1px solid var(--line); border-radius: 0.625rem; }
.sessions li {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  justify-content: space-between;
  gap: 0.5rem 1rem;
  margin: 0;
  padding: 1rem 1.125rem;
}
.sessions li + li { border-top: 1px solid var(--line); }
.sessions p { margin: 0; }
.sessions form { margin: 0; }
.device { font-weight: 600; }
.tag {
  display: inline-block;
  margin-left: 0.375rem;
  padding: 0.0625rem 0.5rem;
  border: 1px solid var(--accent);
  border-radius: 1rem;
  color: var(--accent);
  font-size: 0.8125rem;
  font-weight: 600;
  white-space: nowrap;
}
@media (max-width: 30rem) {
  body { padding: 0.75rem; place-items: start stretch; }
  main { padding: 1.5rem 1.25rem 1.75rem; }
  .actions .action, .actions form { width: 100%; text-align: center; }
}
@media (forced-colors: active) {
  .action { border-color: ButtonText; }
}
`
