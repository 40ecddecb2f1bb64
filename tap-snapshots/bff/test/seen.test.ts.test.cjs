/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`bff/test/seen.test.ts > TAP > tells logins, refusals, refreshes and ends, whose they are, and no secret > must match snapshot 1`] = `
login.started
login.refused login_failed
login.refused login_expired
login.started
login.refused login_failed
login.started
login.refused login_failed
login.started
session.started
login.started
session.started
session.refused csrf_refused
session.ended revoked
logout.received provider
logout.refused logout_token_invalid
session.refreshed
session.ended ended
`
