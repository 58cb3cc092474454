/** The client: it runs everywhere, and repeats exactly what may be repeated. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { type ClientOptions, KassaError, openClient } from '../../apps/client/client.ts';
import { kept, written } from '../../docs/client-calls.ts';
import { newDatabase } from '../support/kassa.ts';
import { need } from '../support/need.ts';
import { answers, freePort, openStage, TOP } from '../support/process.ts';

const stage = openStage();
const own = await newDatabase();
const port = await freePort();
const origin = `http://127.0.0.1:${port}`;
const env = { DATABASE_URL: own.database_url };
await answers(stage.start(['apps/cli/dev.ts', '--port', `${port}`, '--empty'], env), port);
const servers: { stop(force: boolean): Promise<void> }[] = [];
afterAll(async () => {
  for (const server of servers) await server.stop(true);
  await stage.clear();
  await own.drop();
});

test('its calls are those of the contract: if not, run `bun run docs`', async () => {
  expect(await kept()).toBe(written());
});

/** The client as one file, as a bundler makes it. */
async function bundled(): Promise<string> {
  const entrypoints = [join(TOP, 'apps/client/client.ts')];
  const { outputs } = await Bun.build({ entrypoints, target: 'browser' });
  return (await outputs[0]?.text()) ?? '';
}

/** A purchase, and a refusal, by someone who has only the client. */
const PURCHASE = `
export async function purchase({ openClient, KassaError }, origin) {
  const kassa = openClient(origin);
  const { id: user_id } = await kassa.users.create({ credit: 20 });
  const { id: item_id } = await kassa.items.create({ price: 7, stock: 5 });
  const lines = [{ item_id, quantity: 2 }];
  const { total_cost } = await kassa.orders.create({ user_id, lines, checkout: true });
  const { credit } = await kassa.users.get({ user_id });
  const error = await kassa.users.withdraw({ user_id, amount: 100 }).catch((e) => e);
  return [total_cost, credit, error instanceof KassaError, error.code, error.changed_nothing];
}`;
const BOUGHT = [14, 6, true, 'insufficient_credit', true];

test('it needs no package, and is small', async () => {
  const code = await bundled();
  expect(code).not.toMatch(/\b(?:import|require)\b/);
  expect(code.length).toBeLessThan(9000);
});

const DENO = join(TOP, 'node_modules/deno/deno');
test.each<[runtime: string, command: string[]]>([
  ['Node', ['node']],
  ['Deno', [DENO, 'run', '--no-prompt', '--allow-net']],
])('it runs in %s', async (_, command) => {
  const folder = await stage.folder();
  await Bun.write(join(folder, 'client.mjs'), await bundled());
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

const browser = need('chromium');
test.skipIf(!browser)(
  'it runs in a browser, and the forms of /docs call this server under their policy',
  async () => {
    const args = ['--no-sandbox', '--disable-gpu'];
    const opened = await chromium.launch({ executablePath: browser ?? '', args });
    try {
      const lax = await (await opened.newContext({ bypassCSP: true })).newPage();
      await lax.goto(`${origin}/docs`);
      const modules = [await bundled(), PURCHASE].map(
        (code) => `data:text/javascript,${encodeURIComponent(code)}`,
      );
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
        await page.click(`#${name} summary`);
        for (const [field, value] of Object.entries(fields)) {
          await page.fill(`#${name} [name=${field}]`, value);
        }
        await page.click(`#${name} button`);
        await page.waitForSelector(`#${name} pre:text-matches("\\\\n(\\\\d{3}|no answer)")`);
        return (await page.textContent(`#${name} pre`)) ?? '';
      };
      const made = await send('path_payment-createUser', { key: "it's" });
      expect(made).toStartWith(
        `curl -X POST -H 'Idempotency-Key: it'\\''s' ${origin}/payment/create_user\n\n200\n`,
      );
      const [, user_id] = /"user_id":"([^"]+)"/.exec(made) ?? [];
      expect(await send('path_payment-addFunds', { amount: '5' })).toContain(
        `\n200\n{"done":true,"user_id":"${user_id}","credit":5}`,
      );
      const body = { body: '{"id":"of-the-form","credit":3}' };
      expect(await send('users-create', body)).toContain('\n201\n{"id":"of-the-form","credit":3}');
      const deposit = await send('users-deposit', { body: '{"amount":4}' });
      expect(deposit).toContain(`\n200\n{"id":"${user_id}","credit":9}`); // the first id that came
      expect(faults).toEqual([]);
      expect(await send('path_stock-findItem', { item_id: 'nothing' })).toContain('\n404\n');
    } finally {
      await opened.close();
    }
  },
);

/** Loses answers, or requests, in turn. */
function lossy(lose: 'answers' | 'requests'): NonNullable<ClientOptions['fetch']> {
  let calls = 0;
  return async (url, init) => {
    const lost = calls++ % 2 === 0;
    if (lost && lose === 'requests') throw new TypeError('lost on the way');
    const answer = await fetch(url, init);
    if (lost) throw new TypeError('lost on the way back');
    return answer;
  };
}

test.each(['answers', 'requests'] as const)(
  'with %s lost, each call happens once',
  async (lose) => {
    const kassa = openClient(origin, { fetch: lossy(lose) });
    const { user_id } = await kassa.path_payment.createUser();
    for (let i = 1; i <= 5; i++) {
      expect((await kassa.path_payment.addFunds({ user_id, amount: 10 })).credit).toBe(10 * i);
    }
    const { credit } = await openClient(origin).path_payment.findUser({ user_id });
    expect(credit).toBe(50);
  },
);

/** A server that gives these answers in turn, and then the last again and again. */
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

test('reads carry no key, and a signal ends a call', async () => {
  const { origin, keys } = scripted(problem(429, 'overloaded'), ok);
  await openClient(origin).path_payment.findUser({ user_id: 'u' });
  expect(keys).toEqual([null, null]);
  const busy = scripted(problem(429, 'overloaded'));
  const ending = new AbortController();
  const call = openClient(busy.origin).path_payment.createUser({}, { signal: ending.signal });
  ending.abort(new Error('enough'));
  await expect(call).rejects.toThrow('enough');
  const patient = scripted(problem(429, 'overloaded', { 'retry-after': '1000' }));
  const pausing = openClient(patient.origin, { deadline_ms: 10 ** 7 });
  const ended = pausing.users.create({}, { signal: AbortSignal.timeout(50) });
  await expect(ended).rejects.toThrow(); // at once, and not after the pause
});

test('a call without one of its parameters throws, and sends nothing', async () => {
  const { path_payment } = openClient(origin);
  const incomplete = { user_id: 'u' } as { user_id: string; amount: number };
  for (const user_id of ['.', '..', 'a/b', 'a?b', '']) {
    await expect(path_payment.pay({ user_id, amount: 1 })).rejects.toThrow('needs user_id');
  }
  await expect(path_payment.addFunds(incomplete)).rejects.toThrow(
    'path_payment.addFunds needs amount',
  );
});

test('an error has the facts of its refusal', async () => {
  const kassa = openClient(origin);
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
