/** Several workers of webhooks: one delivers to an endpoint at a time, and the death of one loses nothing. */
import { afterAll, expect, test } from 'bun:test';
import { LEASE_MS } from '../../apps/webhooks/hold.ts';
import { openUntil } from '../support/open.ts';
import { openStage, until } from '../support/process.ts';
import { LOOPBACK, openReceiver } from '../support/receiver.ts';
import { startService } from '../support/services.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url, WEBHOOK_NETWORKS: LOOPBACK });
const stage = open.closing(openStage());
const { send, user, item, order } = callsOfV1(kassa);

const settings = { DATABASE_URL: database_url, WEBHOOK_NETWORKS: LOOPBACK };
const start = async () => (await startService(stage, 'webhooks', settings)).child;

/** Sells until it is stopped; resolves to how many orders were paid. */
async function sellers(): Promise<() => Promise<number>> {
  const [user_id, item_id] = [await user(1e9), await item(1e9)];
  let [paid, stopped] = [0, false];
  const sell = async () => {
    while (!stopped) {
      const { status } = await order({ user_id, lines: [lineOf(item_id, 1)], checkout: true });
      if (status === 201) paid++;
      await Bun.sleep(20);
    }
  };
  const selling = [sell(), sell()];
  return async () => {
    stopped = true;
    await Promise.all(selling);
    return paid;
  };
}

test('frozen, thawed and killed workers: each event arrives, in order, from one worker at a time', async () => {
  const receiver = open.closing(openReceiver(() => Bun.sleep(5).then(() => 200)));
  const path = '/v1/webhooks/w';
  await send('PUT', path, { url: receiver.url, types: ['order.created', 'order.paid'] });
  const stop = await sellers();
  const first = await start();
  await until(() => receiver.taken.length > 20, 'the first worker');
  const second = await start();
  first.signal('SIGSTOP');
  const at_freeze = receiver.taken.length;
  await until(() => receiver.taken.length > at_freeze + 200, 'the second worker', 4 * LEASE_MS);
  const before = receiver.taken.length;
  first.signal('SIGCONT');
  await until(() => receiver.taken.length > before + 100, 'more of the second');
  second.signal('SIGKILL');
  const at_kill = receiver.taken.length;
  await until(() => receiver.taken.length > at_kill + 200, 'the first again', 4 * LEASE_MS);
  const paid = await stop();
  await until(() => receiver.accepted().length >= 2 * paid, 'all events');
  first.signal('SIGTERM');
  expect(await first.ended).toBe(0);

  expect(receiver.accepted()).toHaveLength(2 * paid);
  const orders = Map.groupBy(receiver.accepted(), ({ key }) => key);
  for (const own of orders.values()) {
    expect(own.map(({ event }) => event.type as string)).toEqual(['order.created', 'order.paid']);
  }
  expect(receiver.overlaps).toBe(0);
  // What came twice is a round that was cut off: at the freeze, and at the death.
  expect(receiver.taken.length - 2 * paid).toBeLessThanOrEqual(2 * 100);
});
