import { serviceVariables } from '@banking/contracts'
import Type from 'typebox'

/** The environment of this service; README.md says what each variable is for. */
export const Config = Type.Object({
  ...serviceVariables('notification'),
})
