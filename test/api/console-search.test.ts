/** The pages of the console on orders, users and items: what they say, and that nothing escapes. */
import { afterAll, expect, test } from 'bun:test';
import { searchRoutes } from '../../apps/console/search.ts';
import { collectMetrics } from '../../apps/http/metrics.ts';
import { serveRoutes } from '../../apps/http/server.ts';
import type { Store } from '../../db/store.ts';
import { callsOn, times } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, lineOf, newId } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url });
const { post, user, item, order } = callsOfV1(kassa);

/** The console on this store, which has no other routes. */
function consoleOn(store: Store) {
  const metrics = collectMetrics('test', 'test');
  return callsOn(serveRoutes([searchRoutes(store)], store, metrics, () => {}).fetch);
}
const pages = consoleOn(kassa.store);

async function page(path: string): Promise<string> {
  const { status, text } = await pages.get(`/console/${path}`);
  expect([path, status]).toEqual([path, 200]);
  return text;
}
/** The text of a page, as people see it. */
const words = (text: string) =>
  text
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll('&#39;', "'")
    .replaceAll(/\s+/g, ' ');
const read = async (path: string) => words(await page(path));

interface Told {
  id: string;
  type: string;
  request_id: string;
}
/** All events of the store, or those of an order. */
const events = async (query = ''): Promise<Told[]> =>
  (await kassa.get(`/v1/events?limit=1000${query}`)).body.data;
const placeOf = ({ id }: Told) => id.split('-', 2).map((part) => Number.parseInt(part, 36));
const cells = (text: string) => [...text.matchAll(/<td>(.*?)<\/td>/gs)].map(([, cell]) => cell);

test('a search leads to what has the id, lists several, and says that there is none', async () => {
  const ids = { users: await user(), items: await item(), orders: '' };
  ids.orders = (await order({ user_id: ids.users })).body.id;
  for (const [kind, id] of Object.entries(ids)) {
    const { status, headers } = await pages.get(`/console/search?q=%20${id}%20`);
    expect([status, headers.get('location')]).toEqual([302, `/console/${kind}/${id}`]);
  }
  const shouted = await pages.get(`/console/search?q=${ids.users.toUpperCase()}`);
  expect(shouted.headers.get('location')).toBe(`/console/users/${ids.users}`);
  const id = newId();
  await post('/v1/users', { id, credit: 1 });
  await post('/v1/items', { id, price: 1, stock: 1 });
  const both = await page(`search?q=${id}`);
  for (const kind of ['users', 'items']) expect(both).toContain(`href="/console/${kind}/${id}"`);
  expect(both).not.toContain('/console/orders/');
  const none = await pages.get(`/console/search?q=${newId()}`);
  expect([none.status, words(none.text)]).toEqual([
    404,
    expect.stringContaining('No order, user or item has the id “'),
  ]);
  expect(await read('search')).toContain('Enter the id');
});

test('unknown ids are pages of 404, bad ones and bad cursors pages of 400, in words', async () => {
  const id = await user();
  const failures: [path: string, status: number, said: string][] = [
    [`orders/${newId()}`, 404, 'no order'],
    [`users/${newId()}`, 404, 'no user'],
    [`items/${newId()}`, 404, 'no item'],
    ['orders/%3Cscript%3E', 400, 'the id must be 1-64 of the characters'],
    ['users/%E0%A4%A', 400, 'the id must be 1-64 of the characters'],
    ['search?q=%3Cscript%3Ealert(1)%3C/script%3E', 400, 'the id must be'],
    [`users/${id}?after=x`, 400, 'after'],
    [`users/${id}?orders_after=x`, 400, 'after'],
  ];
  for (const [path, status, said] of failures) {
    const answer = await pages.get(`/console/${path}`);
    expect([path, answer.status]).toEqual([path, status]);
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(words(answer.text)).toContain(said);
    expect(answer.text).not.toContain('<script');
  }
});

test('HEAD has the length of the page, and no page may run a script or load from elsewhere', async () => {
  const path = `/console/users/${await user()}`;
  const { text, headers } = await pages.get(path);
  const head = await pages.call('HEAD', path);
  expect([head.status, head.text]).toEqual([200, '']);
  expect(head.headers.get('content-length')).toBe(`${Buffer.byteLength(text)}`);
  expect(headers.get('content-security-policy')).toContain("default-src 'none'; style-src 'self'");
  expect(text).not.toMatch(/<script|<style| style=| on\w+=/);
  expect((await pages.post(path)).status).toBe(405);
});

