/** Commands that wait for held rows: one principal leaves places to the others. */
import { expect, test } from 'bun:test';
import { systemClock } from '../../db/clock.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { HeldRows } from '../../db/engine/held-rows.ts';
import type { Entry } from '../../db/engine/work.ts';

const decide = () => ({ outcome: { status: 200, body: '' } });
const entry = (principal: string | undefined, deadline_at: number, user = 'held'): Entry => {
  const keys = { users: [user] };
  const command = { keys, decide };
  const answers = { resolve() {}, reject() {} };
  const untried = { arrived_at: 0, lines: 0, stalls: 0, group: 0 };
  return { command, keys, principal, deadline_at, ...untried, ...answers };
};

/** Rows that stay held: no probe ever answers, unless `connect` says what becomes of it. */
function stage(entries_max: number, connect: () => Promise<Connection> = forever) {
  const timers: (() => void)[] = [];
  const after = (_: number, run: () => void) => {
    timers.push(run);
    return () => {};
  };
  const clock = { ...systemClock, now: () => 100, after, pause: forever };
  const rejected: Entry[] = [];
  const released: Entry[] = [];
  const held = new HeldRows({
    ...{ clock, log() {}, connect, entries_max, probe_ms: 1, row_ms: 1 },
    release: (entries) => released.push(...entries),
    isGated: () => true,
    reject: (one) => rejected.push(one),
  });
  /** Sets commands of this principal aside. @returns how many found a place */
  const fill = (principal: string | undefined, count: number, deadline_at = 200): number => {
    const before = rejected.length;
    for (let i = 0; i < count; i++) held.setAside(entry(principal, deadline_at), 'users/held');
    return count - (rejected.length - before);
  };
  return { held, fill, released, timers };
}
/** Whose probes find every row free. */
const freeRows = {
  gated: false,
  alive: true,
  sql: () => ({}),
  roundTrip: async (asked: readonly unknown[]) =>
    asked.map(() => ({ status: 'fulfilled', value: [] })),
  close: async () => {},
} as unknown as Connection;
const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
const forever = () => new Promise<never>(() => {});

test('a principal whose rows are held leaves as many places as it takes; nobody may take all', () => {
  const { held, fill } = stage(120);
  expect([fill('a', 200), fill('b', 200), fill('c', 200)]).toEqual([60, 30, 15]);
  expect([held.size, held.ownOf('a'), held.ownOf('b'), held.ownOf('d')]).toEqual([105, 60, 30, 0]);
  expect(stage(120).fill(undefined, 200)).toBe(120);
});

const batchOf = (principal: string, count: number, deadline_at = 200) =>
  Array.from({ length: count }, () => entry(principal, deadline_at));

test('commands of a batch that is being probed count as their principals have them', () => {
  const { held, fill } = stage(120);
  held.inspect([...batchOf('a', 50), ...batchOf('b', 10, 100)]);
  expect([held.size, held.ownOf('a'), held.ownOf('b')]).toEqual([60, 50, 10]);
  held.rejectExpired();
  expect([held.size, held.ownOf('a'), held.ownOf('b')]).toEqual([50, 50, 0]);
  expect([fill('a', 200), fill('b', 200)]).toEqual([10, 30]);
});

test('a batch whose probe fails gives its places back', async () => {
  const { held, released } = stage(120, () => Promise.reject(new Error('no connection')));
  held.inspect(batchOf('a', 50));
  await settled();
  expect([released.length, held.size, held.ownOf('a')]).toEqual([50, 0, 0]);
});

test('a batch that stalled counts until it is tried again', async () => {
  const { held, released, timers } = stage(120, async () => freeRows);
  held.inspect(batchOf('a', 50));
  await settled();
  expect([released.length, held.size, held.ownOf('a')]).toEqual([0, 50, 50]);
  for (const run of timers) run();
  expect([released.length, held.size, held.ownOf('a')]).toEqual([50, 0, 0]);
});

test('commands that are past their deadline give their places back', () => {
  const { held, fill } = stage(100);
  expect(fill('a', 100, 100)).toBe(50);
  held.rejectExpired();
  expect([held.size, held.ownOf('a')]).toEqual([0, 0]);
  expect(fill('a', 100)).toBe(50);
});

test('a row that is held is remembered, even if there is no place for its command', () => {
  const { held, fill } = stage(2);
  expect(fill('a', 2)).toBe(1);
  const other = (principal: string) => entry(principal, 200, 'other');
  held.setAside(other('a'), 'users/other');
  expect(held.setAsideIfHeld(other('b'))).toBe(true);
  expect(held.ownOf('b')).toBe(1);
});
