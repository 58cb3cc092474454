/**
 * The client repeats exactly what may be repeated, and says whether a call may have taken effect.
 */
import { afterAll, expect, test } from 'bun:test';
import { type ClientOptions, KassaError, openClient } from '../../apps/client/client.ts';
import { openKassa } from '../support/kassa.ts';
import { freePort } from '../support/process.ts';

const services = openKassa();
const ORIGIN = 'http://kassa';
const straight: NonNullable<ClientOptions['fetch']> = (url, init) =>
  services.fetch(new Request(url, init));
const servers: { stop(force: boolean): Promise<void> }[] = [];
afterAll(async () => {
  for (const server of servers) await server.stop(true);
  await services.close();
});

/** Loses answers, or requests, alternately. */
function lossy(lose: 'answers' | 'requests'): NonNullable<ClientOptions['fetch']> {
  let calls = 0;
  return async (url, init) => {
    const lost = calls++ % 2 === 0;
    if (lost && lose === 'requests') throw new TypeError('lost on the way');
    const answer = await straight(url, init);
    if (lost) throw new TypeError('lost on the way back');
    return answer;
  };
}

test.each(['answers', 'requests'] as const)(
  'with %s lost, each call happens once',
  async (lose) => {
    const kassa = openClient(ORIGIN, { fetch: lossy(lose) });
    const { user_id } = await kassa.path_payment.createUser();
    for (let i = 1; i <= 5; i++) {
      expect((await kassa.path_payment.addFunds({ user_id, amount: 10 })).credit).toBe(10 * i);
    }
    const { credit } = await openClient(ORIGIN, { fetch: straight }).path_payment.findUser({
      user_id,
    });
    expect(credit).toBe(50);
  },
);

/** A server that gives these answers in turn, and then repeats the last. */
function scripted(...answers: (() => Response)[]): { origin: string; keys: (string | null)[] } {
  const keys: (string | null)[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request) {
      keys.push(request.headers.get('idempotency-key'));
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      return answer?.() ?? new Response();
    },
  });
  servers.push(server);
  return { origin: server.url.origin, keys };
}

const problem =
  (status: number, code: string, headers = {}) =>
  () =>
    Response.json({ status, code, detail: 'a detail', request_id: 'r' }, { status, headers });
const ok = () => Response.json({ user_id: 'u' });
const gateway = () => new Response('<html>', { status: 502 });

test.each<[what: string, first: () => Response]>([
  ['429 overloaded', problem(429, 'overloaded')],
  ['429 contention', problem(429, 'contention')],
  ['408', problem(408, 'request_timeout')],
  ['503 not_ready', problem(503, 'not_ready')],
  ['503 outcome_unknown', problem(503, 'outcome_unknown')],
  ['502 of a gateway', gateway],
])('after %s it repeats the call with the same key', async (_, first) => {
  const { origin, keys } = scripted(first, ok);
  expect(await openClient(origin).path_payment.createUser()).toEqual({ user_id: 'u' });
  expect(keys).toHaveLength(2);
  expect(keys[0]).toMatch(/^[\da-f-]{36}$/);
  expect(keys[1]).toBe(keys[0] ?? '');
});

const json = { headers: { 'content-type': 'application/json' } };
test.each<[what: string, first: () => Response]>([
  ['cut short', () => new Response('{"user_id":', json)],
  ['empty', () => new Response(null)],
])('an answer that is %s is lost, and the call repeated', async (_, first) => {
  const { origin, keys } = scripted(first, ok);
  expect(await openClient(origin).path_payment.createUser()).toEqual({ user_id: 'u' });
  expect(keys).toHaveLength(2);
});

test.each<
  [what: string, answers: (() => Response)[], code: string, nothing: boolean, calls: number]
>([
  ['a refusal', [problem(409, 'out_of_stock')], 'out_of_stock', true, 1],
  ['a wrong call', [problem(400, 'invalid_parameter')], 'invalid_parameter', true, 1],
  ['a bug', [problem(500, 'internal')], 'internal', false, 1],
  ['a refusal after doubt', [gateway, problem(409, 'not_paid')], 'not_paid', true, 2],
  ['a missing route after doubt', [gateway, problem(404, 'route_not_found')], '', false, 2],
  [
    'a missing row after doubt',
    [gateway, problem(404, 'user_not_found')],
    'user_not_found',
    true,
    2,
  ],
  ['a wrong call after doubt', [gateway, problem(421, 'host_not_allowed')], '', false, 2],
])(
  '%s is an error that says whether anything changed',
  async (_, answers, code, nothing, calls) => {
    const { origin, keys } = scripted(...answers);
    const error = await openClient(origin)
      .path_payment.createUser({}, { idempotency_key: 'mine' })
      .catch((cause) => cause);
    expect(error).toBeInstanceOf(KassaError);
    if (code) expect(error.code).toBe(code);
    expect([error.changed_nothing, error.idempotency_key, error.request_id]).toEqual([
      nothing,
      'mine',
      'r',
    ]);
    expect(keys).toEqual(Array.from({ length: calls }, () => 'mine'));
  },
);

