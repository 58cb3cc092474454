/** What each code of a problem means, and what its caller should do. For people. */
import type { ProblemCode } from './problems.ts';

interface Advice {
  meaning: string;
  action: string;
}

const FIX = 'Correct the request.';
const LATER = 'Send it again after Retry-After.';
const CHECK_ID = 'Check the id.';

const ADVICE_OF: Record<ProblemCode, readonly [meaning: string, action: string]> = {
  malformed_request: ['The request is not valid HTTP/1.1.', 'Correct the client or the proxy.'],
  invalid_parameter: [
    'An id, a number, a query parameter or the Idempotency-Key is malformed or out of range.',
    `${FIX} Under /v1, errors names each wrong id, number or query parameter.`,
  ],
  malformed_body: [
    'The body is not JSON in UTF-8, has a key twice, is nested too deep, or has too many values.',
    FIX,
  ],
  invalid_body: [
    'Fields are missing, wrong or unknown, or an object has more than 100.',
    `${FIX} errors names up to 20.`,
  ],
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
  route_not_found: ['There is no such path.', 'Check the path.'],
  method_not_allowed: ['The path takes other methods.', 'Use one that Allow lists.'],
  request_timeout: ['The request did not arrive completely in time.', 'Send it again.'],
  cursor_expired: [
    'What follows the cursor has been deleted.',
    'Ask for after=latest, read the rows anew, then the events from that cursor.',
  ],
  already_exists: ['The id is taken.', 'Choose another id, or send none.'],
  stock_changed: ['The stock is not expected_stock.', 'Decide again with the stock in the answer.'],
  out_of_stock: [
    'There is less stock than asked for; `items` lists what is short.',
    'Order less, or wait for stock or the end of holds.',
  ],
  insufficient_credit: [
    'The user lacks credit; `shortfall` says how much.',
    'Deposit the missing amount first.',
  ],
  order_empty: ['The order has no lines.', 'Add lines first.'],
  already_paid: [
    'The order is checked out, or has a payment made with `pay`. The latter blocks only the removal of the order and a second payment: its lines can change, and it can be held and checked out.',
    'Refund it, or cancel the payment.',
  ],
  order_held: ['The order is held, so its lines cannot change.', 'Release it first.'],
  already_refunded: ['The order has refunds, so it cannot be cancelled.', 'Refund what is left.'],
  not_paid: [
    'Nothing has been paid for the order. Under /v1: the order is not checked out.',
    'Refund only what is checked out; cancel a payment made with `pay`.',
  ],
  refund_exceeds: [
    'More was asked for than is left to refund; `items` says how much is left, and is empty if nothing is.',
    'Refund what is left.',
  ],
  amount_mismatch: ['Another amount was paid.', 'Send that amount, or none.'],
  limit_exceeded: [
    'A balance, stock or total would exceed 2^53-1; there would be more than 1,000 webhook endpoints, or more than five valid secrets of one; a path call would add the 1,001st line to an order; or the calls of a bulk in mode `all` name more than 12,000 users, items and orders, or work on more than 10,000 lines of orders, counted anew for each call. A body of /v1 with more than 1,000 lines or calls is 400, one of too many bytes 413.',
    'Send less at a time.',
  ],
  body_too_large: ['The body exceeds 64 KiB (/v1/bulk: 1 MiB).', 'Send less at a time.'],
  unsupported_body: ['This call takes no body.', 'Send none, or {}.'],
  unsupported_type: ['The body is not application/json in UTF-8.', 'Set Content-Type.'],
  host_not_allowed: ['The service does not answer for this Host.', 'Check ALLOWED_HOSTS.'],
  idempotency_key_reused: [
    'The key was used with another method, path or body. Users, items, and orders with bulk each have keys of their own.',
    'Use a new key for a new call; repeat a call with the same bytes of the body.',
  ],
  contention: ['Conflicts with other calls lasted until the deadline.', LATER],
  overloaded: ['The service has too much to do.', LATER],
  head_too_large: ['URL and headers exceed 16 KiB.', 'Send less.'],
  internal: ['A bug, or a fault of the store.', 'Report the request_id.'],
  method_not_implemented: ['Kassa does not know the method.', FIX],
  store_unavailable: ['The database cannot be reached or takes no writes.', LATER],
  not_ready: ['The service is starting, stopping, or waits for a migration.', LATER],
  outcome_unknown: [
    'The call may have taken effect: the answer of the database was lost.',
    'Send it again with the same Idempotency-Key.',
  ],
};

export function adviceOn(code: ProblemCode): Advice {
  const [meaning, action] = ADVICE_OF[code];
  return { meaning, action };
}
