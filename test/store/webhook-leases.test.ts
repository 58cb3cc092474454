/** Leases of endpoints: who may write what became of deliveries. */
import { afterAll, expect, test } from 'bun:test';
import type { Leased } from '../../db/webhooks/leases.ts';
import type { Round } from '../../db/webhooks/rounds.ts';
import { withConnection } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, newId } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url });
const { endpoints, leases, deliveries } = kassa.store.webhooks;
const proxy = await open.proxy(database_url);
/** Its statements may come late. */
const slow = open.kassa({ DATABASE_URL: proxy.database_url });
const put = (id: string, description = 'x') =>
  callsOfV1(kassa).send('PUT', `/v1/webhooks/${id}`, { url: 'https://a.example', description });

async function acquired(id: string): Promise<Leased> {
  const leased = await leases.acquire(id, 60_000);
  if (!leased) throw new Error('the endpoint has no lease for it');
  return leased;
}

const round = (number: number, cursor: string, event_id = newId()): Round => ({
  ...{ number, cursor, failing_since_s: null, disabled: null, changed: [], delivered: [] },
  added: [
    {
      ...{ event_id, key: 'order 1', seq: 1, type: 'order.paid', attempts: 1, first_s: 1 },
      ...{ tried_s: 1, next_s: 1, error: 'away "there"', dead_s: null, payload: '{"a":"{b}"}' },
    },
  ],
});

const expire = (id: string) =>
  withConnection(
    ({ sql }) =>
      sql`update webhooks set lease_until = now() - interval '1 second' where id = ${id}`,
    database_url,
  );
const renews = async ({ lease }: Leased) => (await leases.renew([lease], 60_000)).has(lease);

test('one worker has an endpoint until its lease ends; then only the next one writes', async () => {
  const id = newId();
  await put(id);
  const first = await acquired(id);
  expect(await leases.acquire(id, 60_000)).toBeUndefined();
  expect(await leases.available()).not.toContain(id);
  await expire(id);
  expect(await leases.available()).toContain(id);
  expect(await leases.finish(first.lease, round(1, 'c1'))).toBe(true); // nobody else has it
  const second = await acquired(id);
  expect(await renews(first)).toBe(false);
  expect(await leases.finish(first.lease, round(2, 'c2'))).toBe(false);
  await leases.release(first.lease);
  expect(await leases.acquire(id, 60_000)).toBeUndefined();
  expect(await renews(second)).toBe(true);
  await leases.release(second.lease);
  expect(await acquired(id)).toMatchObject({ cursor: 'c1', round: 1 });
});

type Change = (id: string) => Promise<unknown>;
test.each<[string, Change]>([
  ['it was changed', (id) => put(id, 'y')],
  ['it has a new secret', (id) => endpoints.addSecret(id, 'whsec_x')],
  ['it goes on elsewhere', (id) => endpoints.move(id, 'c9')],
  ['its deliveries are sent again', (id) => deliveries.redeliver(id)],
  ['it was removed', (id) => endpoints.remove(id)],
  ['it was removed and made again', (id) => endpoints.remove(id).then(() => put(id))],
])('a worker writes nothing after %s', async (_, change) => {
  const id = newId();
  await put(id);
  const leased = await acquired(id);
  await change(id);
  const before = await endpoints.find(id);
  expect(await renews(leased)).toBe(false);
  expect(await leases.finish(leased.lease, { ...round(1, 'c1'), disabled: 'away' })).toBe(false);
  expect(await endpoints.find(id)).toEqual(before as NonNullable<typeof before>);
  expect(await deliveries.list(id, 10, '')).toEqual([]);
});

test('a PUT that changes nothing does not disturb the worker', async () => {
  const id = newId();
  await put(id);
  const leased = await acquired(id);
  await put(id);
  expect(await renews(leased)).toBe(true);
});

test('while an endpoint that was removed may still be sent to, nobody sends to its successor', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id);
  await endpoints.remove(id);
  expect(await endpoints.find(id)).toBeUndefined();
  await put(id);
  expect(await leases.acquire(id, 60_000)).toBeUndefined();
  await leases.release(lease);
  expect(await acquired(id)).toMatchObject({ round: 0 });
});

