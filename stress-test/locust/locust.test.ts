/** The Locust files are complete, have the course's weights, and count failures as failures. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdir, readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type Kassa, newDatabase, openKassa, times } from '../../test/support/kassa.ts';
import { need } from '../../test/support/need.ts';
import { freePort, openStage, TOP } from '../../test/support/process.ts';

const FOLDER = join(TOP, 'stress-test/locust');
const SCENARIOS = join(FOLDER, 'locustfile.py');
const CHECKOUTS = join(FOLDER, 'checkout_orders.py');
const CHECKOUT = 'POST /orders/checkout/[order_id]';
const ENV = { PYTHONDONTWRITEBYTECODE: '1' };
const ORDERS = 200;

const python = need('python3');
const locust = need('locust', 'apt-get install python3-locust');
const withPython = test.skipIf(!python);
const withLocust = test.skipIf(!locust);

const stage = openStage();
let database: Awaited<ReturnType<typeof newDatabase>>;
let kassa: Kassa;
let host: string;
let stop: () => Promise<void>;

beforeAll(async () => {
  database = await newDatabase();
  kassa = openKassa({ DATABASE_URL: database.database_url });
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const { status, headers, text } = await kassa.call(
        request.method,
        new URL(request.url).pathname,
      );
      return new Response(text, { status, headers });
    },
  });
  host = `http://127.0.0.1:${server.port}`;
  stop = () => server.stop(true);
});

afterAll(async () => {
  await stage.clear();
  await stop();
  await kassa.close();
  await database.drop();
});

/** Runs a Python file, or Locust, and waits until it ends. */
async function run(program: string | undefined, args: string[]) {
  const child = stage.start(args, ENV, program ?? '');
  await child.ended;
  return child;
}

const initOrders = (...args: string[]) => run(python, [join(FOLDER, 'init_orders.py'), ...args]);

interface Row {
  requests: number;
  failures: number;
}

/** Repeats with more time, since a busy machine may make no call in a few seconds. */
async function runLocust(file: string, address: string, seconds: number, options: string[] = []) {
  const short = await runOnce(file, address, seconds, options);
  return short.rows.Aggregated?.requests ? short : runOnce(file, address, 5 * seconds, options);
}

/** Runs one file for some seconds at full speed. @returns its exit code and its counts by name */
async function runOnce(file: string, address: string, seconds: number, options: string[]) {
  const csv = join(await stage.folder(), 'run');
  const size = ['-u', '5', '-r', '5', '-t', `${seconds}s`];
  const common = ['-f', file, '--headless', '--csv', csv, '--host', address, ...size];
  const child = await run(locust, [...common, '--only-summary', ...options]);
  const lines = (await readFile(`${csv}_stats.csv`, 'utf8')).trim().split('\n').slice(1);
  const rows: Record<string, Row> = {};
  for (const line of lines) {
    const [type, name, requests, failures] = line.split(',');
    rows[`${type} ${name}`.trim()] = { requests: Number(requests), failures: Number(failures) };
  }
  return { code: child.code, rows };
}

test('the scenarios have the weights of the course', async () => {
  const text = await readFile(SCENARIOS, 'utf8');
  const weights = [...text.matchAll(/^ {8}(\w+): (\d+),$/gm)].map((m) => [m[1], Number(m[2])]);
  expect(Object.fromEntries(weights)).toEqual({
    CreateItem: 5,
    CheckoutOneItem: 30,
    CheckoutTwoItems: 25,
    ChangeOfMind: 20,
    NotEnoughStock: 10,
    NotEnoughCredit: 10,
  });
});

test('the cluster gets every file that Locust needs', async () => {
  const files = (await readdir(FOLDER)).filter((name) => /\.(py|json)$/.test(name)).sort();
  const text = await readFile(join(FOLDER, 'kustomization.yaml'), 'utf8');
  const listed = [...text.matchAll(/^ {6}- (\S+)$/gm)].map((match) => match[1]);
  expect(listed).toEqual(files);
  expect(files).toContain('urls.json');
});

