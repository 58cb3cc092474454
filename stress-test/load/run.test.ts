/** A run of the load generator counts every outcome, and the latency of every call that was due. */
import { expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { openKassa } from '../../test/support/kassa.ts';
import { freePort, listen } from '../../test/support/process.ts';
import { seeded } from '../../test/support/report.ts';
import { serve, untilEnd } from '../../test/support/until-end.ts';
import { type Requests, requests, type Workload } from './calls.ts';
import { prepare } from './prepare.ts';
import { type Plan, Run } from './run.ts';
import { numbered, openWorkload, type WorkloadName } from './workloads.ts';

const silent = { show() {}, end() {} };

/** A server that answers each request with these bytes, the last one apart; '' closes. */
function serveBytes(answer: string, ends = answer === ''): Promise<number> {
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .on('data', async () => {
        socket.write(answer.slice(0, -1));
        await Bun.sleep(1);
        if (ends) socket.end(answer.slice(-1));
        else socket.write(answer.slice(-1));
      });
  });
  return listen(untilEnd(server));
}

/** A short run against a port of this machine. */
function run(
  port: number,
  workload: (wire: Requests, random: () => number) => Workload,
  plan: Partial<Plan> = {},
) {
  const random = seeded(7);
  const whole: Plan = {
    target: { hostname: '127.0.0.1', port, tls: false, insecure: false },
    workload: workload(requests(`127.0.0.1:${port}`, ''), random),
    ...{ name: 'test', seed: 7, random, loop: { kind: 'closed', clients: 8 } },
    ...{ warmup_s: 0, seconds: 0.3, timeout_s: 5 },
    ...plan,
  };
  return new Run(whole, silent).start();
}

/** A workload of these calls, in order. */
const listOf =
  (...paths: string[]) =>
  (wire: Requests): Workload => ({
    next(call) {
      const path = paths.shift();
      call.request = wire.post(path ?? '');
      return path !== undefined;
    },
    answered: () => 'committed',
  });

const checkoutsOf = (name: WorkloadName, n: number) => (wire: Requests, random: () => number) => {
  const rows = { orders: numbered(0, n), users: numbered(0, 0), items: numbered(0, 0) };
  return openWorkload(name, rows, wire, random);
};

test('counts each status by outcome and code', async () => {
  const port = serve((request) => {
    const [, status, code] = new URL(request.url).pathname.split('/');
    const body = code ? JSON.stringify({ type: 'about:blank', code }) : 'no problem';
    return new Response(body, { status: Number(status) });
  });
  const paths = [
    ...['/200', '/201', '/404/order_not_found', '/409/out_of_stock', '/409/out_of_stock'],
    ...['/409', '/429/overloaded', '/429/contention', '/500/internal', '/502', '/302'],
    '/400/invalid_parameter',
  ];
  const loop = { kind: 'closed', clients: 3 } as const;
  const result = await run(port, listOf(...paths), { loop, seconds: 60 });
  expect(result.ended).toBe('orders_ran_out');
  expect(result.counts).toEqual({
    ...{ committed: 2, repeated: 0, read: 0, refused: 4, shed: 2, error: 2, invalid: 2 },
    broken: 0,
  });
  expect(result.codes).toEqual({
    refused: { order_not_found: 1, out_of_stock: 2, http_409: 1 },
    shed: { overloaded: 1, contention: 1 },
    error: { internal: 1, http_502: 1 },
    invalid: { invalid_parameter: 1, http_302: 1 },
  });
  expect(result.latency_ms.shed?.max).toBeGreaterThan(0);
  expect(result.latency_ms.read).toBeUndefined();
});

test('counts exactly one of concurrent checkouts of an order as committed', async () => {
  const seen: string[] = [];
  const port = serve(async ({ url }) => {
    seen.push(url);
    await Bun.sleep(1);
    return Response.json({ paid: true });
  });
  const { counts } = await run(port, checkoutsOf('course', 20));
  const orders = new Set(seen).size;
  expect(seen.length).toBeGreaterThan(orders);
  expect([counts.committed, counts.repeated]).toEqual([orders, seen.length - orders]);
});

test('a purchase by path is four calls in turn, and counts once, with the time of all', async () => {
  const seen: string[] = [];
  const called = (part: string) => seen.filter((path) => path.includes(part)).length;
  const port = serve(async ({ url }) => {
    const path = new URL(url).pathname;
    const order_id = `made-${seen.push(path)}`;
    const refused = path.includes('/addItem/') && called('/addItem/') === 1;
    await Bun.sleep(5);
    return refused ? new Response('', { status: 404 }) : Response.json({ order_id });
  });
  const rows = { orders: numbered(0, 0), users: numbered(0, 5), items: numbered(0, 3) };
  const { counts, latency_ms } = await run(port, (wire, random) =>
    openWorkload('purchase_by_path', rows, wire, random),
  );
  const bought = called('/checkout/made-');
  expect([counts.committed, counts.refused, counts.broken]).toEqual([bought, 1, 0]);
  expect([called('/create/'), called('/addItem/made-')]).toEqual([bought + 1, 2 * bought + 1]);
  expect(bought).toBeGreaterThan(0);
  expect(latency_ms.committed?.p50).toBeGreaterThan(4 * 5 - 1);
});