test('an order that was bought in a batch with others names the transaction of its events', async () => {
  const [user_id, item_id] = [await user(1000), await item(100)];
  const lines = [lineOf(item_id, 1)];
  const bought = await times(20, () => order({ user_id, lines, checkout: true }));
  const all = await events();
  let shared = 0;
  for (const { body, headers } of bought) {
    const own = await events(`&order_id=${body.id}`);
    const [stream, position] = placeOf(own[0] as Told);
    const same = all.filter((one) => `${placeOf(one)}` === `${[stream, position]}`);
    if (same.length > own.length) shared++;
    const text = await page(`orders/${body.id}`);
    const place = `stream ${stream} , position ${position} , ${same.length} events`;
    expect(words(text).split(place)).toHaveLength(3); // it was created and paid there
    for (const { id, type } of own) expect(words(text)).toContain(`event ${id} ${type}`);
    expect(text).toContain(`request <code>${headers.get('x-request-id')}</code>`);
    for (const link of [`users/${user_id}`, `items/${item_id}`]) {
      expect(text).toContain(`href="/console/${link}"`);
    }
  }
  expect(shared).toBeGreaterThan(0);
});

test('of the events of one transaction, each entry names those of its own call', async () => {
  const [user_id, id] = [await user(50), newId()];
  const lines = [lineOf(await item(), 1)];
  const calls = [
    { method: 'POST', path: '/v1/orders', body: { id, user_id, lines } },
    { method: 'POST', path: `/v1/orders/${id}/checkout` },
  ];
  expect((await post('/v1/bulk', { mode: 'all', calls })).status).toBe(200);
  const text = await read(`orders/${id}`);
  const [created, paid] = await events(`&order_id=${id}`);
  for (const one of [created, paid]) {
    expect(text.split(`2 events event ${one?.id} ${one?.type} request`)).toHaveLength(2);
  }
  expect(text).not.toContain('traceparent');
  const { sql } = await open.connection(database_url);
  await sql`update batches set events = replace(events, '"request_id"', '"traceparent":"00-a-b-01","request_id"')
            where strpos(events, ${id}) > 0`;
  expect(await read(`orders/${id}`)).toContain('traceparent 00-a-b-01');
});

test('each entry of a long story names its own transaction, with its request', async () => {
  const user_id = await user(500);
  const { id } = (await order({ user_id, lines: [lineOf(await item(), 4)] })).body;
  const asked: string[] = [];
  const pay = async (call: string) => {
    await times(3, () => user(1)); // transactions in between
    const { status, headers } = await kassa.post(`/payment/${call}`);
    expect(status).toBe(200);
    asked.push(headers.get('x-request-id') ?? '');
  };
  for (let i = 0; i < 3; i++) {
    await pay(`pay/${user_id}/${id}/7`);
    await pay(`cancel/${user_id}/${id}`);
  }
  await kassa.post(`/orders/checkout/${id}`);
  await post(`/v1/orders/${id}/refunds`, { reason: '<b>torn</b>', restock: true });
  const text = await page(`orders/${id}`);
  const named = [...text.matchAll(/<div>request <code>(.*?)<\/code>/g)].map(([, name]) => name);
  const own = await events(`&order_id=${id}`);
  expect(named).toEqual(own.map(({ request_id }) => request_id));
  expect(named.slice(1, 7)).toEqual(asked);
  expect(words(text)).toContain('State refunded');
  expect(text).toContain('&lt;b&gt;torn&lt;/b&gt;');
  expect(text).not.toContain('<b>');
});

test('a transaction is found in any stream in some 20 reads, or the page says that it is gone', async () => {
  const database_url = await open.database();
  const proxy = await open.proxy(database_url);
  const alone = open.kassa({ DATABASE_URL: proxy.database_url });
  const { sql } = await open.connection(database_url);
  const calls = callsOfV1(alone);
  const user_id = await calls.user(50);
  await times(3, () => calls.user());
  const { id } = (await calls.order({ user_id })).body;
  await times(3, () => calls.user());
  const story = async () => {
    const { text } = await consoleOn(alone.store).get(`/console/orders/${id}`);
    return words(text.slice(text.indexOf('Story')));
  };
  await alone.post(`/payment/pay/${user_id}/${id}/7`);
  const own = (await alone.get(`/v1/events?order_id=${id}`)).body.data;
  const [[stream = 0, position = 0], [, paid = 0]] = own.map(placeOf);
  expect(await story()).toContain(`stream ${stream} , position ${position} , 1 event`);

  // The clock has stepped back behind the row before.
  const at_us = (await alone.store.read.findOrder(id))?.created_at ?? 0;
  await sql`update batches set at = ${at_us + 1_000_000} where stream = ${stream}
              and position = ${position - 1}`;
  expect(await story()).toContain(`stream ${stream} , position ${position} , 1 event`);

  const OLDER = 30_000;
  await sql`insert into streams values (77, 0)`;
  await sql`
    insert into batches (stream, position, id, at, events, writer, expires_at)
    select 77, n, '', n, null, 3, now() + interval '1 hour' from generate_series(1, ${OLDER}) as g(n)
    union all
    select 77, position + ${OLDER}, id, at, events, writer, expires_at from batches
    where stream = ${stream} and position <= ${position}`;
  await sql`delete from batches where stream = ${stream} and position <= ${position}`;
  // CockroachDB deletes what has expired in any order.
  await sql`delete from batches where stream = 77 and position < ${OLDER} and position % 1000 > 1`;
  let reads = 0;
  proxy.observe = (statement) => void (statement.includes('join batches b') && reads++);
  expect(await story()).toContain(`stream 77 , position ${position + OLDER} , 1 event`);
  expect(await story()).toContain(`stream ${stream} , position ${paid} , 1 event`);
  reads /= 2;
  expect(reads).toBeGreaterThan(10);
  expect(reads).toBeLessThan(20);

  await sql`delete from batches where stream = 77 and position <= ${position + OLDER}`;
  expect(await story()).toContain('no longer in the log');
  expect(await story()).not.toContain('stream 77');
});

