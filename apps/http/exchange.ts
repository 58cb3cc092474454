/** What each request carries beside itself, from the edge to its route and back to the log. */
import type { Failure } from '../../db/failure.ts';

export interface Exchange {
  request_id: string;
  /** The request's whole body, unless it is empty. It is here before the route is called. */
  body?: Uint8Array | undefined;
  /** What went wrong, if it was thrown; else the bytes of a refusal. */
  failure?: Failure;
  problem?: string;
  /** Of a write: commands in its transaction, and which try of that was the last. */
  batch?: number;
  attempt?: number;
}
export type Env = { Bindings: Exchange };
