/** Reads of the log that wait for their turn: how many, for how long, and for whom. */
import { expect, test } from 'bun:test';
import { eventRoutes } from '../../apps/events/routes.ts';
import { Connection } from '../../apps/http/connection.ts';
import type { Responder } from '../../apps/http/exchange.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { platformFetch } from '../../apps/http/platform.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import { readLog } from '../../apps/webhooks/read-log.ts';
import type { ReadPool, Trying } from '../../db/connection/pool.ts';
import { Failure } from '../../db/failure.ts';
import type { Cursor } from '../../db/reads/cursor.ts';
import { type EventLog, eventLog, type WantedEvents } from '../../db/reads/events.ts';
import type { Store } from '../../db/store.ts';
import { until } from '../support/process.ts';

/** After everything that waits for nothing but its turn. */
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

const ROW = {
  ...{ stream: 1, position: 1, at: 1, now_s: 1000, found: 1 },
  events: '[{"type":"user.created","at":1,"user_id":"ann"}]',
};
/** Places where the event of the row is next. */
const place = (number = 0): Cursor => ({
  given_s: 1000,
  positions: new Map(number === 0 ? [] : [[number + 1, 1]]),
  within: new Map(),
});
/** What has been answered by now. */
const nowOf = <T>(...answers: Promise<T>[]) =>
  Promise.all(answers.map((one) => Promise.race([one, settled().then(() => 'waits' as const)])));

/** As many as may wait for a turn. */
const PLACES = 128;
/** Reads of callers without a name that run at once. */
const AT_ONCE = 3;

/** A log in a store that answers when it is told to. */
function stage(deadline_ms = 60_000) {
  const running: (() => void)[] = [];
  const deadlines: number[] = [];
  const read = (_: unknown, trying?: Trying) => {
    deadlines.push(trying?.deadline_at ?? Infinity);
    return new Promise((resolve) => running.push(() => resolve([ROW])));
  };
  const log = eventLog({ read } as unknown as ReadPool, 72, deadline_ms);
  /** @returns the code of its failure, or the number of events */
  const ask = (wanted: Partial<WantedEvents> = {}, at = 0): Promise<string | number> =>
    log.read(place(at), { limit: 1, matches: () => true, wait_ms: 0, ...wanted }).then(
      ({ events }) => events.length,
      ({ code }) => code,
    );
  const fill = () => Array.from({ length: AT_ONCE + PLACES }, () => ask());
  const endAll = async () => {
    for (; running.length > 0; await settled()) running.shift()?.();
  };
  const busy = () => Array.from({ length: AT_ONCE }, () => ask());
  return { log, ask, fill, busy, endAll, begun: () => deadlines.length, running, deadlines };
}

test('so many pages wait and no more, and all of them are read', async () => {
  const { ask, fill, endAll, begun } = stage();
  const all = fill();
  expect([begun(), ...(await nowOf(ask()))]).toEqual([AT_ONCE, 'overloaded']);
  await endAll();
  expect(new Set(await Promise.all(all))).toEqual(new Set([1]));
});

test('a page whose client leaves gives up its place at once, and is never read', async () => {
  const { ask, fill, busy, endAll, begun } = stage();
  const running = busy();
  const gone = new AbortController();
  const left = Array.from({ length: PLACES }, () => ask({ signal: gone.signal }));
  expect(await nowOf(ask())).toEqual(['overloaded']);
  gone.abort();
  expect(new Set(await nowOf(...left))).toEqual(new Set(['overloaded']));
  expect(await nowOf(ask({ signal: gone.signal }))).toEqual(['overloaded']);
  const others = fill().slice(0, PLACES);
  await endAll();
  expect(await Promise.all([...running, ...others])).not.toContain('overloaded');
  expect(begun()).toBe(AT_ONCE + PLACES);
});

test('a page has its turn and its answer by the deadline, or is refused', async () => {
  const { ask, busy, endAll, deadlines } = stage(5);
  const before = performance.now();
  const running = busy();
  const after = performance.now();
  const control = Bun.sleep(5000).then(() => 'waits'); // for much longer
  expect(await Promise.race([ask(), control])).toBe('overloaded');
  await endAll();
  expect(await Promise.all(running)).toEqual([1, 1, 1]);
  expect(deadlines.length).toBe(AT_ONCE);
  for (const one of deadlines) expect(one).toBeWithin(before + 5, after + 6);
});

test('a call that waits does not wait in the line of another caller', async () => {
  const { ask, endAll, begun, running } = stage();
  const all = [1, 2, 3, 4].map((at) => ask({ principal: 'a' }, at));
  all.push(ask({ principal: 'a', wait_ms: 60_000 }));
  expect(begun()).toBe(2);
  const other = ask({ principal: 'b', wait_ms: 60_000 });
  expect(begun()).toBe(3);
  running.pop()?.();
  expect(await other).toBe(1);
  await endAll();
  expect(new Set(await Promise.all(all))).toEqual(new Set([1]));
  expect(begun()).toBe(5); // the one that waited had what the other had read
});

test('calls of one caller that wait at one place share a turn, until the last of them leaves', async () => {
  const { ask, busy, endAll, begun } = stage();
  const pages = busy();
  const [gone, others_gone] = [new AbortController(), new AbortController()];
  const wait = (signal: AbortSignal, at: number) => ask({ wait_ms: 60_000, signal }, at);
  const left = Array.from({ length: 2 * PLACES }, () => wait(gone.signal, 1));
  const stays = wait(others_gone.signal, 1);
  const all_left = [wait(gone.signal, 2), wait(gone.signal, 2)];
  await settled();
  gone.abort();
  expect(new Set(await nowOf(...left, ...all_left))).toEqual(new Set(['overloaded']));
  expect(await nowOf(stays)).toEqual(['waits']);
  await endAll();
  expect(await nowOf(stays, ...pages)).toEqual([1, 1, 1, 1]);
  expect(begun()).toBe(AT_ONCE + 1);
});

