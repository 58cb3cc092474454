/** Where authentication is on, records name who has made each change, whoever came later. */
import { afterAll, expect, test } from 'bun:test';
import { SCOPES } from '../../apps/contract/scopes.ts';
import type { Authenticate } from '../../apps/http/guard.ts';
import { expectCleanAudit } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
/** `Bearer a` is the principal `key:a`, and `Bearer a/u` the same for the user `u`. */
const authenticate: Authenticate = ({ headers }) => {
  const [name, user_id] = headers.get('authorization')?.slice('Bearer '.length).split('/') ?? [];
  return { name: `key:${name}`, scopes: new Set(SCOPES), user_id };
};
const kassa = open.kassa({ DATABASE_URL: database_url }, undefined, authenticate);
const anonymous = open.kassa({ DATABASE_URL: database_url });
/** Calls of one caller; of nobody where authentication is off. */
function calls(who?: string) {
  const as = who === undefined ? {} : { authorization: `Bearer ${who}` };
  const on = who === undefined ? anonymous : kassa;
  return {
    post: async (path: string, body: unknown) =>
      (await callsOfV1(on).send('POST', path, body, as)).body,
    call: async (path: string) => expect((await on.call('POST', path, as)).status).toBe(200),
    list: async (path: string) => (await on.call('GET', path, as)).body.data,
  };
}
const [a, b, nobody] = [calls('a'), calls('b'), calls()];

type Entry = { reason?: string; type?: string; principal?: string };
const told = (entries: Entry[]) =>
  entries.map(({ reason, type, principal = '-' }) => `${reason ?? type} ${principal}`);
const story = async (order_id: string) => told(await a.list(`/v1/orders/${order_id}/history`));
const statement = async (path: string) => told(await a.list(`/v1/${path}/movements`));

async function newBuyer() {
  const { id: user_id } = await a.post('/v1/users', { credit: 100 });
  const { id: item_id } = await a.post('/v1/items', { price: 5, stock: 100 });
  const lines = [lineOf(item_id, 1)];
  const order = async (by: typeof a, more = {}): Promise<string> =>
    (await by.post('/v1/orders', { user_id, lines, ...more })).id;
  return { user_id, item_id, order };
}

test('a checkout names who made it: in statements of the user and of the item, and in the history', async () => {
  const { user_id, item_id, order } = await newBuyer();
  const at_once = await order(b, { checkout: true });
  const later = await order(a);
  await b.call(`/orders/checkout/${later}`);
  await a.call(`/orders/checkout/${later}`); // changes nothing
  await b.post(`/v1/users/${user_id}/deposits`, { amount: 1 });
  const checkouts = ['checkout key:b', 'checkout key:b', 'opening key:a'];
  expect(await statement(`users/${user_id}`)).toEqual(['deposit key:b', ...checkouts]);
  expect(await statement(`items/${item_id}`)).toEqual(checkouts);
  for (const id of [at_once, later]) expect(await story(id)).toEqual(['created -', 'paid key:b']);
});

test('credentials of one user are named too, by path, in /v1 and in a bulk', async () => {
  const { user_id, order } = await newBuyer();
  const own = calls(`own/${user_id}`);
  const ids = [await order(own, { checkout: true }), await order(own), await order(own)];
  await own.call(`/orders/checkout/${ids[1]}`);
  const path = `/v1/orders/${ids[2]}/checkout`;
  await own.post('/v1/bulk', { mode: 'all', calls: [{ method: 'POST', path }] });
  const checkouts = ids.map(() => 'checkout key:own');
  expect(await statement(`users/${user_id}`)).toEqual([...checkouts, 'opening key:a']);
  for (const id of ids) expect(await story(id)).toEqual(['created -', 'paid key:own']);
});

