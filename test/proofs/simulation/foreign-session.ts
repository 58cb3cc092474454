/** A session of another program: it locks rows and holds them for longer than transactions wait. */
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

/** Until the given moment, repeatedly locks some rows in the engine's order and releases them. */
export async function foreignSession(store: ModelStore, until: number): Promise<void> {
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
      store.count('rows held by a foreign session');
      await schedule.pause(schedule.between(0, 60) ** 2); // up to 3.6 s
    } catch {
      store.count('a foreign session gave up');
    }
    store.abort(transaction);
  }
}
