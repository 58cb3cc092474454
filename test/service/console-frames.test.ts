/** What the console shows: figures of the last seconds, from the log, the store and the processes. */
import { afterAll, expect, test } from 'bun:test';
import { Auditor } from '../../apps/console/auditor.ts';
import type { Frame } from '../../apps/console/frame.ts';
import { Gatherer } from '../../apps/console/gather.ts';
import type { Source } from '../../apps/console/processes.ts';
import { growth, quantilesOf, samplesIn, sumOf, sumsBy } from '../../apps/console/samples.ts';
import type { Sql, Statement } from '../../db/connection/connection.ts';
import { withConnection } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const proxy = await open.proxy(database_url);
const kassa = open.kassa({ DATABASE_URL: proxy.database_url });
const { send, post, user, item, order } = callsOfV1(kassa);

/** Watches until the test ends. */
async function watch() {
  const gone = new AbortController();
  const request = new Request('http://kassa/console/frames', { signal: gone.signal });
  const { body, headers } = await kassa.fetch(request);
  expect(headers.get('content-type')).toBe('text/event-stream');
  const frames: Frame[] = [];
  let text = '';
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  const reading = (async () => {
    for (;;) {
      const { value, done } = (await reader?.read()) ?? { done: true };
      if (done) return;
      text += value;
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const [, data] = /^data: (.*)$/m.exec(text.slice(0, end)) ?? [];
        if (data !== undefined) frames.push(JSON.parse(data));
        text = text.slice(end + 2);
      }
    }
  })();
  open.closing({
    async close() {
      await reader?.cancel();
      await reading;
    },
  });
  const shows = async (what: string, holds: (frame: Frame) => unknown): Promise<Frame> => {
    await until(() => holds(frames.at(-1) as Frame), what);
    return frames.at(-1) as Frame;
  };
  await until(() => frames.length > 0, 'a frame');
  return { frames, shows };
}

test('it shows what is sold, refused and held, the parts of the time, and the audit', async () => {
  const { shows } = await watch();
  const [user_id, rare, held] = [await user(1e9), await item(1000), await item(50)];
  let sold = 0;
  const buy = async () => {
    const lines = [lineOf(rare, 2)];
    expect((await order({ user_id, lines, checkout: true })).status).toBe(201);
    sold += 2;
    await order({ user_id, lines: [lineOf(rare, 5000)], checkout: true });
  };
  const { id } = (await order({ user_id, lines: [lineOf(held, 7)] })).body;
  await post(`/v1/orders/${id}/hold`, { ttl_s: 30 });
  const frame = await shows('purchases', (one) => {
    void buy();
    return (
      Number(one.purchases.paid) > 1 &&
      one.purchases.refused?.out_of_stock &&
      one.batch &&
      one.items[0]
    );
  });
  expect(frame.purchases.paid_total).toBeCloseTo(10 * Number(frame.purchases.paid), 5);
  expect(frame.items).toHaveLength(1);
  const [hot] = frame.items;
  expect(hot?.item_id).toBe(rare);
  expect(hot?.sold_per_s).toBeGreaterThan(0);
  expect(hot?.available).toBeWithin(0, 1000);
  expect(hot?.sold_out_in_s).toBeCloseTo((hot?.available ?? 0) / (hot?.sold_per_s ?? 1), 5);
  const { latency_ms, parts_ms } = frame;
  for (const part of [latency_ms, parts_ms.queue, parts_ms.lock, parts_ms.commit]) {
    expect(part?.p50).toBeGreaterThan(0);
    expect(part?.p99).toBeGreaterThanOrEqual(part?.p50 ?? Infinity);
  }
  expect(frame.trouble).toEqual({});
  expect(frame.processes).toMatchObject([{ service: 'test', up: true }]);
  expect(frame.webhooks).toMatchObject({ enabled: 0, waiting: 0 });
  const audited = await shows('the verdict', ({ audit }) => audit.state === 'clean');
  expect(audited.audit).toMatchObject({ violated: [] });
  expect(sold).toBeGreaterThan(0);
});

