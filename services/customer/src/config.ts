import Type, { type Static } from 'typebox'

/** The environment of this service; README.md says what each variable is for. */
export const Config = Type.Object({
  HOST: Type.String({ default: '127.0.0.1' }),
  PORT: Type.Integer({ default: 3010, minimum: 0, maximum: 65535 }),
  HEALTH_PORT: Type.Integer({ default: 4010, minimum: 0, maximum: 65535 }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], { default: 'info' }),
  ISSUER: Type.String({ minLength: 1 }),
  DATABASE_URL: Type.String({ minLength: 1 }),
  KAFKA_BROKERS: Type.String({ minLength: 1 }),
  TOPIC_PREFIX: Type.String({ default: '' }),
  PII_KEY_FILE: Type.String({ minLength: 1 }),
})
export type Config = Static<typeof Config>
