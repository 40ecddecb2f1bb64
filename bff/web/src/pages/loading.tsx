import { Brand } from '../components/layout.tsx'

/** Shown until it is known who is there; it fades in late, so that a quick answer shows no flicker. */
export function LoadingPage({ text }: { text: string }) {
  return (
    <div class="shell shell-plain">
      <header class="top">
        <div class="top-inner">
          <Brand />
        </div>
      </header>
      <main id="main" class="loading">
        <h1 class="visually-hidden">Banking Local</h1>
        <p role="status" class="muted">
          {text}
        </p>
      </main>
    </div>
  )
}
