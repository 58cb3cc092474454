/** The page /docs: a newcomer can build a shop from it alone. */
import { afterAll, expect, test } from 'bun:test';
import { adviceOn } from '../../apps/contract/advice.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import { CODES, PROBLEMS } from '../../apps/contract/problems.ts';
import type { Scope } from '../../apps/contract/scopes.ts';
import { eventCalls } from '../../apps/contract/v1/events.ts';
import type { Authenticate } from '../../apps/http/guard.ts';
import { RequestError } from '../../apps/http/problem.ts';
import { openBrowser } from '../support/browser.ts';
import { type Document, eachField, fieldsIn, operationsOf } from '../support/document.ts';
import { openAlone, openKassa } from '../support/kassa.ts';

const kassa = await openAlone();
const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: kassa.fetch });
const opened = await openBrowser();
afterAll(async () => {
  await opened?.close();
  await server.stop(true);
  await kassa.close();
});

/** Runs in the page: sends each form, and tells what it was answered. */
const SEND_ALL = `(async () => {
  const sent = [];
  for (const form of document.forms) {
    const shown = form.querySelector('pre');
    const answered = () => /\\n(\\d{3})\\b|\\nno answer/.exec(shown.textContent);
    shown.textContent = '';
    form.requestSubmit();
    while (form.checkValidity() && !answered()) await new Promise(requestAnimationFrame);
    sent.push([form.dataset.method + ' ' + form.dataset.path, Number(answered()?.[1]), shown.textContent]);
  }
  return sent;
})()`;

test.skipIf(!opened)(
  'every form, as it stands and from top to bottom, succeeds on an empty store, and again',
  async () => {
    const page = await opened?.newPage();
    const faults: string[] = [];
    page?.on('pageerror', (error) => faults.push(error.message));
    await page?.goto(`${server.url.origin}/docs`);
    for (let round = 1; round <= 2; round++) {
      const sent = (await page?.evaluate(SEND_ALL)) as [string, number, string][];
      expect(sent.filter(([, status]) => !(status >= 200 && status < 300))).toEqual([]);
      const calls = new Set(sent.map(([call]) => call));
      expect([...calls].toSorted()).toEqual(
        CALLS.map(({ methods, path }) => `${methods[0]} ${path}`).toSorted(),
      );
      const [user] = sent.filter(([call]) => call === 'GET /v1/users/{user_id}');
      expect(user?.[2]).toContain('\n200\n{\n  "id": "'); // pretty-printed
    }
    expect(faults).toEqual([]);
    expect(await page?.textContent('#start ~ pre')).toStartWith(`kassa=${server.url.origin}\n`);
    const program = await page?.textContent('#client ~ pre');
    expect(program).toContain(`openClient('${server.url.origin}')`);
  },
);

test.skipIf(!opened)('the forms send a key, and do not show it', async () => {
  const authenticate: Authenticate = ({ headers }) => {
    if (headers.get('authorization') === 'Bearer kassa_secret') return ADMIN;
    throw new RequestError('unauthenticated', 'no key');
  };
  const guarded = openKassa({}, undefined, authenticate);
  const fetch = guarded.fetch;
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch });
  try {
    const page = await opened?.newPage();
    await page?.goto(`${server.url.origin}/docs`);
    const send = `(async () => {
      const form = document.querySelector('form[data-path="/v1/users"][data-method="POST"]');
      const shown = form.querySelector('pre');
      form.requestSubmit();
      while (!/\\n\\d{3}\\b/.test(shown.textContent)) await new Promise(requestAnimationFrame);
      return shown.textContent;
    })()`;
    expect(await page?.evaluate(send)).toContain('\n401\n');
    await page?.fill('#credential', 'kassa_secret');
    const shown = await page?.evaluate<string>(send);
    expect(shown).toContain('"Authorization: Bearer $KEY"');
    expect(shown).toContain('\n201\n');
    expect(shown).not.toContain('secret');
  } finally {
    await server.stop(true);
    await guarded.close();
  }
});
const ADMIN = { name: 'test:admin', scopes: new Set<Scope>(['admin']) };

/** The text of the page, without its markup. */
const words = (html: string) =>
  html
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll(/\s+/g, ' ');

