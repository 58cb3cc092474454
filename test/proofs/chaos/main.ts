/** `bun run chaos`: load from many clients, faults of every kind, then a check of the journal. */

import { Failure } from '../../../db/failure.ts';
import { audit } from '../../../db/maintenance/audit.ts';
import { assertAnswers, type Client, openClient } from '../../support/client.ts';
import { connectStore as connect, hostOf } from '../../support/own-database.ts';
import { live, seeded, table, usage, verdict } from '../../support/report.ts';
import { openTeardown } from '../../support/teardown.ts';
import { checkChapters, recordChapters } from './chapters.ts';
import { type Deployment, deploy } from './deployment.ts';
import { TO_A_LIMIT, TO_OUR_SERVER } from './faults.ts';
import { type Done, injectFaults } from './inject.ts';
import { buy, type Load, prepare } from './load.ts';
import { leaveOut, readOptions } from './options.ts';
import { reconcile, replay, type Violation } from './verify.ts';

const options = readOptions();
const random = seeded(options.seed);
const teardown = openTeardown();
const done: Done[] = [];
const audits = { done: 0, missed: 0 };
const violations: Violation[] = [];
const line = live();
let deployment: Deployment | undefined;
let load: Load;
let checked: ReturnType<typeof checkChapters>;
let [began, ends_at, ended_at] = [0, 0, 0];

try {
  await main();
} catch (error) {
  await teardown.run();
  if (error instanceof Failure) usage(error.detail);
  throw error;
}
await teardown.run(); // after a signal, the process ends here
print();
if (violations.length === 0 && done.length === 0) endWithoutFaults();
verdict(violations.length, 'Nothing was lost and nothing was doubled.');

async function main(): Promise<void> {
  const clients = await openClients();
  const [client] = clients;
  if (!client) throw new Error('there is no address');
  load = await prepare(client, options.think).catch((error) => {
    throw new Failure('store_unavailable', `${client.origin}: ${error.message}`);
  });
  began = performance.now();
  ends_at = began + options.minutes * 60_000;
  const [chapters] = await Promise.all([
    recordChapters(clients, seeded(options.seed + 7), () => load.stop),
    watch(),
    injectUntilEnd().finally(() => (load.stop = true)),
    ...Array.from({ length: options.clients }, (_, i) =>
      buy(load, i, clients, seeded(options.seed * 1000 + i)),
    ),
  ]);
  ended_at = performance.now();
  checked = checkChapters(chapters);
  line.end();
  violations.push(...checked.violations);
  violations.push(...(await reconcile(load, client)), ...(await replay(load, client, 500)));
  const database_url = database();
  if (database_url) await auditNow(database_url, true);
}

/** Clients of the given deployment, or of one that is started here. */
async function openClients(): Promise<Client[]> {
  const { address, server_url, seed } = options;
  const where = hostOf(server_url ?? '');
  if (address) leaveOut(options, options.faults, `the deployment at ${address} is not ours`);
  else if (server_url) leaveOut(options, TO_OUR_SERVER, `the store at ${where} is not ours`);
  console.log(`seed ${seed}`);
  if (address) await assertAnswers(address);
  else deployment = await deploy(server_url, teardown, console.error);
  const version = deployment?.postgresql ?? Number.POSITIVE_INFINITY;
  const no_limit = `PostgreSQL ${version} has no limit on a transaction`;
  if (version < 17) leaveOut(options, TO_A_LIMIT, no_limit);
  const addresses = deployment?.addresses ?? [address];
  return addresses.map((one) => openClient(one, 15_000));
}

/** Injects faults until the time is up, unless the deployment is foreign. */
async function injectUntilEnd(): Promise<void> {
  const plan = { faults: options.faults, every: options.every, ends_at };
  if (deployment) await injectFaults(deployment, plan, random, done);
  else await Bun.sleep(ends_at - performance.now());
}

/** Audits the store and shows the live line while the load lasts. */
async function watch(): Promise<void> {
  let next_audit = began + 3000;
  while (!load.stop) {
    const left = Math.max(0, Math.round((ends_at - performance.now()) / 1000));
    const last = done.at(-1)?.name ?? 'none yet';
    const known = load.known_at.length;
    line.show(
      `${left} s left, ${known} calls known, ${audits.done} audits, ${done.length} faults, last: ${last}`,
    );
    if (performance.now() > next_audit && database()) {
      await auditNow(database() ?? '', false);
      next_audit = performance.now() + 3000;
    }
    await Bun.sleep(100);
  }
}

/** Without faults, exit code 0 would claim too much unless `--faults none` was given. */
function endWithoutFaults(): never {
  console.log(
    '\nNo fault was injected: this run shows nothing about faults. Without them, all sums agree.',
  );
  if (options.none) process.exit(0);
  console.log('With `--faults none` the exit code is 0.');
  process.exit(2);
}

function database(): string | undefined {
  return deployment?.database_url ?? options.server_url;
}

async function auditNow(url: string, must: boolean): Promise<void> {
  try {
    const connection = await connect(url);
    const findings = await audit(connection);
    await connection.close();
    audits.done++;
    for (const { invariant, examples } of findings.filter((finding) => finding.violations > 0)) {
      violations.push({
        where: `audit ${audits.done}`,
        what: `${invariant}: ${examples.join('; ')}`,
      });
    }
  } catch (error) {
    if (must) throw error;
    audits.missed++; // the store is down: that is one of the faults
  }
}

function print(): void {
  console.log(`\n${table(['tries', 'ended as'].toReversed(), triesOf(load))}`);
  if (done.length > 0) {
    console.log(`\n${table(['fault', 'times', 'longest time without an answer, ms'], gapsOf())}`);
  }
  const calls = load.journal.length;
  const rate = Math.round((calls * 1000) / (ended_at - began));
  console.log(`\n${calls} calls (${rate}/s), ${audits.done} audits, ${audits.missed} failed`);
  const { operations, exact } = checked;
  console.log(`${operations} calls checked for a serial order, ${exact} of them exactly`);
  for (const { where, what } of violations.slice(0, 20)) console.log(`VIOLATION ${where}: ${what}`);
}

function triesOf({ tries }: Load): [string, number][] {
  return [...tries].sort(([, a], [, b]) => b - a);
}

/** For each kind of fault, the longest pause between two answered writes that it overlaps. */
function gapsOf(): [string, number, number][] {
  const longest = new Map<string, number>();
  const known = load.known_at;
  for (const { name, at } of done) {
    const until = done.find((other) => other.at > at)?.at ?? Number.POSITIVE_INFINITY;
    const from = Math.max(0, known.findIndex((t) => t > at) - 1);
    let gap = 0;
    for (let i = from; i + 1 < known.length && (known[i] ?? 0) < until; i++) {
      gap = Math.max(gap, (known[i + 1] ?? 0) - (known[i] ?? 0));
    }
    longest.set(name, Math.max(longest.get(name) ?? 0, Math.round(gap)));
  }
  return [...longest].map(([name, gap]) => [name, done.filter((d) => d.name === name).length, gap]);
}
