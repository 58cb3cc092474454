/** Several workers of webhooks: one delivers to an endpoint at a time, and the death of one loses nothing. */
import { afterAll, expect, test } from 'bun:test';
import { LEASE_MS } from '../../apps/webhooks/hold.ts';
import { CONNECTIONS } from '../../apps/webhooks/sendings.ts';
import { openUntil } from '../support/open.ts';
import { openStage, until } from '../support/process.ts';
import { LOOPBACK, openReceiver } from '../support/receiver.ts';
import { startService } from '../support/services.ts';
import { callsOfV1, lineOf } from '../support/v1.ts';

const open = openUntil(afterAll);
const database_url = await open.database();
const kassa = open.kassa({ DATABASE_URL: database_url, WEBHOOK_NETWORKS: LOOPBACK });
const { sql } = await open.connection(database_url);
const stage = open.closing(openStage());
const { send, user, item, order } = callsOfV1(kassa);

const settings = { DATABASE_URL: database_url, WEBHOOK_NETWORKS: LOOPBACK };
const start = async (more: Record<string, string> = {}) =>
  (await startService(stage, 'webhooks', { ...settings, ...more })).child;
/** Its requests say so, so that the receiver can tell them from those of another worker. */
const startSecond = () => start({ VERSION: 'second' });

/** Sells until it is stopped; `stop` resolves to how many orders were paid. */
async function openSellers() {
  const [user_id, item_id] = [await user(1e9), await item(1e9)];
  let stopped = false;
  const sellers = { paid: 0, stop };
  const sell = async () => {
    while (!stopped) {
      const { status } = await order({ user_id, lines: [lineOf(item_id, 1)], checkout: true });
      if (status === 201) sellers.paid++;
      await Bun.sleep(20);
    }
  };
  const selling = [sell(), sell()];
  async function stop() {
    stopped = true;
    await Promise.all(selling);
    return sellers.paid;
  }
  return sellers;
}

/** Notes which worker sends, and holds its answers as long as a test wants. */
function openWatch() {
  const open = { first: 0, second: 0 };
  const watch = { turns: [] as string[], overlaps: 0, open, answers: Promise.resolve() };
  const receiver = openReceiver(async ({ headers }) => {
    const [from, other] =
      headers.get('user-agent') === 'Kassa/second'
        ? (['second', 'first'] as const)
        : (['first', 'second'] as const);
    if (watch.turns.at(-1) !== from) watch.turns.push(from);
    if (open[other] > 0) watch.overlaps++;
    open[from]++;
    await Bun.sleep(5);
    await watch.answers;
    open[from]--;
    return 200;
  });
  return { watch, receiver };
}

/** Of the only endpoint, by the clock of the store. */
async function leaseEnd(): Promise<number> {
  const [row] = await sql`select lease_until from webhooks`;
  return Number(row?.lease_until);
}

test('frozen, thawed and killed workers: each event arrives, in order, from one worker at a time', async () => {
  const { watch, receiver } = openWatch();
  open.closing(receiver);
  const path = '/v1/webhooks/w';
  await send('PUT', path, { url: receiver.url, types: ['order.created', 'order.paid'] });
  const sellers = await openSellers();
  await until(() => sellers.paid >= 2 * CONNECTIONS, 'orders');
  const { promise: answers, resolve: answer } = Promise.withResolvers<void>();
  watch.answers = answers;
  const first = await start();
  // It is frozen in the middle of its round, while it waits for answers on all of its connections.
  await until(() => watch.open.first === CONNECTIONS, 'the first worker');
  first.signal('SIGSTOP');
  answer();
  const second = await startSecond();
  await until(() => receiver.taken.length > 200, 'the second worker', 4 * LEASE_MS);
  const leased_until = await leaseEnd();
  let renewed_until = leased_until;
  const renewed = async () => {
    renewed_until = await leaseEnd();
    return renewed_until > leased_until;
  };
  await until(renewed, 'a renewal');
  // Long before the end: a lease that ends, and is taken anew, is later by almost all of it.
  expect(renewed_until - leased_until).toBeLessThan(LEASE_MS / 2);
  const before = receiver.taken.length;
  first.signal('SIGCONT');
  await until(() => receiver.taken.length > before + 100, 'more of the second');
  expect(watch.turns).toEqual(['first', 'second']);
  second.signal('SIGKILL');
  const at_kill = receiver.taken.length;
  await until(() => receiver.taken.length > at_kill + 200, 'the first again', 4 * LEASE_MS);
  const paid = await sellers.stop();
  await until(() => receiver.accepted().length >= 2 * paid, 'all events');
  first.signal('SIGTERM');
  expect(await first.ended).toBe(0);

  expect(watch).toMatchObject({ turns: ['first', 'second', 'first'], overlaps: 0 });
  expect(receiver.accepted()).toHaveLength(2 * paid);
  const orders = Map.groupBy(receiver.accepted(), ({ key }) => key);
  for (const own of orders.values()) {
    expect(own.map(({ event }) => event.type as string)).toEqual(['order.created', 'order.paid']);
  }
  expect(receiver.overlaps).toBe(0);
  // What came twice is a round that was cut off: at the freeze, and at the death.
  expect(receiver.taken.length - 2 * paid).toBeLessThanOrEqual(2 * 100);
});
