/**
 * `bun run simulation`: runs the engine in virtual time, seed by seed, against the sequential
 * model.
 * It prints each seed that fails; such a seed can be replayed alone, step by step.
 */
import { flags, live, table, verdict, wholeFlag } from '../../support/report.ts';
import { simulate } from './simulation.ts';

const HELP = `Simulates clients, engines and a store in virtual time. The seed determines the order of all
events, and which answers of the store are lost, late or errors. Exits 1 if a seed fails.

  bun run simulation [--seeds N] [--seed N] [--trace]

  --seeds N   number of seeds (5000)
  --seed N    the first seed (from the clock)
  --trace     print every step of each seed
  --help      this text`;

const values = flags(HELP, {
  seeds: { type: 'string', default: '5000' },
  seed: { type: 'string', default: String(Date.now() % 1e9) },
  trace: { type: 'boolean', default: false },
});
const seeds = wholeFlag('seeds', values.seeds, 1, 1e9);
const first = wholeFlag('seed', values.seed, 0, 2 ** 32 - 1);

const line = live();
const paths = new Map<string, number>();
const started = performance.now();
let failed = 0;

for (let i = 0; i < seeds; i++) {
  const seed = first + i;
  const simulated = simulate(seed, values.trace);
  for (const step of simulated.trace) console.log(step);
  for (const [path, count] of simulated.paths) paths.set(path, (paths.get(path) ?? 0) + count);
  const per_s = (i + 1) / ((performance.now() - started) / 1000);
  line.show(`${i + 1} of ${seeds} seeds, ${per_s.toFixed()} a second, ${failed} failed`);
  if (simulated.violations.length === 0) continue;
  failed++;
  for (const violation of simulated.violations.slice(0, 5)) console.log(violation);
  console.log(
    `seed ${seed} fails; to replay: bun run simulation --seed ${seed} --seeds 1 --trace\n`,
  );
}
line.end();
console.log(`\n${table(['path', 'times'], [...paths].sort())}`);
verdict(failed, `${seeds} seeds from ${first} on: no violations.`);
