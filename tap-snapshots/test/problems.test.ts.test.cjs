/* IMPORTANT
 * This snapshot file is auto-generated, but designed for humans.
 * It should be checked into source control and tracked carefully.
 * Re-generate by setting TAP_SNAPSHOT=1 and running tests.
 * Make sure to inspect the output below.  Do not ignore changes!
 */
'use strict'
exports[`test/problems.test.ts > TAP > the catalog changes only where somebody looks > problems 1`] = `
{
  "request_invalid": {
    "status": 400,
    "title": "The request is not valid.",
    "remedy": "Correct the fields that \`errors\` names."
  },
  "request_malformed": {
    "status": 400,
    "title": "This is not well-formed HTTP.",
    "remedy": "Send one well-formed request; what stands before us must not rewrite it."
  },
  "request_timeout": {
    "status": 408,
    "title": "The request did not arrive in time.",
    "remedy": "Send the whole request at once."
  },
  "body_malformed": {
    "status": 400,
    "title": "The body is not well-formed.",
    "remedy": "Send one JSON document with a matching Content-Length."
  },
  "path_malformed": {
    "status": 400,
    "title": "The path is not in its one canonical form.",
    "remedy": "Send the path without encoded slashes, dot segments, empty segments or control characters."
  },
  "not_found": {
    "status": 404,
    "title": "There is nothing here.",
    "remedy": "Check the address; what is not yours looks the same as what does not exist."
  },
  "method_not_allowed": {
    "status": 405,
    "title": "This method is not allowed here.",
    "remedy": "Use a method that the Allow header names."
  },
  "precondition_failed": {
    "status": 412,
    "title": "It is not as the request expects it to be.",
    "remedy": "Read it again and repeat the request with what it is now."
  },
  "body_too_large": {
    "status": 413,
    "title": "The body is too large.",
    "remedy": "Send less; the API document states the limit."
  },
  "target_too_long": {
    "status": 414,
    "title": "The address is too long.",
    "remedy": "Send a shorter path and query."
  },
  "media_type_unsupported": {
    "status": 415,
    "title": "This media type is not supported.",
    "remedy": "Send application/json."
  },
  "headers_too_large": {
    "status": 431,
    "title": "The header fields are too large.",
    "remedy": "Send fewer or smaller header fields, cookies included."
  },
  "rate_limited": {
    "status": 429,
    "title": "Too many requests.",
    "remedy": "Wait for the time that Retry-After names."
  },
  "internal": {
    "status": 500,
    "title": "Something went wrong on our side.",
    "remedy": "Try again; if it stays, give us the value of x-request-id."
  },
  "overloaded": {
    "status": 503,
    "title": "The service is busy.",
    "remedy": "Try again after the time that Retry-After names."
  },
  "database_unavailable": {
    "status": 503,
    "title": "The database does not answer.",
    "remedy": "Try again after the time that Retry-After names; nothing was lost."
  },
  "timeout": {
    "status": 504,
    "title": "This took too long.",
    "remedy": "Try again; a write with an Idempotency-Key is safe to repeat."
  },
  "token_missing": {
    "status": 401,
    "title": "A bearer token is needed.",
    "remedy": "Send Authorization: Bearer with an access token for this service."
  },
  "token_invalid": {
    "status": 401,
    "title": "The access token is not valid here.",
    "remedy": "Get a new access token for this service and send it again."
  },
  "authorization_malformed": {
    "status": 400,
    "title": "The Authorization header is malformed.",
    "remedy": "Send exactly one Authorization header with one bearer token."
  },
  "scope_insufficient": {
    "status": 403,
    "title": "The access token does not reach this far.",
    "remedy": "Ask for a token with the scope that the challenge names."
  },
  "role_missing": {
    "status": 403,
    "title": "Your role does not allow this.",
    "remedy": "Ask somebody whose role allows it."
  },
  "keys_unavailable": {
    "status": 503,
    "title": "The identity provider’s keys cannot be had.",
    "remedy": "Try again after the time that Retry-After names."
  },
  "purpose_missing": {
    "status": 403,
    "title": "A purpose is needed to read this.",
    "remedy": "Send X-Purpose with the reason for looking at this customer."
  },
  "streams_exhausted": {
    "status": 429,
    "title": "You have too many live streams open.",
    "remedy": "Close one, or share one stream between tabs; what is missed is resumed by Last-Event-ID."
  },
  "login_required": {
    "status": 401,
    "title": "You are not logged in.",
    "remedy": "Log in again; \`reason\` says how the last session ended."
  },
  "csrf_refused": {
    "status": 403,
    "title": "This request did not come from our own page.",
    "remedy": "Send X-CSRF: 1 from the same origin."
  },
  "login_failed": {
    "status": 400,
    "title": "The login could not be finished.",
    "remedy": "Start again from the sign-in page."
  },
  "login_expired": {
    "status": 400,
    "title": "This login has expired or was used before.",
    "remedy": "Start again from the sign-in page."
  },
  "login_looping": {
    "status": 429,
    "title": "The login keeps going round in circles.",
    "remedy": "Wait a minute, check that cookies are allowed, then start again."
  },
  "logout_token_invalid": {
    "status": 400,
    "title": "The logout token is not valid here.",
    "remedy": "Send one fresh logout token of the configured identity provider, form-encoded; our log says what is wrong."
  },
  "logout_unconfirmed": {
    "status": 400,
    "title": "This sign-out could not be confirmed.",
    "remedy": "Sign out from the site itself; the way back from the identity provider works once, in the browser that began."
  },
  "sessions_unavailable": {
    "status": 503,
    "title": "The session store does not answer.",
    "remedy": "Try again after the time that Retry-After names; you are still logged in."
  },
  "provider_unavailable": {
    "status": 503,
    "title": "The identity provider does not answer.",
    "remedy": "Try again after the time that Retry-After names."
  },
  "exchange_refused": {
    "status": 502,
    "title": "The identity provider gives no token for the service behind this path.",
    "remedy": "Tell whoever runs the service: \`detail\` says what to look at, and the log of the edge names it."
  },
  "upstream_unavailable": {
    "status": 503,
    "title": "The service behind this path does not answer.",
    "remedy": "Try again after the time that Retry-After names."
  },
  "not_carried_out": {
    "status": 503,
    "title": "The request was not carried out.",
    "remedy": "Send the same request again after the time that Retry-After names; nothing was done."
  },
  "upstream_failed": {
    "status": 502,
    "title": "The service behind this path gave no usable answer.",
    "remedy": "Try again; if it stays, give us the value of x-request-id."
  },
  "upstream_timeout": {
    "status": 504,
    "title": "The service behind this path took too long.",
    "remedy": "Try again; a write with an Idempotency-Key is safe to repeat."
  },
  "amount_invalid": {
    "status": 422,
    "title": "The amount is not valid.",
    "remedy": "Send a positive whole number of minor units as a digit string."
  },
  "currency_mismatch": {
    "status": 422,
    "title": "The currencies differ.",
    "remedy": "Send the amount in the currency of both accounts."
  },
  "iban_invalid": {
    "status": 422,
    "title": "The IBAN is not valid.",
    "remedy": "Check the IBAN: its check digits do not match."
  },
  "creditor_unknown": {
    "status": 422,
    "title": "No account has this IBAN.",
    "remedy": "Check the IBAN with the person you want to pay."
  },
  "same_account": {
    "status": 422,
    "title": "Both sides are the same account.",
    "remedy": "Choose another account."
  },
  "insufficient_funds": {
    "status": 409,
    "title": "There is not enough money in the account.",
    "remedy": "Choose a smaller amount or another account."
  },
  "account_frozen": {
    "status": 409,
    "title": "The account is frozen.",
    "remedy": "Contact the bank: nothing can leave this account now."
  },
  "already_resolved": {
    "status": 409,
    "title": "This payment is finished already.",
    "remedy": "Read the payment to see its state."
  },
  "key_missing": {
    "status": 400,
    "title": "An Idempotency-Key is needed.",
    "remedy": "Send a fresh random Idempotency-Key with each new payment and the same one with each retry."
  },
  "key_malformed": {
    "status": 400,
    "title": "The Idempotency-Key is malformed.",
    "remedy": "Send 1 to 255 characters out of A-Z a-z 0-9 _ and -, quoted or bare."
  },
  "key_in_flight": {
    "status": 409,
    "title": "A request with this key is still being worked on.",
    "remedy": "Repeat the same request in a moment."
  },
  "key_reused": {
    "status": 422,
    "title": "This key was used for another request.",
    "remedy": "Use a fresh key for each new request."
  }
}
`
