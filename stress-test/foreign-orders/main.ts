/**
 * Whether time tells a shopper that an order of somebody else exists: measures calls for such orders
 * and for none. In another terminal `AUTH=on bun run dev`, then
 * `KASSA_KEY=$(bun run keys create --scopes admin --quiet) bun stress-test/foreign-orders/main.ts`
 */
import { environment } from '../../apps/runtime/config.ts';

const { KASSA_ADDRESS = 'http://127.0.0.1:8000', KASSA_KEY = '', ROUNDS = '300' } = environment();
const LINES = [1, 100, 1000];

const send = async (key: string, method: string, path: string, body?: unknown) => {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await fetch(KASSA_ADDRESS + path, { method, headers, ...sent });
  return { status: answer.status, text: await answer.text() };
};

/** @throws Error unless the administrator may do that */
async function make(method: string, path: string, body: unknown): Promise<Record<string, string>> {
  const { status, text } = await send(KASSA_KEY, method, path, body);
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
  return JSON.parse(text);
}

const run = Date.now().toString(36);
const items = Array.from({ length: Math.max(...LINES) }, (_, i) => `${run}i${i}`);
for (let i = 0; i < items.length; i += 100) {
  const calls = items.slice(i, i + 100).map((id) => ({
    ...{ method: 'POST', path: '/v1/items', body: { id, price: 1, stock: 9 } },
  }));
  await make('POST', '/v1/bulk', { mode: 'all', calls });
}
for (const id of [`${run}ada`, `${run}bob`]) await make('POST', '/v1/users', { id, credit: 9999 });
const scopes = ['orders:read', 'orders:write'];
const { secret: key = '' } = await make('POST', '/v1/keys', { user_id: `${run}ada`, scopes });

const orders = new Map<string, string>([['no order', crypto.randomUUID()]]);
for (const count of LINES) {
  const lines = items.slice(0, count).map((item_id) => ({ item_id, quantity: 1 }));
  const { id = '' } = await make('POST', '/v1/orders', { user_id: `${run}bob`, lines });
  orders.set(`${count} lines`, id);
}

const bulk = (mode: string) => (id: string) =>
  send(key, 'POST', '/v1/bulk', {
    ...{ mode, calls: [{ method: 'POST', path: `/v1/orders/${id}/checkout` }] },
  });
const CALLS: Record<string, (id: string) => ReturnType<typeof send>> = {
  get: (id) => send(key, 'GET', `/v1/orders/${id}`),
  history: (id) => send(key, 'GET', `/v1/orders/${id}/history`),
  refunds: (id) => send(key, 'GET', `/v1/orders/${id}/refunds`),
  'path find': (id) => send(key, 'GET', `/orders/find/${id}`),
  checkout: (id) => send(key, 'POST', `/v1/orders/${id}/checkout`),
  hold: (id) => send(key, 'POST', `/v1/orders/${id}/hold`, { ttl_s: 60 }),
  remove: (id) => send(key, 'DELETE', `/v1/orders/${id}`),
  'set lines': (id) =>
    send(key, 'PUT', `/v1/orders/${id}/lines`, { lines: [{ item_id: items[0], quantity: 1 }] }),
  'path add': (id) => send(key, 'POST', `/orders/addItem/${id}/${items[0]}`),
  'bulk all': bulk('all'),
  'bulk each': bulk('each'),
};

const times = new Map<string, number[]>();
for (let round = -20; round < Number(ROUNDS); round++) {
  for (const [name, call] of Object.entries(CALLS)) {
    // In another order each round, so that none is always behind the same one.
    const turn = [...orders].sort(() => Math.random() - 0.5);
    for (const [what, id] of turn) {
      const begun_at = performance.now();
      const { status, text } = await call(id);
      const ms = performance.now() - begun_at;
      if (!/order_not_found/.test(text)) throw new Error(`${name}: ${status} ${text}`);
      if (round < 0) continue;
      const cell = `${name}/${what}`;
      times.set(cell, [...(times.get(cell) ?? []), ms]);
    }
  }
}

const at = (cell: string, share: number) => {
  const sorted = (times.get(cell) ?? []).toSorted((a, b) => a - b);
  return (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(2);
};
const names = [...orders.keys()];
console.log(`p50 and p90 in ms of ${ROUNDS} calls each, one at a time`);
console.log(['', ...names].map((text) => text.padEnd(14)).join(''));
for (const name of Object.keys(CALLS)) {
  const cells = names.map((what) => `${at(`${name}/${what}`, 0.5)} ${at(`${name}/${what}`, 0.9)}`);
  console.log([name, ...cells].map((text) => text.padEnd(14)).join(''));
}
