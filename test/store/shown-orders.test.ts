/** An order and its metadata are read by two statements; what is shown is one order nevertheless. */
import { afterAll, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { readPool } from '../../db/connection/pool.ts';
import { reads } from '../../db/reads/reads.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url });
const { send } = callsOfV1(kassa);
const options = storeOptions(readConfig({}), database_url, 'test');
const pool = open.closing(readPool(() => openConnection(options, 'reads'), options));

for (const id of ['ada', 'bob']) await send('POST', '/v1/users', { id });
await send('POST', '/v1/items', { id: 'item', price: 1 });

/** Shows an order whose two statements see the store before and after a change. */
async function show(order_id: string, first: 'metadata' | 'order', change: () => Promise<unknown>) {
  const earlier = Promise.withResolvers<void>();
  let calls = 0;
  const read: typeof pool.read = async (...args) => {
    const is_of = ['metadata', 'order'][calls++];
    if (is_of === undefined) return pool.read(...args);
    if (is_of !== first) {
      await earlier.promise;
      return pool.read(...args);
    }
    const rows = await pool.read(...args);
    await change();
    earlier.resolve();
    return rows;
  };
  const order = await reads({ ...pool, read }, options).showOrder(order_id);
  return order && [order.user_id, order.lines[0]?.quantity, order.metadata];
}

const make = (id: string, user_id: string, quantity: number) =>
  send('POST', '/v1/orders', {
    ...{ id, user_id, lines: [lineOf('item', quantity)] },
    metadata: { of: user_id },
  });
const remove = (id: string) => kassa.call('DELETE', `/v1/orders/${id}`);

test.each(['metadata', 'order'] as const)(
  'an order that is replaced behind the read of its %s has the metadata of its user',
  async (first) => {
    const id = crypto.randomUUID();
    await make(id, 'ada', 1);
    const replace = async () => {
      await remove(id);
      await make(id, 'bob', 7);
    };
    expect(await show(id, first, replace)).toEqual(['bob', 7, '{"of":"bob"}']);
  },
);

test.each(['metadata', 'order'] as const)(
  'an order that is made behind the read of its %s has its metadata, or is not there',
  async (first) => {
    const id = crypto.randomUUID();
    const shown = await show(id, first, () => make(id, 'ada', 2));
    expect(shown).toEqual(first === 'order' ? undefined : ['ada', 2, '{"of":"ada"}']);
  },
);

test.each(['metadata', 'order'] as const)(
  'an order that is removed behind the read of its %s is not there',
  async (first) => {
    const id = crypto.randomUUID();
    await make(id, 'ada', 1);
    expect(await show(id, first, () => remove(id))).toBeUndefined();
  },
);
