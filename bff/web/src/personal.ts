const forgetters = new Set<() => void>()

/** Registers how a module drops what it knows about the person. Everything personal that is kept must be registered. */
export function forgetWith(forget: () => void): void {
  forgetters.add(forget)
}

/** Removes every personal datum from memory: called when a session ends and when another person is signed in. */
export function forgetAll(): void {
  for (const forget of forgetters) forget()
}
