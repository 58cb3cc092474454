/** A session that is none of the services': it locks rows and keeps them, for longer than anybody waits. */
import { type ModelStore, type Table, Transaction } from './store.ts';

const ROWS: readonly [Table, string][] = [
  ['orders', 'o0'],
  ['orders', 'o1'],
  ['users', 'u0'],
  ['users', 'u1'],
  ['items', 'i0'],
  ['items', 'i1'],
  ['items', 'i2'],
];

/** Locks some rows, in the engine's order, and lets them go: again and again until this moment. */
export async function stranger(store: ModelStore, until: number): Promise<void> {
  const { schedule } = store;
  const often = schedule.random();
  while (schedule.now < until) {
    await schedule.pause(schedule.between(0, 300));
    const transaction = new Transaction(store);
    transaction.takeSnapshot();
    transaction.lock_timeout_ms = 0;
    try {
      for (const [table, key] of ROWS.filter(() => schedule.chance(0.3 * often))) {
        await transaction.lock(table, key);
      }
      store.count('rows held by a stranger');
      await schedule.pause(schedule.between(0, 60) ** 2); // up to 3.6 s
    } catch {
      store.count('a stranger gave up');
    }
    store.abort(transaction);
  }
}
