/** `bun run chaos`: load from many clients, faults of every kind, then a check of the journal. */
import type { KassaEvent } from '../../../apps/client/client.ts';
import { Failure } from '../../../db/failure.ts';
import { audit } from '../../../db/maintenance/audit.ts';
import { assertAddress, assertAnswers, type Client, openClient } from '../../support/client.ts';
import { connectStore, foreignStore, hostOf } from '../../support/own-database.ts';
import { live, seeded, table, usage, verdict } from '../../support/report.ts';
import { openTeardown } from '../../support/teardown.ts';
import { checkChapters, recordChapters } from './chapters.ts';
import { type Deployment, deploy } from './deployment.ts';
import { TO_A_LIMIT, TO_OUR_SERVER } from './faults.ts';
import { checkHooks, type Hooks, openHooks } from './hooks.ts';
import { type Done, injectFaults } from './inject.ts';
import { buy, type Load, prepare } from './load.ts';
import { leaveOut, readOptions } from './options.ts';
import { changePrices, checkPrices } from './prices.ts';
import { checkEvents, readEvents } from './readers.ts';
import { checkTransfers, transfer } from './transfers.ts';
import { reconcile, replay, type Violation } from './verify.ts';

const options = readOptions();
const random = seeded(options.seed);
const teardown = openTeardown();
const done: Done[] = [];
const audits = { done: 0, missed: 0 };
const violations: Violation[] = [];
const line = live();
let deployment: Deployment | undefined;
/** The store to audit, if it is known. */
let database_url: string | undefined;

try {
  await main();
} catch (error) {
  await teardown.run();
  if (error instanceof Failure) usage(error.detail);
  throw error;
}
await teardown.run(); // after a signal, the process ends here
for (const { where, what } of violations.slice(0, 20)) console.log(`VIOLATION ${where}: ${what}`);
if (violations.length === 0 && done.length === 0) endWithoutFaults();
verdict(violations.length, 'Nothing was lost and nothing was doubled.');

async function main(): Promise<void> {
  const clients = await openClients();
  const [client] = clients;
  if (!client) throw new Error('there is no address');
  const hooks = await (deployment && openHooks(deployment, random, teardown));
  const load = await prepare(client).catch((error) => {
    throw new Failure('store_unavailable', `${client.origin}: ${error.message}`);
  });
  const { minutes, seed, think } = options;
  const began = performance.now();
  const ends_at = began + minutes * 60_000;
  const [chapters, pairs, priced, readers] = await Promise.all([
    recordChapters(clients, seeded(seed + 7), think, () => load.stop, load.v1),
    // A foreign deployment may have only the path calls.
    deployment ? transfer(clients, seed, think, () => load.stop) : [],
    deployment
      ? changePrices(clients, seed, think, () => load.stop)
      : { items: [], violations: [] },
    deployment ? readEvents(clients, seed, () => load.stop) : [],
    watch(load, ends_at),
    injectUntil(ends_at).finally(() => (load.stop = true)),
    ...Array.from({ length: options.clients }, (_, i) =>
      buy(load, i, clients, think, seeded(seed * 1000 + i)),
    ),
  ]);
  const took_s = (performance.now() - began) / 1000;
  const checked = checkChapters(chapters);
  line.end();
  violations.push(...checked.violations);
  violations.push(...(await reconcile(load, client)), ...(await replay(load, client, 500)));
  const { violations: torn, bulks } = await checkTransfers(pairs, client);
  violations.push(...torn, ...priced.violations, ...(await checkPrices(priced.items, client)));
  const told = deployment && (await checkEvents(readers, client, deployment.database_url));
  violations.push(...(told?.violations ?? []));
  const requests = hooks && (await delivered(hooks, readers[0] ?? []));
  if (database_url) await auditNow(database_url, true);
  print(load, took_s, checked);
  if (!deployment) return;
  const bought = priced.items.reduce((sum, item) => sum + item.bought, 0);
  const changes = priced.items.reduce((sum, item) => sum + item.sure - 1, 0);
  console.log(`${bulks} bulks took effect, ${changes} changes of prices among ${bought} purchases`);
  console.log(`${told?.events} events were read by each of ${readers.length} readers`);
  console.log(`the receiver of webhooks got each of them, in ${requests} requests`);
}

