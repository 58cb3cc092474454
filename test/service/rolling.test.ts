/** Replicas are replaced one by one behind a balancer that never retries: no call fails. */
import { expect, test } from 'bun:test';
import { type Balancer, openBalancer } from '../support/balancer.ts';
import { expectCleanAudit } from '../support/kassa.ts';
import { complaintsOf, until } from '../support/process.ts';
import { openStageAndKassa, startService } from '../support/services.ts';

const CLIENTS = 8;
/** The mean pause of a client between two calls: without one, clients use the whole processor. */
const THINK_MS = 100;
/** The balancer notices within this time that a replica is not ready. DRAIN_DELAY_MS is longer. */
const CHECK_EVERY_MS = 500;
const env = { DRAIN_DELAY_MS: '1000', LANES: '1' };

const { stage, kassa } = openStageAndKassa();
const begin = (more = {}) => startService(stage, 'order', { ...env, ...more });

test('a rolling restart under load fails no call and loses no answer', async () => {
  const [user_id, item_id] = [await kassa.newUser(10 ** 9), await kassa.newItem(3, 10 ** 6)];
  const replicas = await Promise.all([begin(), begin()]);
  const ports = replicas.map((replica) => replica.port);
  const balancer = await openBalancer(ports, CHECK_EVERY_MS);
  const load = openLoad(balancer.port, user_id, item_id);

  for (const { child, port } of replicas) {
    await progress(balancer, ports, load.failures);
    child.signal('SIGTERM');
    expect([await child.ended, complaintsOf(child)]).toEqual([0, '']);
    await begin({ PORT: `${port}` });
  }
  await progress(balancer, ports, load.failures);
  const { paid, failures } = load;
  await load.end();
  balancer.close();

  expect(failures).toEqual([]);
  expect(paid.length).toBeGreaterThan(CLIENTS);
  for (const order_id of paid)
    expect([order_id, await kassa.isPaid(order_id)]).toEqual([order_id, true]);
  expect(await kassa.stockOf(item_id)).toBe(10 ** 6 - paid.length);
  expect(await kassa.creditOf(user_id)).toBe(10 ** 9 - 3 * paid.length);
  await expectCleanAudit();
});

/** Waits until every replica has answered many more calls, or a call has failed. */
async function progress({ answered }: Balancer, ports: number[], failures: readonly string[]) {
  const before = new Map(answered);
  const enough = (port: number) => count(answered, port) > count(before, port) + 4 * CLIENTS;
  await until(() => failures.length > 0 || ports.every(enough), 'work on all replicas');
}
const count = (counts: Map<number, number>, port: number): number => counts.get(port) ?? 0;

/** Clients that check new orders of one item out in a loop, on persistent connections. */
function openLoad(port: number, user_id: string, item_id: string) {
  const paid: string[] = [];
  const failures: string[] = [];
  let ending = false;
  const say = async (method: string, path: string) => {
    await Bun.sleep(2 * THINK_MS * Math.random());
    try {
      const response = await fetch(`http://127.0.0.1:${port}/orders${path}`, { method });
      const text = await response.text();
      if (response.status === 200) return JSON.parse(text);
      failures.push(`${method} ${path}: ${response.status} ${text}`);
    } catch (error) {
      failures.push(`${method} ${path}: ${error}`);
    }
    ending = true;
    return {};
  };
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (!ending) {
      const { order_id } = await say('POST', `/create/${user_id}`);
      if (order_id) await say('POST', `/addItem/${order_id}/${item_id}/1`);
      if (order_id) await say('GET', `/find/${order_id}`);
      if (order_id && (await say('POST', `/checkout/${order_id}`)).paid) paid.push(order_id);
    }
  });
  return {
    paid,
    failures,
    async end() {
      ending = true;
      await Promise.all(clients);
    },
  };
}