withPython('every Python file compiles', async () => {
  const folder = await stage.folder();
  const compile =
    'import sys, py_compile as p; [p.compile(f, f"{sys.argv[1]}/c", doraise=True) for f in sys.argv[2:]]';
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.py'));
  const paths = files.map((name) => join(FOLDER, name));
  const child = await run(python, ['-c', compile, folder, ...paths]);
  expect([child.code, child.err]).toEqual([0, '']);
  expect(files.length).toBe(4);
});

withPython('init_orders.py fails in one sentence', async () => {
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const said = [
    await initOrders('--host', nobody),
    await initOrders('--host', host, '--items', '1', '--users', '0'),
  ];
  expect(said.map((child) => child.code)).toEqual([1, 1]);
  expect(said[0]?.err).toMatch(/^init_orders: .*Connection refused.*\n$/);
  expect(said[1]?.err).toMatch(/^init_orders: .*400 invalid_parameter.*\n$/);
});

withLocust('against Kassa no call fails, and repeats and refusals are counted apart', async () => {
  const size = ['--orders', `${ORDERS}`, '--items', '50', '--users', '50', '--stock', '2'];
  expect((await initOrders('--host', host, ...size)).code).toBe(0);
  const [scenarios, checkouts] = await Promise.all([
    runLocust(SCENARIOS, host, 3, ['--wait', '0']),
    runLocust(CHECKOUTS, host, 3, ['--wait', '0', '--orders', `${ORDERS}`]),
  ]);
  // On a busy machine, three seconds may not reach every scenario.
  const seen = Object.keys(scenarios.rows);
  expect(seen.length).toBeGreaterThan(6);
  expect([
    'Aggregated',
    'DELETE /orders/removeItem/[order_id]/[item_id]',
    'GET /stock/find/[item_id]',
    'POST /orders/addItem/[order_id]/[item_id]',
    CHECKOUT,
    `${CHECKOUT} [refused]`,
    'POST /orders/create/[user_id]',
    'POST /payment/add_funds/[user_id]/[amount]',
    'POST /payment/create_user',
    'POST /stock/add/[item_id]/[number]',
    'POST /stock/item/create/[price]',
    'POST /stock/subtract/[item_id]/[number]',
  ]).toEqual(expect.arrayContaining(seen));
  const kinds = ['Aggregated', CHECKOUT, `${CHECKOUT} [refused]`, `${CHECKOUT} [repeat]`];
  expect(Object.keys(checkouts.rows).sort()).toEqual(kinds);
  for (const { code, rows } of [scenarios, checkouts]) {
    expect([code, rows.Aggregated?.failures]).toEqual([0, 0]);
  }
  const orders = await times(ORDERS, (i) => kassa.get(`/orders/find/${i}`));
  const paid = orders.filter((order) => order.body.paid).length;
  const counted = checkouts.rows[CHECKOUT]?.requests ?? 0;
  expect(counted).toBeLessThanOrEqual(paid);
  // On a busy machine, the first run may have paid orders without reporting them.
  expect(counted).toBeGreaterThan(0);
});

withLocust(
  'answers of 500 and broken connections are failures, and the exit code is 1',
  async () => {
    const broken = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () => Response.json({ item_id: '1', code: 'internal' }, { status: 500 }),
    });
    const closing = createServer((socket) => {
      socket.on('error', () => {}).on('data', () => socket.destroy());
    });
    await new Promise<void>((resolve) => closing.listen(0, '127.0.0.1', resolve));
    const ports = [broken.port, (closing.address() as AddressInfo).port];
    const runs = ports.flatMap((port) =>
      [SCENARIOS, CHECKOUTS].map((file) =>
        runLocust(file, `http://127.0.0.1:${port}`, 3, ['--wait', '0.1']),
      ),
    );
    for (const { code, rows } of await Promise.all(runs)) {
      expect(code).toBe(1);
      expect(rows.Aggregated?.requests).toBeGreaterThan(0);
      expect(rows.Aggregated?.failures).toBe(rows.Aggregated?.requests);
    }
    await broken.stop(true);
    closing.close();
  },
);