test('it has every call, runs no script but its own, and loads nothing', async () => {
  const { status, text, headers } = await kassa.get('/docs');
  expect([status, headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
  const told = words(text);
  const missing = CALLS.filter(
    ({ path, summary }) => !text.includes(`data-path="${path}"`) || !told.includes(summary),
  );
  expect(missing).toEqual([]);
  const [, script = ''] = text.split(/<\/?script>/);
  const hash = new Bun.CryptoHasher('sha256').update(script).digest('base64');
  expect(headers.get('content-security-policy')).toContain(`script-src 'sha256-${hash}';`);
  expect(/(?:src|href)="http/.test(text)).toBe(false);
});

test('it tells every field of every call as /openapi.json does, and stays small', async () => {
  const [{ text }, { body }] = [await kassa.get('/docs'), await kassa.get('/openapi.json')];
  const told = words(text);
  const fields = eachField(body as Document);
  const missing = fields.filter(({ name, description = '' }) => {
    const meaning = words(description.replaceAll('`', ''));
    // Entries of a page may be told where the page links to.
    const names = [name, name.replace('data[].', '')];
    return !names.some((one) => text.includes(`<code>${one}</code>`)) || !told.includes(meaning);
  });
  expect(missing).toEqual([]);
  expect(fields.length).toBeGreaterThan(200);
  expect(text.length).toBeLessThan(170_000);
});

test('each answer has a row for each field, or a link to an answer that has it', async () => {
  const [{ text }, { body }] = [await kassa.get('/docs'), await kassa.get('/openapi.json')];
  const rowsOf = (id: string): string[] => {
    const [, answer = ''] = text.split(`<details id="${id}">`);
    const [shown = ''] = answer.split('</details>');
    const own = [...shown.matchAll(/^<tr><td><code>(.+?)<\/code>/gm)].map(([, name = '']) => name);
    const [, whole, link] =
      /<p>(It|Each entry) has the fields .*\s+href="#(.+?)"/.exec(shown) ?? [];
    const linked = link ? rowsOf(link) : [];
    return [...own, ...linked.map((name) => (whole === 'It' ? name : `data[].${name}`))];
  };
  const operations = operationsOf(body as Document).filter(
    ({ operationId }) => !/By[A-Z]/.test(operationId),
  );
  for (const { operationId, responses } of operations) {
    const schema = (responses[200] ?? responses[201])?.content?.['application/json']?.schema ?? {};
    const known = fieldsIn(schema).map(({ name }) => name);
    const told = rowsOf(`${operationId.replace('.', '-')}-answer`);
    expect([operationId, known.filter((name) => !told.includes(name))]).toEqual([operationId, []]);
    // The walk of the document does not enter unions: events.
    const in_union = operationId === 'events.list' ? /^data\[\]\./ : /^data\[\]\.payload\./;
    const more = told.filter((name) => !known.includes(name) && !in_union.test(name));
    expect([operationId, more]).toEqual([operationId, []]);
  }
  expect(operations.length).toBe(CALLS.length);
});

test('a row has type, presence, limits, default and meaning; a choice of values is a list', async () => {
  const { text } = await kassa.get('/docs');
  const rows = [
    '<tr><td><code>limit</code><td>integer, optional<br>1 to 1000; default <code>100</code><td>The maximum',
    '<tr><td><code>amount</code><td>integer, required<br>1 to 2^53-1<td>What to add.',
    '<tr><td><code>lines[].item_id</code><td>string, required<br>1-64 of the characters A-Z a-z 0-9 _ -<td>',
    '<tr><td><code>ttl_s</code><td>integer, required<br>1 to 86400<td>',
    '<tr><td><code>restock</code><td>boolean, optional<br>default <code>true</code><td>Whether',
    '<tr><td><code>metadata</code><td>{string: string}, optional<br>at most 50 entries; names: 1-40 of',
    '<tr><td><code>reason</code><td>string, optional<br>1-200 characters, without control characters<td>',
  ];
  const states = ['open', 'held', 'paid', 'refunded'].map((state) => `<option>${state}`).join('');
  rows.push(`<select name="q_state"><option value="">any${states}</select>`);
  rows.push('"metadata"?: {string: string}'.replaceAll('"', '&quot;'));
  expect(rows.filter((row) => !text.includes(row))).toEqual([]);
});

test('it says of every code whether the call happened, what it means and what to do, and sorts the refusals of a call', async () => {
  const { text } = await kassa.get('/docs');
  const told = words(text);
  const missing = CODES.filter((code) => {
    const { meaning, action, happened } = adviceOn(code);
    const row = `${PROBLEMS[code].status} ${code}${happened}${meaning}${action}`.replaceAll(
      '`',
      '',
    );
    return !told.includes(row);
  });
  expect(missing).toEqual([]);
  const refused = [...text.matchAll(/^<p>Refused as (.*)<\/p>$/gm)].map(([, list = '']) =>
    words(list),
  );
  expect(refused.length).toBeGreaterThan(20);
  for (const list of refused) expect(list.split(', ').toSorted().join(', ')).toBe(list);
});

test('its shop in four calls works as it stands', async () => {
  const fresh = await openAlone();
  const { text } = await fresh.get('/docs');
  const [, shop = ''] = /<h2 id="start">.*?<pre>(.*?)<\/pre>/s.exec(text) ?? [];
  const calls = [...shop.matchAll(/curl \$kassa(\S+) (?:.|\\\n)*?-d '(.+)'/g)];
  const answers = [];
  for (const [, path = '', body = ''] of calls) {
    const headers = { 'content-type': 'application/json' };
    const { status, body: answer } = await fresh.call('POST', path, headers, body);
    answers.push([status, answer.state ?? answer.amount ?? answer.id]);
  }
  await fresh.close();
  expect(answers).toEqual([
    [201, 'ada'],
    [201, 'tea'],
    [201, 'paid'],
    [201, 500],
  ]);
});

test('its problem is the one that the service answers', async () => {
  const headers = { 'content-type': 'application/json', 'x-request-id': 'c3f1' };
  const { status, body } = await kassa.call('POST', '/v1/items', headers, '{}');
  expect([status, body.code]).toEqual([400, 'invalid_body']);
  const { text } = await kassa.get('/docs');
  expect(words(text)).toContain(words(JSON.stringify(body, null, 2)));
  for (const name of ['errors[].message', 'items[].available', 'shortfall', 'index', 'stock']) {
    expect(text).toContain(`<code>${name}</code>`);
  }
});

test('it has every type of event, with the fields of its data', async () => {
  const { text } = await kassa.get('/docs');
  const rows = [...text.matchAll(/^<tr id="(\w+\.\w+)">(.*)/gm)].map(([, type, row = '']) => {
    const told = words(row);
    expect(told).toContain(`${type}`);
    return [
      type,
      [...told.matchAll(/"(\w+)"\??: (?:string|integer|boolean|\[)/g)].map(([, f]) => f),
    ];
  });
  const known = eventCalls.list.answer.shape.data.element.options.map(({ shape }) => [
    shape.type.value,
    Object.entries(shape.data.shape).flatMap(([name, field]) =>
      name === 'lines' ? [name, ...Object.keys(field.element.shape)] : [name],
    ),
  ]);
  expect(rows).toEqual(known);
});

test('only two codes leave open whether the call happened', () => {
  const perhaps = CODES.filter((code) => adviceOn(code).happened !== 'no');
  expect(perhaps).toEqual(['internal', 'outcome_unknown']);
});

test.skipIf(!opened)('a form whose ids are only examples says so when it fails', async () => {
  const page = await opened?.newPage();
  await page?.goto(`${server.url.origin}/docs#orders-create`);
  await page?.click('#orders-create button');
  const shown = page?.locator('#orders-create pre').first();
  await shown?.getByText('ada, tea: only an example').waitFor();
  expect(await shown?.textContent()).toContain('"user_not_found"');
});

test('every link within it leads somewhere', async () => {
  const { text } = await kassa.get('/docs');
  const targets = new Set([...text.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id));
  const links = [...text.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
  expect(links.filter((id) => !targets.has(id))).toEqual([]);
  expect(links.length).toBeGreaterThan(50);
});