/** Watches a gatherer of its own, on the real store but for what is given. */
function gather(more: object = {}, sources: () => Promise<readonly Source[]> = async () => []) {
  const gatherer = new Gatherer({ ...kassa.store, ...more }, sources, () => {});
  const frames: Frame[] = [];
  const ends = [1, 2, 3].map(() => gatherer.watch((frame) => frames.push(frame)));
  open.closing({ close: async () => ends.forEach((end) => void end()) });
  const shows = async (what: string, holds: (frame: Frame) => unknown) => {
    await until(() => frames.length > 0 && holds(frames.at(-1) as Frame), what);
    return frames.at(-1) as Frame;
  };
  return { gatherer, frames, shows };
}

test('many who watch get the same frames, which are gathered once', async () => {
  let scrapes = 0;
  const source = { name: 'a', scrape: async () => `kassa_a_total ${scrapes++}` };
  const { frames } = gather({}, async () => [source]);
  await until(() => frames.length >= 9, 'three frames for each');
  const times = Map.groupBy(frames, ({ at }) => at);
  expect([...times.values()].filter((same) => same.length === 3).length).toBeGreaterThan(1);
  expect(scrapes).toBeLessThan(7);
});

test('nothing that is slow holds up the frames', async () => {
  const never = () => new Promise<never>(() => {});
  const { frames } = gather({ heldUnits: never, audit: never }, async () => [
    { name: 'a', scrape: never },
  ]);
  await until(() => frames.length >= 9, 'three frames for each');
  expect(frames.at(-1)).toMatchObject({ holds: null, audit: { state: 'running' } });
  expect(frames.at(-1)?.processes).toMatchObject([{ service: 'a', up: false }]);
});

test('what was never read has no figures, not zeros', async () => {
  const latest = () => Promise.reject(new Error('away'));
  const { shows } = gather({ events: { ...kassa.store.events, latest } });
  const { purchases, log } = await shows('trouble', ({ trouble }) => trouble.log);
  expect([purchases.paid, purchases.paid_total, log]).toEqual([null, null, null]);
  const read = await gather().shows('the log', (one) => one.log !== null);
  expect(read.purchases.paid).toBe(0);
});

test('figures of processes that do not answer are unknown, not zeros', async () => {
  const text = 'kassa_queue_length 0\nkassa_commits_ambiguous_total ';
  let [up, lost] = [true, 0];
  const scrape = async () => {
    if (!up) throw new Error('down');
    return `${text}${lost++ < 2 ? 1 : 4}\n`;
  };
  const { shows } = gather({}, async () => [{ name: 'a', scrape }]);
  const counted = await shows('a count', ({ in_doubt }) => in_doubt === 3);
  expect(counted.window_s).toBeGreaterThan(1);
  up = false;
  const { requests, purchases, retries, in_doubt, processes } = await shows(
    'none',
    ({ queue }) => queue === null,
  );
  expect([requests, purchases.refused, retries, in_doubt]).toEqual([null, null, null, null]);
  expect(processes).toMatchObject([{ service: 'a', up: false }]);
});

test('a store that is silent is trouble within three seconds, as one thing', async () => {
  let silent = false;
  const thaw = Promise.withResolvers<void>();
  const { read, events } = kassa.store;
  const findItem: typeof read.findItem = async (id) => {
    if (silent) await thaw.promise;
    return read.findItem(id);
  };
  /** As when the follower hangs: a wait ends in time, and nothing is new. */
  const readLog: typeof events.read = async (cursor, wanted) => {
    if (!silent) return events.read(cursor, wanted);
    await Bun.sleep(100);
    return { events: [], cursor };
  };
  const { shows } = gather({
    read: { ...read, findItem },
    events: { latest: events.latest, read: readLog, released: false },
  });
  await shows('the log', ({ log, trouble }) => log && trouble.store === undefined);
  silent = true;
  const begun_at = performance.now();
  const { trouble, purchases, log } = await shows('it', (one) => one.trouble.store !== undefined);
  expect(performance.now() - begun_at).toBeLessThan(4500);
  expect(Object.keys(trouble).toSorted()).toEqual(['holds', 'items', 'log', 'store', 'webhooks']);
  expect(trouble.store).toBeGreaterThan(1.9);
  expect(log).not.toBeNull(); // the last figures
  await shows('no rate', (one) => one.purchases.paid === null);
  expect(purchases.paid).toBeNull();
  silent = false;
  thaw.resolve();
  await shows('its end', ({ trouble, purchases }) => !trouble.store && purchases.paid !== null);
});

