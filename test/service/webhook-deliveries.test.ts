/** The worker of webhooks: signatures, order, completeness, retries, and who may deliver. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { networksIn } from '../../apps/http/networks.ts';
import { startWorker } from '../../apps/webhooks/worker.ts';
import { withConnection } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { LOOPBACK, openReceiver, verify } from '../support/receiver.ts';
import { callsOfV1, lineOf, newId } from '../support/v1.ts';

const file = openUntil(afterAll);
const open = openUntil(afterEach);
const database_url = await file.database();
const kassa = file.kassa({ DATABASE_URL: database_url, WEBHOOK_NETWORKS: LOOPBACK });
const { send, post, user, item, order } = callsOfV1(kassa);
const [user_id, item_id] = [await user(1e9), await item(1e9)];

/** An endpoint with its receiver and, until the end of the test, a worker. */
async function openEndpoint(fields: object = {}) {
  const receiver = open.closing(openReceiver());
  const path = `/v1/webhooks/${newId()}`;
  const put = async (more: object = {}) =>
    (await send('PUT', path, { url: receiver.url, ...fields, ...more })).body;
  const get = async (what = '') => (await kassa.get(path + what)).body;
  await put();
  open.closing({ close: () => kassa.call('DELETE', path) });
  return { receiver, path, put, get, secret: (await get('/secret')).secret };
}

function startDelivering() {
  const worker = startWorker(
    kassa.store,
    networksIn(LOOPBACK),
    () => {},
    () => {},
  );
  open.closing({ close: () => worker.stop() });
  return worker;
}

/** An order with five events, which are made in turns with those of other orders. */
async function sell(): Promise<string> {
  const { id } = (await order({ user_id, lines: [lineOf(item_id, 2)] })).body;
  await send('PUT', `/v1/orders/${id}/lines`, { lines: [lineOf(item_id, 3)] });
  await post(`/v1/orders/${id}/hold`, { ttl_s: 60 });
  await kassa.post(`/v1/orders/${id}/checkout`);
  await post(`/v1/orders/${id}/refunds`, {});
  return id;
}
const STORY = ['created', 'changed', 'held', 'paid', 'refunded'].map((what) => `order.${what}`);

/** Every event behind the cursor, as /v1/events has them. */
async function eventsAfter(cursor: string) {
  const found = [];
  for (let after = cursor; ; ) {
    const { data, next } = (await kassa.get(`/v1/events?limit=1000&after=${after}`)).body;
    if (data.length === 0) return found;
    found.push(...data);
    after = next;
  }
}

test('every event arrives signed, each order’s in their order, never two of one at once', async () => {
  const { receiver, get, secret } = await openEndpoint();
  const { cursor } = await get();
  receiver.answer = () => Bun.sleep(Math.random() * 5).then(() => 200);
  startDelivering();
  const orders = await Promise.all(Array.from({ length: 20 }, sell));
  const events = await eventsAfter(cursor);
  await until(() => receiver.accepted().length >= events.length, 'all events');
  for (const { created_at, ...event } of events) {
    const came = receiver.accepted().find(({ id }) => id === event.id);
    expect(came?.event).toEqual({ ...event, timestamp: created_at, cursor: expect.any(String) });
  }
  expect(receiver.taken.length).toBe(events.length);
  for (const id of orders) {
    const own = receiver.taken.filter(({ key }) => key === id);
    expect(own.map(({ event }) => event.type as string)).toEqual(STORY);
  }
  expect(receiver.overlaps).toBe(0);
  for (const one of receiver.taken) {
    verify(one, secret);
    expect(() => verify({ ...one, text: `${one.text} ` }, secret)).toThrow();
    expect(one.headers.get('webhook-id')).toBe(one.id);
  }
});

