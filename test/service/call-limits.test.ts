/** The limits of a caller: calls a second, and calls in flight. */
import { afterAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { Hono } from 'hono';
import type { Env, Principal, Sender } from '../../apps/http/exchange.ts';
import { only, ScopeGuard } from '../../apps/http/guard.ts';
import { CallLimits } from '../../apps/http/limits.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { RequestError } from '../../apps/http/problem.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { storeUrl } from '../support/databases.ts';
import { openUntil } from '../support/open.ts';

type Limits = Principal['limits'];

const { store } = openUntil(afterAll).kassa({ DATABASE_URL: storeUrl() });

function clockAt(ms = 0) {
  const clock = { ms, now: () => clock.ms };
  return clock;
}

const caller = (limits: Limits, name = 'key:shop'): Principal => ({
  name,
  scopes: new Set(['orders:read']),
  ...(limits && { limits }),
});

/** A server whose caller has these limits, with calls that wait, fail, and stream. */
function serverFor(limits: Limits) {
  const clock = clockAt();
  const guard = new ScopeGuard(() => caller(limits), store.read, new CallLimits(clock));
  const app = new Hono<Env>();
  const waiting: ((response: Response) => void)[] = [];
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  const cancelled: unknown[] = [];
  app.get('/now', only('orders:read'), (c) => c.text('here'));
  app.get('/none', only('stock:read'), (c) => c.text('here'));
  app.get('/wait', only('orders:read'), () => {
    const answer = new Promise<Response>((resolve) => waiting.push(resolve));
    return answer;
  });
  app.get('/throws', only('orders:read'), () => Promise.reject(new Error('a bug')));
  app.get('/stream', only('orders:read'), (c) => {
    const start = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      streams.push(controller);
    };
    const cancel = (reason: unknown) => void cancelled.push(reason);
    const headers = { 'content-type': 'text/event-stream' };
    return c.body(new ReadableStream({ start, cancel }), 200, headers);
  });
  const metrics = collectMetrics('test', '');
  const { fetch } = serveRoutes([app], store, metrics, () => {}, { guard });
  const call = (path: string, init: RequestInit = {}) =>
    fetch(new Request(`http://kassa${path}`, init));
  const statusOf = async (path: string, init?: RequestInit) => (await call(path, init)).status;
  return { call, statusOf, clock, waiting, streams, cancelled };
}

type Headers = Record<string, string | undefined>;

/** Of `admit`: the headers of the answer, or those of the refusal. */
function tried(limits: CallLimits, principal: Principal) {
  try {
    const { headers = [], release } = limits.admit(principal) ?? {};
    return { admitted: true, headers: Object.fromEntries(headers) as Headers, release };
  } catch (error) {
    return { admitted: false, headers: (error as { headers: Headers }).headers };
  }
}

test('a caller without a limit of calls in flight has the default, and others have their own', () => {
  const limits = new CallLimits(clockAt(), 2);
  /** @returns how many of five calls are admitted */
  const admitted = (own: Limits, name: string) =>
    Array.from({ length: 5 }, () => tried(limits, caller(own, name))).filter((one) => one.admitted)
      .length;
  expect(admitted(undefined, 'none')).toBe(2);
  expect(admitted({ per_s: 100 }, 'rate alone')).toBe(2);
  expect(admitted({ in_flight: 1 }, 'less')).toBe(1);
  expect(admitted({ in_flight: 4 }, 'more')).toBe(4);
  expect(tried(limits, caller(undefined, 'other')).headers).toEqual({
    'ratelimit-policy': '"in_flight";q=2;qu="concurrent-requests"',
    ratelimit: '"in_flight";r=1',
  });
});

test('calls a second are those of a bucket that holds one second, and refused calls cost nothing', () => {
  const rates = fc.constantFrom(0.1, 0.5, 1, 1.25, 2, 2.5, 4, 5, 8, 10, 20, 25, 50, 100, 500);
  const pauses = fc.array(fc.oneof(fc.constant(0), fc.nat(30), fc.nat(3000)), { maxLength: 200 });
  const check = (per_s: number, waits: readonly number[]) => {
    const clock = clockAt();
    const limits = new CallLimits(clock);
    // The model counts in milliseconds that are saved up.
    const each = 1000 / per_s;
    const most = Math.max(1, Math.floor(per_s)) * each;
    let saved = most;
    for (const wait of waits) {
      clock.ms += wait;
      saved = Math.min(most, saved + wait);
      const { admitted, headers, release } = tried(limits, caller({ per_s }));
      release?.();
      expect(admitted).toBe(saved >= each);
      if (admitted) saved -= each;
      else expect(headers?.['retry-after']).toBe(`${Math.ceil((each - saved) / 1000)}`);
      const window = Math.ceil((most - saved) / 1000);
      expect(headers?.ratelimit).toBe(`"per_s";r=${Math.floor(saved / each)};t=${window}`);
    }
  };
  fc.assert(fc.property(rates, pauses, check), { numRuns: 300 });
});

