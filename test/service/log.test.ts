/**
 * The log of a service: a line for each request, no secrets or SQL values, none lost at an exit.
 */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { logTo } from '../../apps/runtime/log.ts';
import { oneASecond } from '../../apps/runtime/log-rate.ts';
import type { Config } from '../../apps/runtime/variables.ts';
import { Failure } from '../../db/failure.ts';
import { fittingEnvironment } from '../support/fitting.ts';
import { connect, openKassa } from '../support/kassa.ts';
import { type Child, call, openStage } from '../support/process.ts';
import { absentStore, startService } from '../support/services.ts';

const stage = openStage();
const kassa = openKassa();
afterEach(() => stage.clear());
afterAll(() => kassa.close());

test('at level info each request is one line with its route, outcome and time', async () => {
  const { child, port } = await startService(stage, 'order', { LOG_LEVEL: 'info' });
  const order_id = await kassa.newOrder(await kassa.newUser());
  const keyed = { 'idempotency-key': crypto.randomUUID(), 'x-request-id': 'mine' };
  await call(port, 'POST', `/orders/checkout/${order_id}?token=private`, keyed);
  await call(port, 'POST', `/orders/checkout/${order_id}`, keyed);
  await call(port, 'GET', `/orders/find/${order_id}`);
  await call(port, 'GET', '/elsewhere');
  const all = await linesOf(child);
  const lines = all.filter(({ event }) => event !== 'store_not_ready'); // a first probe may be late
  const path = `/orders/checkout/${order_id}`;
  const refused = { method: 'POST', route: '/orders/checkout', path, status: 409 };
  expect(lines).toMatchObject([
    { ...refused, code: 'order_empty', request_id: 'mine', batch: 1 },
    { ...refused, code: 'order_empty', replayed: true },
    { method: 'GET', route: '/orders/find', status: 200 },
    { method: 'GET', route: 'none', path: '/elsewhere', status: 404, code: 'route_not_found' },
  ]);
  for (const line of lines) {
    expect(line).toMatchObject({ level: 'info', service: 'order', event: 'request' });
    expect(line.duration_ms).toBeGreaterThan(0);
  }
  expect(child.err).not.toContain('private');
});

test('at level warn only failures are logged, with their cause and without the password', async () => {
  const url = new URL(await absentStore());
  url.password = 'hush-hush';
  const env = fittingEnvironment({ DATABASE_URL: url.href, DEADLINE_MS: 300 });
  const { child, port } = await startService(stage, 'order', env, '/health/live');
  expect((await call(port, 'GET', '/health/ready')).status).toBe(503);
  expect((await call(port, 'GET', '/elsewhere')).status).toBe(404);
  const odd = await fetch(`http://127.0.0.1:${port}/elsewhere`, { method: 'PROPFIND' });
  expect(odd.status).toBe(501);
  expect((await call(port, 'GET', '/orders/find/one')).status).toBe(503);
  const lines = (await linesOf(child)).filter(({ event }) => event.startsWith('request'));
  const why = { name: 'Failure', code: 'store_unavailable' };
  expect(lines).toMatchObject([
    { level: 'warn', event: 'request_failed', route: '/orders/find', status: 503, error: why },
  ]);
  expect(child.err).not.toContain('hush');
});

/** What a service without a store logs of failed calls, while `make` calls it. */
async function failuresOf(make: (port: number) => Promise<void>, env: Record<string, string> = {}) {
  const away = { DATABASE_URL: await absentStore(), AWAY_MS: '0', ...env };
  const { child, port } = await startService(stage, 'order', away, '/health/live');
  await make(port);
  return (await linesOf(child)).filter(({ event }) => event === 'request_failed');
}