test('behind an event that fails those of its order wait, the others go on', async () => {
  const { receiver, get } = await openEndpoint();
  const ill = await sell();
  let well = false;
  receiver.answer = ({ key, event }) =>
    key === ill && event.type === 'order.changed' && !well ? 500 : 200;
  const after = (await get()).cursor;
  startDelivering();
  const other = await sell();
  const of = (id: string) => receiver.accepted().filter(({ key }) => key === id);
  await until(() => of(other).length === STORY.length, 'the other order');
  await until(async () => (await get()).waiting === 4, 'four events that wait');
  expect(of(ill).map(({ event }) => event.type as string)).toEqual(['order.created']);
  const { data } = await get('/deliveries');
  const failed = data.find((one: { attempts: number }) => one.attempts > 0);
  expect(failed).toMatchObject({ type: 'order.changed', state: 'waiting' });
  expect(failed.error).toBe('the receiver answered 500');
  expect(failed.payload.id).toBe(failed.event_id);
  well = true;
  await until(() => of(ill).length === STORY.length, 'the rest of the order');
  expect(of(ill).map(({ event }) => event.type as string)).toEqual(STORY);
  await until(async () => (await get()).waiting === 0, 'nothing to wait');
  expect((await get()).cursor).not.toBe(after);
  expect(receiver.overlaps).toBe(0);
});

test('only wanted types come, and what happened while it was disabled comes later', async () => {
  const { receiver, put } = await openEndpoint({ types: ['order.paid', 'order.refunded'] });
  const worker = startDelivering();
  const leased = async () => (await worker.state())?.leased;
  await until(async () => (await leased()) === 1, 'the lease');
  await put({ state: 'disabled' });
  await until(async () => (await leased()) === 0, 'the end of the lease');
  const id = await sell();
  // A worker takes another endpoint meanwhile, and delivers to it, but not to this one.
  const other = await openEndpoint();
  await sell();
  await until(() => other.receiver.taken.length > 0, 'the other endpoint');
  expect(receiver.taken).toEqual([]);
  await put({ state: 'enabled' });
  const came = () => receiver.accepted().filter(({ key }) => key === id);
  await until(() => came().length >= 2, 'two events');
  expect(came().map(({ event }) => event.type)).toEqual(['order.paid', 'order.refunded']);
});

test('410 switches the endpoint off; once it is on again nothing is missing', async () => {
  const { receiver, put, get } = await openEndpoint({ types: ['order.paid'] });
  receiver.answer = () => 410;
  startDelivering();
  const id = await sell();
  await until(async () => (await get()).state === 'disabled', 'the end');
  expect((await get()).reason).toContain('410');
  receiver.answer = () => 200;
  expect(await put({ state: 'enabled' })).not.toHaveProperty('reason');
  await until(() => receiver.accepted().some(({ key }) => key === id), 'the event');
});

test('after a rotation both secrets sign; a receiver may have either', async () => {
  const { receiver, path, get, secret } = await openEndpoint({ types: ['order.paid'] });
  const { secret: newer, previous } = (await kassa.post(`${path}/secret`)).body;
  expect(previous).toEqual([{ secret, valid_until: expect.any(String) }]);
  expect(await get('/secret')).toEqual({ secret: newer, previous });
  startDelivering();
  await sell();
  await until(() => receiver.taken.length > 0, 'the event');
  for (const one of receiver.taken) for (const each of [secret, newer]) verify(one, each);
  for (const one of receiver.taken) {
    expect(() => verify(one, `whsec_${btoa('x'.repeat(32))}`)).toThrow();
  }
});

test('an event that failed for three days is given up, can be seen, and sent again', async () => {
  const { receiver, path, get } = await openEndpoint({ types: ['order.paid', 'order.refunded'] });
  receiver.answer = ({ event }) => (event.type === 'order.paid' ? 500 : 200);
  startDelivering();
  const id = await sell();
  await until(async () => (await get()).waiting === 2, 'two events that wait');
  await withConnection(
    ({ sql }) => sql`
      update webhook_deliveries
      set first_s = first_s - 260000, next_s = 1, attempts = 9
      where webhook_id = ${path.slice('/v1/webhooks/'.length)}`,
    database_url,
  );
  expect((await post(`${path}/redeliver`, {})).body).toEqual({ events: 2 });
  await until(async () => (await get()).dead === 1, 'a dead one');
  await until(() => receiver.accepted().length === 1, 'the one behind it');
  const { data } = await get('/deliveries?state=dead');
  expect(data).toMatchObject([
    { type: 'order.paid', state: 'dead', payload: { data: { order_id: id } } },
  ]);
  expect((await get('/deliveries?state=waiting')).data).toEqual([]);
  receiver.answer = () => 200;
  const event_ids = [data[0].event_id];
  expect((await post(`${path}/redeliver`, { event_ids })).body).toEqual({ events: 1 });
  await until(() => receiver.accepted().length === 2, 'the dead one');
  await until(async () => (await get()).dead === 0, 'none dead');
});