test('a round that is written twice, since its answer was lost, is the same as once', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id);
  const first = round(1, 'c1', 'a');
  for (const _ of [1, 2]) expect(await leases.finish(lease, first)).toBe(true);
  expect(await leases.payloads(lease, ['a', 'b'], 1000)).toEqual(new Map([['a', '{"a":"{b}"}']]));
  const dead = {
    ...round(2, 'c2'),
    added: [],
    changed: [{ ...first.added[0], dead_s: 5 }],
  } as Round;
  for (const _ of [1, 2]) expect(await leases.finish(lease, dead)).toBe(true);
  expect(await endpoints.find(id)).toMatchObject({ waiting: 0, dead: 1, cursor: 'c2' });
  const sent = { ...round(3, 'c3'), added: [], delivered: ['a'] };
  for (const _ of [1, 2]) expect(await leases.finish(lease, sent)).toBe(true);
  expect(await endpoints.find(id)).toMatchObject({ waiting: 0, dead: 0, cursor: 'c3' });
  expect(await leases.finish(lease, first)).toBe(false); // a late copy of the first
  expect(await endpoints.find(id)).toMatchObject({ waiting: 0, cursor: 'c3' });
});

test('payloads are read up to a number of bytes, and what waits is told in its order', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id);
  const [one] = round(1, 'c1').added;
  const added = ['c', 'b', 'a'].map((event_id, seq) => ({ ...one, event_id, seq }) as never);
  await leases.finish(lease, { ...round(1, 'c1'), added });
  const size = '{"a":"{b}"}'.length;
  const read = async (bytes: number) =>
    [...(await leases.payloads(lease, ['a', 'b', 'c'], bytes)).keys()].sort();
  expect(await read(size)).toEqual(['c']);
  expect(await read(size + 1)).toEqual(['b', 'c']);
  await leases.release(lease);
  const { waiting } = await acquired(id);
  expect(waiting.map(({ event_id }) => event_id)).toEqual(['c', 'b', 'a']);
  expect(waiting[0]).toMatchObject({ error: 'away "there"', attempts: 1, dead_s: null });
});

test('what a removal has left behind is gone before the endpoint is made again', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id);
  await leases.finish(lease, round(1, 'c1'));
  const { secret } = (await endpoints.secrets(id))[0] ?? {};
  await withConnection(
    ({ sql }) => sql`update webhooks set state = 'deleted' where id = ${id}`, // and died
    database_url,
  );
  expect(await endpoints.find(id)).toBeUndefined();
  await put(id);
  expect(await endpoints.find(id)).toMatchObject({ state: 'enabled', waiting: 0 });
  const [newer, ...others] = await endpoints.secrets(id);
  expect(newer?.secret).toStartWith('whsec_');
  expect([newer?.secret === secret, others]).toEqual([false, []]);
});

test('removals and PUTs of one name at the same time leave it whole or gone', async () => {
  const id = newId();
  for (let i = 0; i < 30; i++) {
    await put(id, `${i}`);
    const pause = Bun.sleep(Math.random() * 3);
    const [, made] = await Promise.all([endpoints.remove(id), pause.then(() => put(id, 'new'))]);
    const found = await endpoints.find(id);
    const secrets = await endpoints.secrets(id);
    expect([made.status, secrets.length]).toEqual([200, found ? 1 : 0]);
  }
});

test('a PUT answers what it has made, though a removal comes before its answer', async () => {
  const id = newId();
  let [is_made, is_removed] = [false, false];
  proxy.disturb = (text) => {
    if (text.includes('insert into webhooks')) is_made = true;
    if (!is_made || is_removed || !text.startsWith('select w.id')) return 'pass';
    void endpoints.remove(id).then((removed) => {
      is_removed ||= removed;
    });
    return 'cut';
  };
  const wanted = { url: 'https://a.example', types: null, description: 'x', state: null };
  const fresh = { secret: 'whsec_a', cursor: 'c1' };
  const made = await slow.store.webhooks.endpoints.put(id, wanted, fresh);
  expect(is_removed).toBe(true);
  expect(made).toMatchObject({ ...wanted, ...{ id, state: 'enabled', cursor: 'c1', waiting: 0 } });
  expect(await endpoints.find(id)).toBeUndefined();
});

