/** deploy/nginx.conf while one client sends malformed requests: other clients are not affected. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import { newDatabase } from '../support/databases.ts';
import { type Gateway, nginx, openGateway, openStandIn } from '../support/gateway.ts';
import { nonsense } from '../support/nonsense.ts';
import { openStage, until } from '../support/process.ts';
import { startService } from '../support/services.ts';

const stage = openStage();
/** Two stand-ins that, on one path, accept a call and close the connection without an answer. */
const standIns = await Promise.all(
  [1, 2].map(() =>
    openStandIn((asked, reply) => {
      if (asked.url === '/orders/hangs_up') asked.socket.destroy();
      else reply.end('{}');
    }),
  ),
);
let database: Awaited<ReturnType<typeof newDatabase>>;
let gateway: Gateway;
let good = '';

/** The status of the answer to these bytes, or 0 without an answer. */
async function statusOf(bytes: string, breaks_off: boolean): Promise<number> {
  let answer = '';
  const socket = connect(gateway.port, '127.0.0.1').setEncoding('latin1');
  socket.write(bytes, 'latin1', () => breaks_off && socket.destroy());
  try {
    for await (const part of socket) {
      answer += part;
      const [, status] = /^HTTP\/1.1 (?!100)(\d{3}) /m.exec(answer) ?? [];
      if (status) return Number(status);
    }
  } catch {} // the connection broke
  return 0;
}

/** What nginx logs when it counts a failure of a replica. */
const HUNG_UP = /upstream (prematurely|sent|timed out)|recv\(\) failed|no live upstreams/;

/** The number of good calls that were not answered with 200. */
async function failed(path: string, count: number): Promise<number> {
  const calls = Array.from({ length: count }, () => fetch(gateway.origin + path));
  const statuses = (await Promise.all(calls)).map(({ status }) => status);
  return statuses.filter((status) => status !== 200).length;
}

describe.skipIf(!nginx)('one client can make no replica look dead', () => {
  beforeAll(async () => {
    database = await newDatabase();
    const env = { DATABASE_URL: database.database_url };
    const begin = () => startService(stage, 'stock', env);
    const replicas = await Promise.all([begin(), begin()]);
    const stock = replicas.map(({ port }) => `127.0.0.1:${port}`);
    const order = standIns.map(({ address }) => address);
    gateway = await openGateway(stage, { order, payment: order, stock, webhooks: order });
    const made = await fetch(`${gateway.origin}/stock/item/create/1`, { method: 'POST' });
    const { item_id } = (await made.json()) as { item_id: string };
    good = `/stock/find/${item_id}`;
  });
  afterAll(async () => {
    await gateway?.close();
    await stage.clear();
    await database?.drop();
    for (const standIn of standIns) standIn.close();
  });

  for (const [what, [statuses, ...calls]] of Object.entries(nonsense)) {
    test(`with ${what}`, async () => {
      const breaks_off = statuses.length === 0;
      const wrong: unknown[] = [];
      for (const bytes of calls) {
        await until(async () => (await failed(good, 4)) === 0, 'both replicas');
        // Often enough to mark both replicas as down within a second.
        const flood = Array.from({ length: 8 }, () => statusOf(bytes, breaks_off));
        const during = failed(good, 4);
        const odd = (await Promise.all(flood)).filter(
          (status) => !breaks_off && !statuses.includes(status),
        );
        const lost = (await during) + (await failed(good, 4));
        if (lost > 0 || odd.length > 0) wrong.push({ bytes: bytes.slice(0, 80), lost, odd });
      }
      expect(wrong).toEqual([]);
      expect(gateway.child.err).not.toMatch(HUNG_UP);
    });
  }

  test('with a request that makes the service close the connection', async () => {
    for (let round = 0; round < 3; round++) {
      expect(await failed('/orders/hangs_up', 12)).toBe(12);
      expect(await failed('/orders/a', 20)).toBe(0);
    }
    await until(() => HUNG_UP.test(gateway.child.err), 'the word of nginx');
  });
});
