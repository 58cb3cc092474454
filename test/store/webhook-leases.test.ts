/** Leases of endpoints: who may write what became of deliveries. */
import { afterAll, expect, test } from 'bun:test';
import type { Leased, Round } from '../../db/webhooks/leases.ts';
import { withConnection } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, newId } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url });
const { endpoints, leases, deliveries } = kassa.store.webhooks;
const put = (id: string, description = 'x') =>
  callsOfV1(kassa).send('PUT', `/v1/webhooks/${id}`, { url: 'https://a.example', description });

async function acquired(id: string, worker: string): Promise<Leased> {
  const leased = await leases.acquire(id, worker, 60_000);
  if (!leased) throw new Error('the endpoint has no lease for it');
  return leased;
}

const round = (cursor: string, event_id = newId()): Round => ({
  ...{ cursor, failing_since_s: null, disabled: null, changed: [], delivered: [] },
  kept: [
    {
      ...{ event_id, key: 'order 1', seq: 1, type: 'order.paid', attempts: 1, first_s: 1 },
      ...{ tried_s: 1, next_s: 1, error: 'away "there"', dead_s: null, payload: '{"a":"{b}"}' },
    },
  ],
});

test('one worker has an endpoint until its lease ends; then only the next one writes', async () => {
  const id = newId();
  await put(id);
  const first = await acquired(id, 'first');
  expect(await leases.acquire(id, 'second', 60_000)).toBeUndefined();
  expect(await leases.available('second')).not.toContain(id);
  expect(await leases.available('first')).toContain(id);
  await withConnection(
    ({ sql }) =>
      sql`update webhooks set lease_until = now() - interval '1 second' where id = ${id}`,
    database_url,
  );
  expect(await leases.finish(first.lease, round('c1'))).toBe(true); // nobody else has it
  const second = await acquired(id, 'second');
  expect(await leases.renew(first.lease, 60_000)).toBe(false);
  expect(await leases.finish(first.lease, round('c2'))).toBe(false);
  await leases.release(first.lease);
  expect(await leases.acquire(id, 'first', 60_000)).toBeUndefined();
  expect(await leases.renew(second.lease, 60_000)).toBe(true);
  await leases.release(second.lease);
  expect((await acquired(id, 'first')).cursor).toBe('c1');
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
  const { lease } = await acquired(id, 'first');
  await change(id);
  const before = await endpoints.find(id);
  expect(await leases.renew(lease, 60_000)).toBe(false);
  expect(await leases.finish(lease, { ...round('c1'), disabled: 'away' })).toBe(false);
  expect(await endpoints.find(id)).toEqual(before as NonNullable<typeof before>);
  expect(await deliveries.list(id, 10, '')).toEqual([]);
});

test('a round that is written twice, since its answer was lost, is the same as once', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id, 'first');
  const kept = round('c1', 'a');
  for (const _ of [1, 2]) expect(await leases.finish(lease, kept)).toBe(true);
  const [waiting] = (await acquired(id, 'first')).waiting;
  expect(waiting).toMatchObject({ event_id: 'a', error: 'away "there"', attempts: 1 });
  expect(await leases.payloads(lease, ['a', 'b'])).toEqual(new Map([['a', '{"a":"{b}"}']]));
  const dead = { ...round('c2'), kept: [], changed: [{ ...kept.kept[0], dead_s: 5 }] } as Round;
  for (const _ of [1, 2]) expect(await leases.finish(lease, dead)).toBe(true);
  expect(await endpoints.find(id)).toMatchObject({ waiting: 0, dead: 1, cursor: 'c2' });
  const sent = { ...round('c3'), kept: [], delivered: ['a'] };
  for (const _ of [1, 2]) expect(await leases.finish(lease, sent)).toBe(true);
  expect(await endpoints.find(id)).toMatchObject({ waiting: 0, dead: 0, cursor: 'c3' });
});

test('what a removal has left behind is gone before the endpoint is made again', async () => {
  const id = newId();
  await put(id);
  const { lease } = await acquired(id, 'first');
  await leases.finish(lease, round('c1'));
  await withConnection(
    ({ sql }) => sql`update webhooks set state = 'deleted' where id = ${id}`, // and died
    database_url,
  );
  expect(await endpoints.find(id)).toBeUndefined();
  await put(id);
  expect(await endpoints.find(id)).toMatchObject({ state: 'enabled', waiting: 0 });
});
