/**
 * Kept in this tab alone and gone with it: a draft, an unfinished payment, a notice for after a redirect. Storage may
 * be switched off or full; then the page works, only without surviving a reload.
 */
export function keep(name: string, value: unknown): void {
  try {
    sessionStorage.setItem(`banking.${name}`, JSON.stringify(value))
  } catch {
    // The page goes on without it.
  }
}

export function kept<T>(name: string): T | undefined {
  try {
    const text = sessionStorage.getItem(`banking.${name}`)
    return text === null ? undefined : (JSON.parse(text) as T)
  } catch {
    // Unreadable is the same as not there.
    return undefined
  }
}

export function drop(name: string): void {
  try {
    sessionStorage.removeItem(`banking.${name}`)
  } catch {
    // Nothing was kept where storage is refused.
  }
}
