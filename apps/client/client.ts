/** A client of the API for Bun, Deno, Node and browsers. It needs no package when it runs. */
import type { z } from 'zod';
import type { Call, Parsed } from '../contract/call.ts';
import type { healthCalls } from '../contract/health.ts';
import type { orderPaths } from '../contract/paths/order.ts';
import type { paymentPaths } from '../contract/paths/payment.ts';
import type { stockPaths } from '../contract/paths/stock.ts';
import type { ProblemCode } from '../contract/problems.ts';
import type { itemCalls } from '../contract/v1/items.ts';
import type { orderCalls } from '../contract/v1/orders.ts';
import type { userCalls } from '../contract/v1/users.ts';
import { CALLS } from './calls.ts';

interface Contract {
  users: typeof userCalls;
  items: typeof itemCalls;
  orders: typeof orderCalls;
  path_orders: typeof orderPaths;
  path_payment: typeof paymentPaths;
  path_stock: typeof stockPaths;
  health: typeof healthCalls;
}

/** What a method takes: the parameters of the path, and the fields of the body. */
type Given<C extends Call> = Parsed<C['params']> &
  (C['body'] extends z.ZodType ? z.input<C['body']> : unknown);
type Method<C extends Call> = (
  ...args: Partial<Given<C>> extends Given<C>
    ? [given?: Given<C>, options?: CallOptions]
    : [given: Given<C>, options?: CallOptions]
) => Promise<z.output<C['answer']>>;

/** A method for each call of the contract, by tag and name: `kassa.users.create({ credit: 5 })`. */
export type Client = {
  readonly [T in keyof Contract]: {
    readonly [N in keyof Contract[T]]: Contract[T][N] extends Call ? Method<Contract[T][N]> : never;
  };
};

export interface ClientOptions {
  /** How long a call is repeated, in ms (30,000). */
  deadline_ms?: number;
  /** How long one attempt waits for its answer, in ms (15,000). */
  attempt_ms?: number;
  /** Sent with every call. */
  headers?: Readonly<Record<string, string>>;
  /** Sends the requests, if not the global `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface CallOptions {
  /** To continue a call of an earlier process. Otherwise every write has a new key. */
  idempotency_key?: string;
  /** Stops waiting and repeating. What the call has changed stays changed. */
  signal?: AbortSignal;
}

/** `no_answer`: the deadline passed without an answer of the API. */
export type ErrorCode = ProblemCode | 'no_answer';

/** What some codes bring for programs. */
export interface Facts {
  /** Of `out_of_stock` at /v1: every item that is short. */
  items?: { item_id: string; wanted: number; available: number }[];
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
    /** False if the call may have taken effect. Then repeat it with its key. */
    readonly changed_nothing: boolean,
    readonly idempotency_key: string | undefined,
    /** The problem itself, for its further fields. */
    readonly facts: Facts,
    options?: { cause?: unknown },
  ) {
    super(`${code}: ${detail}`, options);
  }
}

/**
 * Writes carry an idempotency key, so every call may be repeated, and is: after 408, 429, 503 and
 * lost answers, with growing random pauses, until the deadline.
 * @param base_url of the API, such as `https://shop.example`
 * @throws KassaError from each method of the client, for any answer but a success
 */
export function openClient(base_url: string, options: ClientOptions = {}): Client {
  const origin = base_url.replace(/\/+$/, '');
  const groups = Object.entries(CALLS).map(([tag, calls]) => {
    const methods = Object.entries(calls).map(([name, call]) => [
      name,
      async (given: Fields = {}, own: CallOptions = {}) => {
        const { path, rest } = fill(`${tag}.${name}`, call.path, given);
        const body = 'body' in call ? JSON.stringify(rest) : undefined;
        const key = call.writes ? (own.idempotency_key ?? crypto.randomUUID()) : undefined;
        const headers = new Headers(options.headers); // throws if a value cannot be sent
        if (key !== undefined) headers.set('idempotency-key', key);
        if (body !== undefined) headers.set('content-type', 'application/json');
        const { method } = call;
        const init: RequestInit = { method, headers, redirect: 'error', ...(body && { body }) };
        return repeat(origin + path, init, key, own.signal, options);
      },
    ]);
    return [tag, Object.fromEntries(methods)];
  });
  return Object.fromEntries(groups);
}

