import { setTimeout as delay } from 'node:timers/promises'

/** Resolves when the condition holds; the test's own time-out ends a wait that never does. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(5)
}