/** @returns how many requests the receiver got */
async function delivered(hooks: Hooks, events: readonly KassaEvent[]): Promise<number> {
  const { violations: found, requests } = await checkHooks(hooks, events);
  violations.push(...found);
  return requests;
}

/** Clients of the given deployment, or of one that is started here. */
async function openClients(): Promise<Client[]> {
  const { address, key, seed, auth } = options;
  if (address) assertAddress(address);
  const server_url = foreignStore();
  const where = hostOf(server_url ?? '');
  if (address) leaveOut(options, options.faults, `the deployment at ${address} is not ours`);
  else if (server_url) leaveOut(options, TO_OUR_SERVER, `the store at ${where} is not ours`);
  console.log(`seed ${seed}`);
  if (address) await assertAnswers(address, { key });
  else deployment = await deploy(server_url, teardown, console.error, auth);
  database_url = deployment?.database_url ?? server_url;
  const version = deployment?.postgresql ?? Number.POSITIVE_INFINITY;
  const no_limit = `PostgreSQL ${version} has no limit on a transaction`;
  if (version < 17) leaveOut(options, TO_A_LIMIT, no_limit);
  const addresses = deployment?.addresses ?? [address ?? ''];
  return addresses.map((one) => openClient(one, 15_000, deployment?.key ?? key));
}

/** Injects faults until the time is up, unless the deployment is foreign. */
async function injectUntil(ends_at: number): Promise<void> {
  if (deployment) await injectFaults(deployment, options, ends_at, random, done);
  else await Bun.sleep(ends_at - performance.now());
}

/** Audits the store and shows the live line while the load lasts. */
async function watch(load: Load, ends_at: number): Promise<void> {
  for (let tenths = 0; !load.stop; tenths++) {
    const left = Math.max(0, Math.round((ends_at - performance.now()) / 1000));
    const calls = `${load.known_at.length} calls known, ${audits.done} audits`;
    const faults = `${done.length} faults, last: ${done.at(-1)?.name ?? 'none yet'}`;
    line.show(`${left} s left, ${calls}, ${faults}`);
    if (tenths % 30 === 29 && database_url) await auditNow(database_url, false);
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

async function auditNow(url: string, must: boolean): Promise<void> {
  try {
    const connection = await connectStore(url);
    const findings = await audit(connection).finally(connection.close);
    audits.done++;
    for (const { invariant, examples } of findings.filter((finding) => finding.violations > 0)) {
      const what = `${invariant}: ${examples.join('; ')}`;
      violations.push({ where: `audit ${audits.done}`, what });
    }
  } catch (error) {
    if (must) throw error;
    audits.missed++; // the store is down: that is one of the faults
  }
}

function print(load: Load, took_s: number, checked: ReturnType<typeof checkChapters>): void {
  const tries = [...load.tries].sort(([, a], [, b]) => b - a);
  console.log(`\n${table(['ended as', 'tries'], tries)}`);
  if (done.length > 0) {
    const head = ['fault', 'times', 'longest time without an answer, ms'];
    console.log(`\n${table(head, gapsOf(load.known_at))}`);
  }
  const calls = load.history.length;
  const rate = Math.round(calls / took_s);
  console.log(`\n${calls} calls (${rate}/s), ${audits.done} audits, ${audits.missed} failed`);
  const { operations, exact } = checked;
  console.log(`${operations} calls checked for a serial order, ${exact} of them exactly`);
}

/** For each kind of fault, the longest pause between two answered writes that it overlaps. */
function gapsOf(known_at: readonly number[]): [string, number, number][] {
  const longest = new Map<string, number>();
  for (const [i, { name, at }] of done.entries()) {
    const until = done[i + 1]?.at ?? Number.POSITIVE_INFINITY;
    for (const [i, from] of known_at.entries()) {
      const to = known_at[i + 1] ?? from;
      const gap = to > at && from < until ? to - from : 0;
      longest.set(name, Math.max(longest.get(name) ?? 0, gap));
    }
  }
  const times = (name: string) => done.filter((one) => one.name === name).length;
  return [...longest].map(([name, gap]) => [name, times(name), Math.round(gap)]);
}
