/** A client of the API for Bun, Deno, Node and browsers. It needs no package when it runs. */
import type { z } from 'zod';
import type { Call, Paged, Parsed } from '../contract/call.ts';
import type { healthCalls } from '../contract/health.ts';
import type { orderPaths } from '../contract/paths/order.ts';
import type { paymentPaths } from '../contract/paths/payment.ts';
import type { stockPaths } from '../contract/paths/stock.ts';
import type { bulkCalls } from '../contract/v1/bulk.ts';
import type { eventCalls } from '../contract/v1/events.ts';
import type { itemCalls } from '../contract/v1/items.ts';
import type { keyCalls } from '../contract/v1/keys.ts';
import type { orderCalls } from '../contract/v1/orders.ts';
import type { refundCalls } from '../contract/v1/refunds.ts';
import type { userCalls } from '../contract/v1/users.ts';
import type { webhookCalls } from '../contract/v1/webhooks.ts';
import { attempt, type Failed, messageOf } from './attempt.ts';
import { CALLS } from './calls.ts';
import { KassaError } from './error.ts';
import { type Entries, everyEntry, everyEvent } from './pages.ts';

export { type ErrorCode, type Facts, KassaError } from './error.ts';

interface Contract {
  users: typeof userCalls;
  items: typeof itemCalls;
  orders: typeof orderCalls;
  bulk: typeof bulkCalls;
  refunds: typeof refundCalls;
  events: typeof eventCalls;
  webhooks: typeof webhookCalls;
  keys: typeof keyCalls;
  path_orders: typeof orderPaths;
  path_payment: typeof paymentPaths;
  path_stock: typeof stockPaths;
  health: typeof healthCalls;
}

/** What a method takes: the parameters of the path and of the query, and the fields of the body. */
type Given<C extends Call> = Parsed<C['params']> &
  (C['body'] extends z.ZodType ? z.input<C['body']> : unknown) &
  (C['query'] extends z.ZodType ? Partial<z.output<C['query']>> : unknown);
type Args<C extends Call> =
  Partial<Given<C>> extends Given<C>
    ? [given?: Given<C>, options?: CallOptions]
    : [given: Given<C>, options?: CallOptions];

/**
 * A method for each call of the contract, by tag and name: `kassa.users.create({ credit: 5 })`. A
 * list has a second one, which yields the entries of all pages: `kassa.users.listAll()`.
 */
export type Client = {
  readonly [T in keyof Contract]: {
    readonly [N in keyof Contract[T]]: Contract[T][N] extends Call
      ? (...args: Args<Contract[T][N]>) => Promise<z.output<Contract[T][N]['answer']>>
      : never;
  } & {
    readonly [N in keyof Contract[T] & string as Contract[T][N] extends Paged
      ? `${N}All`
      : never]: Contract[T][N] extends Paged
      ? (...args: Args<Contract[T][N]>) => Entries<z.output<Contract[T][N]['answer']>>
      : never;
  };
} & {
  /** Every event behind `after`, and then each new one: `for await (const event of kassa.events())`. */
  readonly events: (...args: Args<Contract['events']['list']>) => AsyncGenerator<KassaEvent, never>;
};

/** What has happened: its type tells what `data` has. */
export type KassaEvent = z.output<Contract['events']['list']['answer']>['data'][number];

export interface ClientOptions {
  /** How long a call is repeated, in ms (30,000). */
  deadline_ms?: number;
  /** How long one attempt waits for its answer, in ms (15,000). */
  attempt_ms?: number;
  /**
   * An API key, or a function that returns a key or a token: it is asked before each attempt, and a
   * call that is answered 401 is tried once more.
   */
  key?: string | (() => string | Promise<string>);
  /** Sent with every call. */
  headers?: Readonly<Record<string, string>>;
  /** Sends the requests, if not the global `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface CallOptions {
  /** To continue a call of an earlier process. Otherwise every write has a new key. */
  idempotency_key?: string;
  /** Ends the call with `aborted`. What the call has changed stays changed. */
  signal?: AbortSignal;
}

/**
 * Writes carry an idempotency key or are safe to repeat, so every call may be repeated, and is: after
 * 408, 429, 503 and lost answers, with growing random pauses, until the deadline.
 * @param base_url of the API, such as `https://shop.example`
 * @throws KassaError from each method of the client, for any answer but a success
 * @throws TypeError if `base_url` is not an http or https URL
 */