test('a read that fails alone is not the store', async () => {
  const heldUnits = () => Promise.reject(new Error('away'));
  const { trouble } = await gather({ heldUnits }).shows('it', (one) => one.trouble.holds);
  expect(trouble.store).toBeUndefined();
});

test('what was sold and is sold out stays, with the time of the last sale', async () => {
  const [user_id, last, plenty] = [await user(1e9), await item(3), await item(1000)];
  const { shows } = gather();
  await shows('the log', ({ log }) => log);
  for (const [id, quantity] of [
    [last, 3],
    [plenty, 2],
  ] as const) {
    expect((await order({ user_id, lines: [lineOf(id, quantity)], checkout: true })).status).toBe(
      201,
    );
  }
  const sold_at = Date.now();
  await shows('both', ({ items }) => items.length === 2);
  const { ended, items } = await shows('its end', (one) => one.ended.length > 0);
  expect(items.map(({ item_id }) => item_id)).not.toContain(last);
  expect(ended).toMatchObject([{ item_id: last, available: 0 }]);
  expect(Math.abs(Date.parse(ended[0]?.last_sold_at ?? '') - sold_at)).toBeLessThan(2000);
});

test('webhooks in trouble are named', async () => {
  for (const id of ['well', 'away', 'gone']) {
    await send('PUT', `/v1/webhooks/${id}`, { url: 'https://shop.example/' });
  }
  const set = (statement: (sql: Sql) => Statement) =>
    withConnection(({ sql }) => statement(sql), database_url);
  await set((sql) => sql`update webhooks set failing_since_s = 1 where id = 'away'`);
  await set((sql) => sql`update webhooks set state = 'disabled', reason = 'x' where id = 'gone'`);
  const { webhooks } = await gather().shows('both', (one) => one.webhooks?.failing);
  expect(webhooks).toMatchObject({ enabled: 2, failing: 1, disabled: 1 });
  expect(webhooks?.in_trouble).toEqual(['away', 'gone']);
});

test('of a process that has gone nothing stays in sums, nor the process of a name that is gone', async () => {
  let [names, up] = [['a', 'b'], true];
  const scrape = async (name: string) => {
    if (name === 'b' && !up) throw new Error('down');
    return `kassa_build_info{service="${name}",version="1"} 1\nkassa_queue_length 7\n`;
  };
  const sources = async () => names.map((name) => ({ name, scrape: () => scrape(name) }));
  const { shows } = gather({}, sources);
  await shows('both', ({ queue }) => queue?.length === 14);
  up = false;
  const { processes } = await shows('one', ({ queue }) => queue?.length === 7);
  expect(processes).toMatchObject([{ up: true }, { service: 'b', up: false }]);
  names = ['a'];
  await shows('its end', ({ processes }) => processes.length === 1);
});

test('visits that come and go do not repeat an audit, and a violated rule is shown', async () => {
  let audits = 0;
  const finding = { invariant: 'a rule', rows: 5, violations: 1, examples: ['a: 1'] };
  const audit = async () => {
    audits++;
    return [finding];
  };
  const auditor = new Auditor({ audit }, () => {});
  for (let visit = 0; visit < 3; visit++) {
    const gone = new AbortController();
    const running = auditor.run(gone.signal);
    await until(() => auditor.verdict.state === 'violated', 'the verdict');
    gone.abort();
    await running;
  }
  const { rows: _, ...violated } = finding;
  expect(auditor.verdict).toMatchObject({ rows: 5, violated: [violated] });
  expect(audits).toBe(1);
});

