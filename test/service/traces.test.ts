/** Traces: a request, its wait, and the transaction that it shares, from the caller to the webhook. */
import { afterAll, expect, test } from 'bun:test';
import { openCollector, type Span } from '../support/collector.ts';
import { openKassa } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { call, openStage, until } from '../support/process.ts';
import { LOOPBACK, openReceiver } from '../support/receiver.ts';
import { scrape, startOnDeno, startService } from '../support/services.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = openKassa({ DATABASE_URL: database_url });
open.closing(kassa);
const stage = open.closing(openStage());
const collector = open.closing(openCollector());
const TRACED = {
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  DATABASE_URL: database_url,
};

const newTrace = () => crypto.randomUUID().replaceAll('-', '');
const CALLER = 'b7ad6b7169203331';
const JSON_TYPE = { 'content-type': 'application/json' };
const asked = (trace_id: string, flags = '01') => ({
  ...JSON_TYPE,
  traceparent: `00-${trace_id}-${CALLER}-${flags}`,
});
async function newUser(port: number, headers: Record<string, string>) {
  const init = { method: 'POST', headers, body: '{"credit":5}' };
  const answer = await fetch(`http://127.0.0.1:${port}/v1/users`, init);
  expect(answer.status).toBe(201);
  return Object.assign(answer, { id: ((await answer.json()) as { id: string }).id });
}
const parts = ({ name, parent_id }: Span) => ({ name, parent_id });

test('a call is one trace: caller, request, wait, transaction, log, exemplar, event and webhook', async () => {
  const receiver = open.closing(openReceiver());
  const networks = { WEBHOOK_NETWORKS: LOOPBACK, LOG_LEVEL: 'info' };
  const { child, port } = await startService(stage, 'payment', { ...TRACED, ...networks });
  const hooks = await startService(stage, 'webhooks', { ...TRACED, ...networks });
  const body = JSON.stringify({ url: receiver.url });
  const put = { method: 'PUT', headers: JSON_TYPE, body };
  await fetch(`http://127.0.0.1:${hooks.port}/v1/webhooks/w`, put);
  const untraced = await kassa.newUser();
  const trace_id = newTrace();
  const answer = await newUser(port, asked(trace_id));
  await until(() => collector.of(trace_id, 'POST').length > 0, 'the span of the delivery');
  await until(() => collector.of(trace_id, 'transaction').length > 0, 'the transaction');

  const [request] = collector.of(trace_id, 'POST /v1/users');
  expect(request).toMatchObject({ parent_id: CALLER, status: 0 });
  expect(request?.attributes).toMatchObject({
    ...{ 'http.request.method': 'POST', 'http.route': '/v1/users', 'url.path': '/v1/users' },
    ...{ 'http.response.status_code': 201, 'kassa.request_id': answer.headers.get('x-request-id') },
  });
  const [transaction] = collector.of(trace_id, 'transaction');
  expect(transaction?.links).toEqual([String(request?.id)]);
  expect(transaction?.attributes).toEqual({
    ...{ 'kassa.commands': 1, 'kassa.attempt': 1, 'kassa.end': 'committed' },
  });
  for (const [name, parent] of [
    ['queue', request],
    ['lock', transaction],
    ['commit', transaction],
  ] as const) {
    expect(collector.of(trace_id, name).map(parts)).toEqual([
      { name, parent_id: String(parent?.id) },
    ]);
  }
  expect(child.err).toContain(`"trace_id":"${trace_id}"`);
  const metrics = await scrape(port);
  expect(metrics).toContain(`# {trace_id="${trace_id}"}`);
  expect(metrics).toEndWith('# EOF\n');
  const { data } = (await kassa.get('/v1/events')).body;
  const traceparent = `00-${trace_id}-${request?.id}-01`;
  expect(data.at(-1)).toMatchObject({ type: 'user.created', traceparent });
  const [sent] = collector.of(trace_id, 'POST');
  expect(sent?.parent_id).toBe(String(request?.id));
  const [bare, traced] = [untraced, answer.id].map((id) =>
    receiver.taken.find(({ key }) => key === id),
  );
  expect(bare?.headers.has('traceparent')).toBeFalse();
  expect(traced?.headers.get('traceparent')).toBe(`00-${trace_id}-${sent?.id}-01`);
});

test('requests that share a transaction are all linked to it, and it to them', async () => {
  const { port } = await startService(stage, 'payment', TRACED);
  const ids = Array.from({ length: 40 }, newTrace);
  await Promise.all(ids.map((id) => newUser(port, asked(id))));
  const requests = () => ids.flatMap((id) => collector.of(id, 'POST /v1/users'));
  const shared = () =>
    ids.flatMap((id) => collector.of(id, 'transaction')).filter(({ links }) => links.length > 1);
  await until(() => requests().length === ids.length && shared().length > 0, 'all spans');
  for (const one of shared()) {
    expect(one.links).toHaveLength(Number(one.attributes['kassa.commands']));
    const linked = requests().filter(({ id }) => one.links.includes(id));
    expect(linked).toHaveLength(one.links.length);
    const others = linked.filter(({ id }) => id !== one.parent_id);
    expect(others.every(({ links }) => links.includes(one.id))).toBeTrue();
  }
});

