/** The load generator: it parses every answer, counts outcomes, and measures latency correctly. */
import { afterAll, describe, expect, test } from 'bun:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openKassa } from '../../test/support/kassa.ts';
import { type Live, seeded } from '../../test/support/report.ts';
import { AnswerReader, BAD, MORE } from './answers.ts';
import { Arrivals, gaps } from './arrivals.ts';
import { type Requests, requests, type Workload } from './calls.ts';
import { prepare } from './prepare.ts';
import { Recorder } from './recorder.ts';
import { type LoadResult, OUTCOMES } from './result.ts';
import { type Plan, Run } from './run.ts';
import { numbered, openWorkload, type WorkloadName } from './workloads.ts';
import { zipf } from './zipf.ts';

const opened: { stop(now: boolean): unknown }[] = [];
afterAll(() => Promise.all(opened.map((server) => server.stop(true))));

const silent: Live = { show: () => {}, end: () => {} };

/** Starts an HTTP server in this process. @returns its port */
function serve(fetch: (request: Request) => Response | Promise<Response>): number {
  const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch });
  opened.push(server);
  return server.port ?? 0;
}

/** A server that answers each request with these bytes, in chunks of `size`; '' closes. */
function serveBytes(answer: (request: string) => string, size = 1e9, ends = false): number {
  const server = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      async data(socket, bytes) {
        const text = answer(bytes.toString());
        for (let at = 0; at < text.length; at += size) {
          socket.write(text.slice(at, at + size));
          socket.flush();
          if (size < text.length) await Bun.sleep(0);
        }
        if (ends || text === '') socket.end();
      },
    },
  });
  opened.push(server);
  return server.port;
}

/** A short run against a port of this machine. */
function run(
  port: number,
  workload: (wire: Requests, random: () => number) => Workload,
  plan: Partial<Plan> = {},
): Promise<LoadResult> {
  const random = seeded(7);
  const whole: Plan = {
    target: { hostname: '127.0.0.1', port, tls: false, insecure: false },
    workload: workload(requests(`127.0.0.1:${port}`, ''), random),
    name: 'test',
    loop: { kind: 'closed', clients: 8 },
    seed: 7,
    random,
    warmup_s: 0,
    seconds: 0.3,
    timeout_s: 5,
    ...plan,
  };
  return new Run(whole, silent).start();
}

/** A workload of these calls, in order. */
const listOf =
  (paths: readonly string[]) =>
  (wire: Requests): Workload => {
    let at = 0;
    return {
      next(call) {
        call.request = wire.post(paths[at++] ?? '');
        return at <= paths.length;
      },
      answered: () => 'committed',
    };
  };

const atMost = (calls: number, workload: Workload): Workload => {
  let left = calls;
  return { ...workload, next: (call) => left-- > 0 && workload.next(call) };
};

const checkoutsOf = (name: WorkloadName, n: number) => (wire: Requests, random: () => number) => {
  const rows = { orders: numbered(0, n), users: numbered(0, 0), items: numbered(0, 0) };
  return openWorkload(name, rows, wire, random);
};