const ONCE = ['distinct', 'zipf', 'hot'] as const;
test.each(ONCE)('%s checks out each order once and stops', async (name) => {
  const seen: string[] = [];
  const port = serve(({ url }) => {
    seen.push(new URL(url).pathname);
    return Response.json({});
  });
  const result = await run(port, checkoutsOf(name, 100), { seconds: 60 });
  expect([result.ended, result.counts.committed]).toEqual(['orders_ran_out', 100]);
  expect(result.seconds).toBeLessThan(10);
  const orders = Array.from({ length: 100 }, (_, i) => `/orders/checkout/${i}`);
  expect(seen.toSorted()).toEqual(orders.toSorted());
});

test.each([
  [20, 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}'],
  [20, 'HTTP/1.1 200 OK\r\n\r\n{}'],
  [8, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n'],
])('opens %d connections for 20 calls of 8 clients that are answered %j', async (n, answer) => {
  const port = await serveBytes(answer, n === 20);
  const result = await run(port, listOf(...new Array<string>(20).fill('/x')));
  expect([result.counts.committed, result.counts.broken]).toEqual([20, 0]);
  expect(result.connections_opened).toBe(n);
});

test.each([
  ['closed', ''],
  ['timeout', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n'],
  ['protocol', 'what?\r\n'],
  ['protocol', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'.repeat(2)],
  ['refused', undefined],
])('says that a call is broken: %s, after %j', async (why, answer) => {
  const port = answer === undefined ? await freePort() : await serveBytes(answer);
  const { counts, codes } = await run(port, listOf('/x'), { timeout_s: 0.1, seconds: 5 });
  expect([counts.broken, codes.broken]).toEqual([1, { [why]: 1 }]);
});

test('in an open loop a stall of the server counts in the latency of every call due meanwhile', async () => {
  let calls = 0;
  const stall = Promise.withResolvers<void>();
  const port = serve(async () => {
    if (++calls === 100) setTimeout(stall.resolve, 300);
    if (calls >= 100) await stall.promise; // once, for 300 ms
    return Response.json({});
  });
  const loop = { kind: 'open', rate_per_s: 500, arrivals: 'fixed', connections: 4 } as const;
  const result = await run(port, checkoutsOf('repeats', 3), { loop, seconds: 1 });
  const felt = (ms: number) =>
    result.histogram.reduce((sum, bin) => sum + (bin.from_ms >= ms ? bin.count : 0), 0);
  // 150 calls were due during the stall, with only 4 connections
  expect(felt(50)).toBeGreaterThan(90);
  expect(felt(100)).toBeGreaterThan(60);
  expect(result.latency_ms.answered?.max).toBeGreaterThan(250);
  expect(result.backlog?.max).toBeGreaterThan(60);
  expect(result.connections_opened).toBe(4);
  const { counts, backlog } = result;
  expect(counts.committed + counts.repeated + (backlog?.at_end ?? 0)).toBeGreaterThan(480);
});

test('the course’s scenarios run on Kassa, and only those meant to fail are refused', async () => {
  const { fetch } = untilEnd(openKassa());
  const workload = (wire: Requests, random: () => number): Workload => {
    const scenarios = checkoutsOf('scenarios', 0)(wire, random);
    let left = 2000; // enough for each of the scenarios to come, whatever the chance
    return { ...scenarios, next: (call) => left-- > 0 && scenarios.next(call) };
  };
  const { ended, counts, codes } = await run(serve(fetch), workload, { seconds: 60 });
  expect(ended).toBe('orders_ran_out');
  expect(counts.read).toBeGreaterThan(0);
  expect([counts.invalid, counts.error, counts.broken]).toEqual([0, 0, 0]);
  const refused = Object.keys(codes.refused ?? {}).toSorted();
  expect(refused).toEqual(['insufficient_credit', 'out_of_stock']);
});

test('orders are created until the time is up, and the run uses those', async () => {
  const made = new Set<string>();
  const port = serve(() => {
    const id = crypto.randomUUID();
    made.add(id);
    return Response.json({ order_id: id, item_id: id, user_id: id });
  });
  const rows = { how: 'calls', from: 0, orders: 1e6, users: 3, items: 6, lines: 2 } as const;
  const plan = {
    ...{ address: `http://127.0.0.1:${port}`, workload: 'distinct' as const },
    ...{ target: { hostname: '', port, tls: false, insecure: false } },
    rows: { ...rows, theta: 0, prepare_s: 0.2 },
  };
  const { orders, users } = await prepare(plan, Math.random, silent, () => {});
  expect([users.count, orders.count > 0, orders.count < 1e6]).toEqual([3, true, true]);
  const ids = Array.from({ length: orders.count }, (_, i) => orders.id(i));
  expect([new Set(ids).size, ids.every((id) => made.has(id))]).toEqual([orders.count, true]);
});
