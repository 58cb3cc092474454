/**
 * The engine with `LANES=auto`, in virtual time, on stores with parallel or serial transactions.
 */
import { expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Connection, Sql } from '../../db/connection/connection.ts';
import { connectionOn } from '../../db/connection/link.ts';
import { FifoLock } from '../../db/engine/fifo-lock.ts';
import { groupCommit } from '../../db/engine/group-commit.ts';
import type { EngineLimits } from '../../db/engine/limits.ts';
import { type SimStatement, sqlTag } from '../proofs/simulation/sql.ts';
import { Schedule } from '../proofs/simulation/time.ts';
import { storeUrl } from '../support/databases.ts';
import { seeded } from '../support/report.ts';

const INTERVAL_MS = 200;
const usual: EngineLimits = {
  ...storeOptions(readConfig({}), storeUrl(), 'test'),
  ...{ lanes: 4, lanes_interval_ms: INTERVAL_MS, batch_max: 4, pipeline_min: 1000 },
};
const command = { keys: {}, decide: () => ({ outcome: { status: 200, body: '' } }) };

interface StoreKind {
  countLanes?: () => number;
  gated?: boolean;
  /** Its transactions run one at a time. */
  serial?: boolean;
  limits?: Partial<EngineLimits>;
}

/** An engine on a store whose transactions take 20 ms each; `open` are its connections. */
function stage({ gated = false, serial = false, countLanes, limits }: StoreKind) {
  const schedule = new Schedule(seeded(7));
  const clock = schedule.clock();
  const open = new Set<Connection>();
  const events: string[] = [];
  let commits = 0;
  const log = (_: string, event: string) => void events.push(event);
  const turn = new FifoLock(() => {});
  const connect = async () => {
    let last: Promise<unknown> = Promise.resolve();
    let leave = () => {};
    const work = async (text: string) => {
      if (text === 'commit') commits++;
      if (serial && text.startsWith('begin')) leave = await turn.acquire();
      await schedule.pause(text.startsWith('lock') ? 0 : 9.5 + schedule.random());
      if (text === 'commit') leave();
      return Object.assign([], { command: text === 'commit' ? 'COMMIT' : '' });
    };
    const execute = ({ text }: SimStatement) => {
      last = last.then(() => work(text));
      return last;
    };
    const { connection } = connectionOn({
      sql: sqlTag(execute) as unknown as Sql,
      features: { gated, upserts: false, fenced: true },
      clock,
      stale_at: Number.POSITIVE_INFINITY,
      drop: () => void open.delete(connection),
      end: async () => void open.delete(connection),
    });
    open.add(connection);
    return connection;
  };
  const deps = { connect, prefetch: async () => new Map(), log } as const;
  const engine = groupCommit({ ...deps, clock, countLanes }, { ...usual, ...limits });

  /** Clients that call again as soon as they are answered. @returns the lanes of each interval */
  const load = async (clients: number, intervals: number): Promise<number[]> => {
    const end_at = schedule.now + intervals * INTERVAL_MS;
    const repeat = async (work: () => unknown, pause_ms: number) => {
      for (; schedule.now < end_at; await schedule.pause(pause_ms)) await work();
    };
    const lanes: number[] = [];
    const callers = Array.from({ length: clients }, () =>
      repeat(() => engine.submit(command), 0.1),
    );
    await Promise.all([repeat(() => lanes.push(engine.lanes()), INTERVAL_MS), ...callers]);
    return lanes;
  };
  /** Resolves while the transaction of this number commits. */
  const committing = async (number: number) => {
    while (commits < number) await schedule.pause(1);
  };
  return { schedule, engine, open, events, load, committing };
}

/** Runs a story to its end, in virtual time, and closes the engine. */
function play(kind: StoreKind, story: (at: ReturnType<typeof stage>) => Promise<void>): void {
  const at = stage(kind);
  const told = story(at).then(() => at.engine.close());
  const ended = at.schedule.run(500_000);
  if (Bun.peek.status(told) === 'rejected') throw Bun.peek(told);
  expect([Bun.peek.status(told), ended, at.open.size]).toEqual(['fulfilled', true, 0]);
}

test('where transactions run in parallel, lanes are used; at rest all but one are closed', () =>
  play({}, async ({ engine, open, load }) => {
    const lanes = await load(32, 120);
    expect(lanes[0]).toBe(1);
    expect(Math.max(...lanes)).toBe(4);
    expect(lanes.slice(80).filter((count) => count < 3)).toEqual([]);
    expect(open.size).toBe(4);
    await load(1, 120);
    expect([engine.lanes(), open.size]).toEqual([1, 1]);
    await load(32, 50);
    expect(engine.lanes()).toBeGreaterThan(1);
  }));

test('a lane that leaves use finishes its batches first', () => {
  let count = 1;
  const countLanes = () => (count = 3 - count);
  play({ countLanes }, async ({ events, load }) => {
    expect(new Set(await load(32, 50))).toEqual(new Set([1, 2]));
    expect(events).not.toContain('batch_retried');
  });
});

test('where transactions run one at a time, one lane stays, except for short trials', () =>
  play({ serial: true }, async ({ load }) => {
    const lanes = await load(32, 200);
    expect(Math.max(...lanes)).toBe(2);
    expect(lanes.filter((count) => count > 1).length).toBeWithin(1, 20);
  }));

test('behind the gate of PostgreSQL a second lane is never tried', () =>
  play({ gated: true }, async ({ open, load }) => {
    expect(new Set(await load(32, 100))).toEqual(new Set([1]));
    expect(open.size).toBe(1);
  }));

test('behind a commit goes a batch of as many commands, not a smaller one', () => {
  const limits = { lanes: 1, lanes_interval_ms: 0, pipeline_min: 1 };
  return play({ limits }, async ({ engine, committing }) => {
    const batches: Promise<number>[] = [];
    /** @returns how many wait then */
    const submit = (count: number): number => {
      const batchOf = async () => (await engine.submit(command)).batch;
      batches.push(...Array.from({ length: count }, batchOf));
      return engine.queued();
    };
    expect([submit(1), submit(4)]).toEqual([0, 4]);
    await committing(2); // the four
    expect([submit(3), submit(1)]).toEqual([3, 0]);
    expect(await Promise.all(batches)).toEqual([1, 4, 4, 4, 4, 4, 4, 4, 4]);
  });
});
