/** What the console shows: figures of the last seconds, from the log, the store and the processes. */
import { afterAll, expect, test } from 'bun:test';
import type { Frame } from '../../apps/console/frame.ts';
import { growth, quantilesOf, samplesIn, sumOf, sumsBy } from '../../apps/console/samples.ts';
import { withConnection } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const proxy = await open.proxy(database_url);
const kassa = open.kassa({ DATABASE_URL: proxy.database_url });
const { post, user, item, order } = callsOfV1(kassa);

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
      one.purchases.paid > 1 && one.purchases.refused.out_of_stock && one.batch && one.items[0]
    );
  });
  expect(frame.purchases.paid_total).toBeCloseTo(10 * frame.purchases.paid, 5);
  expect(frame.items).toHaveLength(1);
  const [hot] = frame.items;
  expect(hot?.item_id).toBe(rare);
  expect(hot?.sold_per_s).toBeCloseTo(2 * frame.purchases.paid, 5);
  expect(hot?.available).toBeWithin(0, 1000);
  expect(hot?.sold_out_in_s).toBeCloseTo((hot?.available ?? 0) / (hot?.sold_per_s ?? 1), 5);
  const { latency_ms, parts_ms } = frame;
  for (const part of [latency_ms, parts_ms.queue, parts_ms.lock, parts_ms.commit]) {
    expect(part?.p50).toBeGreaterThan(0);
    expect(part?.p99).toBeGreaterThanOrEqual(part?.p50 ?? Infinity);
  }
  expect(frame.trouble).toEqual([]);
  expect(frame.processes).toMatchObject([{ service: 'test', up: true }]);
  expect(frame.webhooks).toMatchObject({ enabled: 0, waiting: 0 });
  const audited = await shows('the verdict', ({ audit }) => audit.state === 'clean');
  expect(audited.audit).toMatchObject({ violated: [] });
  expect(sold).toBeGreaterThan(0);
});

test('many who watch get the same frames, which are gathered once', async () => {
  const [first, second] = [await watch(), await watch()];
  const count = async () =>
    sumOf(samplesIn(await kassa.scrape()), 'kassa_http_request_duration_seconds_count');
  const before = await count();
  await second.shows('some frames', () => second.frames.length > 3);
  const known = new Set(first.frames.map(({ at }) => at));
  expect(second.frames.slice(0, 3).every(({ at }) => known.has(at))).toBeTrue();
  expect((await count()) - before).toBeLessThan(3); // it makes no calls of its own
});

test('while the store is away the frames go on, and say so', async () => {
  const { shows } = await watch();
  proxy.away = true;
  proxy.cutAll();
  const { processes } = await shows('trouble', ({ trouble }) => trouble.includes('log'));
  expect(processes).toMatchObject([{ up: true }]);
  proxy.away = false;
  await shows('its end', ({ trouble }) => trouble.length === 0);
});

test('a number that nothing explains is shown with its rule', async () => {
  const user_id = await user(5);
  await withConnection(
    ({ sql }) => sql`update users set credit = credit + 1 where id = ${user_id}`,
    database_url,
  );
  const other = open.kassa({ DATABASE_URL: database_url });
  const { findings } = { findings: await other.store.audit() };
  expect(findings.filter(({ violations }) => violations > 0)).toHaveLength(1);
  await withConnection(
    ({ sql }) => sql`update users set credit = credit - 1 where id = ${user_id}`,
    database_url,
  );
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