test('a caller that waits as Retry-After says is admitted', () => {
  const clock = clockAt(1234.567);
  const limits = new CallLimits(clock);
  for (const per_s of [0.3, 0.7, 1, 3, 7, 1.9, 30, 333]) {
    const principal = caller({ per_s }, `key:${per_s}`);
    for (let i = 0; i < 500; i++) {
      const { headers, admitted } = tried(limits, principal);
      if (!admitted) clock.ms += 1000 * Number(headers?.['retry-after']);
      expect(admitted || tried(limits, principal).admitted).toBe(true);
    }
  }
});

test('answers name the policies and what is left, as the draft of the IETF says', async () => {
  const { call, clock } = serverFor({ per_s: 2, in_flight: 3 });
  const told = async () => {
    const { status, headers } = await call('/now');
    const [policy, left] = [headers.get('ratelimit-policy'), headers.get('ratelimit')];
    expect(policy).toBe('"per_s";q=2;w=1, "in_flight";q=3;qu="concurrent-requests"');
    return [status, left, headers.get('retry-after')];
  };
  expect(await told()).toEqual([200, '"per_s";r=1;t=1, "in_flight";r=2', null]);
  expect(await told()).toEqual([200, '"per_s";r=0;t=1, "in_flight";r=2', null]);
  expect(await told()).toEqual([429, '"per_s";r=0;t=1, "in_flight";r=3', '1']);
  clock.ms += 500;
  expect(await told()).toEqual([200, '"per_s";r=0;t=1, "in_flight";r=2', null]);
});

test('a refusal is a problem with the seconds to wait, and calls without the scope count', async () => {
  const { call, clock } = serverFor({ per_s: 0.1 });
  expect((await call('/none')).status).toBe(403);
  clock.ms += 2500;
  const refused = await call('/now');
  const { code, status, detail } = (await refused.json()) as Record<string, unknown>;
  expect([refused.status, code, status]).toEqual([429, 'rate_limited', 429]);
  expect(detail).toContain('0.1');
  expect(refused.headers.get('retry-after')).toBe('8');
  expect(refused.headers.get('ratelimit-policy')).toBe('"per_s";q=1;w=10');
  clock.ms += 8000;
  expect((await call('/now')).status).toBe(200);
});

test('a call is in flight until its answer is made, however it ends', async () => {
  const { statusOf, call, waiting } = serverFor({ in_flight: 1 });
  for (const path of ['/now', '/none', '/throws', '/now', '/unknown']) {
    expect(await statusOf(path)).not.toBe(429);
  }
  expect(await statusOf('/now', { method: 'HEAD' })).toBe(200);
  const first = call('/wait');
  const refused = await call('/now');
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
  expect(refused.headers.get('ratelimit')).toBe('"in_flight";r=0');
  waiting.shift()?.(new Response('late'));
  expect((await first).headers.get('ratelimit')).toBe('"in_flight";r=0');
  expect(await statusOf('/now')).toBe(200);

  const left = new AbortController();
  const abandoned = call('/wait', { signal: left.signal });
  left.abort(); // its work goes on
  expect(await statusOf('/now')).toBe(429);
  waiting.shift()?.(new Response('late'));
  await abandoned;
  expect(await statusOf('/now')).toBe(200);
});

test('a stream is in flight until it ends, fails, or its reader leaves', async () => {
  const { statusOf, call, streams, cancelled } = serverFor({ in_flight: 1 });
  const open = async () => {
    const { body, headers } = await call('/stream');
    expect(headers.get('ratelimit')).toBe('"in_flight";r=0');
    expect(await statusOf('/now')).toBe(429);
    return { reader: body?.getReader(), source: streams.at(-1) };
  };
  const whole = await open();
  whole.source?.enqueue(Buffer.from('an event'));
  expect((await whole.reader?.read())?.value).toEqual(new Uint8Array(Buffer.from('an event')));
  expect(await statusOf('/now')).toBe(429);
  whole.source?.close();
  expect((await whole.reader?.read())?.done).toBe(true);
  expect(await statusOf('/now')).toBe(200);

  const left = await open();
  const waits = left.reader?.read();
  await left.reader?.cancel('gone');
  expect([(await waits)?.done, cancelled]).toEqual([true, ['gone']]);
  expect(await statusOf('/now')).toBe(200);

  await (await open()).reader?.cancel('gone again'); // while nobody reads
  expect(cancelled).toEqual(['gone', 'gone again']);
  expect(await statusOf('/now')).toBe(200);

  const failing = await open();
  failing.source?.error(new Error('a bug'));
  await expect(failing.reader?.read()).rejects.toThrow('a bug');
  expect(await statusOf('/now')).toBe(200);

  expect(await statusOf('/stream', { method: 'HEAD' })).toBe(200);
  expect(await statusOf('/now')).toBe(200);
});

