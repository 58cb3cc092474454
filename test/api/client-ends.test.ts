/** What ends a call at once: its signal, and answers that do not come from Kassa. */
import { expect, test } from 'bun:test';
import { type ClientOptions, KassaError, openClient } from '../../apps/client/client.ts';

const ORIGIN = 'http://kassa';

/** Never answers, and rejects when the call is ended, as `fetch` does. */
const silent: NonNullable<ClientOptions['fetch']> = (_, { signal }) =>
  new Promise((_, reject) =>
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true }),
  );
const busy: NonNullable<ClientOptions['fetch']> = async () =>
  Response.json({ code: 'overloaded' }, { status: 429, headers: { 'retry-after': '1000' } });

test.each<[when: string, fetch: typeof silent, changed_nothing: boolean]>([
  ['waits for an answer', silent, false],
  ['pauses after a refusal', busy, true],
])('a call that is ended while it %s says so, with its key', async (_, fetch, changed_nothing) => {
  const ending = new AbortController();
  let sent = () => {};
  const first = new Promise<void>((resolve) => {
    sent = resolve;
  });
  const noted: typeof fetch = (url, init) => {
    sent();
    return fetch(url, init);
  };
  const client = openClient(ORIGIN, { fetch: noted, deadline_ms: 10 ** 7, attempt_ms: 10 ** 7 });
  const call = client.users
    .create({}, { signal: ending.signal, idempotency_key: 'mine' })
    .catch((cause) => cause);
  await first;
  ending.abort(new Error('enough'));
  const error = await call;
  expect(error).toBeInstanceOf(KassaError);
  const { code, idempotency_key, cause } = error;
  expect([code, idempotency_key, error.changed_nothing]).toEqual([
    'aborted',
    'mine',
    changed_nothing,
  ]);
  expect(cause).toBe(ending.signal.reason);
});

test('a call whose signal is aborted already sends nothing', async () => {
  let calls = 0;
  const fetch: typeof silent = async () => {
    calls++;
    return Response.json({});
  };
  const error = await openClient(ORIGIN, { fetch })
    .users.create({}, { signal: AbortSignal.abort() })
    .catch((cause) => cause);
  expect([calls, error.code, error.changed_nothing]).toEqual([0, 'aborted', true]);
});

test('an answer that arrives after the signal aborted is still returned', async () => {
  const ending = new AbortController();
  const fetch: typeof silent = async () => {
    ending.abort();
    return Response.json({ code: 'out_of_stock' }, { status: 409 });
  };
  const error = await openClient(ORIGIN, { fetch })
    .users.create({}, { signal: ending.signal })
    .catch((cause) => cause);
  expect(error.code).toBe('out_of_stock');
});

const page = (status: number, headers = {}) =>
  new Response('<html>', { status, headers: { 'content-type': 'text/html', ...headers } });
test.each<[what: string, answer: () => Response, said: string]>([
  ['a page that is missing', () => page(404), 'answered 404 text/html'],
  ['a page for every path', () => page(200), 'answered 200 text/html'],
  ['a page that asks to log in', () => page(403), 'answered 403 text/html'],
  [
    'a redirect',
    () => page(308, { location: 'https://shop.example/' }),
    'answered 308 to https://shop.example/',
  ],
  ['nothing', () => new Response(null, { status: 204 }), 'answered 204'],
  [
    'the JSON of another API',
    () => Response.json({ error: 'no' }, { status: 404 }),
    'answered 404',
  ],
  ['a list', () => Response.json([]), 'answered 200'],
])(
  '%s comes from something else than Kassa, and ends the call at once',
  async (_, answer, said) => {
    const keys: (string | null)[] = [];
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch({ headers }) {
        keys.push(headers.get('idempotency-key'));
        return answer();
      },
    });
    const { origin } = server.url;
    const error = await openClient(origin)
      .users.create()
      .catch((cause) => cause);
    await server.stop(true);
    expect([error.code, error.changed_nothing, keys.length]).toEqual(['not_kassa', false, 1]);
    expect(error.detail).toStartWith(`${origin}/v1/users answered `);
    expect(error.detail).toContain(said);
    expect(error.idempotency_key).toBe(keys[0]);
  },
);

test.each(['shop.example', 'localhost:8000', '/', 'ftp://shop.example'])(
  '%s is not the address of an API',
  (address) => {
    expect(() => openClient(address)).toThrow(`${address} is not an http or https URL`);
  },
);
