/** What each code of a problem means, and what its caller should do. For people. */
import type { ProblemCode } from './problems.ts';

interface Advice {
  meaning: string;
  action: string;
  /** Whether the call took effect. */
  happened: 'no' | 'perhaps' | 'usually not';
}

const HAPPENED: Partial<Record<ProblemCode, Advice['happened']>> = {
  internal: 'usually not',
  outcome_unknown: 'perhaps',
};

const FIX = 'Correct the request.';
const LATER = 'Wait for Retry-After seconds, then send it again.';
const CHECK_ID = 'Check the id.';

const ADVICE_OF: Record<ProblemCode, readonly [meaning: string, action: string]> = {
  malformed_request: ['The request is not valid HTTP/1.1.', 'Correct the client or the proxy.'],
  invalid_parameter: [
    'An id, a number, a query parameter or the Idempotency-Key is malformed or out of range.',
    `${FIX} Under /v1, \`errors\` names each wrong id, number or query parameter.`,
  ],
  malformed_body: [
    'The body is not JSON in UTF-8, has a duplicate key, is nested too deeply, or has too many values.',
    FIX,
  ],
  invalid_body: [
    'Fields are missing, wrong or unknown, or an object has more than 100.',
    `${FIX} \`errors\` names up to 20 of them.`,
  ],
  unauthenticated: [
    'Credentials are missing, invalid or expired.',
    'Send `Authorization: Bearer` with a valid key or token.',
  ],
  forbidden: [
    'The credentials are valid, but do not allow this call.',
    'Use credentials with the scope that `detail` names.',
  ],
  rate_limited: ['The caller makes more calls than its credentials allow.', LATER],
  batch_init_disabled: ['batch_init is switched off here.', 'Set BATCH_INIT=on, for tests only.'],
  cross_site_request: [
    'A web page of another site sent the call.',
    "Add the page's origin to CORS_ORIGINS, which opens /v1 only.",
  ],
  order_not_found: ['There is no such order, or it belongs to another user.', CHECK_ID],
  item_not_found: ['There is no such item, or the order has no line for it.', CHECK_ID],
  user_not_found: ['There is no such user.', CHECK_ID],
  refund_not_found: ['The order has no such refund.', CHECK_ID],
  webhook_not_found: ['There is no such webhook endpoint.', CHECK_ID],
  key_not_found: ['There is no such key.', CHECK_ID],
  route_not_found: ['There is no such path.', 'Check the path.'],
  method_not_allowed: [
    'The path does not take this method.',
    'Use one that the `Allow` header lists.',
  ],
  request_timeout: ['The request did not arrive completely in time.', 'Send it again.'],
  cursor_expired: [
    'Events after this cursor have been deleted.',
    'Get a cursor with `after=latest`, read the orders, users and items that you need, then read the events from that cursor.',
  ],
  already_exists: ['The id is taken.', 'Choose another id, or send none.'],
  stock_changed: [
    'The stock is not `expected_stock`.',
    'Decide again, with the `stock` in the answer.',
  ],
  out_of_stock: [
    'Fewer units are available than asked for: others have bought or hold them. Under /v1, `items` lists what is short.',
    'Order less, or wait for a delivery or for holds to end.',
  ],
  insufficient_credit: [
    'The user has too little credit. Under /v1, `shortfall` says how much is missing.',
    'Deposit the missing amount first.',
  ],
  order_empty: ['The order has no lines.', 'Add lines first.'],
  already_paid: [
    'The order is checked out, or has a payment made with `pay`. Such a payment blocks only the removal of the order and a second payment: the lines can still change, and the order can be held and checked out.',
    'Refund it, or cancel the payment.',
  ],
  order_held: ['The order is held, so its lines cannot change.', 'Release it first.'],
  already_refunded: ['The order has refunds, so it cannot be cancelled.', 'Refund what is left.'],
  not_paid: [
    'Nothing has been paid for the order; under /v1, it is not checked out.',
    'Check the order out first. To undo a payment made with `pay`, cancel it.',
  ],
  refund_exceeds: [
    'Less is left to refund than was asked for. `items` says how much; it is empty if nothing is left.',
    'Refund what is left.',
  ],
  amount_mismatch: ['A different amount was paid.', 'Send the amount that was paid, or none.'],
  limit_exceeded: [
    'A balance, stock or total would exceed 2^53-1. Or there would be more than 1,000 webhook endpoints, or five valid secrets for one. Or a path call would add line 1,001 to an order. Or the calls of a bulk in mode `all` name more than 12,000 users, items and orders, or touch more than 10,000 order lines (counted for each call). A /v1 body with more than 1,000 lines or calls is 400; one that is too large is 413.',
    'Send less at a time.',
  ],
  body_too_large: ['The body exceeds 64 KiB (/v1/bulk: 1 MiB).', 'Send less at a time.'],
  unsupported_body: ['This call takes no body.', 'Send none, or `{}`.'],
  unsupported_type: [
    'The body is not application/json in UTF-8.',
    'Send `Content-Type: application/json`.',
  ],
  host_not_allowed: ['The service does not answer for this Host.', 'Check ALLOWED_HOSTS.'],
  idempotency_key_reused: [
    'The idempotency key was used before with a different method, path or body.',
    'Use a new idempotency key for a new call. To repeat a call, send exactly the same bytes.',
  ],
  idempotency_key_unowned: [
    'The same call was answered under this idempotency key before authentication was switched on. Nobody can tell whether it was yours, so nothing was done now.',
    "Look whether it took effect then: list the user's orders, read the statement, or read `/v1/events`. If not, send it with a new idempotency key.",
  ],
  contention: ['The call conflicted with others until its deadline.', LATER],
  overloaded: ['The service is overloaded.', LATER],
  head_too_large: ['The URL and headers together exceed 16 KiB.', 'Send less.'],
  internal: [
    'A bug in Kassa, or a fault of the database.',
    'Report the `request_id`. With an Idempotency-Key, the call may be sent again.',
  ],
  method_not_implemented: ['Kassa does not know this HTTP method.', FIX],
  store_unavailable: ['The database cannot be reached or takes no writes.', LATER],
  not_ready: [
    'The service is starting, stopping, waiting for a migration, or cannot read the keys of the issuer.',
    LATER,
  ],
  outcome_unknown: [
    'The call may have taken effect: the answer of the database was lost.',
    'Send it again with the same Idempotency-Key.',
  ],
};

export function adviceOn(code: ProblemCode): Advice {
  const [meaning, action] = ADVICE_OF[code];
  return { meaning, action, happened: HAPPENED[code] ?? 'no' };
}
