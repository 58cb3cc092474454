/** GET /v1/events: pages, waits and filters, for any number of listeners. */
import { afterAll, expect, test } from 'bun:test';
import { expectProblem, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { callsOfV1, lineOf, refused } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const proxy = await open.proxy(database_url);
const kassa = open.kassa({ DATABASE_URL: proxy.database_url });
const { user, item, order } = callsOfV1(kassa);

interface Told {
  id: string;
  type: string;
  created_at: string;
  request_id: string;
  cursor: string;
  data: Record<string, unknown>;
}
const read = async (query: Record<string, unknown>): Promise<{ data: Told[]; next: string }> => {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) text.set(name, `${value}`);
  const { status, body } = await kassa.get(`/v1/events?${text}`);
  expect(status).toBe(200);
  return body;
};
/** Without the cursor, which says when it was given. */
const told = ({ cursor: _, ...event }: Told) => event;
/** The same of a cursor. */
const placeOf = (cursor: string) => cursor.replace(/^c\w+?_/, '');
const latest = async () => (await read({ after: 'latest' })).next;

test('pages of any size have every event once, in one order, and resume at every event', async () => {
  const from = await latest();
  const user_id = await user(1000);
  const item_id = await item(50);
  await times(20, () => order({ user_id, lines: [lineOf(item_id, 1)], checkout: true }));
  const all = (await read({ after: from, limit: 1000 })).data;
  expect(all.length).toBe(2 + 2 * 20);
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  for (const limit of [1, 2, 7]) {
    const paged: Told[] = [];
    for (let after = from; ; ) {
      const { data, next } = await read({ after, limit });
      expect(data.length).toBeLessThanOrEqual(limit);
      paged.push(...data);
      if (data.length === 0) break;
      expect(data.at(-1)?.cursor).toBe(next);
      after = next;
    }
    expect(paged.map(told)).toEqual(all.map(told));
  }
  for (const [i, { cursor }] of all.entries()) {
    const rest = (await read({ after: cursor })).data;
    expect(rest.map(told)).toEqual(all.slice(i + 1, i + 101).map(told));
  }
});

test('an event carries the request that caused it, and its time', async () => {
  const from = await latest();
  const headers = { 'x-request-id': 'the-call' };
  await callsOfV1(kassa).post('/v1/users', { id: 'eve', credit: 3 }, headers);
  const [event] = (await read({ after: from })).data;
  expect(event).toMatchObject({ request_id: 'the-call', data: { user_id: 'eve', credit: 3 } });
});

test('filters leave out the rest, and the cursor goes on behind it', async () => {
  const from = await latest();
  const [ann, bob] = [await user(), await user()];
  const [tea, jam] = [await item(), await item()];
  const { id } = (await order({ user_id: ann, lines: [lineOf(tea, 1)], checkout: true })).body;
  await order({ user_id: bob, lines: [lineOf(jam, 1)], hold_s: 60 });
  const typesOf = async (filter: object) =>
    (await read({ after: from, ...filter })).data.map(({ type }) => type);
  expect(await typesOf({ order_id: id })).toEqual(['order.created', 'order.paid']);
  expect(await typesOf({ user_id: bob })).toEqual([
    ...['user.created', 'order.created', 'order.held'],
  ]);
  expect(await typesOf({ item_id: tea })).toEqual([
    ...['item.created', 'order.created', 'order.paid'],
  ]);
  expect(await typesOf({ type: 'order.held,order.paid' })).toEqual(['order.paid', 'order.held']);
  const { data, next } = await read({ after: from, order_id: 'nobody-has-it' });
  expect([data, placeOf(next)]).toEqual([[], placeOf(await latest())]);
});

test('a call that does not wait sees all that was committed before it', async () => {
  const after = await latest();
  for (let n = 0; n < 3; n++) {
    const user_id = await user();
    const { data } = await read({ after, user_id });
    expect(data.map((event) => event.data.user_id)).toEqual([user_id]);
  }
});

test('where there is nothing yet, a call waits for the first event, and no longer than asked', async () => {
  const from = await latest();
  const waiting = read({ after: from, wait_s: 15 });
  const others = read({ after: from, wait_s: 1, type: 'order.paid' });
  await Bun.sleep(100);
  const id = await user();
  expect((await waiting).data).toMatchObject([{ type: 'user.created', data: { user_id: id } }]);
  expect((await others).data).toEqual([]);
});

