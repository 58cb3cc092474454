/** What the proofs write down of every call, and what the checker reads. */
import type { Call } from './model.ts';

/** Reads of the API, next to the writes of the model. */
export type Read =
  | { call: 'findUser'; user: string }
  | { call: 'findItem'; item: string }
  | { call: 'findOrder'; order: string };

/** What a call showed of the state afterwards (writes) or at some moment (reads), and no more. */
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
  call: Call | Read;
  /** Milliseconds of one clock for all clients. */
  invoked_at: number;
  /** Infinity if no answer ever came: it may take effect at any later time, or never. */
  completed_at: number;
  /** 'ok', a refusal's code, or 'unknown' (no answer, or one that says nothing, as a 5xx). */
  outcome: string;
  seen: Seen;
}
