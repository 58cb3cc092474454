/** `bun run load`: puts load on a deployment and reports throughput, latency and outcomes. */
import { exitWith } from '../../apps/runtime/exit.ts';
import { Failure } from '../../db/failure.ts';
import { assertAnswers } from '../../test/support/client.ts';
import { live, seeded } from '../../test/support/report.ts';
import { commandLine } from '../report/environment.ts';
import { requests } from './calls.ts';
import { type Options, readOptions } from './options.ts';
import { prepare } from './prepare.ts';
import { describe } from './print.ts';
import type { LoadResult } from './result.ts';
import { Run } from './run.ts';
import { selfTest } from './self-test.ts';
import { openWorkload } from './workloads.ts';

const command = commandLine('bun run load');
const options = readOptions();
const line = live();
const result = await (options.self_test ? selfTest(options, line) : load(options)).catch(fail);
line.end();
await print(result);
process.exit(result.counts.error + result.counts.broken > 0 ? 1 : 0);

async function load(o: Options): Promise<LoadResult> {
  await assertAnswers(o.address, { insecure: o.target.insecure, key: o.key });
  const random = seeded(o.seed);
  const rows = await prepare(o, random, line, (sentence) => console.error(sentence));
  const workload = openWorkload(o.workload, rows, requests(o.host, o.prefix, o.key), random);
  const run = new Run({ ...o, name: o.workload, workload, random }, line);
  let asked_at = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // The terminal and `bun run` may both send the signal: within 500 ms it counts once.
      if (asked_at > 0 && performance.now() > asked_at + 500) process.exit(130);
      asked_at ||= performance.now();
      run.stop('interrupted');
    });
  }
  return run.start();
}

async function print(measured: LoadResult): Promise<void> {
  (options.json ? console.error : console.log)(describe(measured));
  if (options.json) await Bun.write(Bun.stdout, `${JSON.stringify(measured)}\n`);
  if (options.html === undefined) return;
  const { loadReport } = await import('./report.ts');
  const address = options.self_test ? 'an empty handler' : options.address;
  await Bun.write(options.html, loadReport(measured, address, command)).catch(fail);
  console.error(`report: ${options.html}`);
}

function fail(error: unknown): never {
  if (process.stderr.isTTY) console.error(); // below the live line
  const said = error instanceof Error ? error.message : String(error);
  exitWith(error instanceof Failure ? error : new Failure('internal', said));
}
