/** The limits of a caller: calls a second, and calls in flight. They are those of one process. */
import { type Clock, systemClock } from '../../db/clock.ts';
import type { Limited, Principal } from './exchange.ts';
import { RequestError } from './problem.ts';
import { STREAM_TYPE } from './response-text.ts';

type Limits = NonNullable<Principal['limits']>;

/** What is known of a caller. One that has had no call for a while is forgotten. */
interface Caller {
  in_flight: number;
  /** The end of the calls so far, if they were spread evenly: "theoretical arrival time". */
  spread_until: number;
}

/**
 * Calls a second are limited by GCRA: a caller may be ahead of the even rate by as many calls as
 * one second has, and at least by one. A call that is refused costs nothing.
 */
export class CallLimits {
  readonly #callers = new Map<string, Caller>();
  readonly #clock: Pick<Clock, 'now'>;
  readonly #in_flight: number | undefined;
  #forget_at = 0;

  /** @param in_flight the limit of callers without one of their own, if they have any */
  constructor(clock: Pick<Clock, 'now'> = systemClock, in_flight?: number) {
    this.#clock = clock;
    this.#in_flight = in_flight;
  }

  /** The number of callers that are known. */
  get size(): number {
    return this.#callers.size;
  }

  /**
   * Counts a call.
   * @returns what its answer needs; undefined if the caller has no limits
   * @throws RequestError rate_limited, with the headers that say when to come again
   */
  admit({ name, limits: own = {} }: Principal): Limited | undefined {
    const { per_s, in_flight = this.#in_flight } = own;
    if (per_s === undefined && in_flight === undefined) return undefined;
    const limits = { per_s, in_flight };
    const now = this.#clock.now();
    if (now >= this.#forget_at) this.#forgetIdle(now);
    const caller = this.#callers.get(name) ?? { in_flight: 0, spread_until: now };
    if (in_flight !== undefined && caller.in_flight >= in_flight) {
      throw refusal(`the limit is ${in_flight} calls in flight`, 1, limits, caller, now);
    }
    const wait_s = per_s === undefined ? 0 : takeTurn(caller, per_s, now);
    if (wait_s > 0) {
      throw refusal(`the limit is ${per_s} calls a second`, wait_s, limits, caller, now);
    }
    caller.in_flight++;
    this.#callers.set(name, caller);
    let held = true;
    const release = () => {
      if (held) caller.in_flight--;
      held = false;
    };
    return { headers: rateLimitHeaders(limits, caller, now), release };
  }

  /** Forgets those whom nothing limits now. */
  #forgetIdle(now: number): void {
    for (const [name, { in_flight, spread_until }] of this.#callers) {
      if (in_flight === 0 && spread_until <= now) this.#callers.delete(name);
    }
    this.#forget_at = now + FORGET_MS;
  }
}

const FORGET_MS = 1000;

/** Calls that may come at once. */
const burstOf = (per_s: number): number => Math.max(1, Math.floor(per_s));

/** Takes a call of the rate. @returns the seconds until there is one, if there is none now */
function takeTurn(caller: Caller, per_s: number, now: number): number {
  const ms_each = 1000 / per_s;
  const free_at = caller.spread_until - (burstOf(per_s) - 1) * ms_each;
  if (now < free_at) return (free_at - now) / 1000;
  caller.spread_until = Math.max(now, caller.spread_until) + ms_each;
  return 0;
}

function refusal(why: string, wait_s: number, limits: Limits, caller: Caller, now: number) {
  const error = new RequestError('rate_limited', `${why}; nothing was done`);
  const headers = Object.fromEntries(rateLimitHeaders(limits, caller, now));
  error.headers = { 'retry-after': `${Math.ceil(wait_s)}`, ...headers };
  return error;
}

/**
 * The policies, and what is left of each.
 * https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-11
 */
function rateLimitHeaders(
  { per_s, in_flight }: Limits,
  caller: Caller,
  now: number,
): Limited['headers'] {
  let policy = '';
  let remaining = '';
  if (per_s !== undefined) {
    const burst = burstOf(per_s);
    const ahead_ms = Math.max(0, caller.spread_until - now);
    const calls = Math.max(0, Math.floor(burst - (ahead_ms * per_s) / 1000 + ROUNDING));
    policy = `"per_s";q=${burst};w=${Math.ceil(burst / per_s)}`;
    remaining = `"per_s";r=${calls};t=${Math.ceil(ahead_ms / 1000)}`;
  }
  if (in_flight !== undefined) {
    const comma = policy && ', ';
    policy += `${comma}"in_flight";q=${in_flight};qu="concurrent-requests"`;
    remaining += `${comma}"in_flight";r=${Math.max(0, in_flight - caller.in_flight)}`;
  }
  return [
    ['ratelimit-policy', policy],
    ['ratelimit', remaining],
  ];
}

/** Of a call: times are no whole numbers. */
const ROUNDING = 1e-6;

/** The answer. Its call leaves flight now or, if the answer is a stream, when that ends. */
export function releaseAfter(limited: Limited | undefined, response: Response): Response {
  if (!limited) return response;
  const { release } = limited;
  const streams = response.headers.get('content-type') === STREAM_TYPE;
  if (streams && response.body) return new Response(untilEnd(response.body, release), response);
  release();
  return response;
}

/** The same stream. @param ended is called at its end, or when its reader leaves */
function untilEnd(stream: ReadableStream<Uint8Array>, ended: () => void) {
  const reader = stream.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const part = await reader.read().catch((error) => {
          ended();
          throw error;
        });
        if (!part.done) return controller.enqueue(part.value);
        ended();
        controller.close();
      },
      cancel(reason) {
        ended();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 }, // nothing is read ahead of the client
  );
}
