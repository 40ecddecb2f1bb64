import { Component, type ComponentChildren } from 'preact'
import { Notice } from './notice.tsx'

type State = { hasFailed: boolean }

/** Keeps a programming error in one page from taking everything with it. The error itself goes to the console. */
export class ErrorBoundary extends Component<{ children: ComponentChildren }, State> {
  override state: State = { hasFailed: false }

  static override getDerivedStateFromError(): State {
    return { hasFailed: true }
  }

  override componentDidCatch(error: unknown): void {
    console.error(error)
  }

  override render() {
    if (!this.state.hasFailed) return this.props.children
    return (
      <div class="page">
        <h1>This page has stopped</h1>
        <Notice tone="bad" live>
          <p>
            Something went wrong in the page itself. Your money is not affected. Load the page again; if it stays,
            please tell us.
          </p>
          <p class="actions">
            <button type="button" class="button" onClick={() => window.location.reload()}>
              Load the page again
            </button>
            <a class="button button-quiet" href="/">
              Go to the overview
            </a>
          </p>
        </Notice>
      </div>
    )
  }
}
