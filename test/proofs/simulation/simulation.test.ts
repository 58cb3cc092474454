/** The engine in a deterministic simulation of many histories, against the sequential model. */
import { expect, test } from 'bun:test';
import { simulate } from './simulation.ts';

/** These reach every rare path. Mutants use more, `bun run simulation` any number. */
const SEEDS = Number(process.env.TEST_SEEDS ?? 200);

const logged = (event: string) => `log: ${event}`;
const ended = (how: string) => `ending: ${how}`;
/** The seeds must reach each of these paths; otherwise the simulation proves too little. */
const RARE = [
  ...['batch_retried', 'lanes_changed', 'row_held', 'probe_failed', 'read_ahead_failed'].map(
    logged,
  ),
  ...['commit_ambiguous', 'commit_settled committed', 'commit_settled undone'].map(logged),
  ...['settle_failed'].map(logged),
  ...['answered', 'replayed', 'contention', 'store_unavailable', 'overloaded'].map(ended),
  ...['outcome_unknown', 'idempotency_key_reused'].map(ended),
  ...['requeue', 'halving', 'poison: internal', 'queue full', 'repeated after an unknown outcome'],
  ...['share of the queue full', 'an order that says who has paid'],
  ...['lock wait', 'lock timeout', 'statement timeout', 'idle transaction ended by the server'],
  ...['rows held by a foreign session', 'a held row: skip', 'a held row: nowait'],
  ...['serialization failure at a lock', 'a snapshot that moved on', 'injected 40003'],
  ...['injected XX000', 'late commit refused by the log'],
  'locks sent behind a commit that was lost',
];

test('with lost, late and failed answers, each call has one outcome, as in some serial order', () => {
  const paths = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, paths: taken } = simulate(seed);
    const replay = `bun run simulation --seed ${seed} --seeds 1 --trace`;
    if (violations.length > 0) throw new Error([replay, ...violations.slice(0, 10)].join('\n'));
    for (const [path, count] of taken) paths.set(path, (paths.get(path) ?? 0) + count);
  }
  expect(RARE.filter((path) => !paths.has(path))).toEqual([]);
  // All transactions lock rows in the same order.
  expect(paths.get('deadlock of rows')).toBeUndefined();
});

test('a seed replays the same history, step by step', () => {
  for (const seed of [1, 7, 77]) expect(simulate(seed, true)).toEqual(simulate(seed, true));
});
