/** Histories: what the proofs record of every call, for the checker. */
import type { Call } from './model.ts';

/** The reads of the API; the model has the writes. */
export type Read =
  | { call: 'findUser'; user: string }
  | { call: 'findItem'; item: string }
  | { call: 'findOrder'; order: string };

/** The calls of a bulk that is all or nothing. Those of one that is not are calls of their own. */
export interface Bulk {
  call: 'all';
  calls: Call[];
}

/** A hold ends by itself. The checker adds these to a history, each with the number of its hold. */
export interface Expiry {
  call: 'expiry';
  order: string;
  number: number;
}

/** The part of the state in an answer: after the call (writes) or at some moment of it (reads). */
export interface Seen {
  credit?: number;
  stock?: number;
  price?: number;
  paid?: boolean;
  total_cost?: number;
  items?: [string, number][];
}

export interface Operation {
  /** One client has one operation at a time. */
  client: number;
  call: Call | Read | Bulk | Expiry;
  /** Milliseconds of one clock for all clients. */
  invoked_at: number;
  /** Infinity without an answer: the call may take effect at any later time, or never. */
  completed_at: number;
  /** 'ok', the code of a refusal, or 'unknown' (no answer, or a 5xx). */
  outcome: string;
  seen: Seen;
}
