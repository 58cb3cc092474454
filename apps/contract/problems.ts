/** Failures as clients see them: a stable code, its status, and a title. */
import type { Code } from '../../db/failure.ts';

/** Codes of requests that are refused before a command is made of them. */
export type RequestCode =
  | 'malformed_request'
  | 'request_timeout'
  | 'body_too_large'
  | 'head_too_large'
  | 'route_not_found'
  | 'method_not_allowed'
  | 'method_not_implemented'
  | 'batch_init_disabled'
  | 'cross_site_request'
  | 'host_not_allowed'
  | 'unsupported_body'
  | 'malformed_body'
  | 'invalid_body'
  | 'unsupported_type'
  | 'unauthenticated'
  | 'forbidden'
  | 'rate_limited';

export type ProblemCode = Code | RequestCode;

export const PROBLEMS: Record<ProblemCode, { status: number; title: string }> = {
  malformed_request: { status: 400, title: 'The request is not valid HTTP/1.1' },
  invalid_parameter: { status: 400, title: 'A parameter is malformed or out of range' },
  malformed_body: { status: 400, title: 'The body is not JSON, or has a duplicate key' },
  invalid_body: { status: 400, title: 'The body does not fit the call' },
  unauthenticated: { status: 401, title: 'The call has no valid credentials' },
  forbidden: { status: 403, title: 'The credentials do not allow this call' },
  batch_init_disabled: { status: 403, title: 'batch_init is switched off here' },
  cross_site_request: { status: 403, title: 'The call came from a page of another site' },
  order_not_found: { status: 404, title: 'There is no such order' },
  item_not_found: { status: 404, title: 'There is no such item' },
  user_not_found: { status: 404, title: 'There is no such user' },
  refund_not_found: { status: 404, title: 'The order has no such refund' },
  webhook_not_found: { status: 404, title: 'There is no such webhook endpoint' },
  key_not_found: { status: 404, title: 'There is no such key' },
  route_not_found: { status: 404, title: 'There is no such path' },
  method_not_allowed: { status: 405, title: 'This path takes other methods' },
  out_of_stock: { status: 409, title: 'There is not enough stock' },
  insufficient_credit: { status: 409, title: 'There is not enough credit' },
  request_timeout: { status: 408, title: 'The request did not come whole in time' },
  body_too_large: { status: 413, title: 'The body is too large' },
  head_too_large: { status: 431, title: 'URL and headers are too large' },
  already_exists: { status: 409, title: 'The id is taken' },
  stock_changed: { status: 409, title: 'The stock is not the expected one' },
  order_empty: { status: 409, title: 'The order has no items' },
  already_paid: { status: 409, title: 'The order is paid, or a payment of it stands' },
  order_held: { status: 409, title: 'The order is held: release it first' },
  already_refunded: { status: 409, title: 'The order has refunds' },
  not_paid: { status: 409, title: 'Nothing was paid for the order' },
  refund_exceeds: { status: 409, title: 'Less than this is left to refund' },
  amount_mismatch: { status: 409, title: 'Another amount was paid' },
  limit_exceeded: { status: 409, title: 'A limit would be passed' },
  cursor_expired: { status: 410, title: 'The cursor has expired' },
  unsupported_body: { status: 415, title: 'This call takes no body' },
  unsupported_type: { status: 415, title: 'This call takes a body of another type' },
  host_not_allowed: { status: 421, title: 'This service does not answer for that host' },
  idempotency_key_reused: { status: 422, title: 'The idempotency key was used for another call' },
  idempotency_key_unowned: {
    status: 422,
    title: 'The idempotency key was used by an unknown caller',
  },
  rate_limited: { status: 429, title: 'The caller has used up a limit of its own' },
  contention: { status: 429, title: 'Conflicts with other calls lasted too long' },
  overloaded: { status: 429, title: 'The service has too much to do' },
  internal: { status: 500, title: 'Internal error' },
  method_not_implemented: { status: 501, title: 'There is no such method' },
  store_unavailable: { status: 503, title: 'The store cannot be reached' },
  outcome_unknown: { status: 503, title: 'It is not known whether the call took effect' },
  not_ready: { status: 503, title: 'The service is not ready' },
};

export const CODES = Object.keys(PROBLEMS) as ProblemCode[];

export const PROBLEM_TYPE = 'application/problem+json';

/** Codes of calls that may succeed if they are repeated a moment later. */
export const RETRY_LATER = new Set<ProblemCode>([
  'contention',
  'overloaded',
  'rate_limited',
  'store_unavailable',
  'outcome_unknown',
  'not_ready',
]);

export const typeOf = (code: ProblemCode): string => `urn:kassa:problem:${code}`;