test('the statement of a user adds up page by page, with a chart, and is escaped', async () => {
  const script = '<script>alert(1)</script>';
  const metadata = { note: script };
  const { id } = (await post('/v1/users', { credit: 7, metadata })).body;
  await times(104, (i) =>
    post(`/v1/users/${id}/deposits`, { amount: 1 + i, reason: `${script} "&'` }),
  );
  const first = await page(`users/${id}`);
  const credit = 7 + (104 * 105) / 2;
  expect(words(first)).toContain('Credit 5,467');
  expect(words(first)).toContain('This page adds up: each balance plus the next amount');
  expect(words(first)).toContain('Entries: 100.');
  expect(first).not.toContain('<script');
  expect(first).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &quot;&amp;&#39;');
  expect(first).toMatch(/<svg [^>]*role="img"[^>]*aria-labelledby/);
  expect(words(first)).toContain('the highest 5,467, the last 5,467.');
  const next = /<a rel="next" href="(\?after=[^"]+)"/.exec(first)?.[1];
  const last = await page(`users/${id}${next}`);
  expect(words(last)).toContain('and the first of all began at 0. Entries: 5.');
  expect(last).not.toContain('rel="next"');
  const balances = [first, last].flatMap((text) => {
    const of_statement = cells(text.slice(text.indexOf('Changes of the credit')));
    return of_statement.flatMap((cell, i) =>
      i % 4 === 1 ? Number(cell?.replaceAll(',', '')) : [],
    );
  });
  expect(balances).toHaveLength(105);
  expect([balances[0], balances.at(-1)]).toEqual([credit, 7]);
});

test('a statement that does not add up says so', async () => {
  const id = await user(5);
  const { sql } = await open.connection(database_url);
  for (const credit of [4, 6]) {
    await sql`update users set credit = ${credit} where id = ${id}`;
    const text = await page(`users/${id}`);
    expect(text).toContain('class="bad"');
    expect(words(text)).toContain('This page does not add up');
  }
  await sql`update users set credit = 5 where id = ${id}`;
  expect(await read(`users/${id}`)).toContain('This page adds up');
});

test('the orders of a user come in pages that are linked', async () => {
  const user_id = await user(9);
  const made = await times(51, () => order({ user_id }));
  const first = await page(`users/${user_id}`);
  const next = /href="(\?orders_after=[^"]+)"/.exec(first)?.[1];
  const all = first + (await page(`users/${user_id}${next}`));
  const linked = [...all.matchAll(/href="\/console\/orders\/([^"]+)"/g)].map(([, id]) => id);
  expect(linked.sort()).toEqual(made.map(({ body }) => body.id).sort());
});

test('an item shows what is there, held and available, and its statement', async () => {
  const [user_id, item_id] = [await user(50), await item(9)];
  await order({ user_id, lines: [lineOf(item_id, 2)], checkout: true });
  const held = await order({ user_id, lines: [lineOf(item_id, 3)], hold_s: 600 });
  const text = await read(`items/${item_id}`);
  expect(text).toContain('Price 5 Stock 7 Held 3 Available 4');
  expect(text).toContain('This page adds up');
  expect(text).toContain('Times are in UTC.');
  expect(text).toMatch(
    /newest first Time Amount Balance Order Reason [-0-9]{10} \d\d:\d\d:\d\d\.\d{3} -2 7 [-0-9a-z]{36} checkout/,
  );
  expect(await read(`orders/${held.body.id}`)).toContain('State held');
});

test('while the store is away there is a page that says so', async () => {
  const away = open.kassa({ DATABASE_URL: 'postgres://kassa@127.0.0.1:1/kassa', AWAY_MS: 100 });
  for (const path of ['search?q=1', 'orders/1', 'users/1', 'items/1']) {
    const { status, text, headers } = await consoleOn(away.store).get(`/console/${path}`);
    expect([status, headers.get('retry-after')]).toEqual([503, '1']);
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(words(text)).toContain('The store cannot be reached');
  }
});

test('what is internal is logged, not shown', async () => {
  const failing = { ...kassa.store.read, showItem: () => Promise.reject(new Error('secret')) };
  const { status, text } = await consoleOn({ ...kassa.store, read: failing }).get(
    '/console/items/1',
  );
  expect([status, text.includes('secret')]).toEqual([500, false]);
  expect(words(text)).toContain('Internal error the log says more');
});
