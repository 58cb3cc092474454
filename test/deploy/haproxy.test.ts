/** deploy/haproxy.cfg: a real HAProxy in front of the run's store. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { exchange, openStandIn, request } from '../support/gateway.ts';
import { openKassa, storeUrl } from '../support/kassa.ts';
import { alerts, targets } from '../support/monitoring.ts';
import { need } from '../support/need.ts';
import { freePort, openStage, until } from '../support/process.ts';
import { type Compose, readOne, run, text } from './manifests/read.ts';

const haproxy = need('haproxy');
const check = test.skipIf(!haproxy);
const stage = openStage();
afterAll(() => stage.clear());

test('SQL port and DB Console have the same nodes, those of compose.yaml', async () => {
  const file = await text('deploy/haproxy.cfg');
  const nodesAt = (port: number) =>
    [...file.matchAll(new RegExp(`^ {2}server (\\w+) \\1:${port}`, 'gm'))].map(([, name]) => name);
  expect(nodesAt(26257).length).toBe(3);
  expect(nodesAt(8080)).toEqual(nodesAt(26257));
  expect(file.match(/^ {2}server /gm)?.length).toBe(6);
  const { services } = await readOne<Compose>('compose.yaml');
  expect(Object.keys(services)).toEqual(expect.arrayContaining(nodesAt(26257)));
});

check('HAProxy takes the file as it is', () => {
  const { code, err } = run([haproxy ?? '', '-c', '-f', 'deploy/haproxy.cfg']);
  const complaints = err.match(/^.*(?:WARNING|ALERT).*$/gm) ?? [];
  expect(complaints.filter((line) => !line.includes('not resolve address'))).toEqual([]);
  expect(code).toBe(0);
});

check('sessions go to nodes that are ready, end when none is, and come back', async () => {
  let ready = true;
  const node = await openStandIn(({ url }, reply) => {
    reply.writeHead(ready && url === '/health?ready=1' ? 200 : 503).end();
  });
  const { sql, status } = await openBalancer(node.port);
  const store = new URL(storeUrl());
  [store.hostname, store.port] = ['127.0.0.1', String(sql)];
  const kassa = openKassa({ DATABASE_URL: store.href, AWAY_MS: 0 });
  const ask = (path: string, method = 'GET') => exchange(status, request(method, path));
  const health = async () => (await ask('/health')).status;
  try {
    await until(async () => (await health()) === 200, 'the nodes');
    const user_id = await kassa.newUser(5);
    expect(await kassa.creditOf(user_id)).toBe(5);
    const exprs = [...alerts, ...targets].map(({ expr }) => expr);
    const names = new Set(exprs.join('\n').match(/\bhaproxy_\w+/g));
    expect(names.size).toBeGreaterThan(1);
    const metrics = (await ask('/metrics')).body;
    for (const name of names) expect(metrics).toContain(`\n${name}{proxy="nodes"`);
    expect((await ask('/')).status).toBe(404);
    for (const path of ['/', '/metrics']) {
      const put = await ask(path, 'PUT');
      expect([put.status, new Headers(put.headers).get('allow')]).toEqual([405, 'GET, HEAD']);
      expect((await ask(path, 'FOO')).status).toBe(501);
    }

    ready = false;
    await until(async () => (await health()) === 503, 'the loss of the nodes');
    const refused = await kassa.get(`/payment/find_user/${user_id}`);
    expect([refused.status, refused.body.code]).toEqual([503, 'store_unavailable']);
    const none = '\nhaproxy_backend_active_servers{proxy="nodes"} 0\n';
    expect((await ask('/metrics')).body).toContain(none);

    ready = true;
    await until(async () => (await health()) === 200, 'the nodes again');
    await until(async () => (await kassa.get('/health/ready')).status === 200, 'the store');
    expect(await kassa.creditOf(user_id)).toBe(5);
  } finally {
    await kassa.close();
    node.close();
  }
});

/** Three nodes that are all the run's store, with a health endpoint on this port, checked often. */
async function openBalancer(health: number) {
  const [sql, console, status] = [await freePort(), await freePort(), await freePort()];
  const { hostname, port } = new URL(storeUrl());
  const file = (await text('deploy/haproxy.cfg'))
    .replaceAll(/(?<=server \w+ )\w+:26257/g, `${hostname}:${port || 5432}`)
    .replaceAll(/(?<=server \w+ )\w+:8080/g, `127.0.0.1:${health}`)
    .replace('check port 8080 inter 1s', `check port ${health} inter 100ms`)
    .replace('bind :26257', `bind 127.0.0.1:${sql}`)
    .replace('bind :8080', `bind 127.0.0.1:${console}`)
    .replace('bind :8404', `bind 127.0.0.1:${status}`);
  const path = join(await stage.folder(), 'haproxy.cfg');
  await Bun.write(path, file);
  const child = stage.start(['-db', '-f', path], {}, haproxy);
  await until(() => {
    if (child.code !== undefined) throw new Error(`HAProxy ended: ${child.err}`);
    return exchange(status, request('GET', '/health')).then(
      () => true,
      () => false,
    );
  }, 'HAProxy');
  return { sql, status };
}