test.each<[answers: (() => Response)[], code: string, nothing: boolean]>([
  [[problem(409, 'limit_exceeded')], 'limit_exceeded', true],
  [[gateway, problem(409, 'limit_exceeded')], 'limit_exceeded', false],
])(
  'a call without a key is not recorded, so a refusal speaks of the last attempt alone',
  async (answers, code, nothing) => {
    const { origin } = scripted(...answers);
    const error = await openClient(origin)
      .webhooks.rotateSecret({ webhook_id: 'w' })
      .catch((cause) => cause);
    expect([error.code, error.changed_nothing]).toEqual([code, nothing]);
  },
);

test.each<[answer: (() => Response) | undefined, code: string, nothing: boolean]>([
  [problem(429, 'overloaded'), 'overloaded', true],
  [problem(503, 'store_unavailable'), 'store_unavailable', true],
  [problem(503, 'outcome_unknown'), 'outcome_unknown', false],
  [undefined, 'no_answer', false],
])('at the deadline the last answer is the error', async (answer, code, nothing) => {
  const to = answer ? scripted(answer).origin : `http://127.0.0.1:${await freePort()}`;
  const error = await openClient(to, { deadline_ms: 300 })
    .path_payment.createUser()
    .catch((cause) => cause);
  expect([error.code, error.changed_nothing]).toEqual([code, nothing]);
  expect(error.idempotency_key).toMatch(/^[\da-f-]{36}$/);
});

test('a pause is at least half of Retry-After: a longer one than the deadline ends the call', async () => {
  const { origin, keys } = scripted(problem(429, 'overloaded', { 'retry-after': '3600' }));
  const error = await openClient(origin)
    .path_payment.createUser()
    .catch((cause) => cause);
  expect([error.code, keys.length]).toEqual(['overloaded', 1]);
});

test('reads carry no key', async () => {
  const { origin, keys } = scripted(problem(429, 'overloaded'), ok);
  await openClient(origin).path_payment.findUser({ user_id: 'u' });
  expect(keys).toEqual([null, null]);
});

test('a call without one of its parameters throws, and sends nothing', async () => {
  const { path_payment } = openClient(ORIGIN, { fetch: straight });
  const incomplete = { user_id: 'u' } as { user_id: string; amount: number };
  for (const user_id of ['.', '..', 'a/b', 'a?b', '']) {
    await expect(path_payment.pay({ user_id, amount: 1 })).rejects.toThrow('needs user_id');
  }
  await expect(path_payment.addFunds(incomplete)).rejects.toThrow(
    'path_payment.addFunds needs amount',
  );
});

test('an error has the facts of its refusal', async () => {
  const kassa = openClient(ORIGIN, { fetch: straight });
  const { id: user_id } = await kassa.users.create({ credit: 20 });
  const { id: item_id } = await kassa.items.create({ price: 5, stock: 3 });
  const buy = (quantity: number) =>
    kassa.orders.create({ user_id, lines: [{ item_id, quantity }], checkout: true });
  const error = await buy(9).catch((cause) => cause);
  expect([error.code, error.facts.items]).toEqual([
    'out_of_stock',
    [{ item_id, wanted: 9, available: 3 }],
  ]);
  expect(await buy(3)).toMatchObject({ user_id, state: 'paid', total_cost: 15 });
  const short = await kassa.users.withdraw({ user_id, amount: 7 }).catch((cause) => cause);
  expect([short.code, short.facts.shortfall]).toEqual(['insufficient_credit', 2]);
});

/** A client whose server knows one token. */
function guarded(token: string, options: ClientOptions) {
  const shown: (string | null)[] = [];
  const fetch: ClientOptions['fetch'] = async (_, { headers }) => {
    const given = new Headers(headers).get('authorization');
    shown.push(given);
    return given === `Bearer ${token}` ? ok() : problem(401, 'unauthenticated')();
  };
  return { client: openClient(ORIGIN, { ...options, fetch }), shown };
}

test('a key goes with each call, and one that is not valid ends it', async () => {
  const good = guarded('kassa_1', { key: 'kassa_1' });
  await good.client.path_payment.createUser();
  expect(good.shown).toEqual(['Bearer kassa_1']);
  const bad = guarded('kassa_1', { key: 'kassa_2' });
  const error = await bad.client.path_payment.createUser().catch((cause) => cause);
  expect([error.code, error.changed_nothing, bad.shown.length]).toEqual([
    'unauthenticated',
    true,
    1,
  ]);
});

test('a token that has expired is asked for once more', async () => {
  let calls = 0;
  const { client, shown } = guarded('t2', { key: async () => `t${++calls}` });
  await client.path_payment.createUser();
  expect(shown).toEqual(['Bearer t1', 'Bearer t2']);
  const never = guarded('none', { key: () => 'old' });
  const error = await never.client.path_payment.createUser().catch((cause) => cause);
  expect([error.code, never.shown.length]).toEqual(['unauthenticated', 2]);
});