test('a hundred listeners cost one reader of the log, and each gets every event', async () => {
  const from = await latest();
  const listen = async () => {
    const seen: string[] = [];
    for (let after = from; seen.length < 5; ) {
      const { data, next } = await read({ after, wait_s: 15, type: 'credit.changed' });
      seen.push(...data.map(({ data: { credit } }) => String(credit)));
      after = next;
    }
    return seen;
  };
  const all = times(100, listen);
  await until(async () => kassa.store.events.listeners() === 100, 'the listeners');
  let reads = 0;
  proxy.observe = (text) => {
    if (text.startsWith('select s.id as stream')) reads++;
  };
  const began = performance.now();
  const id = await user(0);
  for (let i = 1; i <= 5; i++) {
    await kassa.post(`/payment/add_funds/${id}/1`);
    await Bun.sleep(60);
  }
  for (const seen of await all) expect(seen).toEqual(['1', '2', '3', '4', '5']);
  const most = (performance.now() - began) / 50 + 10;
  expect(reads).toBeWithin(1, most);
});

test('while the store is away a call that waits is 503, and the next one misses nothing', async () => {
  const from = await latest();
  const waiting = kassa.get(`/v1/events?after=${from}&wait_s=15`);
  await until(async () => kassa.store.events.listeners() === 1, 'the listener');
  proxy.away = true;
  proxy.cutAll();
  expectProblem(await waiting, 503, 'store_unavailable', '');
  proxy.away = false;
  await until(async () => (await kassa.get('/health/ready')).status === 200, 'the store');
  const id = await user();
  expect((await read({ after: from, wait_s: 5 })).data).toMatchObject([{ data: { user_id: id } }]);
});

test('a type that there is not is refused, wherever it stands', async () => {
  for (const type of [
    'x',
    'order.paid,x',
    'x,order.paid',
    'order.paid,',
    ',order.paid',
    'order.paid,,user.created',
  ]) {
    refused(await kassa.get(`/v1/events?type=${type}`), 400, 'invalid_parameter');
  }
  expect((await read({ type: 'order.paid,user.created' })).next).toStartWith('c');
});

test('what is no cursor is refused, and one that the log cannot continue is 410', async () => {
  for (const query of [
    'after=x',
    'after=',
    'wait_s=16',
    'limit=0',
    'type=order',
    'type=',
    'foo=1',
  ]) {
    refused(await kassa.get(`/v1/events?${query}`), 400, 'invalid_parameter');
  }
  const last = await latest();
  const ahead = last.replace(/\w+$/, 'zzzzzz');
  refused(await kassa.get(`/v1/events?after=${ahead}`), 410, 'cursor_expired');
});

test('a stop ends every wait at once', async () => {
  const own = open.kassa({ DATABASE_URL: database_url });
  const { next } = (await own.get('/v1/events?after=latest')).body;
  const waiting = own.get(`/v1/events?after=${next}&wait_s=15`);
  await until(async () => own.store.events.listeners() === 1, 'the listener');
  own.store.events.release();
  const { data, next: after } = (await waiting).body;
  expect([data, placeOf(after)]).toEqual([[], placeOf(next)]);
  // Whoever asks again goes to another replica.
  refused(await own.get(`/v1/events?after=${next}&wait_s=15`), 503, 'not_ready');
});

test('whoever hangs up frees its place, and HEAD of a stream ends at once', async () => {
  const after = await latest();
  const gone = new AbortController();
  const url = `http://kassa/v1/events?after=${after}&wait_s=15`;
  // It came first, so without the hang-up it would end first.
  const stays = kassa.fetch(new Request(url)).then(() => 'stays');
  const leaves = kassa.fetch(new Request(url, { signal: gone.signal })).then(() => 'leaves');
  await until(async () => kassa.store.events.listeners() === 2, 'both listeners');
  gone.abort();
  expect(await Promise.race([stays, leaves])).toBe('leaves');
  await user();
  await stays;
  const head = await kassa.call('HEAD', '/v1/events', { accept: 'text/event-stream' });
  expect([head.status, head.text]).toEqual([200, '']);
  expect(kassa.store.events.listeners()).toBe(0);
});

test('a stream is for those who accept one', async () => {
  const typeFor = async (accept: string) => {
    const answer = await kassa.fetch(
      new Request('http://kassa/v1/events', { headers: { accept } }),
    );
    await answer.body?.cancel();
    return answer.headers.get('content-type');
  };
  expect(await typeFor('application/json, TEXT/EVENT-STREAM;q=0.5')).toBe('text/event-stream');
  expect(await typeFor('text/event-stream;q=0, */*')).toBe('application/json');
});