describe('the parser of answers', () => {
  const answers: [text: string, status: number, body: string][] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-A: b\r\n\r\n{"a":1}', 200, '{"a":1}'],
    ['HTTP/1.1 204 No Content\r\n\r\n', 204, ''],
    ['HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 200, ''],
    [
      'HTTP/1.1 409 Conflict\r\ntransfer-encoding: chunked\r\n\r\n' +
        '4;x=y\r\nabcd\r\nA\r\n\r\n23456\r\n9\r\n0\r\nTrailer: 1\r\n\r\n',
      409,
      'abcd\r\n23456\r\n9',
    ],
    [
      'HTTP/1.1 100 Continue\r\n\r\n' +
        'HTTP/1.1 503 Gone\nCONTENT-LENGTH:2\nConnection: keep-alive\n\nab',
      503,
      'ab',
    ],
    ['HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nz', 200, 'z'],
  ];
  const all = Buffer.from(answers.map(([text]) => text).join(''));

  /** Parses these chunks. */
  function read(pieces: Buffer[]): (readonly [number, string, boolean])[] {
    const reader = new AnswerReader();
    reader.wanted = true;
    const found: (readonly [number, string, boolean])[] = [];
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; ) {
        at = reader.read(piece, at);
        if (at === MORE) break;
        if (at === BAD) return found;
        found.push([reader.status, reader.body, reader.closes]);
      }
    }
    return found;
  }
  const expected = answers.map(([, status, body]) => [status, body, false] as const);

  test('reads several answers in one packet', () => {
    expect(read([all])).toEqual(expected);
  });

  test('finds the exact end of an answer', () => {
    for (const [text] of answers) {
      expect(new AnswerReader().read(Buffer.from(`${text}HTTP`))).toBe(text.length);
    }
  });

  test('reads answers split at any byte', () => {
    for (let at = 1; at < all.length; at++) {
      expect(read([all.subarray(0, at), all.subarray(at)])).toEqual(expected);
    }
    expect(read([...all].map((byte) => Buffer.from([byte])))).toEqual(expected);
  });

  test('detects that the connection closes after an answer', () => {
    const close = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
    expect(read([Buffer.from(close)])).toEqual([[200, '', true]]);
    expect(read([Buffer.from('HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n')])).toEqual([
      [200, '', true],
    ]);
  });

  test('ends an answer without a length when the connection closes', () => {
    const reader = new AnswerReader();
    reader.wanted = true;
    expect(reader.read(Buffer.from('HTTP/1.1 200 OK\r\n\r\nab'))).toBe(MORE);
    expect(reader.read(Buffer.from('c'))).toBe(MORE);
    expect([reader.close(), reader.body, reader.closes]).toEqual([true, 'abc', true]);
    expect(reader.read(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab'))).toBe(MORE);
    expect(reader.close()).toBe(false);
  });

  test.each([
    'SSH-2.0-x\r\n',
    'HTTP/1.1 abc\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n',
  ])('refuses %j', (text) => {
    expect(new AnswerReader().read(Buffer.from(text))).toBe(BAD);
  });
});

describe('a closed loop', () => {
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
    const result = await run(port, listOf(paths), { loop, seconds: 60 });
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
    const seen = new Map<string, number>();
    const port = serve(async (request) => {
      const { pathname } = new URL(request.url);
      seen.set(pathname, (seen.get(pathname) ?? 0) + 1);
      await Bun.sleep(1);
      return Response.json({ paid: true });
    });
    const { counts } = await run(port, checkoutsOf('course', 20));
    const calls = [...seen.values()].reduce((sum, n) => sum + n, 0);
    expect(calls).toBeGreaterThan(seen.size);
    expect(counts.committed).toBe(seen.size);
    expect(counts.repeated).toBe(calls - seen.size);
  });

  test.each(['distinct', 'zipf', 'hot'] as const)(
    '%s checks out each order once and stops',
    async (name) => {
      const seen: string[] = [];
      const port = serve((request) => {
        seen.push(new URL(request.url).pathname);
        return Response.json({});
      });
      const result = await run(port, checkoutsOf(name, 100), { seconds: 60 });
      expect(result.ended).toBe('orders_ran_out');
      expect(result.seconds).toBeLessThan(10);
      expect(result.counts.committed).toBe(100);
      expect(seen.toSorted()).toEqual(
        Array.from({ length: 100 }, (_, i) => `/orders/checkout/${i}`).toSorted(),
      );
    },
  );
});

describe('a closed loop on connections that break', () => {
  test('opens a new connection after the server has closed one', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}';
    const port = serveBytes(() => answer, 1e9, true);
    const result = await run(port, listOf(new Array(20).fill('/x')));
    expect([result.counts.committed, result.counts.broken]).toEqual([20, 0]);
    expect(result.connections_opened).toBe(20);
  });

  test('reads answers that arrive byte by byte, and answers that end with the connection', async () => {
    const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n';
    const bytewise = await run(
      serveBytes(() => chunked, 1),
      listOf(['/a', '/b', '/c']),
    );
    expect(bytewise.counts.committed).toBe(3);
    const to_close = 'HTTP/1.1 200 OK\r\n\r\n{}';
    const closing = await run(
      serveBytes(() => to_close, 1e9, true),
      listOf(['/a', '/b', '/c']),
    );
    expect([closing.counts.committed, closing.counts.broken]).toEqual([3, 0]);
  });

  test('distinguishes why calls break', async () => {
    const why = async (port: number) => {
      const { counts, codes } = await run(port, listOf(['/x']), { timeout_s: 0.1, seconds: 5 });
      expect(counts.broken).toBe(1);
      return codes.broken;
    };
    const closed = serve(() => new Response());
    opened.at(-1)?.stop(true);
    expect(await why(closed)).toEqual({ refused: 1 });
    expect(await why(serveBytes(() => ''))).toEqual({ closed: 1 });
    expect(await why(serveBytes(() => 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n'))).toEqual({
      timeout: 1,
    });
    expect(await why(serveBytes(() => 'what?\r\n'))).toEqual({ protocol: 1 });
    const twice = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'.repeat(2);
    expect(await why(serveBytes(() => twice))).toEqual({ protocol: 1 });
  });
});

