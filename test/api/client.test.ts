/** The client runs everywhere: in Bun, Node, Deno and browsers. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { openClient } from '../../apps/client/client.ts';
import { kept, written } from '../../docs/client-calls.ts';
import { openBrowser } from '../support/browser.ts';
import { newDatabase } from '../support/kassa.ts';
import { answers, freePort, openStage, TOP } from '../support/process.ts';

const stage = openStage();
const own = await newDatabase();
const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
/** The pages of a shop: under an origin that may call, and under one that may not. */
const shop = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: () => new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } }),
});
const [LISTED, UNLISTED] = [`http://localhost:${shop.port}`, `http://shop.localhost:${shop.port}`];
const env = { DATABASE_URL: own.database_url, CORS_ORIGINS: LISTED };
await answers(stage.start(['apps/cli/dev.ts', '--port', `${port}`, '--empty'], env), port);
afterAll(async () => {
  await stage.clear();
  await own.drop();
});

test('its calls are those of the contract: if not, run `bun run docs`', async () => {
  expect(await kept()).toBe(written());
});

/** The client as one file, as a bundler makes it. */
const entrypoints = [join(TOP, 'apps/client/client.ts')];
const { outputs } = await Bun.build({ entrypoints, target: 'browser' });
const bundle = (await outputs[0]?.text()) ?? '';

/** A purchase, and a refusal, by someone who has only the client. */
const PURCHASE = `
export async function purchase({ openClient, KassaError }, origin) {
  const kassa = openClient(origin);
  const { id: user_id } = await kassa.users.create({ credit: 20 });
  const { id: item_id } = await kassa.items.create({ price: 7, stock: 5 });
  const lines = [{ item_id, quantity: 2 }];
  const { total_cost } = await kassa.orders.create({ user_id, lines, checkout: true });
  const { credit } = await kassa.users.get({ user_id });
  const movements = [];
  for await (const { amount, reason } of kassa.users.movementsAll({ user_id, limit: 1 })) {
    movements.push(reason + ' ' + amount);
  }
  const page = await kassa.orders.list({ user_id, state: 'paid', after: undefined });
  const error = await kassa.users.withdraw({ user_id, amount: 100 }).catch((e) => e);
  const listed = [...movements, page.data.length, page.has_more];
  return [total_cost, credit, ...listed, error instanceof KassaError, error.code, error.changed_nothing];
}`;
const ENTRIES = ['checkout -14', 'opening 20', 1, false];
const BOUGHT = [14, 6, ...ENTRIES, true, 'insufficient_credit', true];

test('it needs no package, and is small', () => {
  expect(bundle).not.toMatch(/\b(?:import|require)\b/);
  expect(bundle.length).toBeLessThan(14_300);
});

