/** The one error of the client's calls. */
import type { ProblemCode } from '../contract/problems.ts';

/**
 * `no_answer`: the deadline passed without an answer of the API. `not_kassa`: something other than
 * Kassa answered, or redirected. `aborted`: the signal ended the call; its reason is the `cause`.
 */
export type ErrorCode = ProblemCode | 'no_answer' | 'not_kassa' | 'aborted';

/** What some codes bring for programs. */
export interface Facts {
  /** Of `out_of_stock` (`available`) and `refund_exceeds` (`refundable`) at /v1. */
  items?: { item_id: string; wanted: number; available?: number; refundable?: number }[];
  /** Of `insufficient_credit` at /v1: what the credit lacks. */
  shortfall?: number;
  /** Of `stock_changed`: the stock as it is. */
  stock?: number;
  /** Of `invalid_body`: the fields that are wrong, 20 at most. */
  errors?: { path: string; message: string }[];
}

export class KassaError extends Error {
  override name = 'KassaError';
  constructor(
    /** For programs. It is stable. */
    readonly code: ErrorCode,
    /** For people. It may change. */
    readonly detail: string,
    readonly status: number | undefined,
    /** It leads to the line of the service's log. */
    readonly request_id: string | undefined,
    /** False if the call may have taken effect. Then repeat it, with its key if it has one. */
    readonly changed_nothing: boolean,
    readonly idempotency_key: string | undefined,
    /** The problem itself, for its further fields. */
    readonly facts: Facts,
    options?: { cause?: unknown },
  ) {
    super(`${code}: ${detail}`, options);
  }
}