test('callers have limits of their own, and those without any have no headers', async () => {
  const limits = new CallLimits(clockAt());
  expect(tried(limits, caller({ per_s: 1 }, 'a')).admitted).toBe(true);
  expect(tried(limits, caller({ per_s: 1 }, 'a')).admitted).toBe(false);
  expect(tried(limits, caller({ per_s: 1 }, 'b')).admitted).toBe(true);
  const { call } = serverFor(undefined);
  const { status, headers } = await call('/now');
  expect([status, headers.has('ratelimit'), headers.has('ratelimit-policy')]).toEqual([
    200,
    false,
    false,
  ]);
});

test('thousands of callers are forgotten once nothing limits them', () => {
  const clock = clockAt();
  const limits = new CallLimits(clock);
  const busy = limits.admit(caller({ in_flight: 1 }, 'busy'));
  for (let i = 0; i < 100_000; i++) {
    clock.ms += 0.1;
    const { release } = tried(limits, caller({ per_s: 2, in_flight: 1 }, `user:${i}`));
    release?.();
    if (i % 1000 === 0) expect(limits.size).toBeLessThan(20_002);
  }
  clock.ms += 5000;
  expect(tried(limits, caller({ in_flight: 1 }, 'busy')).admitted).toBe(false);
  expect(limits.size).toBe(1);
  busy?.release();
  busy?.release();
  expect(tried(limits, caller({ in_flight: 1 }, 'busy')).admitted).toBe(true);
  expect(tried(limits, caller({ in_flight: 1 }, 'busy')).admitted).toBe(false);
});

/** A server of /v1/bulk whose caller may have one call at a time, and may lose the credentials. */
function bulkServer() {
  const state = { known: true };
  const authenticate = () => {
    if (!state.known) throw new RequestError('unauthenticated', 'revoked');
    return caller({ in_flight: 1 });
  };
  const app = new Hono<Env>();
  app.post('/v1/bulk', only('orders:read'), (c) => c.text(`${c.env.body?.length}`));
  const guard = new ScopeGuard(authenticate, store.read);
  const options = { guard, hosts: ['shop.example'] };
  const metrics = collectMetrics('test', '');
  return { state, ...serveRoutes([app], store, metrics, () => {}, options) };
}
const bulk = (host = 'shop.example') => ({
  ...{ method: 'POST', url: 'http://kassa/v1/bulk', headers: new Headers({ host }) },
});

test('a large body is counted once, by its head, and its sender is looked at again at its end', async () => {
  const { state, responder } = bulkServer();
  const identify = async (host?: string) => responder.identify?.(bulk(host));
  const answer = async (sender: Sender | undefined) => {
    const made = await responder.answer(bulk(), new Uint8Array(5), undefined, sender);
    return [made.response.status, Object.fromEntries(made.limited?.headers ?? []).ratelimit];
  };
  await expect(identify('page.example')).rejects.toThrow('host_not_allowed');
  const sender = await identify();
  await expect(identify()).rejects.toThrow('rate_limited');
  expect(await answer(sender)).toEqual([200, '"in_flight";r=0']);
  const revoked = await identify();
  state.known = false;
  expect(await answer(revoked)).toEqual([401, '"in_flight";r=0']);
  await expect(identify()).rejects.toThrow('unauthenticated');
  state.known = true;
  await identify();
});

test('on a platform too a stranger is refused when a body becomes large', async () => {
  const { state, fetch } = bulkServer();
  let read = 0;
  const send = (pieces: number) => {
    read = 0;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      if (read++ === pieces) controller.close();
      else controller.enqueue(new Uint8Array(2 ** 15));
    };
    const body = new ReadableStream({ pull }, { highWaterMark: 0 });
    return fetch(
      new Request('http://kassa/v1/bulk', { method: 'POST', body, headers: bulk().headers }),
    );
  };
  for (let i = 0; i < 40; i++) expect(await (await send(10)).text()).toBe(`${10 * 2 ** 15}`);
  state.known = false;
  expect([(await send(10)).status, read]).toEqual([401, 3]);
});
