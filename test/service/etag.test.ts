/** ETags: a client that has an answer already is not sent it again, over real connections. */
import { expect, test } from 'bun:test';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { openStageAndKassa, startService } from '../support/services.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const { stage, kassa } = openStageAndKassa();
const { post, user, item, order } = callsOfV1(kassa);
const { port } = await startService(stage, 'order');

const newOrder = async () =>
  (await order({ user_id: await user(), lines: [lineOf(await item(), 1)] })).body.id as string;
const tagOf = async (path: string) => (await kassa.get(path)).headers.get('etag') ?? '';

test('the answer with a single user, item or order has a weak tag, which changes with it', async () => {
  const paths = [
    ...[`/v1/users/${await user()}`, `/v1/items/${await item()}`],
    `/v1/orders/${await newOrder()}`,
  ];
  const tags = await Promise.all(paths.map(tagOf));
  for (const tag of tags) expect(tag).toMatch(/^W\/"[\w-]{22}"$/);
  expect(await Promise.all(paths.map(tagOf))).toEqual(tags);
  await post(`${paths[0]}/deposits`, { amount: 1 });
  await post(`${paths[1]}/stock`, { delta: 1 });
  await post(`${paths[2]}/checkout`, {});
  const later = await Promise.all(paths.map(tagOf));
  for (const [i, tag] of later.entries()) expect(tag).not.toBe(tags[i] ?? '');
  for (const path of ['/v1/users', '/v1/orders?limit=1']) expect(await tagOf(path)).toBe('');
});

test.each<[header: string, status: number]>([
  ['TAG', 304],
  ['W/TAG', 304],
  ['"a", W/TAG', 304],
  ['TAG , "b,c"', 304],
  ['*', 304],
  ['"a"', 200],
  ['"a,TAG,b"', 200],
  ['BARE', 200],
  ['w/TAG', 200],
  ['TAG"', 200],
  ['"a", *', 200],
  ['', 200],
])('If-None-Match: %s is %i', async (header, status) => {
  const path = `/v1/orders/${await newOrder()}`;
  const full = await kassa.get(path);
  const tag = (full.headers.get('etag') ?? '').slice(2);
  const sent = header.replace('BARE', tag.slice(1, -1)).replace('TAG', tag);
  const reply = await kassa.call('GET', path, { 'if-none-match': sent });
  expect([reply.status, reply.text]).toEqual([status, status === 304 ? '' : full.text]);
  expect(reply.headers.get('etag')).toBe(`W/${tag}`);
});

test('what is not there is 404, whatever tag it is asked for with', async () => {
  const reply = await kassa.call('GET', '/v1/orders/nothing', { 'if-none-match': '*' });
  expect([reply.status, reply.headers.get('etag')]).toEqual([404, null]);
});

test('on the wire a 304 has no body and no length, and the connection goes on', async () => {
  const path = `/v1/orders/${await newOrder()}`;
  const tag = await tagOf(path);
  const head = `Host: a\r\nIf-None-Match: ${tag}\r\n`;
  const socket = connect(port, '127.0.0.1');
  for (const method of ['GET', 'HEAD']) socket.write(`${method} ${path} HTTP/1.1\r\n${head}\r\n`);
  socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  const answers = (await text(socket)).split(/(?=HTTP\/1\.1 )/);
  expect(answers.map((one) => one.slice(0, 12))).toEqual([
    ...['HTTP/1.1 304', 'HTTP/1.1 304', 'HTTP/1.1 200'],
  ]);
  for (const one of answers.slice(0, 2)) {
    expect(one).toContain(`\r\netag: ${tag}\r\n`);
    expect(one).not.toMatch(/\ncontent-(?:length|type):/);
    expect(one).toEndWith('\r\n\r\n');
  }
});

test('HEAD has the tag and the length of the answer to GET', async () => {
  const path = `/v1/orders/${await newOrder()}`;
  const full = await kassa.get(path);
  const reply = await kassa.call('HEAD', path);
  const names = ['etag', 'content-type'];
  for (const name of names) expect(reply.headers.get(name)).toBe(full.headers.get(name));
  expect(reply.headers.get('content-length')).toBe(String(Buffer.byteLength(full.text)));
});