export function openClient(base_url: string, options: ClientOptions = {}): Client {
  if (!/^https?:\/\/[^/]/i.test(base_url)) {
    throw new TypeError(`${base_url} is not an http or https URL`);
  }
  const origin = base_url.replace(/\/+$/, '');
  const groups = Object.entries(CALLS).map(([tag, calls]) => {
    const methods = Object.entries(calls).flatMap(([name, call]) => {
      const send = async (given: Fields = {}, own: CallOptions = {}) => {
        const { path, rest } = fill(`${tag}.${name}`, call.path, given);
        const body = 'body' in call ? JSON.stringify(rest) : undefined;
        const query = 'query' in call ? queryOf(rest) : '';
        const key = call.writes === true ? (own.idempotency_key ?? crypto.randomUUID()) : undefined;
        const headers = new Headers(options.headers); // throws if a value cannot be sent
        if (key !== undefined) headers.set('idempotency-key', key);
        if (body !== undefined) headers.set('content-type', 'application/json');
        const { method } = call;
        const redirect = 'manual' as const;
        const init = { method, headers, redirect, ...(body && { body }) };
        const reads = call.writes === false;
        return repeat(origin + path + query, init, { key, reads }, own.signal, options);
      };
      return 'query' in call && tag !== 'events'
        ? [
            [name, send],
            [`${name}All`, everyEntry(send)],
          ]
        : [[name, send]];
    });
    return [tag, Object.fromEntries(methods)];
  });
  const client = Object.fromEntries(groups);
  return { ...client, events: Object.assign(everyEvent(client.events.list), client.events) };
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

/** Leaves out undefined fields. */
function queryOf(fields: Fields): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) query.set(name, String(value));
  }
  return query.size > 0 ? `?${query}` : '';
}

const PAUSE_FIRST_MS = 50;
const PAUSE_MAX_MS = 2000;
/** Also of the last attempt: cut short, it would turn a certain refusal into `no_answer`. */
const ATTEMPT_MIN_MS = 1000;

async function repeat(
  url: string,
  init: RequestInit & { headers: Headers },
  { key, reads }: { key: string | undefined; reads: boolean },
  signal: AbortSignal | undefined,
  options: ClientOptions,
): Promise<unknown> {
  const { deadline_ms = 30_000, attempt_ms = 15_000, fetch = globalThis.fetch } = options;
  const { key: credentials } = options;
  let may_renew = typeof credentials === 'function';
  const ends_at = performance.now() + deadline_ms;
  let changed_nothing = true;
  const errorOf = ({ code, detail, status, request_id, facts = {}, cause }: Failed) => {
    const decided = status === 409 || /^(?:order|item|user|refund)_not_found$/.test(code);
    // With a key the decision is recorded: no attempt before it took effect.
    const nothing = changed_nothing || reads || (key !== undefined && decided);
    return new KassaError(code, detail, status, request_id, nothing, key, facts, { cause });
  };
  for (let pause_ms = PAUSE_FIRST_MS; ; pause_ms = Math.min(2 * pause_ms, PAUSE_MAX_MS)) {
    if (signal?.aborted) {
      const { reason: cause } = signal;
      throw errorOf({ code: 'aborted', detail: messageOf(cause), cause });
    }
    const left_ms = Math.max(ATTEMPT_MIN_MS, Math.min(attempt_ms, ends_at - performance.now()));
    const shown = typeof credentials === 'function' ? await credentials() : credentials;
    if (shown !== undefined) init.headers.set('authorization', `Bearer ${shown}`);
    const answer = await attempt((signal) => fetch(url, { ...init, signal }), left_ms, signal);
    if ('body' in answer) return answer.body;
    if (answer.code === 'not_kassa') answer.detail = `${url} answered ${answer.detail}`;
    changed_nothing &&= isCertain(answer);
    const { retry_after_ms = 0 } = answer;
    const wait_ms = retry_after_ms + pause_ms * (0.5 + Math.random() / 2);
    const renews = may_renew && answer.status === 401;
    may_renew &&= !renews;
    const is_late = performance.now() + wait_ms >= ends_at && !signal?.aborted;
    if (is_late || !(renews || isWorthRepeating(answer))) throw errorOf(answer);
    await pause(wait_ms, signal);
  }
}

const isWorthRepeating = ({ code, status = 0 }: Failed): boolean =>
  code === 'no_answer' || status === 408 || status === 429 || status === 503;

/** Every 4xx of Kassa, and every 503 but one, certainly changed nothing. */
const isCertain = ({ code, status = 0 }: Failed): boolean =>
  code !== 'not_kassa' &&
  ((status >= 400 && status < 500) || (status === 503 && code !== 'outcome_unknown'));

/** Resolves after `ms`, or when the signal aborts. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, signal?.aborted ? 0 : ms);
    signal?.addEventListener('abort', end);
  });
}