test('a bulk is one trace, and linked once to each transaction of its calls', async () => {
  const { port } = await startService(stage, 'order', TRACED);
  const call = { method: 'POST', path: '/v1/users', body: { credit: 1 } };
  const body = JSON.stringify({ mode: 'each', calls: Array.from({ length: 20 }, () => call) });
  const trace_id = newTrace();
  const init = { method: 'POST', headers: asked(trace_id), body };
  expect((await fetch(`http://127.0.0.1:${port}/v1/bulk`, init)).status).toBe(200);
  await until(() => collector.of(trace_id, 'POST /v1/bulk').length > 0, 'the request');
  await until(() => collector.of(trace_id, 'queue').length === 20, 'all calls');
  const [request] = collector.of(trace_id, 'POST /v1/bulk');
  for (const { links } of collector.of(trace_id, 'transaction'))
    expect(links).toEqual([String(request?.id)]);
});

test('each attempt is a span, with the SQLSTATE that ended it', async () => {
  const proxy = await open.proxy(database_url);
  const own = { ...TRACED, DATABASE_URL: proxy.database_url };
  const { port } = await startService(stage, 'payment', own);
  let left = 1;
  proxy.disturb = (text) => (text === 'commit' && left-- > 0 ? { error: '40001' } : 'pass');
  const trace_id = newTrace();
  await newUser(port, asked(trace_id));
  const attempts = () => collector.of(trace_id, 'transaction');
  await until(() => attempts().length === 2, 'two attempts');
  expect(attempts().map(({ status, attributes }) => [status, attributes])).toEqual([
    [
      2,
      {
        ...{ 'kassa.commands': 1, 'kassa.attempt': 1, 'kassa.end': 'aborted' },
        'db.response.status_code': '40001',
      },
    ],
    [0, { 'kassa.commands': 1, 'kassa.attempt': 2, 'kassa.end': 'committed' }],
  ]);
});

test('what the caller or the sampler leaves out is not traced, nor are probes and scrapes', async () => {
  const sampled = await startService(stage, 'payment', TRACED);
  const never = await startService(stage, 'payment', {
    ...TRACED,
    OTEL_TRACES_SAMPLER: 'always_off',
  });
  const ids = Array.from({ length: 4 }, newTrace) as [string, string, string, string];
  await newUser(sampled.port, asked(ids[0], '00'));
  await newUser(never.port, asked(ids[1]));
  await call(sampled.port, 'GET', '/health/ready');
  await scrape(sampled.port);
  await newUser(sampled.port, asked(ids[2]));
  await until(() => collector.of(ids[2], 'POST /v1/users').length > 0, 'the traced one');
  const names = collector.spans.filter(({ trace_id }) => [ids[0], ids[1]].includes(trace_id));
  expect(names).toEqual([]);
  expect(collector.spans.filter(({ name }) => /health|metrics/.test(name))).toEqual([]);
});

test('without an endpoint nothing is traced, and metrics are in the usual format', async () => {
  const { port } = await startService(stage, 'payment', { DATABASE_URL: database_url });
  const disabled = await startService(stage, 'payment', { ...TRACED, OTEL_SDK_DISABLED: 'true' });
  const before = collector.spans.length;
  for (const each of [port, disabled.port]) {
    await newUser(each, asked(newTrace()));
    const { headers } = await fetch(`http://127.0.0.1:${each}/metrics`);
    expect(headers.get('content-type')).toStartWith('text/plain; version=0.0.4');
  }
  const { data } = (await kassa.get('/v1/events?limit=1000')).body;
  expect(data.at(-1)).not.toHaveProperty('traceparent');
  expect(collector.spans).toHaveLength(before);
});

test('a collector that is away costs no call, and the service stops in time', async () => {
  const away = { ...TRACED, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
  const { child, port } = await startService(stage, 'payment', away);
  for (let i = 0; i < 20; i++) await newUser(port, asked(newTrace()));
  await until(() => child.err.includes('traces_lost'), 'a line that says so');
  child.signal('SIGTERM');
  expect(await child.ended).toBe(0);
});

test('an SDK that throws costs no call its answer', async () => {
  const code = `
    import { trace } from '@opentelemetry/api';
    import { traceRequest, traceSending } from './apps/http/tracing.ts';
    let throws = true;
    const boom = () => { throw new Error('boom'); };
    const context = { traceId: '1'.repeat(32), spanId: '1'.repeat(16), traceFlags: 1 };
    const span = { isRecording: () => true, spanContext: () => context };
    for (const name of ['addLink', 'setAttribute', 'setAttributes', 'setStatus', 'updateName', 'end']) span[name] = boom;
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: () => (throws ? boom() : span) }) });
    const request = { method: 'POST', url: 'http://a/v1/users', headers: new Headers() };
    console.log(traceRequest(request), traceSending('00-' + '1'.repeat(32) + '-' + '1'.repeat(16) + '-01', 'a').end('x'));
    throws = false;
    const one = traceRequest(request);
    one.taken(1);
    const transaction = one.transaction([one, traceRequest(request)], 1, 1);
    console.log(transaction);
    one.transaction([one], 1, 1).roundTrip('lock', 1);
    one.transaction([one], 1, 1).end('aborted', '40001');
    one.end('POST', '/v1/users', 500, 'r', 'internal');
    console.log('alive');`;
  const child = await stage.run(['-e', code]);
  expect([child.err, child.out]).toEqual(['', 'undefined undefined\nundefined\nalive\n']);
});

test('on Deno too', async () => {
  const { child, port } = await startOnDeno(stage, 'payment', TRACED);
  await until(
    () =>
      call(port, 'GET', '/health/ready').then(
        ({ status }) => status === 200,
        () => false,
      ),
    child.err,
  );
  const trace_id = newTrace();
  await newUser(port, asked(trace_id)); // the first: the SDK is loaded before it is answered
  await until(() => collector.of(trace_id, 'POST /v1/users').length > 0, 'the request');
  await until(() => collector.of(trace_id, 'transaction').length > 0, 'the transaction');
});
