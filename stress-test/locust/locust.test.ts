/** The Locust files are complete, have the course's weights, and count failures as failures. */
import { afterAll, expect, test } from 'bun:test';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { openAlone, times } from '../../test/support/kassa.ts';
import { need } from '../../test/support/need.ts';
import { freePort, listen, openStage, TOP, until } from '../../test/support/process.ts';
import { serve, untilEnd } from '../../test/support/until-end.ts';

const FOLDER = join(TOP, 'stress-test/locust');
const SCENARIOS = join(FOLDER, 'locustfile.py');
const CHECKOUTS = join(FOLDER, 'checkout_orders.py');
const CHECKOUT = 'POST /orders/checkout/[order_id]';
const ENV = { PYTHONDONTWRITEBYTECODE: '1' };
const ORDERS = 60;
/** Enough for each kind of answer. */
const CALLS = 150;

const python = need('python3');
const locust = need('locust', 'apt-get install python3-locust');
const withPython = test.skipIf(!python);
const withLocust = test.skipIf(!locust);

const stage = openStage();
const kassa = await openAlone();
afterAll(async () => {
  await stage.clear();
  await kassa.close();
});

const run = (args: string[], env = {}) => stage.run(args, { ...ENV, ...env }, python);
const initOrders = (host: string, ...args: string[]) =>
  run([join(FOLDER, 'init_orders.py'), '--host', host, ...args]);

interface Served {
  host: string;
  /** How many calls have come so far. */
  calls(): number;
}

/** Kassa on a port of this process. */
function serveKassa(): Served {
  let calls = 0;
  const port = serve((request) => {
    calls++;
    return kassa.fetch(request);
  });
  return { host: `http://127.0.0.1:${port}`, calls: () => calls };
}

/** Runs one file with five users until it has made some calls: its exit code and last table. */
async function runLocust(file: string, { host, calls }: Served, options: string[] = []) {
  const size = ['-u', '5', '-r', '5', '-t', '200s', '--wait', '0.04'];
  const args = ['-f', file, '--headless', '--only-summary', '--host', host, ...size, ...options];
  const child = stage.start(args, { ...ENV, COLUMNS: '250' }, locust);
  await until(() => calls() >= CALLS || child.code !== undefined, 'calls of Locust');
  child.signal('SIGTERM');
  await child.ended;
  const rows: Record<string, { requests: number; failures: number }> = {};
  for (const [, type, name, requests, failures] of child.err.matchAll(LINE)) {
    rows[`${type} ${name}`.trim()] = { requests: Number(requests), failures: Number(failures) };
  }
  return { code: child.code, rows, said: child.err };
}

const WITHOUT_IDS = /^(Aggregated|(GET|POST|DELETE) (\/[A-Za-z_]+|\/\[[a-z_]+\])+( \[refused\])?)$/;
/** A line of Locust's table: type and name, requests, failures. */
const LINE = /^(\S*) +(\S.*?) +(\d+) +(\d+)\([\d.]+%\) +\|/gm;

test('the scenarios have the weights of the course', async () => {
  const text = await readFile(SCENARIOS, 'utf8');
  const weights = [...text.matchAll(/^ {8}(\w+): (\d+),$/gm)].map((m) => [m[1], Number(m[2])]);
  expect(Object.fromEntries(weights)).toEqual({
    ...{ CreateItem: 5, CheckoutOneItem: 30, CheckoutTwoItems: 25, ChangeOfMind: 20 },
    ...{ NotEnoughStock: 10, NotEnoughCredit: 10 },
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
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.py'));
  const paths = files.map((name) => join(FOLDER, name));
  const env = { PYTHONPYCACHEPREFIX: await stage.folder() };
  const child = await run(['-m', 'py_compile', ...paths], env);
  expect([child.code, child.err, files.length]).toEqual([0, '', 4]);
});

withPython('init_orders.py fails in one sentence', async () => {
  const unreachable = await initOrders(`http://127.0.0.1:${await freePort()}`);
  expect(unreachable.err).toMatch(/^init_orders: .*Connection refused.*\n$/);
  const refused = await initOrders(serveKassa().host, '--items', '1', '--users', '0');
  expect(refused.err).toMatch(/^init_orders: .*400 invalid_parameter.*\n$/);
  expect([unreachable.code, refused.code]).toEqual([1, 1]);
});

withLocust('against Kassa no call fails, and repeats and refusals are counted apart', async () => {
  const size = ['--orders', `${ORDERS}`, '--items', '15', '--users', '15', '--stock', '1'];
  expect((await initOrders(serveKassa().host, ...size)).code).toBe(0);
  const [scenarios, checkouts] = await Promise.all([
    runLocust(SCENARIOS, serveKassa()),
    runLocust(CHECKOUTS, serveKassa(), ['--orders', `${ORDERS}`]),
  ]);
  const names = Object.keys(scenarios.rows);
  expect(names.length).toBeGreaterThan(6);
  for (const name of names) expect(name).toMatch(WITHOUT_IDS);
  const kinds = ['Aggregated', CHECKOUT, `${CHECKOUT} [refused]`, `${CHECKOUT} [repeat]`];
  expect(Object.keys(checkouts.rows).sort()).toEqual(kinds);
  for (const { code, rows } of [scenarios, checkouts]) {
    expect([code, rows.Aggregated?.failures]).toEqual([0, 0]);
  }
  const orders = await times(ORDERS, (i) => kassa.get(`/orders/find/${i}`));
  const paid = orders.filter((order) => order.body.paid).length;
  expect(checkouts.rows[CHECKOUT]?.requests).toBeWithin(1, paid + 1);
});

withLocust(
  'answers of 500 and broken connections are failures, and the exit code is 1',
  async () => {
    const fail = async (file: string) => runLocust(file, await serveFailures());
    for (const { code, rows, said } of await Promise.all([SCENARIOS, CHECKOUTS].map(fail))) {
      expect(code).toBe(1);
      expect(rows.Aggregated?.requests).toBeGreaterThan(0);
      expect(rows.Aggregated?.failures).toBe(rows.Aggregated?.requests);
      for (const kind of ['500 internal', 'no answer']) expect(said).toContain(kind);
    }
  },
);

/** Broken connections, of which Locust's client takes up to twelve for a failure; then 500s. */
async function serveFailures(): Promise<Served> {
  const body = '{"item_id":"1","code":"internal"}';
  const head = 'HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n';
  const answer = `${head}content-type: application/json\r\ncontent-length: ${body.length}`;
  let calls = 0;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      if (++calls <= CALLS / 2) socket.destroy();
      else socket.end(`${answer}\r\n\r\n${body}`);
    });
  });
  const port = await listen(untilEnd(server));
  return { host: `http://127.0.0.1:${port}`, calls: () => calls };
}