test('2,000 calls that fail in one outage make a few lines, which count them all', async () => {
  const begun_at = performance.now();
  const lines = await failuresOf(async (port) => {
    let left = 2000;
    const caller = async () => {
      while (left-- > 0) {
        const reply = await call(port, 'POST', '/orders/create/one', {});
        expect([reply.status, reply.body.code]).toEqual([503, 'store_unavailable']);
      }
    };
    await Promise.all(Array.from({ length: 50 }, caller));
  });
  const seconds = (performance.now() - begun_at) / 1000;
  expect(lines[0]).toMatchObject({ route: '/orders/create', code: 'store_unavailable' });
  expect(lines[0].suppressed).toBeUndefined(); // written at once
  expect(lines.length).toBeLessThan(seconds + 3);
  expect(lines.reduce((sum, { suppressed = 0 }) => sum + 1 + suppressed, 0)).toBe(2000);
});

test('at level info each call of an outage has its line', async () => {
  const ids = Array.from({ length: 20 }, (_, i) => `call-${i}`);
  const lines = await failuresOf(
    async (port) => {
      for (const id of ids) await call(port, 'POST', '/orders/create/one', { 'x-request-id': id });
    },
    { LOG_LEVEL: 'info' },
  );
  expect(lines.map(({ request_id }) => request_id)).toEqual(ids);
});

/** A log that writes one warning a second, and a clock for it. */
function rated() {
  const written: [string, Record<string, unknown>][] = [];
  const timers: (() => void)[] = [];
  let end = () => {};
  const log = oneASecond(
    (_, event, fields) => written.push([event, fields]),
    (_, run) => timers.push(run),
    (run) => {
      end = run;
    },
  );
  const aSecond = () => {
    for (const run of timers.splice(0)) run();
  };
  return { log, written, aSecond, end: () => end() };
}

test('the first of equal warnings is written at once, and then one a second', () => {
  const { log, written, aSecond, end } = rated();
  const warn = (n: number, code = 'away') => log('warn', 'failed', { route: '/a', code, n });
  const expectWritten = (...lines: Record<string, unknown>[]) =>
    expect(written.splice(0)).toEqual(
      lines.map((fields) => ['failed', { route: '/a', code: 'away', ...fields }]),
    );
  for (let n = 0; n < 2000; n++) warn(n);
  warn(0, 'slow'); // another code is counted separately
  expectWritten({ n: 0 }, { code: 'slow', n: 0 });
  aSecond();
  expectWritten({ n: 1999, suppressed: 1998 });
  warn(1); // within a second of that line
  expectWritten();
  aSecond();
  expectWritten({ n: 1 });
  aSecond();
  warn(2); // after a second without warnings it is written at once
  expectWritten({ n: 2 });
  for (let n = 3; n < 6; n++) warn(n);
  end();
  expectWritten({ n: 5, suppressed: 2 });
});

test('a refused caller does not hide another, nor a reason another one', () => {
  const { log, written } = rated();
  const callers = ['192.0.2.1', '192.0.2.2'].flatMap((address) =>
    ['no key was sent', 'not valid'].map((why) => ({ address, why })),
  );
  for (const caller of [...callers, ...callers]) log('warn', 'authentication_failed', caller);
  expect(written.map(([, fields]) => fields)).toEqual(callers);
});

test('every 500, and every call with an unknown outcome, has its line', () => {
  const { log, written } = rated();
  for (let n = 0; n < 50; n++) {
    log('error', 'request_failed', { route: '/a', code: 'internal', n });
    log('warn', 'request_failed', { route: '/a', code: 'outcome_unknown', n });
  }
  expect(written.length).toBe(100);
});

/** A log in memory. */
const collect = (least: Config['LOG_LEVEL'] = 'debug') => {
  const lines: string[] = [];
  return { lines, log: logTo((line) => lines.push(line), least, 'test') };
};

test('a log line is one JSON object with time, level, service and event', () => {
  const { lines, log } = collect();
  log('warn', 'two_lines', { text: 'a\nb', error: new Error('c\nd', { cause: new Error('e') }) });
  expect(lines.join('')).toMatch(/^.*\n$/);
  const line = JSON.parse(lines[0] ?? '');
  expect(line).toMatchObject({ level: 'warn', service: 'test', event: 'two_lines', text: 'a\nb' });
  expect(line.error).toMatchObject({ message: 'c\nd', cause: { message: 'e' } });
  expect(Math.abs(Date.parse(line.time) - Date.now())).toBeLessThan(60_000);
});