test('concurrent PUTs of a new name make one secret, and what was disabled stays so', async () => {
  const id = newId();
  await Promise.all(Array.from({ length: 10 }, () => put(id)));
  expect(await endpoints.secrets(id)).toHaveLength(1);
  const { send } = callsOfV1(kassa);
  const path = `/v1/webhooks/${id}`;
  await send('PUT', path, { url: 'https://a.example', state: 'disabled' });
  const { body } = await send('PUT', path, { url: 'https://b.example' });
  expect(body).toMatchObject({ url: 'https://b.example', state: 'disabled' });
});

test('a late copy of a removal takes nothing of the endpoint that was made since', async () => {
  const id = newId();
  await put(id);
  let left = 1;
  proxy.late_ms = 100;
  proxy.disturb = (text) =>
    text.startsWith('delete from webhook_secrets') && left-- > 0 ? 'late' : 'pass';
  expect(await slow.store.webhooks.endpoints.remove(id)).toBe(true); // its answer was lost once
  await put(id);
  await Bun.sleep(300); // the copy has come by now
  expect(await endpoints.secrets(id)).toHaveLength(1);
});

test('a PUT that comes while the endpoint is being removed does not revive it with what it had', async () => {
  const id = newId();
  await put(id);
  const [old] = await endpoints.secrets(id);
  const { sql } = await open.connection(database_url);
  await sql`begin`;
  await sql`update webhooks set state = 'deleted' where id = ${id}`;
  const wanted = { url: 'https://b.example', types: null, description: null, state: null };
  const made = endpoints.put(id, wanted, { secret: 'whsec_b', cursor: 'c1' });
  await Bun.sleep(100); // it waits for the row
  await sql`commit`;
  expect(await made).toMatchObject({ url: 'https://b.example', cursor: 'c1' });
  const secrets = await endpoints.secrets(id);
  expect([secrets.length, secrets[0]?.secret === old?.secret]).toEqual([1, false]);
});

test.each([
  ['a', 'b'],
  ['b', 'a'],
])(
  'what is sent again while a worker writes that it failed is sent: %s is held, %s sent',
  async (held, again) => {
    const id = newId();
    await put(id);
    const { lease } = await acquired(id);
    const added = ['a', 'b'].flatMap((event_id) => round(1, 'c1', event_id).added);
    await leases.finish(lease, { ...round(1, 'c1'), added });
    const { sql } = await open.connection(database_url);
    await sql`begin`;
    await sql`select 1 from webhook_deliveries where webhook_id = ${id} and event_id = ${held} for update`;
    const changed = added.map((one) => ({ ...one, attempts: 9, next_s: 9, dead_s: 5 }));
    const finished = leases.finish(lease, { ...round(2, 'c2'), added: [], changed });
    await Bun.sleep(100); // it waits for the row that is held, and may have written the other one
    const sent = deliveries.redeliver(id, [again]);
    await Bun.sleep(100);
    await sql`commit`;
    expect([await finished, await sent]).toEqual([true, 1]);
    const listed = await deliveries.list(id, 10, '');
    expect(listed.find(({ event_id }) => event_id === again)).toMatchObject({
      next_s: 0,
      dead_s: null,
    });
  },
);

test('a late copy of what a worker wrote takes back nothing of what is sent again since', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id);
  await leases.finish(lease, round(1, 'c1', 'a'));
  const changed = round(1, 'c1', 'a').added.map((one) => ({ ...one, next_s: 9, dead_s: 5 }));
  let left = 1;
  proxy.late_ms = 500; // behind what is sent again
  proxy.disturb = (text) =>
    text.includes('update webhook_deliveries as d') && left-- > 0 ? 'late' : 'pass';
  const failed = { ...round(2, 'c2'), added: [], changed };
  expect(await slow.store.webhooks.leases.finish(lease, failed)).toBe(true);
  expect(left).toBeLessThan(1); // its answer was lost once
  expect(await deliveries.redeliver(id)).toBe(1);
  await Bun.sleep(800); // the copy has come by now
  expect(await deliveries.list(id, 10, '')).toMatchObject([{ next_s: 0, dead_s: null }]);
});
