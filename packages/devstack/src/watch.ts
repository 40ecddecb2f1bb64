import { watch } from 'node:fs'
import { type AppFolder, sourcesOf } from './apps.ts'

/** Calls back soon after any source of an app, or of a package it depends on, was changed; one call at a time. */
export function watchSources(
  root: string,
  app: AppFolder,
  options: { signal: AbortSignal; onChange: () => Promise<void>; onError: (error: Error) => void },
): void {
  const { signal, onChange, onError } = options
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  const changed = () => {
    clearTimeout(timer)
    // Editors and formatters write several files, some twice.
    timer = setTimeout(() => {
      if (running !== undefined) return changed()
      running = onChange()
        .catch(onError)
        .finally(() => {
          running = undefined
        })
    }, 120)
  }
  for (const folder of sourcesOf(root, app)) {
    const watcher = watch(folder, { recursive: true, signal }, (_event, file) => {
      if (file === null || /\.(ts|sql|json)$/.test(file)) changed()
    })
    watcher.on('error', onError)
  }
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
}