test('a call that waits tries again while too many others are read', async () => {
  const { ask, fill, endAll } = stage();
  const pages = fill();
  let answer: string | number | undefined;
  void ask({ wait_ms: 60_000 }, 1).then((one) => (answer = one));
  await settled();
  expect(answer).toBeUndefined();
  await endAll();
  await Promise.all(pages);
  await until(async () => {
    await endAll();
    return answer !== undefined;
  }, 'its answer');
  expect(answer).toBe(1);
});

test('what a filter has left out is not read again although the search ended', async () => {
  const { log, ask, endAll, running } = stage();
  const gone = new AbortController();
  const wanted = { limit: 1, matches: () => false, wait_ms: 0, signal: gone.signal };
  const searching = log.read(place(), wanted);
  const pages = [ask(), ask(), ask()];
  running.shift()?.();
  await settled(); // it waits for its next turn
  gone.abort();
  const { events, cursor } = await searching;
  expect([events, cursor.positions.get(1)]).toEqual([[], 1]);
  await endAll();
  await Promise.all(pages);
});

const BUSY = new Failure('overloaded', 'too many events are being read');

/** The service with a log that answers so. */
function serve(events: Partial<EventLog>): Responder {
  const log = { oldest: async () => place(), join: () => () => {}, release() {}, ...events };
  const store = { events: log } as unknown as Store;
  const metrics = collectMetrics('test', 'test');
  return serveRoutes([eventRoutes(store)], store, metrics, () => {}).responder;
}
const asking = (accept = '*/*') => ({
  ...{ method: 'GET', url: 'http://kassa/v1/events' },
  headers: new Headers({ accept }),
});

test('in a busy moment a page is refused, and a stream begins all the same, and goes on', async () => {
  let reads = 0;
  const read = async (): ReturnType<EventLog['read']> => {
    if (reads++ < 2) throw BUSY;
    return {
      events: [{ id: '1-1-0', event: JSON.parse(ROW.events)[0], cursor: place(1) }],
      cursor: place(1),
    };
  };
  const { answer } = serve({ read });
  expect((await answer(asking(), undefined)).response.status).toBe(429);
  const { response } = await answer(asking('text/event-stream'), undefined);
  expect(response.status).toBe(200);
  const parts = response.body?.getReader();
  const next = async () => new TextDecoder().decode((await parts?.read())?.value);
  expect(await next()).toStartWith('retry: ');
  expect(await next()).toContain('event: user.created');
  await parts?.cancel();
});

test.each(['*/*', 'text/event-stream'])(
  'a client of %s that leaves before its read begins is not waited for',
  async (accept) => {
    const oldest = Promise.withResolvers<Cursor>();
    const asked: (boolean | undefined)[] = [];
    let [begun, listening] = [false, 0];
    const { answer } = serve({
      oldest() {
        begun = true;
        return oldest.promise;
      },
      join: () => {
        listening++;
        return () => void listening--;
      },
      read: (_, { signal }) => {
        asked.push(signal?.aborted);
        return Promise.reject(BUSY);
      },
    });
    const gone: (() => void)[] = [];
    const answering = answer(asking(accept), undefined, (call) => gone.push(call));
    await until(() => begun, 'the call');
    for (const call of gone) call();
    oldest.resolve(place());
    const { response } = await answering;
    await response.body?.cancel();
    expect([asked, listening <= 0]).toEqual([[true], true]);
  },
);

/** Tells that its client has left when it is asked for, which is late. */
function lateListener() {
  const asked = Promise.withResolvers<void>();
  let [begun, told] = [false, false];
  const responder: Responder = {
    async answer(_, _body, whenGone) {
      begun = true;
      await asked.promise;
      whenGone?.(() => (told = true));
      return { response: new Response(''), request_id: '', last: false };
    },
    refuse: () => expect.unreachable('it is a request'),
  };
  return { responder, begun: () => begun, ask: asked.resolve, told: () => told };
}

test('a client that left before the route listened for it has left, on a platform too', async () => {
  const nothing = () => {};
  const socket = {
    ...{ write: () => 0, shutdown: nothing, end: nothing },
    ...{ terminate: nothing, pause: nothing, resume: nothing },
  };
  const ours = lateListener();
  const connection = new Connection(socket, ours.responder);
  connection.receive(Buffer.from('GET / HTTP/1.1\r\nHost: kassa\r\n\r\n'));
  await until(ours.begun, 'the request');
  connection.closed();
  ours.ask();
  await settled();
  expect(ours.told()).toBe(true);
  const platforms = lateListener();
  const gone = new AbortController();
  const request = new Request('http://kassa/', { signal: gone.signal });
  const answering = platformFetch(platforms.responder)(request);
  await until(platforms.begun, 'the request');
  gone.abort();
  platforms.ask();
  expect([(await answering).status, platforms.told()]).toEqual([200, true]);
});

test('an endpoint of webhooks goes on although its log was not read, unless something is wrong', async () => {
  const wanted = { limit: 1, matches: () => true, wait_ms: 0 };
  const failing = (code: 'overloaded' | 'cursor_expired') => ({
    read: () => Promise.reject(new Failure(code, 'it fails')),
  });
  const ended = AbortSignal.abort(); // so that it does not pause
  expect(await readLog(failing('overloaded'), place(), wanted, ended)).toBeUndefined();
  await expect(readLog(failing('cursor_expired'), place(), wanted, ended)).rejects.toThrow();
});
