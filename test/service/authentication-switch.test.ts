/** Across the switch to authentication a call that is repeated under its key has one effect. */
import { afterAll, expect, test } from 'bun:test';
import { SCOPES } from '../../apps/contract/scopes.ts';
import type { Authenticate } from '../../apps/http/guard.ts';
import { expectCleanAudit, expectProblem } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { JSON_TYPE, newId } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
/** `Bearer a` is `key:a`, and `Bearer a/u` the same for the user `u`. */
const authenticate: Authenticate = ({ headers }) => {
  const [name, user_id] = headers.get('authorization')?.slice('Bearer '.length).split('/') ?? [];
  return { name: `key:${name}`, scopes: new Set(SCOPES), user_id };
};
const off = open.kassa({ DATABASE_URL: database_url });
const on = open.kassa({ DATABASE_URL: database_url }, undefined, authenticate);

interface Sent {
  path: string;
  body?: object;
  method?: string;
}
function send({ path, body, method = 'POST' }: Sent, key: string, who?: string) {
  const as = who === undefined ? {} : { authorization: `Bearer ${who}` };
  const headers = { ...as, ...(body && JSON_TYPE), 'idempotency-key': key };
  return (who === undefined ? off : on).call(method, path, headers, body && JSON.stringify(body));
}
const fund = (user_id: string, amount = 7): Sent => ({
  path: `/v1/users/${user_id}/deposits`,
  body: { amount },
});

test.each<[string, (user_id: string) => Sent]>([
  ['a call by path', (id) => ({ path: `/payment/add_funds/${id}/7` })],
  ['a call of /v1', fund],
  ['a call that a rule has refused', () => ({ path: '/payment/add_funds/nobody/7' })],
  ['a bulk of all', (id) => bulk('all', id)],
  ['a bulk of each', (id) => bulk('each', id)],
  ['batch_init', () => ({ path: '/payment/batch_init/1/1' })],
])('%s that was answered before is not done again, and nobody sees its answer', async (_, of) => {
  const [user_id, key] = [await off.newUser(0), newId()];
  const sent = of(user_id);
  const first = await send(sent, key);
  const credit = await off.creditOf(user_id);
  for (const who of ['a', 'b', 'a']) {
    const again = await send(sent, key, who);
    expectProblem(again, 422, 'idempotency_key_unowned');
    expect(again.text).not.toContain(first.text);
  }
  expect(await off.creditOf(user_id)).toBe(credit);
  expect((await send(sent, key)).headers.get('idempotency-replayed')).toBe('true');
});
const bulk = (mode: string, user_id: string): Sent => {
  const { path, body } = fund(user_id);
  return { path: '/v1/bulk', body: { mode, calls: [{ method: 'POST', path, body }] } };
};

test('credentials of one user are refused in the same way', async () => {
  const [user_id, key] = [await off.newUser(0), newId()];
  const made = { path: '/v1/orders', body: { user_id } };
  expect((await send(made, key)).status).toBe(201);
  expectProblem(await send(made, key, `a/${user_id}`), 422, 'idempotency_key_unowned');
});

test('another call under the key is no repeat, and has its effect', async () => {
  const [user_id, key] = [await off.newUser(0), newId()];
  await send(fund(user_id, 1), key);
  const path = `/payment/add_funds/${user_id}/4`;
  expect((await send({ path }, key, 'b')).status).toBe(200);
  expect(await off.creditOf(user_id)).toBe(5);
});

test('a call of the same path may be a repeat, however its body is written', async () => {
  const [user_id, key] = [await off.newUser(0), newId()];
  const path = `/v1/users/${user_id}/deposits`;
  await send({ path, body: { amount: 1, reason: 'gift' } }, key);
  const again = await send({ path, body: { reason: 'gift', amount: 1 } }, key, 'a');
  expectProblem(again, 422, 'idempotency_key_unowned');
  expect(await off.creditOf(user_id)).toBe(1);
});

test("an earlier call for another user's order does not show", async () => {
  const [user_id, other, key] = [await off.newUser(9), await off.newUser(0), newId()];
  const order_id = await off.newOrder(user_id, [[await off.newItem(1, 9), 1]]);
  const pay = { path: `/v1/orders/${order_id}/checkout` };
  expect((await send(pay, key)).status).toBe(200);
  expectProblem(await send(pay, key, `a/${other}`), 404, 'order_not_found');
  expectProblem(await send(pay, key, `a/${user_id}`), 422, 'idempotency_key_unowned');
  const made = { path: '/v1/orders', body: { user_id } };
  const another = newId();
  expect((await send(made, another)).status).toBe(201);
  expectProblem(await send(made, another, `a/${other}`), 404, 'user_not_found');
});

test('whoever has a record of their own gets that', async () => {
  const [user_id, key] = [await off.newUser(0), newId()];
  const first = await send(fund(user_id), key, 'a');
  await send(fund(user_id), key); // of a process where authentication is still off
  const again = await send(fund(user_id), key, 'a');
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  expect(again.text).toBe(first.text);
  expect(await off.creditOf(user_id)).toBe(14);
});

test('once the record has expired, the key is as new', async () => {
  const [user_id, key] = [await off.newUser(0), newId()];
  await send(fund(user_id), key);
  const { sql } = await open.connection(database_url);
  await sql`update payment_operations set expires_at = now() - interval '1 hour'`;
  expect((await send(fund(user_id), key, 'a')).status).toBe(200);
  const again = await send(fund(user_id), key, 'a');
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  expect(await off.creditOf(user_id)).toBe(14);
});

test('the books add up', () => expectCleanAudit(database_url));