test('a replay sends what is kept again, with the same ids', async () => {
  const { receiver, path, get } = await openEndpoint({ types: ['order.paid'] });
  startDelivering();
  const id = await sell();
  await until(() => receiver.taken.some(({ key }) => key === id), 'the event');
  const { cursor } = await get();
  await sell();
  await until(() => receiver.accepted().length >= 2, 'the second');
  const before = receiver.taken.length;
  await post(`${path}/replay`, { after: cursor });
  await until(() => receiver.taken.length > before, 'the second again');
  expect(receiver.taken.at(-1)?.id).toBe(receiver.accepted().at(-1)?.id ?? '');
  await post(`${path}/replay`, { after: 'oldest' });
  await until(() => receiver.taken.filter(({ key }) => key === id).length > 1, 'the first again');
});

test('an outage in which all that waited was given up ends by itself', async () => {
  const { receiver, path, get } = await openEndpoint({ types: ['order.paid'] });
  receiver.answer = () => 503;
  startDelivering();
  await Promise.all(Array.from({ length: 6 }, sell));
  await until(async () => (await get()).failing_since !== undefined, 'the outage');
  const id = path.slice('/v1/webhooks/'.length);
  await withConnection(async ({ sql }) => {
    await sql`update webhook_deliveries set dead_s = 1 where webhook_id = ${id}`;
    await sql`update webhooks set version = version + 1 where id = ${id}`;
  }, database_url);
  receiver.answer = () => 200;
  const last = await sell();
  await until(() => receiver.accepted().some(({ key }) => key === last), 'the next event');
  await until(async () => (await get()).failing_since === undefined, 'the end of the outage');
  expect(await get()).toMatchObject({ waiting: 0, dead: 6 });
});

test('while the receiver is away one event is tried now and then, and all at its return', async () => {
  const { receiver, get } = await openEndpoint({ types: ['order.paid'] });
  receiver.answer = () => 503;
  startDelivering();
  await Promise.all(Array.from({ length: 40 }, sell));
  await until(async () => (await get()).failing_since !== undefined, 'the outage');
  const tried = receiver.taken.length;
  expect(tried).toBeLessThan(40);
  await Promise.all(Array.from({ length: 10 }, sell));
  await until(() => receiver.taken.length > tried, 'a try');
  // One that waits, and the next one of the log, at each of at most two tries.
  expect(receiver.taken.length).toBeLessThanOrEqual(tried + 4);
  receiver.answer = () => 200;
  await until(() => receiver.accepted().length >= 50, 'all events');
  expect(receiver.overlaps).toBe(0);
});

test('while the receiver is away the lag never falls, whatever is tried', async () => {
  const { receiver, get } = await openEndpoint({ types: ['order.paid'] });
  receiver.answer = () => 503;
  const worker = startDelivering();
  await Promise.all(Array.from({ length: 20 }, sell));
  await until(async () => (await get()).failing_since !== undefined, 'the outage');
  await Promise.all(Array.from({ length: 20 }, sell));
  const lag = async () => (await worker.state())?.lag_s ?? 0;
  await until(async () => (await lag()) > 0, 'a lag');
  const tried = receiver.taken.length;
  const lags: number[] = [];
  const watched = async () => lags.push(await lag()) > 0 && receiver.taken.length >= tried + 2;
  await until(watched, 'a try');
  for (let i = 0; i < 20; i++) {
    lags.push(await lag());
    await Bun.sleep(50);
  }
  expect(Math.min(...lags)).toBeGreaterThan(0);
  receiver.answer = () => 200;
  await until(async () => (await lag()) === 0, 'its end');
});

test('a store that is silent does not hold up a scrape', async () => {
  const summary = () => new Promise<never>(() => {});
  const { events, webhooks } = kassa.store;
  const store = { events, webhooks: { ...webhooks, leases: { ...webhooks.leases, summary } } };
  const worker = startWorker(
    store,
    networksIn(LOOPBACK),
    () => {},
    () => {},
  );
  open.closing({ close: () => worker.stop() });
  expect(await Promise.race([worker.state(), Bun.sleep(3000).then(() => 'late')])).toBeUndefined();
});