type Fields = Record<string, unknown>;

/** The path with its parameters, and the other fields. */
function fill(call: string, template: string, given: Fields): { path: string; rest: Fields } {
  const rest = { ...given };
  const path = template.replace(/\{(\w+)\}/g, (_, param: string) => {
    const value = rest[param];
    // Ids and numbers only: `fetch` would resolve `.` and `..` to the path of another call.
    if (!/^[\w-]+$/.test(`${value ?? ''}`)) throw new TypeError(`${call} needs ${param}`);
    delete rest[param];
    return String(value);
  });
  return { path, rest };
}

const PAUSE_FIRST_MS = 50;
const PAUSE_MAX_MS = 2000;
/** Also of the last attempt: cut short, it would turn a certain refusal into `no_answer`. */
const ATTEMPT_MIN_MS = 1000;

async function repeat(
  url: string,
  init: RequestInit,
  key: string | undefined,
  signal: AbortSignal | undefined,
  { deadline_ms = 30_000, attempt_ms = 15_000, fetch = globalThis.fetch }: ClientOptions,
): Promise<unknown> {
  const ends_at = performance.now() + deadline_ms;
  let changed_nothing = true;
  for (let pause_ms = PAUSE_FIRST_MS; ; pause_ms = Math.min(2 * pause_ms, PAUSE_MAX_MS)) {
    signal?.throwIfAborted();
    const left_ms = Math.max(ATTEMPT_MIN_MS, Math.min(attempt_ms, ends_at - performance.now()));
    const late = AbortSignal.timeout(Math.ceil(left_ms));
    const ended = signal ? AbortSignal.any([signal, late]) : late;
    const answer = await attempt(() => fetch(url, { ...init, signal: ended }));
    if ('body' in answer) return answer.body;
    const { code, status } = answer;
    changed_nothing &&= isCertain(answer);
    // A rule decided, and its refusal is recorded: no attempt before it took effect.
    const decided = status === 409 || /^(?:order|item|user)_not_found$/.test(code);
    const wait_ms = answer.retry_after_ms + pause_ms * (0.5 + Math.random() / 2);
    if (!isWorthRepeating(answer) || performance.now() + wait_ms >= ends_at) {
      signal?.throwIfAborted();
      const { detail, request_id, facts = {}, cause } = answer;
      const nothing = changed_nothing || decided || key === undefined; // without a key it reads
      throw new KassaError(code, detail, status, request_id, nothing, key, facts, { cause });
    }
    await pause(wait_ms, signal);
  }
}

/** Resolves after `ms`, or when the signal aborts. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end);
  });
}

interface Failed {
  code: ErrorCode;
  detail: string;
  status?: number;
  request_id?: string | undefined;
  retry_after_ms: number;
  facts?: Facts;
  cause?: unknown;
}

async function attempt(send: () => Promise<Response>): Promise<{ body: unknown } | Failed> {
  try {
    const response = await send();
    const { status, headers } = response;
    const body = (await response.json()) as Partial<Failed> & Facts;
    if (typeof body !== 'object' || body === null) throw new Error(`${status} has no object`);
    if (status === 200 || status === 201) return { body };
    const { code, detail = '', request_id } = body;
    if (code === undefined) throw new Error(`${status} is no answer of Kassa`);
    const retry_after_ms = 1000 * (Number(headers.get('retry-after')) || 0);
    return { code, detail, status, request_id, retry_after_ms, facts: body };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return { code: 'no_answer', detail: why, retry_after_ms: 0, cause };
  }
}

const isWorthRepeating = ({ code, status = 0 }: Failed): boolean =>
  code === 'no_answer' || status === 408 || status === 429 || status === 503;

/** Every 4xx, and every 503 but one, certainly changed nothing. */
const isCertain = ({ code, status = 0 }: Failed): boolean =>
  (status >= 400 && status < 500) || (status === 503 && code !== 'outcome_unknown');