test('a checkout that is cancelled keeps its name, and the cancel has its own', async () => {
  const { user_id, item_id, order } = await newBuyer();
  const id = await order(a, { checkout: true });
  const cancel = `/payment/cancel/${user_id}/${id}`;
  await b.call(cancel);
  const first = ['cancel key:b', 'checkout key:a', 'opening key:a'];
  expect(await statement(`users/${user_id}`)).toEqual(first);
  expect(await statement(`items/${item_id}`)).toEqual(first);
  await b.call(`/orders/checkout/${id}`);
  await nobody.call(cancel);
  await nobody.call(`/orders/checkout/${id}`);
  const all = ['checkout -', 'cancel -', 'checkout key:b', ...first];
  expect(await statement(`users/${user_id}`)).toEqual(all);
  expect(await statement(`items/${item_id}`)).toEqual(all);
  await a.call(cancel); // of a checkout of nobody
  expect(await statement(`users/${user_id}`)).toEqual(['cancel key:a', ...all]);
  expect(await story(id)).toEqual([
    ...['created -', 'paid key:a', 'cancelled key:b', 'paid key:b', 'cancelled -'],
    ...['paid -', 'cancelled key:a'],
  ]);
});

test('whoever pays an order again and again within a transaction, the last one is named', async () => {
  const { user_id, order } = await newBuyer();
  const id = await order(a, { checkout: true });
  const paths = [`/payment/cancel/${user_id}/${id}`, `/orders/checkout/${id}`];
  for (const by of [a, b, nobody, b]) {
    // Behind a call that waits for a lock they share one transaction.
    await Promise.all(paths.map((path) => by.call(path)));
    const [last] = await statement(`users/${user_id}`);
    const name = by === nobody ? '-' : `key:${by === a ? 'a' : 'b'}`;
    expect([last, (await story(id)).at(-1)]).toEqual([`checkout ${name}`, `paid ${name}`]);
  }
});

test.each(['each', 'all'])('a bulk in mode %s names who has sent it', async (mode) => {
  const { user_id, item_id, order } = await newBuyer();
  const id = await order(a, { checkout: true });
  const made = { user_id, lines: [lineOf(item_id, 1)], checkout: true };
  const path = `/v1/users/${user_id}/deposits`;
  const calls = [
    { method: 'POST', path: '/v1/orders', body: made },
    { method: 'POST', path, body: { amount: 1 } },
  ];
  await b.post('/v1/bulk', { mode, calls });
  const found = (await statement(`users/${user_id}`)).sort();
  expect(found).toEqual(['checkout key:a', 'checkout key:b', 'deposit key:b', 'opening key:a']);
  expect(await story(id)).toEqual(['created -', 'paid key:a']);
});

test('holds, payments towards an order and refunds say who asked for them', async () => {
  const { user_id, order } = await newBuyer();
  const held = await order(a, { hold_s: 60 });
  await b.post(`/v1/orders/${held}/release`, undefined);
  await b.call(`/payment/pay/${user_id}/${held}/5`);
  await a.call(`/orders/checkout/${held}`);
  await b.post(`/v1/orders/${held}/refunds`, {});
  expect(await story(held)).toEqual([
    ...['created -', 'held key:a', 'released key:b', 'payment key:b', 'paid key:a'],
    'refunded key:b',
  ]);
  expect(await statement(`users/${user_id}`)).toEqual([
    ...['refund key:b', 'checkout key:a', 'payment_taken_in key:a', 'pay key:b', 'opening key:a'],
  ]);
  const [refund] = await a.list(`/v1/orders/${held}/refunds`);
  expect(refund.amount).toBe(5);
});

test('the console shows who has made a checkout, also once the log no longer has it', async () => {
  const { order } = await newBuyer();
  const id = await order(b, { checkout: true });
  const { sql } = await open.connection(database_url);
  await sql`update batches set events = null where events like ${`%${id}%`}`;
  const page = await anonymous.fetch(new Request(`http://kassa/console/orders/${id}`));
  expect(await page.text()).toContain('<div>principal <code>key:b</code></div>');
});

test('a name with quotes stands as it is', async () => {
  const { order } = await newBuyer();
  const odd = calls('o"\\d');
  const id = await order(odd, { checkout: true });
  expect(await story(id)).toEqual(['created -', 'paid key:o"\\d']);
});

test('the books add up', () => expectCleanAudit(database_url));