test('events that a receiver never takes keep back their own orders only', async () => {
  const { receiver, get } = await openEndpoint({ types: ['order.paid'] });
  const ill = new Set<string>();
  receiver.answer = ({ key }) => (ill.has(key) ? 500 : 200);
  startDelivering();
  for (const id of await Promise.all(Array.from({ length: 8 }, sell))) ill.add(id);
  await post(`/v1/webhooks/${(await get()).id}/replay`, { after: 'oldest' });
  await until(async () => (await get()).waiting >= 5, 'those that wait');
  for (let n = 0; n < 3; n++) {
    const well = await sell();
    await until(() => receiver.accepted().some(({ key }) => key === well), 'the next order');
  }
  expect((await get()).waiting).toBeWithin(1, 9);
});

test('answers that concern one event, such as 422, never count as an outage', async () => {
  const { receiver, get } = await openEndpoint({ types: ['order.paid'] });
  receiver.answer = () => 422;
  startDelivering();
  await Promise.all(Array.from({ length: 12 }, sell));
  await until(async () => (await get()).waiting === 12, 'all to wait');
  expect(receiver.taken.length).toBeGreaterThanOrEqual(12);
  expect(await get()).not.toHaveProperty('failing_since');
});

test('a request that hangs does not hold up the others, and is not sent twice at once', async () => {
  const { receiver, get } = await openEndpoint({ types: ['order.paid', 'order.refunded'] });
  const answered = Promise.withResolvers<number>();
  let hanging = '';
  receiver.answer = ({ key, event }) => {
    if (hanging === '' && event.type === 'order.paid') hanging = key;
    return key === hanging && event.type === 'order.paid' ? answered.promise : 200;
  };
  startDelivering();
  await Promise.all(Array.from({ length: 30 }, sell));
  await until(() => receiver.accepted().length === 2 * 29, 'all others');
  const last = await sell();
  await until(() => receiver.accepted().some(({ key }) => key === last), 'one that came later');
  expect((await get()).waiting).toBe(2);
  answered.resolve(200);
  await until(() => receiver.accepted().length === 2 * 31, 'the rest');
  await until(async () => (await get()).waiting === 0, 'nothing to wait');
  expect([receiver.taken.length, receiver.overlaps]).toEqual([2 * 31, 0]);
});

test('an endpoint whose events were deleted is disabled, says so, and goes on after a replay', async () => {
  const { path, get, put, receiver } = await openEndpoint({ types: ['order.paid'] });
  const id = path.slice('/v1/webhooks/'.length);
  await withConnection(
    ({ sql }) => sql`update webhooks set cursor = 'c1_0.1', version = version + 1 where id = ${id}`,
    database_url,
  );
  startDelivering();
  await until(async () => (await get()).state === 'disabled', 'the end');
  expect((await get()).reason).toContain('may have been deleted');
  await post(`${path}/replay`, { after: 'latest' });
  await put({ state: 'enabled' });
  const last = await sell();
  await until(() => receiver.accepted().some(({ key }) => key === last), 'the next order');
});

test('what happens later to an order waits behind its event that failed before', async () => {
  const { receiver, get } = await openEndpoint();
  let well = false;
  receiver.answer = ({ event }) => (event.type === 'order.paid' && !well ? 500 : 200);
  startDelivering();
  const { id } = (await order({ user_id, lines: [lineOf(item_id, 1)], checkout: true })).body;
  await until(async () => (await get()).waiting === 1, 'the event that fails');
  await post(`/v1/orders/${id}/refunds`, {});
  await until(async () => (await get()).waiting === 2, 'the one behind it');
  expect(receiver.accepted().some(({ event }) => event.type === 'order.refunded')).toBeFalse();
  well = true;
  const of_it = () => receiver.accepted().filter(({ key }) => key === id);
  await until(() => of_it().length === 3, 'all three');
  expect(of_it().map(({ event }) => event.type as string)).toEqual([
    ...['order.created', 'order.paid', 'order.refunded'],
  ]);
});