const DENO = join(TOP, 'node_modules/deno/deno');
test.each<[runtime: string, command: string[]]>([
  ['Node', ['node']],
  ['Deno', [DENO, 'run', '--no-prompt', '--allow-net']],
])('it runs in %s', async (_, command) => {
  const folder = await stage.folder();
  await Bun.write(join(folder, 'client.mjs'), bundle);
  const call = `console.log(JSON.stringify(await purchase(client, '${origin}')));`;
  const shop = `import * as client from './client.mjs';\n${PURCHASE}\n${call}`;
  await Bun.write(join(folder, 'shop.mjs'), shop);
  const child = Bun.spawn([...command, join(folder, 'shop.mjs')], {
    env: { ...process.env, DENO_DIR: folder, DENO_NO_UPDATE_CHECK: '1' },
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([err, JSON.parse(out || 'null')]).toEqual(['', BOUGHT]);
});

test('on Node, a call leaves no timer behind, and no listener at its signal', async () => {
  const folder = await stage.folder();
  await Bun.write(join(folder, 'client.mjs'), bundle);
  const code = `
import { createHook } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { openClient } from './client.mjs';

const timers = new Set();
createHook({
  init: (id, type) => type === 'Timeout' && timers.add(id),
  destroy: (id) => timers.delete(id),
}).enable();
const { signal } = new AbortController();
let calls = 0;
const fetch = async () =>
  calls++ < 2
    ? Response.json({ code: 'overloaded' }, { status: 429 })
    : Response.json({ id: 'u' });
const kassa = openClient('http://kassa', { fetch });
await Promise.all([kassa.users.create(), kassa.users.create({}, { signal })]);
for (let i = 0; i < 5; i++) await setImmediate(); // Node reports cleared timers a turn later
console.log(JSON.stringify([calls, timers.size, getEventListeners(signal, 'abort').length]));`;
  await Bun.write(join(folder, 'timers.mjs'), code);
  const child = Bun.spawn(['node', join(folder, 'timers.mjs')], { stderr: 'pipe' });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([err, JSON.parse(out || 'null')]).toEqual(['', [4, 0, 0]]);
});
/** The code as a URL from which a page imports it. */
const moduleOf = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;

/** What pages of other origins can do: what they read of each answer, and how each call ends. */
const FOREIGN = `
export async function order({ openClient }, origin, user_id) {
  const read = [];
  const send = async (url, init) => {
    const answer = await fetch(url, init);
    const of = (name) => answer.headers.get(name);
    read.push([answer.status, of('location'), of('idempotency-replayed')]);
    return answer;
  };
  const kassa = openClient(origin, { fetch: send });
  const key = { idempotency_key: 'of a page ' + user_id };
  const { id: order_id } = await kassa.orders.create({ user_id }, key);
  await kassa.orders.create({ user_id }, key);
  await kassa.orders.setLines({ order_id, lines: [] });
  await kassa.orders.get({ order_id });
  await kassa.orders.remove({ order_id });
  return [order_id, read];
}
export async function attempts({ openClient }, origin, user_id) {
  const once = (url, init) => fetch(url, { ...init, signal: null }); // without a time limit
  const kassa = openClient(origin, { deadline_ms: 0, fetch: once });
  const unseen = { method: 'POST', mode: 'no-cors' }; // sent without a preflight
  for (const path of ['/payment/add_funds/' + user_id + '/5', '/v1/users/' + user_id + '/deposits']) {
    await fetch(origin + path, { ...unseen, body: path.startsWith('/v1') ? '{"amount":5}' : null });
  }
  const calls = [
    kassa.users.deposit({ user_id, amount: 5 }),
    kassa.users.get({ user_id }),
    kassa.path_payment.addFunds({ user_id, amount: 5 }),
    kassa.path_payment.findUser({ user_id }),
  ];
  return Promise.all(calls.map((call) => call.then(() => 'done', (error) => error.code)));
}`;

const opened = await openBrowser();
afterAll(async () => {
  await opened?.close();
  await shop.stop(true);
});
test.skipIf(!opened)(
  'it runs in a browser, and the forms of /docs call this server under their policy',
  async () => {
    if (!opened) return;
    const lax = await (await opened.newContext({ bypassCSP: true })).newPage();
    await lax.goto(`${origin}/docs`);
    const modules = [bundle, PURCHASE].map(moduleOf);
    const bought = await lax.evaluate(
      async ([client = '', shop = '', to]) =>
        (await import(shop)).purchase(await import(client), to),
      [...modules, origin],
    );
    expect(bought).toEqual(BOUGHT);

    const page = await opened.newPage();
    const faults: string[] = [];
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
    page.on('pageerror', (error) => faults.push(error.message));
    await page.goto(`${origin}/docs`);
    const send = async (name: string, fields: Record<string, string> = {}) => {
      const call = page.locator(`#${name}`);
      const form = call.locator('form').first();
      await call.locator('summary').first().click();
      for (const [field, value] of Object.entries(fields)) {
        await form.locator(`[name=${field}]`).fill(value);
      }
      await form.locator('button').click();
      const shown = form.locator('pre', { hasText: /\n(\d{3}|no answer)/ });
      return (await shown.textContent()) ?? '';
    };
    const made = await send('path_payment-createUser', { key: "it's" });
    expect(made).toStartWith(
      `curl -X POST -H 'Idempotency-Key: it'\\''s' ${origin}/payment/create_user\n\n200\n`,
    );
    const [, user_id] = /"user_id": "([^"]+)"/.exec(made) ?? [];
    expect(await send('path_payment-addFunds', { amount: '5' })).toContain(
      `\n200\n{\n  "done": true,\n  "user_id": "${user_id}",\n  "credit": 5\n}`,
    );
    const body = { body: '{"id":"of-the-form","credit":3}' };
    const own = await send('users-create', body);
    expect(own).toContain('\n201\n{\n  "id": "of-the-form",\n  "credit": 3\n}');
    const deposit = await send('users-deposit', { body: '{"amount":4}' });
    expect(deposit).toContain('\n200\n{\n  "id": "of-the-form",\n  "credit": 7\n}'); // the latest id
    const paid =
      '{"user_id":"of-the-form","lines":[{"item_id":"gift","quantity":1}],"checkout":true}';
    await send('items-create', { body: '{"id":"gift","price":0,"stock":1}' });
    const [, order_id = ''] =
      /"id": "([^"]+)"/.exec(await send('orders-create', { body: paid })) ?? [];
    const refund = await send('refunds-create', { order_id, body: '{}' });
    const [, refund_id = ''] = /\n201\n\{\n {2}"id": "([^"]+)"/.exec(refund) ?? [];
    const filled = (field: string) => page.inputValue(`#refunds-get [name=${field}]`);
    expect([await filled('order_id'), await filled('refund_id')]).toEqual([order_id, refund_id]);
    expect(faults).toEqual([]);
    const query = { user_id: `${user_id}`, q_limit: '1' };
    expect(await send('users-movements', query)).toMatch(
      /^curl '\S+\/movements\?limit=1'\n\n200\n\{\n {2}"data": \[\n {4}\{\n {6}"at"/,
    );
    expect(await send('path_stock-findItem', { item_id: 'nothing' })).toContain('\n404\n');
  },
);

test.skipIf(!opened)(
  'pages of the listed origin call /v1, and no other page calls anything',
  async () => {
    const kassa = openClient(origin);
    const { id: user_id } = await kassa.users.create({});
    const modules = [bundle, FOREIGN].map(moduleOf);
    const pageAt = async (at: string) => {
      const page = await opened?.newPage();
      await page?.goto(at);
      return (name: string) =>
        page?.evaluate(
          async ([client = '', code = '', call = '', ...given]) =>
            (await import(code))[call](await import(client), ...given),
          [...modules, name, origin, user_id],
        );
    };
    const [listed, unlisted] = [await pageAt(LISTED), await pageAt(UNLISTED)];
    const [order_id, read] = await listed('order');
    expect(read).toEqual([
      [201, `/v1/orders/${order_id}`, null],
      [201, `/v1/orders/${order_id}`, 'true'],
      ...[1, 2, 3].map(() => [200, null, null]),
    ]);
    expect(await unlisted('attempts')).toEqual(Array.from({ length: 4 }, () => 'no_answer'));
    expect((await kassa.users.get({ user_id })).credit).toBe(0);
    expect(await listed('attempts')).toEqual(['done', 'done', 'no_answer', 'no_answer']);
    expect((await kassa.users.get({ user_id })).credit).toBe(5);
  },
);
