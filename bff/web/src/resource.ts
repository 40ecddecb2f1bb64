import { type ReadonlySignal, signal } from '@preact/signals'
import { forgetWith } from './personal.ts'
import { noAnswer, Refusal } from './refusal.ts'

type Loaded<T> = { data?: T; refusal?: Refusal; isLoading: boolean }

export type Resource<T> = {
  state: ReadonlySignal<Loaded<T>>
  /** Loads anew and keeps showing what was there. The newest call wins; it never rejects. */
  refresh: (options?: { background?: boolean }) => Promise<void>
  /** Changes what is shown without asking the server, e.g. after it answered a command. */
  change: (data: T) => void
  forget: () => void
}

type LoadOptions = { background: boolean; signal: AbortSignal }
type Load<T> = (options: LoadOptions, known: T | undefined) => Promise<T>

/** Something personal that is loaded, shown, refreshed, and forgotten with the session. */
function createResource<T>(load: Load<T>): Resource<T> {
  const state = signal<Loaded<T>>({ isLoading: false })
  let current: AbortController | undefined

  async function refresh(options: { background?: boolean } = {}): Promise<void> {
    current?.abort()
    const mine = new AbortController()
    current = mine
    const { data } = state.peek()
    state.value = { ...state.peek(), isLoading: true }
    try {
      const fresh = await load({ background: options.background ?? false, signal: mine.signal }, data)
      if (!mine.signal.aborted) state.value = { data: fresh, isLoading: false }
    } catch (error) {
      if (mine.signal.aborted) return
      const refusal = error instanceof Refusal ? error : noAnswer(error)
      // A failed refetch that nobody asked for leaves what is on the page alone.
      const keepsQuiet = options.background === true && data !== undefined && state.peek().refusal === undefined
      state.value = {
        ...(data === undefined ? {} : { data }),
        ...(keepsQuiet ? {} : { refusal }),
        isLoading: false,
      }
    }
  }

  function forget(): void {
    current?.abort()
    current = undefined
    state.value = { isLoading: false }
  }

  function change(data: T): void {
    current?.abort()
    state.value = { data, isLoading: false }
  }

  return { state, refresh, change, forget }
}

/** {@link createResource} for one that lives as long as the page. */
export function createSharedResource<T>(load: Load<T>): Resource<T> {
  const resource = createResource(load)
  forgetWith(resource.forget)
  return resource
}

/** One resource per id, made when it is first asked for. */
export function createResources<T>(load: (id: string, options: LoadOptions, known: T | undefined) => Promise<T>) {
  const resources = new Map<string, Resource<T>>()
  forgetWith(() => {
    for (const resource of resources.values()) resource.forget()
    resources.clear()
  })
  return {
    of(id: string): Resource<T> {
      let resource = resources.get(id)
      if (resource === undefined) {
        resource = createResource((options, known) => load(id, options, known))
        resources.set(id, resource)
      }
      return resource
    },
    /** Refetches, in the background, what has been looked at. */
    refreshKnown(): void {
      for (const resource of resources.values()) void resource.refresh({ background: true })
    },
  }
}
