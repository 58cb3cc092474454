/**
 * How long the calls of one caller take while another floods the same service, over HTTP, and what
 * it costs the flooder. The machine itself becomes slower then, so the same is measured beside
 * processes that call nothing and keep the cores as busy.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { environment, readConfig } from '../../apps/runtime/config.ts';
import { Failure } from '../../db/failure.ts';
import { type Embedded, startEmbedded } from '../../db/local/embedded.ts';
import { makeKey } from '../../test/support/make-key.ts';
import { openStage } from '../../test/support/process.ts';
import { flags, live, numberFlag, table, usage, wholeFlag } from '../../test/support/report.ts';
import { type Database, newDatabase } from '../bench/database.ts';
import { lastLines, startKassa } from '../bench/services.ts';
import type { LoadResult } from '../load/result.ts';

const HELP = `Measures what a caller who floods a service costs another one.

  bun stress-test/fairness/main.ts [options]

  --rounds N      rounds, after one to warm up (5). Ratios are those of each round: their median,
                  the smallest and the largest are shown
  --flood N       clients of the flooder, each with one call in flight (1500): 2000 at most, which
                  is what a caller may have in flight
  --rate N        calls a second of the other caller, at random times (200)
  --seconds N     for each measurement (3)
  --warmup N      seconds of the flooder alone before it is measured (11): it counts as alone after 10

All calls add to wallets. It runs on its own embedded PostgreSQL or, with DATABASE_URL set, on that
server, in a database of its own.`;

const given = flags(HELP, {
  rounds: { type: 'string', default: '5' },
  flood: { type: 'string', default: '1500' },
  rate: { type: 'string', default: '200' },
  seconds: { type: 'string', default: '3' },
  warmup: { type: 'string', default: '11' },
});
const rounds = wholeFlag('rounds', given.rounds, 1, 1000);
const flood = wholeFlag('flood', given.flood, 1, 2000);
const rate = numberFlag('rate', given.rate, 1, 10_000);
const seconds = numberFlag('seconds', given.seconds, 0.1, 3600);
const alone_s = numberFlag('warmup', given.warmup, 0, 3600);

const USERS = 1000;
/** Before a measurement of both callers. */
const TOGETHER_S = 2;

const stage = openStage();
const home = openStage();
const line = live();
let embedded: Embedded | undefined;
let database: Database | undefined;
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => void clean().finally(() => process.exit(code)));
}

const situations = ['alone', 'beside busy processes', 'beside the flood'] as const;
type Situation = (typeof situations)[number];
const measured = new Map<Situation, LoadResult[]>(situations.map((name) => [name, []]));
const rates = { alone: [] as number[], beside: [] as number[] };
await measure().catch(async (error) => {
  await clean();
  usage(error instanceof Failure ? error.detail : String(error));
});
await clean();

console.log(
  table(
    ['calls of the other caller', 'median, ms', 'p99, ms', 'p99 against alone', 'from', 'to'],
    situations.map((name) => {
      const ratios = divide(latencies(name, 'p99'), latencies('alone', 'p99'));
      const figures = [latencies(name, 'p50'), latencies(name, 'p99'), ratios].map(median);
      return [name, ...[...figures, Math.min(...ratios), Math.max(...ratios)].map(shown)];
    }),
  ),
);
const kept = median(divide(rates.beside, rates.alone)).toFixed(2);
console.log(`\nThe flooder has ${shown(median(rates.alone))} calls a second alone.`);
console.log(`Beside the other it has ${kept} of them.`);

async function measure(): Promise<void> {
  const { DATABASE_URL = await startStore() } = readConfig(environment());
  database = await newDatabase(DATABASE_URL, 'fairness', USERS);
  const { database_url } = database;
  const flood_key = await makeKey(database_url, 'flood');
  const key = await makeKey(database_url, 'seldom');
  const service = await startKassa(stage, database_url, { auth: true });
  const to = { address: service.address, key };
  const flooder = { ...to, key: flood_key };
  for (let round = 0; round <= rounds; round++) {
    line.show(round === 0 ? 'warming up' : `round ${round} of ${rounds}`);
    const alone = await callSeldom(to);
    const busy = await besideBusyProcesses(() => callSeldom(to));
    const flood_alone = await callOften(flooder, round === 0 ? 1 : alone_s);
    const [flood_beside, beside] = await Promise.all([
      callOften(flooder, TOGETHER_S),
      callSeldom(to, TOGETHER_S),
    ]);
    if (round === 0) continue;
    for (const [i, result] of [alone, busy, beside].entries()) {
      measured.get(situations[i] as Situation)?.push(result);
    }
    rates.alone.push(flood_alone.throughput_per_s.committed);
    rates.beside.push(flood_beside.throughput_per_s.committed);
  }
  await service.stop();
}

async function clean(): Promise<void> {
  line.end();
  await stage.clear();
  await database?.drop();
  database = undefined;
  await embedded?.stop();
  await home.clear();
}

/** As many as there are cores. */
async function besideBusyProcesses<T>(run: () => Promise<T>): Promise<T> {
  const most_ms = 1000 * seconds + 60_000; // in case this process is killed
  const program = `const end = Date.now() + ${most_ms}; while (Date.now() < end);`;
  const busy = Array.from({ length: availableParallelism() }, () => stage.start(['-e', program]));
  try {
    return await run();
  } finally {
    for (const child of busy) child.signal('SIGKILL');
    await Promise.all(busy.map((child) => child.ended));
  }
}

async function startStore(): Promise<string> {
  line.show('starting an embedded PostgreSQL');
  embedded = await startEmbedded({
    directory: join(await home.folder(), 'store'),
    report: (text) => line.show(text),
    failed: (cause) => usage(String(cause)),
  });
  return embedded.database_url;
}

interface Caller {
  address: string;
  key: string;
}

/** Latencies count from the intended start of each call. */
function callSeldom(caller: Caller, warmup = 0): Promise<LoadResult> {
  return load(caller, { rate, arrivals: 'poisson', warmup });
}

function callOften(caller: Caller, warmup: number): Promise<LoadResult> {
  return load(caller, { clients: flood, warmup });
}

async function load(
  { address, key }: Caller,
  how: Record<string, string | number>,
): Promise<LoadResult> {
  const all = {
    workload: 'add_funds',
    prepared: '0..1',
    users: USERS,
    items: 1,
    seconds,
    ...how,
  };
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = stage.start(['stress-test/load/main.ts', address, ...args, '--json'], {
    KASSA_KEY: key,
  });
  await child.ended;
  if (child.code === 0) return JSON.parse(child.out) as LoadResult;
  throw new Failure('internal', `the load generator ended with ${child.code}:${lastLines(child)}`);
}

function latencies(name: Situation, which: 'p50' | 'p99'): number[] {
  const results = measured.get(name) ?? [];
  return results.map(({ latency_ms }) => latency_ms.answered?.[which] ?? Number.NaN);
}

function divide(some: readonly number[], others: readonly number[]): number[] {
  return some.map((value, i) => value / (others[i] ?? Number.NaN));
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

function shown(n: number): string {
  return n < 100 ? n.toFixed(1) : Math.round(n).toLocaleString('en');
}
