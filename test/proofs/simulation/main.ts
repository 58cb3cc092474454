/**
 * `bun run simulation`: the engine in virtual time, one seed after the other, against the sequential
 * model. A seed that fails is told, and replays alone with every step.
 */
import { flags, live, numberFlag, table, verdict } from '../../support/report.ts';
import { simulate } from './simulation.ts';

const HELP = `Simulates the engine: clients, engines and a store in virtual time. A seed chooses the order
of everything, and which answers of the store are lost, late or errors. Exits 1 if a seed fails.

  bun run simulation [--seeds N] [--seed N] [--trace]

  --seeds N   how many seeds (5000)
  --seed N    the first of them (the clock chooses)
  --trace     print every step of each seed
  --help      this text`;

const values = flags(HELP, {
  seeds: { type: 'string', default: '5000' },
  seed: { type: 'string', default: String(Date.now() % 1e9) },
  trace: { type: 'boolean', default: false },
});
const seeds = numberFlag('seeds', values.seeds, 1, 1e9);
const first = numberFlag('seed', values.seed, 0, 2 ** 32 - 1);

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
verdict(failed, `From seed ${first} on, ${seeds} seeds hold.`);
