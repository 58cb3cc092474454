/** Events as a stream, over real connections: as browsers and clients receive them. */
import { afterAll, expect, test } from 'bun:test';
import { Buffer } from 'node:buffer';
import { openClient } from '../../apps/client/client.ts';
import { Connection } from '../../apps/http/connection.ts';
import type { Outgoing } from '../../apps/http/exchange.ts';
import { newDatabase } from '../support/kassa.ts';
import { answers, freePort, openStage, until } from '../support/process.ts';
import { startOnDeno } from '../support/services.ts';

const stage = openStage();
const own = await newDatabase();
const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
const DATABASE_URL = own.database_url;
const start = () =>
  stage.start(['apps/cli/dev.ts', '--port', `${port}`, '--empty'], { DATABASE_URL });
let service = start();
await answers(service, port);
const kassa = openClient(origin);
afterAll(async () => {
  await stage.clear();
  await own.drop();
});

interface Message {
  id: string;
  event: string;
  data: { data: Record<string, unknown> };
}

/** Reads a stream until `enough`, then hangs up. */
async function messages(
  url: string,
  headers: Record<string, string>,
  enough: (all: readonly Message[], text: string) => boolean,
): Promise<Message[]> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...headers } });
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/event-stream',
  ]);
  const parts = response.body?.getReader();
  for (let text = ''; ; ) {
    const part = await parts?.read();
    text += new TextDecoder().decode(part?.value);
    const all = parse(text);
    if (!enough(all, text) && !part?.done) continue;
    await parts?.cancel();
    return all;
  }
}

const parse = (text: string): Message[] =>
  text
    .slice(0, text.lastIndexOf('\n\n'))
    .split('\n\n')
    .filter((message) => message.includes('\ndata: '))
    .map((message) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(message)?.[1] ?? '';
      return { id: field('id'), event: field('event'), data: JSON.parse(field('data')) };
    });

const credits = (all: readonly Message[]) => all.map(({ data }) => data.data.credit);

test('a stream has what was before and what comes, and resumes behind Last-Event-ID', async () => {
  const url = `${origin}/v1/events?type=user.created`;
  await kassa.users.create({ credit: 1 });
  const first = messages(url, {}, (all) => all.length === 3);
  await Bun.sleep(200);
  await kassa.users.create({ credit: 2 });
  await kassa.users.create({ credit: 3 });
  const seen = await first;
  expect(credits(seen)).toEqual([1, 2, 3]);
  const resumed = { 'last-event-id': seen[0]?.id ?? '' };
  expect(credits(await messages(url, resumed, (all) => all.length === 2))).toEqual([2, 3]);
});

test('a silent stream tells its cursor now and then, so that proxies keep it and clients resume there', async () => {
  const url = `${origin}/v1/events?after=latest`;
  const signs = (text: string) => text.match(/^id: /gm)?.length ?? 0;
  expect(await messages(url, {}, (_, text) => signs(text) >= 2)).toEqual([]);
});

test('a wrong cursor is refused before the stream begins', async () => {
  const headers = { accept: 'text/event-stream', 'last-event-id': 'czzzzzzzz_0.zzzzzzzz' };
  const expired = await fetch(`${origin}/v1/events`, { headers });
  expect([expired.status, ((await expired.json()) as { code: string }).code]).toEqual([
    410,
    'cursor_expired',
  ]);
});

test('the client follows events through a kill and a restart: each comes once, in order', async () => {
  const { next } = await kassa.events.list({ after: 'latest' });
  const ended = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    const options = { signal: ended.signal };
    for await (const event of kassa.events({ after: next, type: 'user.created' }, options)) {
      if (event.type === 'user.created') seen.push(event.data.user_id);
    }
  })().catch((error) => error.code);
  const made: string[] = [];
  const create = async () => made.push((await kassa.users.create({})).id);
  for (let i = 0; i < 10; i++) await create();
  service.signal('SIGKILL');
  await service.ended;
  service = start();
  for (let i = 0; i < 10; i++) await create();
  await until(() => seen.length >= made.length, 'the last event');
  ended.abort();
  expect([await following, seen]).toEqual(['aborted', made]);
});

const listeners = async () =>
  Number(
    /^kassa_event_listeners\S* (\d+)/m.exec(await (await fetch(`${origin}/metrics`)).text())?.[1],
  );

test('a client that is gone frees its place', async () => {
  const gone = new AbortController();
  const accept = { accept: 'text/event-stream' };
  const open = [accept, {}].map(async (headers) => {
    const url = `${origin}/v1/events?after=latest&wait_s=15`;
    const response = await fetch(url, { headers, signal: gone.signal });
    await response.text();
  });
  const ended = Promise.allSettled(open);
  await until(async () => (await listeners()) === 2, 'both');
  gone.abort();
  await until(async () => (await listeners()) === 0, 'none');
  expect(await listeners()).toBe(0);
  await ended;
});

test('a stream whose connection is gone before it begins is cancelled', async () => {
  let [asked, cancelled] = [false, false];
  const answering = Promise.withResolvers<Outgoing>();
  const nothing = () => {};
  const connection = new Connection(
    {
      ...{ write: () => 0, shutdown: nothing, end: nothing },
      ...{ terminate: nothing, pause: nothing, resume: nothing },
    },
    {
      answer() {
        asked = true;
        return answering.promise;
      },
      refuse: () => expect.unreachable('it is a request'),
    },
  );
  connection.receive(Buffer.from('GET / HTTP/1.1\r\nHost: kassa\r\n\r\n'));
  await until(() => asked, 'the request');
  connection.closed();
  const body = new ReadableStream({
    cancel() {
      cancelled = true;
    },
  });
  const response = new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  answering.resolve({ response, request_id: '', last: false });
  await until(() => cancelled, 'its end');
  expect(cancelled).toBe(true);
});

test('a stop ends streams at once', async () => {
  const other = await freePort();
  const child = stage.start(['apps/cli/dev.ts', '--port', `${other}`, '--empty'], { DATABASE_URL });
  await answers(child, other);
  const url = `http://127.0.0.1:${other}/v1/events?after=latest`;
  const stream = messages(url, {}, () => false).catch(() => []);
  await Bun.sleep(300);
  const told_at = performance.now();
  child.signal('SIGTERM');
  await Promise.all([child.ended, stream]);
  expect(performance.now() - told_at).toBeLessThan(5000);
});

test('on Deno too events are streamed', async () => {
  const { child, port: other } = await startOnDeno(stage, 'order', { DATABASE_URL });
  await answers(child, other);
  const url = `http://127.0.0.1:${other}/v1/events?type=user.created`;
  expect((await messages(url, {}, (all) => all.length >= 3)).length).toBeGreaterThanOrEqual(3);
});
