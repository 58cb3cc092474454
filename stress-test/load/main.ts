/** `bun run load`: puts load on a deployment and reports throughput, latency and outcomes. */
import { live, seeded } from '../../test/support/report.ts';
import { commandLine } from '../report/page.ts';
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
  await reach(o);
  const random = seeded(o.seed);
  const rows = await prepare(o, random, line, (sentence) => console.error(sentence));
  const workload = openWorkload(o.workload, rows, requests(o.host, o.prefix), random);
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

/** Accepts any answer, since other servers of this API have no health check. */
async function reach({ address, target }: Options): Promise<void> {
  await fetch(`${address}/health/live`, {
    signal: AbortSignal.timeout(5000),
    tls: { rejectUnauthorized: !target.insecure },
  }).catch((error) => {
    const why = /^E[A-Z]+$/.test(error.code) ? error.code : error.message;
    const hint = why.includes('certificate') ? ' (--insecure accepts any)' : '';
    throw new Error(`${address} cannot be reached: ${why}${hint}`);
  });
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
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