describe('an open loop', () => {
  test('a stall of the server counts in the latency of every call due meanwhile', async () => {
    let calls = 0;
    const stall = Promise.withResolvers<void>();
    const port = serve(async () => {
      if (++calls === 100) setTimeout(stall.resolve, 300);
      if (calls >= 100) await stall.promise; // once, for 300 ms
      return Response.json({});
    });
    const result = await run(
      port,
      (wire) => openWorkload('repeats', threeOrders, wire, Math.random),
      {
        loop: { kind: 'open', rate_per_s: 500, arrivals: 'fixed', connections: 4 },
        seconds: 1,
      },
    );
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
  const threeOrders = { orders: numbered(0, 3), users: numbered(0, 0), items: numbered(0, 0) };

  test('latency includes a late clock tick, but not the resolution of the clock', () => {
    const arrivals = new Arrivals(0, () => 0.4);
    arrivals.look(1.1); // on time: 0.4 and 0.8 are intended for the tick at 1
    expect([arrivals.shift(), arrivals.shift(), arrivals.shift()]).toEqual([1, 1, undefined]);
    arrivals.look(11.1); // the generator was stopped for 10 ms
    expect(arrivals.backlog).toBe(25);
    const intended = Array.from({ length: 25 }, () => arrivals.shift() ?? 0);
    expect(intended.slice(0, 3).map((at) => Number(at.toFixed(3)))).toEqual([2.1, 2.1, 2.1]);
    expect(intended.at(-1)).toBeCloseTo(10.8);
  });

  test('arrivals have the given rate, fixed or poisson', () => {
    for (const kind of ['fixed', 'poisson'] as const) {
      const gap = gaps(2000, kind, seeded(3));
      const drawn = Array.from({ length: 20_000 }, gap);
      expect(drawn.reduce((sum, ms) => sum + ms, 0) / 20_000).toBeCloseTo(0.5, 1);
      const longer = drawn.filter((ms) => ms > 1).length / 20_000;
      if (kind === 'fixed') expect(longer).toBe(0);
      else expect(longer).toBeCloseTo(Math.exp(-2), 1);
    }
  });
});

test('the recorder keeps seconds without answers, and calls that end after the window', () => {
  const recorder = new Recorder();
  recorder.record('read', '', 0, 500);
  recorder.begin(1000, 3);
  recorder.record('read', '', 1000, 1002);
  recorder.record('error', 'internal', 1000, 1010);
  recorder.record('read', '', 3400, 3500);
  recorder.record('broken', 'timeout', 1000, 4000);
  recorder.close(4005);
  const result = recorder.result();
  expect(result.warmup_counts.read).toBe(1);
  expect(result.seconds).toBe(3);
  expect(result.series.map(({ counts }) => [counts.read, counts.error, counts.broken])).toEqual([
    [1, 1, 0],
    [0, 0, 0],
    [1, 0, 0],
  ]);
  expect(result.series.map((slice) => slice.latency_ms?.max)).toEqual([10, undefined, 100]);
  expect([result.counts.broken, result.throughput_per_s.broken]).toEqual([1, 0]);
  expect(result.throughput_per_s.answered).toBe(1);
  expect(result.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(3);
});

describe('Zipf', () => {
  const share = (n: number, theta: number) => {
    const draw = zipf(n, theta, seeded(11));
    const counts = new Array<number>(n).fill(0);
    for (let i = 0; i < 200_000; i++) {
      const rank = draw();
      counts[rank] = (counts[rank] ?? Number.NaN) + 1;
    }
    return counts.map((count) => count / 200_000);
  };

  test('ranks come in proportion to 1 / rank^theta', () => {
    const shares = share(1000, 0.99);
    expect(shares).toHaveLength(1000);
    const zeta = shares.reduce((sum, _, i) => sum + 1 / (i + 1) ** 0.99, 0);
    const first = (n: number) => shares.slice(0, n).reduce((sum, one) => sum + one, 0);
    const law = (n: number) =>
      shares.slice(0, n).reduce((sum, _, i) => sum + 1 / (i + 1) ** 0.99, 0) / zeta;
    for (const n of [1, 2, 10, 100]) expect(Math.abs(first(n) - law(n))).toBeLessThan(0.03);
    expect(first(1)).toBeGreaterThan(0.11);
  });

  test('theta 0 draws uniformly, and one or two items work too', () => {
    expect(Math.max(...share(100, 0))).toBeLessThan(0.012);
    expect(share(1, 0.99)).toEqual([1]);
    const [first = 0, second = 0] = share(2, 0.99);
    expect(first / second).toBeCloseTo(2 ** 0.99, 1);
  });
});

test('the course’s scenarios run on Kassa, and only those meant to fail are refused', async () => {
  const kassa = openKassa();
  const port = serve(async (request) => {
    const reply = await kassa.call(request.method, new URL(request.url).pathname);
    return new Response(reply.text, { status: reply.status });
  });
  const nothing = { orders: numbered(0, 0), users: numbered(0, 0), items: numbered(0, 0) };
  const result = await run(
    port,
    (wire, random) => atMost(1000, openWorkload('scenarios', nothing, wire, random)),
    { seconds: 60 },
  );
  await kassa.close();
  expect(result.ended).toBe('orders_ran_out');
  expect(result.counts.read).toBeGreaterThan(0);
  expect([result.counts.invalid, result.counts.error, result.counts.broken]).toEqual([0, 0, 0]);
  expect(Object.keys(result.codes.refused ?? {}).toSorted()).toEqual([
    'insufficient_credit',
    'out_of_stock',
  ]);
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

const top = join(import.meta.dir, '../..');
async function load(...args: string[]) {
  const child = Bun.spawn([process.execPath, 'stress-test/load/main.ts', ...args], {
    cwd: top,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, out, err };
}

/** Enough of the API to be prepared and checked out. */
function fakeShop(batch_status = 200) {
  const paths: string[] = [];
  const port = serve((request) => {
    const { pathname } = new URL(request.url);
    const id = `made-${paths.push(pathname)}`;
    if (pathname.includes('batch_init') && batch_status !== 200) {
      return Response.json({ code: 'batch_init_disabled' }, { status: batch_status });
    }
    return Response.json({ order_id: id, item_id: id, user_id: id, msg: 'done' });
  });
  const called = (part: string) => paths.filter((path) => path.includes(part)).length;
  /** Calls that name a row that existed before. */
  const foreign = () =>
    paths
      .filter((path) => /\/(create|create_user|live)(\/\d+)?$/.test(path) === false)
      .filter((path) => !path.includes('/made-'));
  return { port, called, foreign };
}
const short = ['--seconds', '0.4', '--warmup', '0', '--orders', '30', '--clients', '4'];

describe('the command line', () => {
  test('--json prints only the documented result, --html writes a page with charts', async () => {
    const { port, called } = fakeShop();
    const folder = await mkdtemp(join(tmpdir(), 'kassa-load-'));
    const html = join(folder, 'report.html');
    const address = `http://127.0.0.1:${port}`;
    const flags = [...short, '--workload', 'course', '--seed', '5', '--json', '--html', html];
    const { code, out, err } = await load(address, ...flags);
    expect([code, called('/batch_init/')]).toEqual([0, 0]);
    expect(err).toContain('30 orders');
    const result = JSON.parse(out) as LoadResult;
    expect(result).toMatchObject({
      workload: 'course',
      loop: { kind: 'closed', clients: 4 },
      seed: 5,
      warmup_s: 0,
      seconds: 0.4,
      ended: 'time',
      backlog: null,
      connections_opened: 4,
    });
    expect(Object.keys(result.counts)).toEqual([...OUTCOMES]);
    const { committed, repeated } = result.counts;
    expect([committed > 0, committed <= 30]).toEqual([true, true]);
    expect(called('/orders/checkout/')).toBe(committed + repeated);
    expect(result.throughput_per_s.answered).toBeGreaterThan(0);
    expect(Object.keys(result.latency_ms.committed ?? {})).toEqual([
      ...['p50', 'p90', 'p99', 'p999', 'max'],
    ]);
    expect(result.series).toHaveLength(1);
    expect(result.cpu_s).toBeGreaterThan(0);
    const page = await Bun.file(html).text();
    await rm(folder, { recursive: true });
    expect(page).toStartWith('<!doctype html>');
    expect(page.match(/<svg [\s\S]+?<\/svg>/g)).toHaveLength(3);
    expect(page).not.toContain('<script');
    expect(page).not.toMatch(/NaN|undefined/);
    expect(page).toContain(`<dd>bun run load ${address} ${flags.join(' ')}</dd>`);
    expect(page).toMatch(/<dd>Kassa [\d.]+, Bun [\d.]+<\/dd>/);
    expect(page).toContain('<td>error</td><td>0</td>');
    expect(page).toContain('ms (log scale)');
    expect(page).not.toMatch(/<svg[^>]* width=/); // it fits a phone
  });
});

describe('the rows of a run', () => {
  test('existing rows are touched only with --prepare batch', async () => {
    const [shop, told, off] = [fakeShop(), fakeShop(), fakeShop(403)];
    const address = ({ port }: { port: number }) => `http://127.0.0.1:${port}`;
    const batch = ['--prepare', 'batch'];
    const [made, forced, fallen] = await Promise.all([
      load(address(shop), ...short),
      load(address(told), ...short, ...batch),
      load(address(off), ...short, ...batch),
    ]);
    expect([made.code, shop.called('batch_init'), shop.foreign()]).toEqual([0, 0, []]);
    expect([shop.called('/orders/create/'), shop.called('/addItem/')]).toEqual([30, 60]);
    expect([forced.code, told.called('/batch_init/'), told.called('/addItem/')]).toEqual([0, 3, 0]);
    expect(forced.err).toContain(
      'overwrites the rows "0" … "n-1"; such users, items, orders exist',
    );
    expect([fallen.code, off.called('/orders/create/')]).toEqual([0, 30]);
    expect(fallen.err).toContain('disabled');
  });

  test('concurrent checkouts of its own orders share no item and no user', async () => {
    const orders = new Map<string, string[]>();
    const order_of: string[] = [];
    const port = serve((request) => {
      const [, , verb, id = '', item = ''] = new URL(request.url).pathname.split('/');
      const made = crypto.randomUUID();
      if (verb === 'create' && request.url.includes('/orders/')) orders.set(made, [id]);
      if (verb === 'addItem') orders.get(id)?.push(item);
      if (verb === 'checkout') order_of.push(id);
      return Response.json({ order_id: made, item_id: made, user_id: made });
    });
    const flags = ['--seconds', '60', '--warmup', '0', '--clients', '8', '--orders', '2500'];
    const { code } = await load(`http://127.0.0.1:${port}`, ...flags);
    expect([code, order_of.length]).toEqual([0, 2500]);
    for (let at = 0; at + 16 < order_of.length; at += 8) {
      const rows = order_of.slice(at, at + 16).flatMap((id) => orders.get(id) ?? []);
      expect(new Set(rows).size).toBe(16 * 3);
    }
  });
});

describe('the exit codes', () => {
  test('a 5xx and a missing answer end with exit code 1, a dead address with 2', async () => {
    const broken = serve(() => new Response('', { status: 503 }));
    const flags = ['--prepared', '0..9', '--workload', 'find', '--seconds', '0.1', '--warmup', '0'];
    const [five, none] = await Promise.all([
      load(`http://127.0.0.1:${broken}`, ...flags),
      load('http://127.0.0.1:1'),
    ]);
    expect([five.code, five.out.includes('error: http_503')]).toEqual([1, true]);
    expect(none).toEqual({
      code: 2,
      out: '',
      err: 'kassa: http://127.0.0.1:1 does not answer (ECONNREFUSED)\n',
    });
  });

  const wrong: [said: string, ...args: string[]][] = [
    ['--rate must be a number', '--rate', 'x'],
    ["Unknown option '--bogus'", '--bogus'],
    ['The address must be', 'localhost'],
    ['--workload must be one of', '--workload', 'nope'],
    ['give one of them', '--clients', '2', '--rate', '3'],
    ['--clients must be a whole number', '--clients', '1.5'],
    ['--prepared must be a range', '--prepared', '5'],
    ['needs --users', '--prepared', '0..9', '--workload', 'reads'],
    ['--theta is for --workload zipf', '--theta', '0.5'],
    ['there is no folder', '--html', '/none/such/x.html'],
  ];
  test('a wrong flag ends with one sentence and exit code 2', async () => {
    const ends = await Promise.all(wrong.map(([, ...args]) => load(...args)));
    for (const [i, { code, out, err }] of ends.entries()) {
      expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
      expect(err).toContain(wrong[i]?.[0] ?? '-');
    }
  });

  test('--self-test measures the generator itself', async () => {
    const { code, out } = await load('--self-test', '--seconds', '0.5', '--warmup', '0.1');
    expect(code).toBe(0);
    expect(out).toMatch(/answered \d+\/s; .* generator's CPU \d+ % of a core/);
  });
});
