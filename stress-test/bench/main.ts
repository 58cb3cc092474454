/** `bun run bench`: compares Kassa with the usual implementation and with pgbench, in one run. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { environment, readConfig } from '../../apps/runtime/config.ts';
import { describeStore } from '../../apps/runtime/store-url.ts';
import { Failure } from '../../db/failure.ts';
import { type Embedded, startEmbedded } from '../../db/local/embedded.ts';
import { openStage } from '../../test/support/process.ts';
import { live, table, usage } from '../../test/support/report.ts';
import { commandLine, describeMachine } from '../report/environment.ts';
import { describeServer } from './database.ts';
import { type Dependencies, probePgbench } from './deployment.ts';
import { readSettings } from './options.ts';
import { findPgbench, HOW_TO_GET_PGBENCH } from './pgbench.ts';
import { planRuns } from './plan.ts';
import { agrees, closingTable, type Table, tablesOf, targetTable } from './print.ts';
import { estimateSeconds, minutes, type Outcome, runAll, timesOf } from './run.ts';
import { measureStart } from './start-time.ts';
import { targetsOf } from './targets.ts';

/** Connections for the services and the bench itself, and a reserve. */
const OTHER_CONNECTIONS = 56;

const PROBE = { pgbench: true, connections_max: 1 };

const settings = readSettings();
const line = live();
/** Processes and folders of the store, of the sides, and of `bun run dev`: cleared separately. */
const [home, stage, starts] = [openStage(), openStage(), openStage()];
let embedded: Embedded | undefined;
const outcome: Outcome = { results: [], closings: [], left_out: [] };
const starts_s: number[] = [];
let interrupted: number | undefined;

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    interrupted = code;
    void Promise.all([stage.clear(), starts.clear()]); // whatever awaits a child continues
  });
}

const facts: Record<string, string> = { Command: commandLine('bun run bench') };
const error = await measure().then(
  () => undefined,
  (cause: unknown) => cause,
);
await Promise.all([stage.clear(), starts.clear()]);
await embedded?.stop();
await home.clear();
line.end();
if (interrupted !== undefined) console.log('Interrupted. Measurements until then:');
if (outcome.results.length > 0 || starts_s.length > 0) await report();
if (interrupted !== undefined) process.exit(interrupted);
if (error !== undefined) usage(error instanceof Failure ? error.detail : String(error));
process.exit(outcome.closings.every(agrees) ? 0 : 1);

async function measure(): Promise<void> {
  const config = readConfig(environment());
  const server_url = config.DATABASE_URL ?? (await startStore());
  const server = await describeServer(server_url);
  const connections_max = server.connections_max - OTHER_CONNECTIONS;
  const dependencies: Dependencies = {
    ...{ stage, server_url, pgbench: undefined, paces: new Map(), show: line.show },
  };
  dependencies.pgbench = await pgbenchFor(dependencies, config.DATABASE_URL !== undefined);
  const { pgbench } = dependencies;
  const groups = planRuns(settings, { pgbench: pgbench !== undefined, connections_max });
  const work = { ...settings, groups };
  Object.assign(facts, {
    Store: `${server.version}, ${config.DATABASE_URL ? describeStore(config.DATABASE_URL) : 'embedded'}`,
    Measurements: `${settings.repeat} of each, ${settings.seconds} s after ${settings.warmup_s} s`,
  });
  const estimate = minutes(estimateSeconds(work));
  console.log(`${timesOf(work)} measurements of ${settings.seconds} s: ${estimate}`);
  if (settings.parts.includes('start')) {
    for (let turn = 1; turn <= settings.repeat; turn++) {
      line.show(`bun run dev, first answer (${turn}/${settings.repeat})`);
      starts_s.push(await measureStart(starts));
    }
  }
  await runAll(work, dependencies, line, outcome);
  line.show('done');
}

/** @param probe the server is foreign, and may not support pgbench's statements */
async function pgbenchFor(dependencies: Dependencies, probe: boolean): Promise<string | undefined> {
  const pgbench = await findPgbench();
  if (!pgbench) console.log(HOW_TO_GET_PGBENCH);
  if (!pgbench || !probe) return pgbench;
  const [run] = planRuns({ ...settings, parts: ['checkout'], clients: [1] }, PROBE)
    .flatMap(({ runs }) => runs)
    .filter(({ deployment }) => deployment.side === 'pgbench');
  if (!run) return undefined;
  const why = await probePgbench(run, { ...dependencies, pgbench });
  if (why === undefined) return pgbench;
  console.log(`pgbench is left out, since it cannot run on this server: ${why}`);
  return undefined;
}

async function startStore(): Promise<string> {
  line.show('starting an embedded PostgreSQL');
  embedded = await startEmbedded({
    directory: join(await home.folder(), 'store'),
    report: (text) => line.show(text),
    failed: (cause) => usage(cause instanceof Failure ? cause.detail : String(cause)),
  });
  return embedded.database_url;
}

async function report(): Promise<void> {
  const targets = targetsOf(outcome.results, starts_s);
  const tables = [
    ...tablesOf(outcome.results),
    closingTable(outcome.closings),
    targetTable(targets),
  ].filter((one) => one.rows.length > 0);
  for (const one of tables) console.log(`\n${textOf(one)}`);
  for (const sentence of outcome.left_out) console.log(`\n${sentence}`);
  if (outcome.closings.length > 0) {
    console.log(outcome.closings.every(agrees) ? '\nAll sums agree.' : '\nSUMS DISAGREE.');
  }
  // Imported only here: the library of the charts takes longer to load than all else.
  const { reportPage } = await import('./html.ts');
  await mkdir(dirname(settings.html), { recursive: true });
  const ordered = [...tables.slice(-1), ...tables.slice(0, -1)];
  await writeFile(settings.html, reportPage({ facts, tables: ordered, results: outcome.results }));
  console.log(`Report: ${settings.html}`);
  if (settings.json === undefined) return;
  const machine = describeMachine();
  const all = { machine, facts, settings, targets, starts_s, ...outcome };
  await writeFile(settings.json, JSON.stringify(all, null, 2));
}

function textOf({ heading, text, head, rows }: Table): string {
  return [heading, ...(text ? [text] : []), table(head, rows)].join('\n');
}
