/** deploy/haproxy.cfg: a real HAProxy in front of the run's store. */
import { afterAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { exchange, openStandIn, request } from '../support/gateway.ts';
import { creditOf, newUser, openKassa, storeUrl } from '../support/kassa.ts';
import { alerts, dashboards } from '../support/monitoring.ts';
import { need } from '../support/need.ts';
import { freePort, openStage, until } from '../support/process.ts';
import { run, text } from './manifests/read.ts';

const haproxy = need('haproxy');
const check = test.skipIf(!haproxy);
const stage = openStage();
afterAll(() => stage.clear());

test('SQL port and DB Console have the same nodes, those of compose.yaml', async () => {
  const file = await text('deploy/haproxy.cfg');
  const servers = (port: number) =>
    [...file.matchAll(/^ {2}server (\w+) (\w+):(\d+)/gm)]
      .filter(([, , , at]) => Number(at) === port)
      .map(([, name, host]) => [name, host]);
  expect(servers(26257).length).toBe(3);
  expect(servers(26257)).toEqual(servers(8080));
  const compose = await text('compose.yaml');
  for (const [name, host] of servers(26257)) {
    expect(host).toBe(name);
    expect(compose).toContain(`\n  ${host}:\n`);
  }
});

check('HAProxy takes the file as it is', async () => {
  const { code, err } = await run([haproxy ?? '', '-c', '-f', 'deploy/haproxy.cfg']);
  const complaints = err.split('\n').filter((line) => /WARNING|ALERT/.test(line));
  expect([code, complaints.filter((line) => !line.includes('not resolve address'))]).toEqual([
    0,
    [],
  ]);
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
  const health = async () => (await exchange(status, request('GET', '/health'))).status;
  try {
    await until(async () => (await health()) === 200, 'the nodes');
    const user_id = await newUser(kassa, 5);
    expect(await creditOf(kassa, user_id)).toBe(5);
    const metrics = (await exchange(status, request('GET', '/metrics'))).body;
    const exprs = [...alerts, ...dashboards.flatMap(targetsOf)].map(({ expr }) => expr).join('\n');
    const names = new Set(exprs.match(/\bhaproxy_\w+/g));
    expect(names.size).toBeGreaterThan(1);
    for (const name of names) expect(metrics).toContain(`\n${name}{proxy="nodes"`);
    expect((await exchange(status, request('GET', '/'))).status).toBe(404);
    for (const path of ['/', '/metrics']) {
      const put = await exchange(status, request('PUT', path));
      expect([put.status, new Headers(put.headers).get('allow')]).toEqual([405, 'GET, HEAD']);
      expect((await exchange(status, request('FOO', path))).status).toBe(501);
    }

    ready = false;
    await until(async () => (await health()) === 503, 'the loss of the nodes');
    const refused = await kassa.get(`/payment/find_user/${user_id}`);
    expect([refused.status, refused.body.code]).toEqual([503, 'store_unavailable']);
    expect((await exchange(status, request('GET', '/metrics'))).body).toContain(
      '\nhaproxy_backend_active_servers{proxy="nodes"} 0\n',
    );

    ready = true;
    await until(async () => (await health()) === 200, 'the nodes again');
    await until(async () => (await kassa.get('/health/ready')).status === 200, 'the store');
    expect(await creditOf(kassa, user_id)).toBe(5);
  } finally {
    await kassa.close();
    node.close();
  }
});

const targetsOf = ({ panels }: (typeof dashboards)[number]) =>
  panels.flatMap(({ targets = [] }) => targets);

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
