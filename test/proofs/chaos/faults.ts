/** The faults of the chaos test, by name. */
import { endSessions } from '../../support/databases.ts';
import { connectStore } from '../../support/own-database.ts';
import { signalProcess, until } from '../../support/process.ts';
import type { Fault as Disturbance, StoreProxy } from '../../support/proxy.ts';
import type { Deployment } from './deployment.ts';
import { pick, type Random } from './send.ts';

/** Resolves when the fault is over; the system may still be recovering. */
type Fault = (deployment: Deployment, random: Random) => unknown;

const lasting = (random: Random, low_s: number, high_s: number): Promise<void> =>
  Bun.sleep(1000 * (low_s + random() * (high_s - low_s)));

interface Choice {
  /** Which statements: commits by default. */
  chosen?(statement: string, random: Random): boolean;
  /** How many of them at most. */
  count?(random: Random): number;
  lasting_s?: [low: number, high: number];
}

/** Disturbs statements in all proxies for a while. */
const disturb = (what: (random: Random) => Disturbance, choice: Choice = {}): Fault => {
  const {
    chosen = (statement) => statement === 'commit',
    count = (random) => 1 + Math.floor(random() * 5),
    lasting_s = [0.5, 1],
  } = choice;
  return async ({ proxies }, random) => {
    let left = count(random);
    for (const proxy of proxies) {
      proxy.late_ms = 50 + random() * 1950;
      proxy.disturb = (statement) =>
        left > 0 && chosen(statement, random) && left-- > 0 ? what(random) : 'pass';
    }
    await lasting(random, ...lasting_s);
    for (const proxy of proxies) proxy.disturb = () => 'pass';
  };
};

/** Changes some proxies for a while, then changes them back. */
async function change(
  proxies: StoreProxy[],
  values: Partial<StoreProxy>,
  back: Partial<StoreProxy>,
  random: Random,
): Promise<void> {
  for (const proxy of proxies) Object.assign(proxy, values);
  await lasting(random, 0.5, 3);
  for (const proxy of proxies) Object.assign(proxy, back);
}

const restart =
  (name: string): Fault =>
  ({ services }, random) =>
    services.find((service) => service.name === name)?.restart(1000 * random());

async function freeze(pids: readonly number[], pause: Promise<void>): Promise<void> {
  for (const pid of pids) signalProcess(pid, 'SIGSTOP');
  await pause;
  for (const pid of pids) signalProcess(pid, 'SIGCONT');
}

export const faults: Record<string, Fault> = {
  'kill-store': ({ server }) => server?.kill(),
  'kill-order': restart('order'),
  'kill-payment': restart('payment'),
  'kill-stock': restart('stock'),
  'kill-webhooks': restart('webhooks'),
  'kill-all-in-one': restart('all'),
  'terminate-sessions': ({ database_url, application_name }) => {
    const terminate = async () => {
      const connection = await connectStore(database_url);
      await endSessions(connection, application_name).finally(connection.close);
      return true;
    };
    // The store may be down from an earlier fault.
    return until(() => terminate().catch(() => false), 'the end of the sessions', 60_000);
  },
  'cut-connections': ({ proxies }) => {
    for (const proxy of proxies) proxy.cutAll();
  },
  'cut-before-commit': disturb(() => 'cut'),
  'cut-after-commit': disturb(() => 'cut_after'),
  'late-commit': disturb(() => 'late'),
  'late-writes': disturb(() => 'late', { chosen: (text) => text.startsWith('update') }),
  'half-open': disturb(() => 'stall', { chosen: () => true }),
  'half-a-message': disturb(() => 'stall_within', { count: () => 1 }),
  'uncertain-commit': disturb((random) =>
    random() < 0.5 ? { error: '40003' } : { error: '40003', done: true },
  ),
  'storm-of-conflicts': disturb((random) => ({ error: random() < 0.7 ? '40001' : '40P01' }), {
    chosen: (text, random) => /^(select .* for update|update|commit)/.test(text) && random() < 0.3,
    count: () => Number.POSITIVE_INFINITY,
    lasting_s: [1, 3],
  }),
  trickle: ({ proxies }, random) =>
    change(proxies, { slow_ms: 1 + random() * 20 }, { slow_ms: 0 }, random),
  partition: ({ proxies }, random) => {
    const cut_off = proxies.filter(() => random() < 0.7);
    const parted = change(cut_off, { away: true }, { away: false }, random);
    for (const proxy of cut_off) proxy.cutAll();
    return parted;
  },
  'freeze-service': ({ services }, random) =>
    freeze([pick(services, random).pid()], lasting(random, 1, 4)),
  'freeze-store': ({ server }, random) =>
    freeze(server?.processes() ?? [], lasting(random, 0.5, 2)),
};

/** Faults that need a database server started by this test. */
export const TO_OUR_SERVER: readonly string[] = ['kill-store', 'freeze-store'];

/** Faults that only transaction_timeout ends, which PostgreSQL has since version 17. */
export const TO_A_LIMIT: readonly string[] = ['half-a-message'];
