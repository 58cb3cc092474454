/** /v1/webhooks: endpoints, their secrets, and the URLs that are refused. */
import { afterAll, expect, test } from 'bun:test';
import { openKassa, type Reply } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { callsOfV1, newId, refused } from '../support/v1.ts';

const open = openUntil(afterAll);
const kassa = openKassa({ DATABASE_URL: await open.database() });
open.closing(kassa);
const { send, post } = callsOfV1(kassa);
const URL = 'https://shop.example/hooks';
const put = (id: string, body: object = { url: URL }) => send('PUT', `/v1/webhooks/${id}`, body);
const get = (path: string) => kassa.get(`/v1/webhooks${path}`);

test('an endpoint is made, changed, listed and removed; repeats change nothing more', async () => {
  const id = newId();
  const made = await put(id, { url: URL, types: ['order.paid', 'order.created', 'order.paid'] });
  expect(made.status).toBe(200);
  const types = ['order.created', 'order.paid'];
  expect(made.body).toMatchObject({ id, url: URL, types, state: 'enabled', waiting: 0, dead: 0 });
  const { secret } = (await get(`/${id}/secret`)).body;
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  const changed = { url: `${URL}/b`, description: 'Töpfe', state: 'disabled' };
  for (const _ of [1, 2]) {
    const { cursor, created_at } = made.body;
    const now = { ...changed, id, waiting: 0, dead: 0, cursor, created_at };
    expect((await put(id, changed)).body).toEqual(now);
    expect((await get(`/${id}`)).body).toEqual(now);
  }
  expect((await get(`/${id}/secret`)).body).toEqual({ secret, previous: [] });
  expect((await kassa.call('DELETE', `/v1/webhooks/${id}`)).body).toEqual({ id });
  refused(await kassa.call('DELETE', `/v1/webhooks/${id}`), 404, 'webhook_not_found');
  await put(id);
  expect((await get(`/${id}/secret`)).body.secret).not.toBe(secret);
});

test('lists have pages, by id', async () => {
  const ids = Array.from({ length: 5 }, newId).sort();
  for (const id of ids) await put(id);
  const seen: string[] = [];
  for (let after = ''; ; ) {
    const { data, has_more, next } = (await get(`?limit=2${after}`)).body;
    seen.push(...data.map((one: { id: string }) => one.id));
    if (!has_more) break;
    after = `&after=${next}`;
  }
  expect(seen.filter((id) => ids.includes(id))).toEqual(ids);
  const { next } = (await get('?limit=1')).body;
  refused(await get(`/${ids[0]}/deliveries?after=${next}`), 400, 'invalid_parameter');
});

test('at most five secrets are valid, and what is unknown is 404', async () => {
  const id = newId();
  await put(id);
  const rotate = () => kassa.post(`/v1/webhooks/${id}/secret`);
  for (const n of [1, 2, 3, 4]) expect((await rotate()).body.previous).toHaveLength(n);
  refused(await rotate(), 409, 'limit_exceeded');
  const nobody = newId();
  const all: Promise<Reply>[] = ['', '/secret', '/deliveries'].map((one) =>
    get(`/${nobody}${one}`),
  );
  all.push(kassa.post(`/v1/webhooks/${nobody}/secret`));
  all.push(post(`/v1/webhooks/${nobody}/replay`, { after: 'oldest' }));
  all.push(post(`/v1/webhooks/${nobody}/redeliver`, {}));
  for (const reply of await Promise.all(all)) refused(reply, 404, 'webhook_not_found');
});

test('a replay goes to a cursor that the log can continue', async () => {
  const id = newId();
  const { cursor } = (await put(id)).body;
  await kassa.newUser();
  const replay = (after: string) => post(`/v1/webhooks/${id}/replay`, { after });
  const { body } = await replay('latest');
  expect(body.cursor).not.toBe(cursor);
  expect((await replay(cursor)).body.cursor).toBe(cursor);
  expect((await replay('oldest')).status).toBe(200);
  refused(await replay('nonsense'), 400, 'invalid_body', { errors: [{ path: 'after' }] });
  refused(await replay(body.cursor.replace(/\.\w+$/, '.zzzzz')), 410, 'cursor_expired');
});

const NOT_PUBLIC = [
  ...['127.0.0.1', '127.1', '0x7f000001', '2130706433', '0177.0.0.1', '127。0。0。1', '0.0.0.0'],
  ...['10.0.0.1', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1', '192.0.2.1'],
  ...['198.18.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '[::]', '[::1]', '[fe80::1]'],
  ...['[fd00::1]', '[::ffff:127.0.0.1]', '[::ffff:a00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]'],
  ...['[ff02::1]', '[2001:db8::1]', '[2001::1]', '[::7f00:1]', '[::2]', '[4000::1]', '[1fff::1]'],
];
test.each(NOT_PUBLIC)('%s is not public', async (host) => {
  const { body, status } = await put(newId(), { url: `https://${host}/hooks` });
  expect([status, body.code, body.errors?.[0].path]).toEqual([400, 'invalid_body', 'url']);
});

const EVIL = [
  ...['http://shop.example/', 'http://93.184.216.34/', 'ftp://shop.example/', 'file:///etc/passwd'],
  ...[
    'javascript:alert(1)',
    'gopher://a.example/',
    'https:shop.example',
    'https://',
    '//a.example/',
  ],
  ...['https://a:b@shop.example/', 'https://a@shop.example/', 'https://shop.example/#a', '/hooks'],
  ...['https://a b.example/', 'https://shop.example\\@10.0.0.1/', 'https://a.example:99999/', ''],
  ...[
    'https://exa mple/',
    'https://[::1/',
    'https://%31%30.0.0.1/',
    'https://a..b/',
    ' https://a.b/',
  ],
  ...[
    'https://shop.example/\r\nx: y',
    `https://shop.example/${'x'.repeat(2000)}`,
    'https://[fe80::1%25eth0]/',
  ],
];
test.each(EVIL)('the URL %p is refused', async (url) => {
  const { body, status } = await put(newId(), { url });
  expect([status, body.code, body.errors?.[0].path]).toEqual([400, 'invalid_body', 'url']);
});

test('public https URLs are taken, whatever their port, path and query', async () => {
  const urls = [
    'https://93.184.216.34/',
    'https://[2606:4700::1111]:8443/a?b=c&d=%20',
    'https://bücher.example',
  ];
  for (const url of urls) expect((await put(newId(), { url })).status).toBe(200);
});
