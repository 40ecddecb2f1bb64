import { serviceVariables } from '@banking/contracts'
import Type from 'typebox'

/** The environment of this service; README.md says what each variable is for. */
export const Config = Type.Object({
  ...serviceVariables('payment'),
  HOLD_ABOVE: Type.String({
    default: '1000000',
    pattern: '^[0-9]{1,18}$',
    description: 'a whole number of minor units',
  }),
})
