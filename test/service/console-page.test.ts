/** The page /console, in a browser, on frames of a made-up sale. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import axe from 'axe-core';
import type { BrowserContextOptions, Page } from 'playwright-core';
import type { Frame } from '../../apps/console/frame.ts';
import { pageRoutes } from '../../apps/console/routes.ts';
import { responseText } from '../../apps/http/response-text.ts';
import { openBrowser } from '../support/browser.ts';
import { fakeFrame, fakeFrames, SILENCE, TROUBLE } from '../support/fake-frames.ts';
import { freePort, until } from '../support/process.ts';

const BYTES_MAX = 150_000;
const opened = await openBrowser();
afterAll(() => opened?.close());
const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close();
});

/** A server whose frames are changed by what the test puts into `change`. */
function serve(port = 0) {
  const shown = { change: {} as Partial<Frame>, silent: false, sent: 0 };
  const next = () => (shown.silent ? undefined : { ...fakeFrame(shown.sent++), ...shown.change });
  const app = pageRoutes().route('/', fakeFrames(next, 200));
  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    fetch: (request) => app.fetch(request, { request_id: 'r' }),
  });
  const close = () => server.stop(true);
  open.push(close);
  return { shown, origin: server.url.origin, close };
}

async function visit(origin: string, options: BrowserContextOptions) {
  const context = await opened?.newContext(options);
  open.push(async () => context?.close());
  const page = (await context?.newPage()) as Page;
  const faults: string[] = [];
  const asked: string[] = [];
  page.on('console', (message) => {
    if (message.type() !== 'log') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(`${origin}/console`);
  await page.waitForSelector('#link[data-state=ok]');
  return { page, faults, asked };
}

const DESKTOP = { width: 1440, height: 900 };
const NARROW = { width: 360, height: 640 };
const PHONE = { width: 390, height: 844 };
const WIDTHS = '[document.documentElement.scrollWidth, innerWidth]';
const DRAWN = `[...document.querySelectorAll('canvas')].map((one) => one.toDataURL())`;
/** Not `waitForFunction`, whose `eval` the page's policy forbids. */
const holds = (page: Page, expression: string) =>
  until(() => page.evaluate(expression), expression);
/** As it is shown. */
const textOf = (page: Page, selector: string): Promise<string> =>
  page.evaluate(`document.querySelector('${selector}').innerText`);

test.skipIf(!opened)(
  'it shows the figures of each frame, its charts move, and it asks nobody else',
  async () => {
    const server = serve();
    const visited = await visit(server.origin, { viewport: DESKTOP, colorScheme: 'dark' });
    const { page, faults, asked } = visited;
    expect(await textOf(page, '#headline')).toBe('All in order');
    expect(await textOf(page, '#verdict')).toContain('every row is explained');
    expect(await textOf(page, '#items')).toContain('sneaker-44-black\t412 /s');
    const before = (await page.evaluate(DRAWN)) as string[];
    expect(before).toHaveLength(3);
    const moved = async () => {
      const now = (await page.evaluate(DRAWN)) as string[];
      return now.every((one, i) => one !== before[i]);
    };
    await until(moved, 'the charts move');

    server.shown.change = {
      purchases: { paid: 4321.4, paid_total: 1, refused: { out_of_stock: 98_765 } },
      latency_ms: { p50: 1.25, p99: 1234 },
      queue: { length: 17, set_aside: 2, oldest_ms: 3 },
      items: [],
      ended: [],
    };
    await holds(page, `document.querySelector('#purchases b').innerText === '4,321'`);
    expect(await textOf(page, '#slow')).toMatch(/1–2\.5\s+s\s+slower than 1 s/);
    expect(await textOf(page, '#queue')).toMatch(/17\s+commands/);
    expect(await textOf(page, '#refused')).toMatch(/There is not enough stock\s+98,765 \/s/);
    expect(await textOf(page, '#sold .legend')).toContain('out_of_stock\t98,765 /s');
    expect(await textOf(page, '#items')).toContain('No sales at the moment.');
    expect(await textOf(page, '#attention')).toBe('p99 is above 1 s');
    expect(faults).toEqual([]);
    expect(asked.filter((url) => !url.startsWith(`${server.origin}/console`))).toEqual([]);
  },
);

test.skipIf(!opened)(
  'trouble is listed with a shape and words, is read out once, and what the store holds is no markup',
  async () => {
    const server = serve();
    const visited = await visit(server.origin, { viewport: DESKTOP });
    const { page, faults } = visited;
    server.shown.change = TROUBLE;
    await page.waitForSelector('#headline[data-state=bad]');
    const listed = (await textOf(page, '#attention')).split('\n').filter((line) => line !== '');
    expect(listed).toEqual([
      'Process payment does not answer',
      'The audit found 1 violated invariant',
      'The log has not been read for 4 s',
      '3 commits in doubt in the last 5 s',
      '1 webhook is failing',
      '1 webhook is disabled',
    ]);
    expect(await page.getAttribute('#headline use', 'href')).toBe('#i-bad');
    await holds(page, `document.querySelector('#news').innerText !== ''`);
    const news = await textOf(page, '#news');
    expect(news).toContain('Needs attention: Process payment does not answer.');
    expect(await textOf(page, '#audit')).toContain('<img src=x onerror=alert(1)>');
    expect(await textOf(page, '#processes')).toMatch(/payment\s+0\.1\.0\s+down/);
    expect(await textOf(page, '#webhooks')).toMatch(/In trouble\s+crm, warehouse/);
    expect(await textOf(page, '#news')).toBe(news);
    server.shown.change = {};
    await page.waitForSelector('#headline[data-state=ok]');
    expect(faults).toEqual([]);
  },
);

test.skipIf(!opened)(
  'it says that the connection is lost, of when its figures are, and goes on when the server is back',
  async () => {
    const port = await freePort();
    const server = serve(port);
    const visited = await visit(server.origin, { viewport: PHONE });
    const { page } = visited;
    await server.close();
    await page.waitForSelector('#silent:not([hidden])');
    expect(await textOf(page, '#silent')).toMatch(
      /^No connection for \d+ s\. What you see is from \d\d:\d\d:\d\d, and will be updated by itself\.$/,
    );
    expect(await textOf(page, '#link')).toBe('reconnecting');
    const [figure, soft] = await page.evaluate<string[]>(`['#purchases b', '.words']
      .map((one) => getComputedStyle(document.querySelector(one)).color)`);
    expect(figure).toBe(`${soft}`);
    expect(await page.title()).toBe('(no connection) Kassa console');
    const back = serve(port);
    back.shown.change = { queue: { length: 7, set_aside: 0, oldest_ms: 1 } };
    await holds(page, `document.querySelector('#queue b').innerText === '7'`);
    expect([await textOf(page, '#link'), await page.isVisible('#silent')]).toEqual(['live', false]);
    expect(await page.getAttribute('main', 'data-old')).toBeNull();
  },
);

test.skipIf(!opened)(
  'a silent store is one line, what is unknown is a dash, and tables are dimmed with their age',
  async () => {
    const server = serve();
    server.shown.change = { trouble: { log: 3, items: 3 } };
    const { page } = await visit(server.origin, { viewport: DESKTOP });
    await holds(page, `document.querySelectorAll('#attention li').length === 2`);
    server.shown.change = SILENCE;
    await holds(page, `document.querySelector('#attention').innerText.includes('store')`);
    const listed = (await textOf(page, '#attention')).split('\n').filter((line) => line !== '');
    expect(listed).toEqual([
      'The store has not answered for 12 s',
      'Process order does not answer',
    ]);
    for (const id of ['purchases', 'slow', 'queue']) {
      expect(await textOf(page, `#${id}`)).toMatch(/–\s+no figures/);
    }
    expect(await textOf(page, 'main')).not.toMatch(
      /empty|[Nn]o (purchases|writes|refusals|retries)/,
    );
    expect(await textOf(page, '#holds')).toContain('Holds 20 s old');
    expect(await textOf(page, '#items')).toContain('sneaker-44-black');
    const color = (selector: string) =>
      page.evaluate<string>(`getComputedStyle(document.querySelector('${selector}')).color`);
    expect(await color('#items a')).toBe(await color('.words'));
    server.shown.change = {};
    await holds(page, `document.querySelector('#holds h3').innerText.trim() === 'Holds'`);
  },
);

test.skipIf(!opened)('tiles and list say the same, also of what has just ended', async () => {
  const server = serve();
  const late = { length: 5, set_aside: 0, oldest_ms: 2690 };
  server.shown.change = { queue: late };
  const { page } = await visit(server.origin, { viewport: DESKTOP });
  await holds(page, `document.querySelector('#queue .verdict').innerText === 'behind'`);
  expect(await textOf(page, '#attention')).toBe('The oldest command has waited 2.69 s');
  server.shown.change = { queue: { ...late, oldest_ms: 584 } };
  await holds(page, `document.querySelector('#queue .words').innerText.includes('584 ms')`);
  const both = `[document.querySelector('#attention'), document.querySelector('#queue .verdict')]
    .map((one) => one.innerText)`;
  const [listed, told] = await page.evaluate<string[]>(both);
  expect(listed).toMatch(/^The oldest command has waited 2\.69 s \(until \d s ago\)$/);
  expect(told).toMatch(/^behind until \d s ago$/);
  await holds(page, `document.querySelector('#queue .verdict').innerText === 'moving'`);
  expect(await textOf(page, '#headline')).toBe('All in order');
});

test.skipIf(!opened)(
  'sold-out items stay, a failed audit keeps the verdict, and what is rare is counted',
  async () => {
    const server = serve();
    server.shown.change = {
      audit: {
        ...{ state: 'clean', age_s: 90, took_s: 3, rows: 5, violated: [] },
        failed: { age_s: 20, why: 'the store is away' },
      },
      requests: { rate: 5, failed: 0.4 },
      items: [{ item_id: 'cable', sold_per_s: 0.1, available: 1e9, sold_out_in_s: 1e10 }],
    };
    const { page } = await visit(server.origin, { viewport: DESKTOP });
    await holds(page, `document.querySelector('#attention').innerText !== ''`);
    const attention = await textOf(page, '#attention');
    expect(attention).toContain('The last audit failed');
    expect(attention).toContain('2 requests failed with 5xx in the last 5 s');
    expect(await textOf(page, '#verdict')).toMatch(
      /Clean\s+the last try failed\s+1 min 30 s ago: 5 rows in 3\.00 s\. The last try failed 20 s ago: the store is away/,
    );
    const items = await textOf(page, '#items');
    expect(items).toMatch(/concert-2027-vip\s+–\s+0\s+sold out\s+last sold at \d\d:\d\d:\d\d/);
    expect(items).toMatch(/cable\s+0\.1 \/s\s+1B\s+more than a week/);
    expect(items).toMatch(/cap\s+–\s+2\s+almost sold out/);
  },
);

test.skipIf(!opened)('the text of charts is as large on a dense screen as elsewhere', async () => {
  const server = serve();
  const context = await opened?.newContext({ viewport: PHONE, deviceScaleFactor: 3 });
  open.push(async () => context?.close());
  const page = (await context?.newPage()) as Page;
  await page.addInitScript(`const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (...given) {
      document.documentElement.dataset.font = this.font;
      return fillText.apply(this, given);
    };`);
  await page.goto(`${server.origin}/console`);
  await holds(page, 'document.documentElement.dataset.font');
  const font = await page.evaluate<string>('document.documentElement.dataset.font');
  expect(Number.parseFloat(font)).toBeGreaterThanOrEqual(33);
});

test.skipIf(!opened)('before the first frame it claims nothing', async () => {
  const server = serve();
  server.shown.silent = true;
  const context = await opened?.newContext();
  open.push(async () => context?.close());
  const page = (await context?.newPage()) as Page;
  await page.goto(`${server.origin}/console`);
  await page.waitForSelector('#silent:not([hidden])');
  const text = await textOf(page, 'main');
  expect(text).toMatch(/No connection for \d+ s\.\s+Waiting for the first figures/);
  expect(text).not.toMatch(/\d \/s|in order|[Nn]o (?!conn|figures)|selling|empty/);
  server.shown.silent = false;
  await page.waitForSelector('#headline[data-state=ok]');
});

test.skipIf(!opened)(
  'by keyboard: past the head, through time in a chart, and held still',
  async () => {
    const server = serve();
    const visited = await visit(server.origin, {
      viewport: DESKTOP,
      reducedMotion: 'reduce',
    });
    const { page } = visited;
    await holds(page, `document.querySelector('.legend tbody tr')`);
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.innerText')).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Home');
    await holds(page, `document.querySelector('#news').innerText.includes('paid')`);
    expect(await textOf(page, '#sold thead')).toMatch(/\d\d:\d\d:\d\d/);
    await page.keyboard.press('Escape');
    expect((await textOf(page, '#sold thead')).trim()).toMatch(/^now\s/);
    await page.focus('#hold');
    await page.keyboard.press('Enter');
    expect(await textOf(page, '#link')).toBe('paused');
    const paid = await textOf(page, '#purchases b');
    server.shown.change = { processes: [] };
    const { sent } = server.shown;
    await until(() => server.shown.sent > sent + 3, 'more frames');
    expect(await textOf(page, '#purchases b')).toBe(paid);
    await page.keyboard.press('Enter');
    await holds(page, `!document.querySelector('#processes .empty').hidden`);
  },
);

const AXE = `axe.run().then(({ violations }) => violations
  .map(({ id, impact, nodes }) => [impact, id, ...nodes.map(({ html }) => html)]))`;

test.skipIf(!opened).each(['dark', 'light'] as const)(
  'on phone and desktop nothing is cut off, and axe has no complaint (%s)',
  async (colorScheme) => {
    const server = serve();
    server.shown.change = TROUBLE;
    const { page } = await visit(server.origin, { viewport: NARROW, colorScheme });
    await page.waitForSelector('#headline[data-state=bad]');
    const back = await page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    expect(back).toBe(colorScheme === 'dark' ? 'rgb(13, 18, 22)' : 'rgb(244, 243, 239)');
    await page.evaluate(axe.source);
    for (const viewport of [NARROW, PHONE, DESKTOP]) {
      await page.setViewportSize(viewport);
      const [wide = 0, screen] = await page.evaluate<number[]>(WIDTHS);
      expect(wide).toBeLessThanOrEqual(screen ?? 0);
      if (viewport !== NARROW) expect(await page.evaluate(AXE)).toEqual([]);
    }
  },
);

const FILES = ['', '/uplot.js', '/app.js', '/style.css', '/icon.svg'].map(
  (path) => `/console${path}`,
);

test('page and files are small, may load nothing from elsewhere, and are revalidated by etag', async () => {
  const server = serve();
  let bytes = 0;
  for (const path of FILES) {
    const response = await fetch(server.origin + path);
    bytes += (await response.arrayBuffer()).byteLength;
    const etag = response.headers.get('etag');
    if (path === '/console') {
      const policy = response.headers.get('content-security-policy');
      expect(policy).toMatch(/^default-src 'none'; style-src 'self'; .*script-src 'self';/);
      expect(policy).not.toContain('unsafe');
      continue;
    }
    const again = await fetch(server.origin + path, { headers: { 'if-none-match': `${etag}` } });
    expect([path, response.status, again.status]).toEqual([path, 200, 304]);
    expect(response.headers.get('cache-control')).toBe('no-cache');
  }
  expect(bytes).toBeLessThan(BYTES_MAX);
  const redirected = await fetch(`${server.origin}/console/`);
  expect([redirected.status, new URL(redirected.url).pathname]).toEqual([200, '/console']);
  const page = await (await fetch(`${server.origin}/console`)).text();
  expect(/(?:src|href|action)="(?!\/console|#)|<script>|<style|\son\w+=/.test(page)).toBe(false);
});

test('an answer says once how it may be cached', async () => {
  for (const [headers, expected] of [
    [{}, 'no-store'],
    [{ 'cache-control': 'no-cache' }, 'no-cache'],
  ] as const) {
    const response = new Response('', { headers });
    const text = await responseText({ response, request_id: 'r', last: false }, false);
    expect(text.match(/^cache-control: .*(?=\r$)/gm)).toEqual([`cache-control: ${expected}`]);
    expect(text).toContain("content-security-policy: default-src 'none'");
  }
});