test('an audit that fails is told and logged', async () => {
  const logged: unknown[] = [];
  const broken = new Error('broken');
  const audit = () => Promise.reject(broken);
  const auditor = new Auditor({ audit }, (...line) => logged.push(line));
  const gone = new AbortController();
  const running = auditor.run(gone.signal);
  await until(() => auditor.verdict.state === 'failed', 'the verdict');
  gone.abort();
  await running;
  expect(auditor.verdict).toMatchObject({ why: 'it could not be run: see the log' });
  expect(logged).toEqual([['warn', 'console_trouble', { what: 'audit', error: broken }]]);
});

test('an audit that fails keeps the last verdict', async () => {
  let away = false;
  const audit = async () => {
    if (away) throw new Error('away');
    return [];
  };
  const auditor = new Auditor({ audit }, () => {}, 0);
  const gone = new AbortController();
  const running = auditor.run(gone.signal);
  await until(() => auditor.verdict.state === 'clean', 'the verdict');
  away = true;
  const failed = () => (auditor.verdict.state === 'clean' ? auditor.verdict.failed : undefined);
  await until(() => failed(), 'the failure');
  away = false;
  await until(() => failed() === null, 'its end');
  expect(auditor.verdict).toMatchObject({ state: 'clean', failed: null });
  gone.abort();
  await running;
});

test('while the store is away the frames go on, and say so', async () => {
  const { shows } = await watch();
  proxy.away = true;
  proxy.cutAll();
  const { processes } = await shows('trouble', ({ trouble }) => trouble.log);
  expect(processes).toMatchObject([{ up: true }]);
  proxy.away = false;
  await shows('its end', ({ trouble }) => Object.keys(trouble).length === 0);
});

test('a number that nothing explains is shown with its rule', async () => {
  const user_id = await user(5);
  const add = (amount: number) =>
    withConnection(
      ({ sql }) => sql`update users set credit = credit + ${amount}::int8 where id = ${user_id}`,
      database_url,
    );
  await add(1);
  const { audit } = await gather().shows('the verdict', (one) => one.audit.state === 'violated');
  await add(-1);
  const [first] = audit.state === 'violated' ? audit.violated : [];
  expect(first?.violations).toBe(1);
  expect(first?.examples[0]).toContain(user_id);
});

const TEXT = `# HELP kassa_a_total x
kassa_a_total{code="b\\"c",service="s"} 3
kassa_h_bucket{le="0.1"} 50 # {trace_id="a"} 0.05 1
kassa_h_bucket{le="1"} 99
kassa_h_bucket{le="+Inf"} 100
kassa_g 7
process_x 1
`;

test('metrics are read as Prometheus has them, exemplars left out', () => {
  const samples = samplesIn(TEXT);
  expect(samples).toHaveLength(5);
  expect(sumsBy(samples, 'kassa_a_total', 'code')).toEqual({ 'b\\"c': 3 });
  expect(sumOf(samples, 'kassa_g')).toBe(7);
  expect(quantilesOf(samples, 'kassa_h')).toEqual({ p50: 100, p99: 1000 });
  expect(quantilesOf(samples, 'kassa_none')).toBeNull();
});

test('the growth of counters is that of each process, also through a restart', () => {
  const [before, later, anew] = ['5', '8', '2'].map((n) =>
    samplesIn(`kassa_a_total ${n}\nkassa_g ${n}`),
  );
  expect(growth(before ?? [], later ?? [])).toMatchObject([{ name: 'kassa_a_total', value: 3 }]);
  expect(growth(before ?? [], anew ?? [])).toMatchObject([{ name: 'kassa_a_total', value: 2 }]);
});
