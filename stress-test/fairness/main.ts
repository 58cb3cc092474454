/**
 * How long one caller waits for writes while another floods the engine, and what it costs. It has
 * a store of its own, and calls the engine without HTTP, so that no client takes its time.
 */
import { join } from 'node:path';
import { addFunds, createUser } from '../../apps/payment/commands.ts';
import { readArguments } from '../../apps/runtime/arguments.ts';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Answer, Command, Decision } from '../../db/command.ts';
import { startEmbedded } from '../../db/local/embedded.ts';
import { migrate, readMigrations } from '../../db/maintenance/migrate.ts';
import { openStore } from '../../db/store.ts';
import { connect } from '../../test/support/databases.ts';
import { openStage } from '../../test/support/process.ts';
import { table, usage } from '../../test/support/report.ts';

const HELP = `Measures what a caller who floods the queue costs another one.

  bun stress-test/fairness/main.ts [options]

  --rounds N      rounds, of which the medians are shown (7)
  --flood N       calls that the flooder keeps in flight (10000)
  --seconds N     for each measurement (2)`;

const flags = readArguments(HELP, {
  rounds: { type: 'string', default: '7' },
  flood: { type: 'string', default: '10000' },
  seconds: { type: 'string', default: '2' },
});
const [rounds, flood, seconds] = [flags.rounds, flags.flood, flags.seconds].map(Number) as [
  ...[number, number, number],
];
if (!(rounds >= 1 && flood >= 1 && seconds > 0)) usage('rounds, flood and seconds are numbers');

/** After so long the engine takes the flooder to be alone again. */
const ALONE_MS = 1100;
const USERS = 256;
/** Of the caller that calls seldom. */
const [CLIENTS, PAUSE_MS] = [4, 5];

const home = openStage();
const embedded = await startEmbedded({
  directory: join(await home.folder(), 'store'),
  report() {},
  failed: (cause) => usage(String(cause)),
});
const tool = await connect(embedded.database_url);
await migrate(tool, await readMigrations());
await tool.close();
const config = readConfig(
  {},
  { QUEUE_MAX: 1000 + 3 * flood, DEADLINE_MS: 60_000, DRAIN_MS: 100_000 },
);
const options = storeOptions(config, embedded.database_url, 'fairness');
const store = openStore({ ...options, services: ['order', 'payment', 'stock'], log() {} });
const users = Array.from({ length: USERS }, (_, i) => `u${i}`);
await Promise.all(users.map((user_id) => write(createUser(user_id), 'setup')));

const results = { idle: [] as number[], beside: [] as number[], ratio: [] as number[] };
const rates = { alone: [] as number[], beside: [] as number[] };
for (let round = 0; round <= rounds; round++) {
  const idle = await callSeldom(end());
  await Bun.sleep(ALONE_MS);
  const alone = await callOften(end());
  const until = end();
  const [others, beside] = await Promise.all([callOften(until), callSeldom(until)]);
  if (round === 0) continue; // warm-up
  results.idle.push(p99(idle));
  results.beside.push(p99(beside));
  results.ratio.push(p99(beside) / p99(idle));
  rates.alone.push(alone);
  rates.beside.push(others);
}
await store.close();
await embedded.stop();
await home.clear();

const [one, other] = [median(rates.alone), median(rates.beside)];
console.log(
  table(
    ['', 'median', 'from', 'to'],
    [
      ['p99 of the seldom caller alone, ms', ...spread(results.idle)],
      ['p99 beside the flood, ms', ...spread(results.beside)],
      ['ratio', ...spread(results.ratio)],
      ['calls a second of the flooder alone', ...spread(rates.alone)],
      ['beside the other', ...spread(rates.beside)],
    ],
  ),
);
console.log(`\nThe flooder keeps ${(other / one).toFixed(2)} of its throughput.`);

function end(): number {
  return performance.now() + 1000 * seconds;
}

/** @returns how long each call took, in milliseconds */
async function callSeldom(until: number): Promise<number[]> {
  const took: number[] = [];
  const client = async (i: number) => {
    while (performance.now() < until) {
      const begun_at = performance.now();
      await write(addFunds(users[i] ?? '', 1), 'seldom');
      took.push(performance.now() - begun_at);
      await Bun.sleep(PAUSE_MS * (0.5 + Math.random()));
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
  return took;
}

/** @returns calls a second */
async function callOften(until: number): Promise<number> {
  let calls = 0;
  const client = async (i: number) => {
    for (; performance.now() < until; calls++) {
      await write(addFunds(users[i % USERS] ?? '', 1), 'flood');
    }
  };
  await Promise.all(Array.from({ length: flood }, (_, i) => client(i)));
  return calls / seconds;
}

function write({ decide, ...command }: Command, principal: string) {
  const rendered = (rows: Parameters<typeof decide>[0]): Decision<Answer> => {
    const decision = decide(rows);
    if ('lock' in decision) return decision;
    return { ...decision, outcome: { status: 200, body: JSON.stringify(decision.outcome) } };
  };
  return store.write({ ...command, principal, decide: rendered });
}

function p99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

function spread(numbers: readonly number[]): string[] {
  const shown = (n: number) => (n < 100 ? n.toFixed(1) : Math.round(n).toLocaleString('en'));
  return [median(numbers), Math.min(...numbers), Math.max(...numbers)].map(shown);
}
