/** `bun run chaos`: load from many clients, faults of every kind, and then the whole journal. */
import { audit } from '../db/audit.ts';
import { deploy } from './chaos-deployment.ts';
import { faults } from './chaos-faults.ts';
import { buy, type Load, prepare } from './chaos-load.ts';
import { reconcile, replay, type Violation } from './chaos-verify.ts';
import { judge, witness } from './chaos-witness.ts';
import { openClient } from './client.ts';
import { connect } from './kassa.ts';
import { flags, live, numberFlag, seeded, table, usage, verdict } from './report.ts';

const names = Object.keys(faults);
const HELP = `Runs Kassa on an embedded store (three services and one process that serves all), puts load on
it from many clients, does a fault every few seconds, audits all the while, and at the end compares
the journals of the clients with the store: every 200 is there, every refusal left nothing, every
unknown became one or none.

  bun run chaos [options]

  --minutes N       how long (2)
  --seed N          choice of faults and calls (random); the same seed makes the same choices
  --clients N       clients at the same time (24)
  --every N         seconds between faults, on average (3)
  --faults A,B      only these: ${names.slice(0, 7).join(', ')},
                    ${names.slice(7, 13).join(', ')},
                    ${names.slice(13).join(', ')}
                    or none
  --address A       an address in place of a deployment of our own: load and journal, no faults
                    (http://host:port, or orders=http://…,payment=http://…,stock=http://…)
  --help            this text

With --address and DATABASE_URL the store of that deployment is audited too.`;

const options = readOptions();
console.log(`seed ${options.seed}`);
const random = seeded(options.seed);
const deployment = options.address ? undefined : await deploy((line) => console.error(line));
const addresses = deployment?.addresses ?? [options.address];
const clients = addresses.map((address) => openClient(address, 15_000));
const [client] = clients;
if (!client) throw new Error('there is no address');
process.on('SIGINT', () => void deployment?.close().finally(() => process.exit(130)));
const load = await prepare(client).catch((error) => usage(`${addresses[0]}: ${error.message}`));
const done: { name: string; at: number }[] = [];
const audits = { done: 0, missed: 0 };
const violations: Violation[] = [];
const line = live();
const began = performance.now();
const ends_at = began + options.minutes * 60_000;

const buyers = Array.from({ length: options.clients }, (_, i) =>
  buy(load, i, clients, seeded(options.seed * 1000 + i)),
);
const witnesses = witness(clients, seeded(options.seed + 7), () => load.stop);
const watching = watch();
await misbehave();
load.stop = true;
await Promise.all([...buyers, watching]);
const testimony = judge(await witnesses);
line.end();
violations.push(...testimony.violations);
violations.push(...(await reconcile(load, client)), ...(await replay(load, client, 500)));
const database_url = deployment?.database_url ?? process.env.DATABASE_URL;
if (database_url) await auditNow(database_url, true);
await deployment?.close();
print();
verdict(violations.length, 'Nothing was lost and nothing was doubled.');

function readOptions() {
  const given = flags(HELP, {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    clients: { type: 'string', default: '24' },
    every: { type: 'string', default: '3' },
    faults: { type: 'string', default: '' },
    address: { type: 'string', default: '' },
  });
  const chosen =
    given.faults === '' ? names : given.faults === 'none' ? [] : given.faults.split(',');
  const unknown = chosen.find((name) => !names.includes(name));
  if (unknown !== undefined) usage(`--faults: there is no ${unknown}; --help lists what there is`);
  return {
    minutes: numberFlag('minutes', given.minutes, 0.05, 600),
    seed: numberFlag('seed', given.seed, 0, 1e9),
    clients: numberFlag('clients', given.clients, 1, 1000),
    every: numberFlag('every', given.every, 0.1, 600),
    faults: given.address ? [] : chosen,
    address: given.address,
  };
}

/** One fault after the other; every kind comes before one comes again. */
async function misbehave(): Promise<void> {
  let bag: string[] = [];
  while (performance.now() < ends_at) {
    await Bun.sleep(Math.min(options.every * 1000 * (0.5 + random()), ends_at - performance.now()));
    if (!deployment || options.faults.length === 0 || performance.now() >= ends_at) continue;
    if (bag.length === 0) bag = options.faults.toSorted(() => random() - 0.5);
    const name = bag.pop() ?? '';
    done.push({ name, at: performance.now() });
    await faults[name]?.(deployment, random);
  }
}

/** Audits and the live line, while the load lasts. */
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

function database(): string | undefined {
  return deployment?.database_url ?? process.env.DATABASE_URL;
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
    audits.missed++; // the store is away: that is one of the faults
  }
}

function print(): void {
  console.log(`\n${table(['tries', 'ended as'].toReversed(), triesOf(load))}`);
  console.log(`\n${table(['fault', 'times', 'longest time without an answer, ms'], gapsOf())}`);
  const calls = load.journal.length;
  const rate = Math.round(calls / options.minutes / 60);
  console.log(`\n${calls} calls (${rate}/s), ${audits.done} audits, ${audits.missed} not possible`);
  const { operations, exact } = testimony;
  console.log(`${operations} calls in histories searched for one serial order, ${exact} exactly`);
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
