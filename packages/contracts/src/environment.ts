import Type from 'typebox'
import { type AppName, app, healthPortOf } from './apps.ts'

/** Variables of every app: where it listens and how much it says. */
export function listening(name: AppName) {
  const { port } = app(name)
  return {
    HOST: Type.String({ default: '127.0.0.1' }),
    PORT: Type.Integer({ default: port, minimum: 0, maximum: 65_535 }),
    HEALTH_PORT: Type.Integer({ default: healthPortOf(port), minimum: 0, maximum: 65_535 }),
    LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], { default: 'info' }),
  }
}

/**
 * Variables of every service; its own stand beside them.
 *
 * @example
 * export const Config = Type.Object({ ...serviceVariables('payment'), HOLD_ABOVE: Type.String({ default: '1000000' }) })
 */
export const serviceVariables = (name: AppName) => ({
  ...listening(name),
  ISSUER: Type.String({
    // Over plain HTTP anybody on the way could hand us keys of their own.
    pattern: '^(https://[^/@]+|http://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]+)?)(/[^@]*)?$',
    description: 'an https URL, or http on loopback',
  }),
  DATABASE_URL: Type.String({ minLength: 1 }),
  KAFKA_BROKERS: Type.String({ minLength: 1 }),
  TOPIC_PREFIX: Type.String({ default: '' }),
})