test('lines below LOG_LEVEL are not logged', () => {
  const { lines, log } = collect('warn');
  for (const level of ['debug', 'info', 'warn', 'error'] as const) log(level, level, {});
  expect(lines.map((line) => JSON.parse(line).event)).toEqual(['warn', 'error']);
});

test('no field or text at any depth contains a secret', () => {
  const { lines, log } = collect();
  const [url, odd] = ['postgres://kassa:hush-1@db/kassa', 'postgresql://k:hu"sh-2@a:1,b:2/k'];
  const headers = { Authorization: 'hush-3', cookie: 'hush-4', 'set-cookie': 'hush-5', host: 'a' };
  const error = new Error(`no way to ${url}`, { cause: [{ password: 'hush-6' }] });
  log('error', 'first', { url, deep: [{ odd, headers }], error });
  log('error', 'second', { deep: { error: Object.assign(error, { query: 'hush-7' }) } });
  expect(lines.join('')).not.toMatch(/hush|sh-2/);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    url: 'postgres://kassa:***@db/kassa',
    deep: [{ odd: 'postgresql://k:***@a:1,b:2/k', headers: { host: 'a', cookie: '***' } }],
    error: { message: 'no way to postgres://kassa:***@db/kassa' },
  });
});

test.each([
  ['a constraint', 'insert into users (id, credit) values ($1, -7531)'],
  ['a repeated key', 'insert into users (id, credit) values ($1, 7531), ($1, 7531)'],
  ['a malformed value', 'select $1::text::int8'],
])('the log of a statement refused for %s does not contain values', async (_, statement) => {
  const { sql, close } = await connect();
  const error = await sql.unsafe(statement, ['private-id']).catch((cause) => cause);
  await close();
  const { lines, log } = collect();
  log('error', 'batch_refused', { error: new Failure('internal', 'refused', { cause: error }) });
  expect(lines.join('')).toContain(error.code);
  expect(lines.join('')).not.toMatch(/private-id|7531/);
});

test.each([
  ['22P02', 'could not parse "private-id" as type int: strconv.ParseInt: parsing "private-id": no'],
  ['23505', `duplicate key value (id)=('private-id') violates unique constraint "users_pkey"`],
])('the log of %s as CockroachDB words it does not contain values', (code, said) => {
  const { lines, log } = collect();
  log('error', 'batch_refused', { error: Object.assign(new Error(said), { code }) });
  expect(lines.join('')).toContain(code);
  expect(lines.join('')).toContain(said.slice(0, 15));
  expect(lines.join('')).not.toContain('private-id');
});

const logs = (format: string, count: number) => `
  const { openLog } = await import('./apps/runtime/log.ts');
  const log = openLog('info', '${format}', 'test');
  for (let i = 0; i < ${count}; i++) log('info', 'counted', { i, text: 'x'.repeat(100) });
  process.exit(0);`;

test('an exit loses no line, however many there are', async () => {
  const child = await stage.run(['-e', logs('json', 10_000)]);
  const lines = await linesOf(child);
  expect(lines.map((line) => line.i)).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
});

test('LOG_FORMAT=pretty is for people; auto is JSON if standard error is no terminal', async () => {
  const pretty = await stage.run(['-e', logs('pretty', 1)]);
  expect(pretty.err).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: counted\n {4}i: 0\n/);
  const [line] = await linesOf(await stage.run(['-e', logs('auto', 1)]));
  expect(line).toMatchObject({ level: 'info', event: 'counted', i: 0 });
});

/** Its log lines, after it has ended. */
async function linesOf(child: Child) {
  child.signal('SIGTERM');
  await child.ended;
  const lines = child.err.trim().split('\n');
  return lines.map((line) => JSON.parse(line));
}
