/** The faults of the chaos test, by name. */

import { endSessions } from '../../support/kassa.ts';
import { connectStore } from '../../support/own-database.ts';
import { signalProcess } from '../../support/process.ts';
import type { Fault as Disturbance } from '../../support/proxy.ts';
import type { Deployment } from './deployment.ts';

type Random = () => number;
/** Resolves when the fault is over; the system may still be recovering. */
export type Fault = (deployment: Deployment, random: Random) => Promise<unknown>;

const seconds = (random: Random, low: number, high: number): number =>
  1000 * (low + random() * (high - low));

/** Disturbs statements in all proxies for a while, up to a count. */
const disturb =
  (
    chosen: (statement: string, random: Random) => boolean,
    what: (random: Random) => Disturbance,
    count: (random: Random) => number,
    lasting_s: [number, number],
  ): Fault =>
  async ({ proxies }, random) => {
    let left = count(random);
    for (const proxy of proxies) {
      proxy.late_ms = seconds(random, 0.05, 2);
      proxy.disturb = (statement) =>
        left > 0 && chosen(statement, random) && left-- > 0 ? what(random) : 'pass';
    }
    await Bun.sleep(seconds(random, ...lasting_s));
    for (const proxy of proxies) proxy.disturb = () => 'pass';
  };

const onCommit = (statement: string): boolean => statement === 'commit';
const few = (random: Random): number => 1 + Math.floor(random() * 5);

const restart =
  (name: string): Fault =>
  ({ services }, random) =>
    services.find((service) => service.name === name)?.restart(seconds(random, 0, 1)) ??
    Promise.resolve();

async function freeze(pids: number[], for_ms: number): Promise<void> {
  for (const pid of pids) signalProcess(pid, 'SIGSTOP');
  await Bun.sleep(for_ms);
  for (const pid of pids) signalProcess(pid, 'SIGCONT');
}

/** @throws the last error, after a minute of failures */
async function insist(attempt: () => Promise<unknown>): Promise<void> {
  const give_up_at = performance.now() + 60_000;
  for (;;) {
    try {
      return void (await attempt());
    } catch (error) {
      if (performance.now() > give_up_at) throw error;
      await Bun.sleep(200);
    }
  }
}

export const faults: Record<string, Fault> = {
  'kill-store': async ({ server }) => server?.kill(),
  'kill-order': restart('order'),
  'kill-payment': restart('payment'),
  'kill-stock': restart('stock'),
  'kill-all-in-one': restart('all'),
  'terminate-sessions': async ({ database_url, application_name }) => {
    const attempt = async () => {
      const connection = await connectStore(database_url);
      await endSessions(connection, application_name).finally(connection.close);
    };
    await insist(attempt); // the store may be down from an earlier fault
  },
  'cut-connections': async ({ proxies }) => {
    for (const proxy of proxies) proxy.cutAll();
  },
  'cut-before-commit': disturb(onCommit, () => 'cut', few, [0.5, 1]),
  'cut-after-commit': disturb(onCommit, () => 'cut_after', few, [0.5, 1]),
  'late-commit': disturb(onCommit, () => 'late', few, [0.5, 1]),
  'late-writes': disturb(
    (text) => text.startsWith('update'),
    () => 'late',
    few,
    [0.5, 1],
  ),
  'half-open': disturb(
    () => true,
    () => 'stall',
    few,
    [0.5, 1],
  ),
  'half-a-message': disturb(
    onCommit,
    () => 'stall_within',
    () => 1,
    [0.5, 1],
  ),
  'uncertain-commit': disturb(
    onCommit,
    (random) => (random() < 0.5 ? { error: '40003' } : { error: '40003', done: true }),
    few,
    [0.5, 1],
  ),
  'storm-of-conflicts': disturb(
    (text, random) => /^(select .* for update|update|commit)/.test(text) && random() < 0.3,
    (random) => ({ error: random() < 0.7 ? '40001' : '40P01' }),
    () => Number.POSITIVE_INFINITY,
    [1, 3],
  ),
  trickle: async ({ proxies }, random) => {
    for (const proxy of proxies) proxy.slow_ms = 1 + random() * 20;
    await Bun.sleep(seconds(random, 1, 3));
    for (const proxy of proxies) proxy.slow_ms = 0;
  },
  partition: async ({ proxies }, random) => {
    const cut_off = proxies.filter(() => random() < 0.7);
    for (const proxy of cut_off) {
      proxy.away = true;
      proxy.cutAll();
    }
    await Bun.sleep(seconds(random, 0.5, 3));
    for (const proxy of cut_off) proxy.away = false;
  },
  'freeze-service': ({ services }, random) => {
    const victim = services[Math.floor(random() * services.length)];
    return freeze(victim ? [victim.pid()] : [], seconds(random, 1, 4));
  },
  'freeze-store': ({ server }, random) =>
    freeze(server?.processes() ?? [], seconds(random, 0.5, 2)),
};

/** Faults that need a database server started by this test. */
export const TO_OUR_SERVER: readonly string[] = ['kill-store', 'freeze-store'];

/** Faults that only transaction_timeout ends, which PostgreSQL has since version 17. */
export const TO_A_LIMIT: readonly string[] = ['half-a-message'];

/** Faults that kill a process. */
export const KILLS: readonly string[] = Object.keys(faults).filter((name) =>
  name.startsWith('kill-'),
);
