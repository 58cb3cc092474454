/** Frames of a made-up sale for the tests of the console's page: the product has no such thing. */
import { Hono } from 'hono';
import type { Frame } from '../../apps/console/frame.ts';
import type { Env } from '../../apps/http/exchange.ts';

/** The same for the same n. */
const wave = (n: number, every: number, from: number, to: number) =>
  from + ((to - from) * (1 + Math.sin((2 * Math.PI * n) / every))) / 2;

/** A busy sale in which all is well, n seconds after its start. */
export function fakeFrame(n: number, at = Date.now()): Frame {
  const stock = (start: number, sold: number) => Math.max(0, start - sold * (n % 500));
  const item = (item_id: string, start: number, sold_per_s: number) => {
    const available = stock(start, sold_per_s);
    return { item_id, sold_per_s, available, sold_out_in_s: available / sold_per_s };
  };
  const busy = wave(n, 140, 0.4, 1) + wave(n, 17, 0, 0.12) + wave(n, 7, 0, 0.06);
  return {
    at: new Date(at).toISOString(),
    trouble: {},
    window_s: 5,
    purchases: {
      paid: 2600 * busy,
      paid_total: 91_000 * busy,
      refused: {
        out_of_stock: 900 * wave(n, 210, 0, 1),
        insufficient_credit: wave(n, 60, 40, 120),
      },
    },
    requests: { rate: 6100 * busy, failed: 0 },
    latency_ms: { p50: wave(n, 31, 6, 9), p99: 24 * busy + wave(n, 11, 0, 9) },
    parts_ms: {
      queue: { p50: 1.2, p99: wave(n, 23, 4, 11) },
      lock: { p50: 2.1, p99: wave(n, 37, 5, 8) },
      commit: { p50: 2.9, p99: wave(n, 43, 7, 10) },
    },
    queue: { length: Math.round(60 * busy * busy), set_aside: n % 90 > 70 ? 4 : 0, oldest_ms: 9.4 },
    batch: { mean: 38.4, transactions: 71 },
    retries: { 40001: 1.8, '55P03': 0.4 },
    in_doubt: 0,
    items: [
      item('sneaker-44-black', 96_000, 412),
      item('sneaker-43-black', 400_000, 390),
      item('concert-2027-front', 41_000, 81),
      item('hoodie-m', 900_000, 42.5),
      { item_id: 'poster', sold_per_s: 3.2, available: 0, sold_out_in_s: 0 },
      { item_id: 'gift-card', sold_per_s: 0, available: 5000, sold_out_in_s: null },
    ],
    ended: [
      {
        item_id: 'concert-2027-vip',
        available: 0,
        last_sold_at: new Date(at - 90_000).toISOString(),
      },
      { item_id: 'cap', available: 2, last_sold_at: new Date(at - 200_000).toISOString() },
    ],
    holds: { units: 18_240, items: 31, expiring_units: 420, age_s: n % 15 },
    log: { events: 7400 * busy, lag_ms: 14, listeners: 6 },
    webhooks: {
      enabled: 12,
      waiting: 340,
      waiting_s: 2,
      failing: 0,
      disabled: 0,
      dead: 0,
      lag_s: 1,
      in_trouble: [],
    },
    audit: {
      ...{ state: 'clean', age_s: n % 60, took_s: 3.24, rows: 1_284_031 },
      violated: [],
      failed: null,
    },
    processes: ['order', 'order', 'payment', 'stock', 'webhooks'].map((service) => ({
      service,
      version: '0.1.0',
      up: true,
    })),
  };
}

/** What no frame of a sale that goes well has. */
export const TROUBLE: Partial<Frame> = {
  trouble: { log: 4.2 },
  in_doubt: 3,
  webhooks: {
    ...{ enabled: 12, waiting: 8000, waiting_s: 90, lag_s: 3, dead: 0 },
    ...{ failing: 1, disabled: 1, in_trouble: ['crm', 'warehouse'] },
  },
  audit: {
    state: 'violated',
    age_s: 12,
    took_s: 3.4,
    rows: 1_284_031,
    failed: null,
    violated: [
      {
        invariant: 'the stock of an item is what its movements add up to',
        violations: 2,
        examples: ['item poster: stock 3, movements 4', '<img src=x onerror=alert(1)>'],
      },
    ],
  },
  processes: [
    { service: 'order', version: '0.1.0', up: true },
    { service: 'payment', version: '0.1.0', up: false },
  ],
};

/** What a frame has while the store is silent and no process answers. */
export const SILENCE: Partial<Frame> = {
  trouble: { store: 12.3, log: 12.3, items: 11.9, holds: 20, webhooks: 14 },
  window_s: 0,
  purchases: { paid: null, paid_total: null, refused: null },
  ...{ requests: null, latency_ms: null, queue: null, batch: null, retries: null, in_doubt: null },
  parts_ms: { queue: null, lock: null, commit: null },
  processes: [{ service: 'order', version: '0.1.0', up: false }],
};

/** Streams what `next` makes, every so often. */
export function fakeFrames(next: () => Frame | undefined, every_ms = 1000): Hono<Env> {
  const app = new Hono<Env>();
  app.get('/console/frames', (c) => {
    let timer: ReturnType<typeof setInterval>;
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(encoder.encode('retry: 200\n\n'));
        const send = () => {
          const frame = next();
          if (frame) controller.enqueue(encoder.encode(`data: ${JSON.stringify(frame)}\n\n`));
        };
        send();
        timer = setInterval(send, every_ms);
      },
      cancel: () => clearInterval(timer),
    });
    return c.body(body, 200, { 'content-type': 'text/event-stream' });
  });
  return app;
}
