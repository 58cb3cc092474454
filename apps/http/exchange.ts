/** The types of the edge: a request, its answer, and what a request carries through its route. */
import type { CodedError } from '../../db/failure.ts';
import type { Call, scopeOf } from '../contract/call.ts';
import type { ProblemCode } from '../contract/problems.ts';
import type { Scope } from '../contract/scopes.ts';
import type { HeaderFields } from './message.ts';
import type { RequestTrace } from './tracing.ts';

/** What each request carries besides itself, from the edge to its route and back to the log. */
export interface Exchange {
  request_id: string;
  /** The request's whole body, unless it is empty. It is here before the route is called. */
  body?: Uint8Array | undefined;
  /** Calls the function if the caller hangs up before the answer. Not every platform tells. */
  whenGone?: ((call: () => void) => void) | undefined;
  /** The name of the route that took the request: see `routeName`. */
  route?: string;
  /** The failure that was thrown, if any. A refusal by a rule is the bytes in `problem` instead. */
  failure?: CodedError<ProblemCode>;
  problem?: string;
  /** Decides who may call; undefined if authentication is off. */
  guard?: Guard | undefined;
  principal?: Principal;
  /** If the principal has limits. */
  limited?: Limited | undefined;
  /** If the request is traced. */
  trace?: RequestTrace | undefined;
  /** Of a write: how many commands its transaction had, and how many attempts that took. */
  batch?: number;
  attempt?: number;
}

/** Whoever has shown credentials. */
export interface Principal {
  /** Such as `key:shop`. It stands in records and logs, and is no secret. */
  name: string;
  scopes: ReadonlySet<Scope>;
  /** The only user whose wallet and orders it may see and change. */
  user_id?: string | undefined;
  /** Of its own, in each process; above 0. */
  limits?: { per_s?: number | undefined; in_flight?: number | undefined };
}

/** Who sends a large body, known from the head alone. The call is in flight already. */
export type Sender = Pick<Exchange, 'principal' | 'limited'>;

/** A call of a principal that has limits. */
export interface Limited {
  /** Of its answer: `RateLimit-Policy`, and `RateLimit`, which says what remains. */
  headers: readonly (readonly [name: string, value: string])[];
  /** The call is no longer in flight. */
  release(): void;
}

/** Where authentication is on. */
export interface Guard {
  /**
   * Notes the principal in the exchange, and counts the call (once). Large bodies get no room before
   * it has ended; not there if everybody's are read.
   * @throws RequestError unauthenticated, rate_limited
   */
  identify?(request: Incoming, exchange: Exchange): Promise<void>;
  /** Whether `admit` makes calls wait for their caller's turn. */
  takesTurns?(): boolean;
  /**
   * Identifies the caller, and waits for its turn.
   * @returns undefined if the call may go on at once, else a promise of its turn
   * @throws RequestError unauthenticated, rate_limited, forbidden; or the promise rejects with it
   */
  admit(
    request: Incoming,
    exchange: Exchange,
    wanted: ReturnType<typeof scopeOf>,
  ): Promise<void> | undefined;
  /** Whether the credentials of an answer that goes on are still valid, as far as is known. */
  holds(request: Incoming): Promise<boolean>;
  /**
   * Keeps a call that is no command to the one user of its principal: what is not theirs is answered as
   * if it were not there. Commands are kept to it by `only_user`.
   * @param own the user
   * @param name of the principal
   * @returns the query, kept to that user
   * @throws Failure order_not_found, user_not_found; RequestError forbidden
   */
  keepTo<I>(
    own: string,
    name: string,
    call: Call,
    params: Record<string, unknown>,
    query: I,
  ): Promise<I>;
}

/** For Hono: the exchange is `c.env`. */
export type Env = { Bindings: Exchange };

/** The part of a `Request` that routes read. */
export interface Incoming {
  method: string;
  /** Path and query are those of the request line; origin and host mean nothing. */
  url: string;
  headers: Pick<Headers, 'get'> | HeaderFields;
  /** Where that is known. */
  peer?: Peer;
}

/** Who sends requests: a gateway, if there is one. */
export interface Peer {
  readonly remoteAddress?: string | undefined;
}

/** An answer. The headers of `FIXED_HEADERS` and of `limited` are added when it is sent. */
export interface Outgoing {
  response: Response;
  request_id: string;
  /** If the caller has limits. */
  limited?: Pick<Limited, 'headers'> | undefined;
  /** The connection closes after it. */
  last: boolean;
}

/** What could be read of something that is not a request. */
export interface Unreadable {
  method: string;
  target: string;
  headers: Incoming['headers'] | undefined;
}

/** Answers the requests of one port. */
export interface Responder {
  /**
   * Says who sends a large body, before it is read; not there if everybody may.
   * @throws RequestError if the sender may not
   */
  identify?: ((request: Incoming) => Promise<Sender>) | undefined;
  /** Whether requests wait again, for the turn of their caller, once it is known. */
  takesTurns?: (() => boolean) | undefined;
  /** Answers a complete request. It never rejects: errors are answers too. */
  answer(
    request: Incoming,
    body: Uint8Array | undefined,
    whenGone?: Exchange['whenGone'],
    sender?: Sender,
  ): Promise<Outgoing>;
  /** The answer to bytes that are not a request, or to a request that never became complete. */
  refuse(error: unknown, seen: Partial<Unreadable>): Outgoing;
}

/** One origin, made from the routes of one or several services. */
export interface Server {
  responder: Responder;
  /**
   * Serves `GET /metrics` only, for a port of its own. `responder` then has no such path, so a
   * client that reaches one port cannot reach the other's paths, however it spells them.
   */
  metrics_responder?: Responder;
  /**
   * The same as `responder`, for a platform that has an HTTP server, and for tests.
   * @param info what the platform passes beside it: from Deno the address of the caller
   */
  fetch(request: Request, info?: unknown): Promise<Response>;
  /**
   * From now on `GET /health/ready` answers 503 and every answer closes its connection, so that
   * load balancers send requests elsewhere. Requests that still come are answered.
   */
  startDraining(): void;
  /** Resolves when no request is in flight. */
  idle(): Promise<void>;
}
