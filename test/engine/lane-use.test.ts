/** The engine with `LANES=auto`, in virtual time, on stores with parallel or serial transactions. */
import { expect, test } from 'bun:test';
import type { Answer, Command } from '../../db/command.ts';
import type { Connection, Sql } from '../../db/connection/connection.ts';
import { connectionOn } from '../../db/connection/link.ts';
import { type Engine, groupCommit } from '../../db/engine/group-commit.ts';
import type { EngineLimits } from '../../db/engine/limits.ts';
import { sqlTag } from '../proofs/simulation/sql.ts';
import { Schedule } from '../proofs/simulation/time.ts';
import { seeded } from '../support/report.ts';

const INTERVAL_MS = 200;
const limits: EngineLimits = {
  lanes: 4,
  lanes_interval_ms: INTERVAL_MS,
  batch_max: 4,
  batch_rows_max: 1000,
  pipeline_min: 1000,
  queue_max: 1000,
  deadline_ms: 5000,
  away_ms: 1000,
  statement_timeout_ms: 5000,
  response_timeout_ms: 5000,
  lock_timeout_ms: 500,
};
const command: Command<Answer> = {
  keys: {},
  decide: () => ({ outcome: { status: 200, body: '' } }),
};

interface StoreKind {
  countLanes?: () => number;
  gated?: boolean;
  /** Its transactions run one at a time. */
  serial?: boolean;
}

/** An engine on a store whose transactions take 20 ms each; `open` are its connections. */
function stage({ gated = false, serial = false, countLanes }: StoreKind) {
  const schedule = new Schedule(seeded(7));
  const clock = schedule.clock();
  const open = new Set<Connection>();
  const lanes: number[] = [];
  const events: string[] = [];
  const log = (_: string, event: string) => void events.push(event);
  let taken = false;
  const queue: (() => void)[] = [];
  const enter = async () => {
    if (serial && taken) await new Promise<void>((resolve) => queue.push(resolve));
    taken = true;
  };
  const leave = () => {
    const next = queue.shift();
    if (next) next();
    else taken = false;
  };
  const work = async (text: string) => {
    if (text.startsWith('begin')) await enter();
    await schedule.pause(text.startsWith('lock') ? 0 : 9.5 + schedule.random());
    if (text === 'commit') leave();
    return Object.assign([], { command: text === 'commit' ? 'COMMIT' : '' });
  };
  const connect = async () => {
    let last: Promise<unknown> = Promise.resolve();
    const execute = ({ text }: { text: string }) => {
      const answer = last.then(() => work(text));
      last = answer;
      return answer;
    };
    const { connection } = connectionOn({
      sql: sqlTag(execute) as unknown as Sql,
      features: { gated, upserts: false },
      clock,
      stale_at: Number.POSITIVE_INFINITY,
      drop: () => void open.delete(connection),
      end: async () => void open.delete(connection),
    });
    open.add(connection);
    return connection;
  };
  const prefetch = async () => new Map();
  const deps = { connect, prefetch, marker_service: 'order' as const, log, clock };
  const engine = groupCommit({ ...deps, countLanes }, limits);
  return { schedule, engine, open, lanes, events };
}

/** Runs clients that call again as soon as they are answered. @returns the number of answers */
async function callers(
  { schedule, engine, lanes }: { schedule: Schedule; engine: Engine; lanes: number[] },
  count: number,
  intervals: number,
): Promise<number> {
  const end_at = schedule.now + intervals * INTERVAL_MS;
  let done = 0;
  const client = async () => {
    while (schedule.now < end_at) {
      await engine.submit(command);
      done++;
      await schedule.pause(0.1);
    }
  };
  const look = async () => {
    while (schedule.now < end_at) {
      lanes.push(engine.lanes());
      await schedule.pause(INTERVAL_MS);
    }
  };
  await Promise.all([look(), ...Array.from({ length: count }, client)]);
  return done;
}

/** Runs it to its end, in virtual time. */
function play(schedule: Schedule, story: () => Promise<void>): void {
  let told = false;
  let wrong: unknown;
  story().then(
    () => (told = true),
    (error) => (wrong = error),
  );
  const ended = schedule.run(500_000);
  if (wrong) throw wrong;
  expect([told, ended]).toEqual([true, true]);
}

test('where transactions run in parallel, lanes are used; at rest all but one are closed', () => {
  const { schedule, engine, open, lanes } = stage({});
  play(schedule, async () => {
    await callers({ schedule, engine, lanes }, 32, 120);
    expect(lanes[0]).toBe(1);
    expect(Math.max(...lanes)).toBe(4);
    expect(lanes.slice(80).filter((count) => count < 3)).toEqual([]);
    expect(open.size).toBe(4);
    await callers({ schedule, engine, lanes }, 1, 120);
    expect([engine.lanes(), open.size]).toEqual([1, 1]);
    await callers({ schedule, engine, lanes }, 32, 50);
    expect(engine.lanes()).toBeGreaterThan(1);
    await engine.close();
    expect(open.size).toBe(0);
  });
});

test('a lane that leaves use finishes its batches first', () => {
  let count = 1;
  const countLanes = () => (count = 3 - count);
  const { schedule, engine, lanes, events } = stage({ countLanes });
  play(schedule, async () => {
    await callers({ schedule, engine, lanes }, 32, 50);
    expect(new Set(lanes)).toEqual(new Set([1, 2]));
    expect(events).not.toContain('batch_retried');
    await engine.close();
  });
});

test('where transactions run one at a time, one lane stays, except for short trials', () => {
  const { schedule, engine, open, lanes } = stage({ serial: true });
  play(schedule, async () => {
    await callers({ schedule, engine, lanes }, 32, 200);
    expect(lanes).toContain(2);
    expect(Math.max(...lanes)).toBe(2);
    expect(lanes.filter((count) => count > 1).length).toBeLessThan(20);
    await engine.close();
    expect(open.size).toBe(0);
  });
});

test('behind the gate of PostgreSQL a second lane is never tried', () => {
  const { schedule, engine, open, lanes } = stage({ gated: true });
  play(schedule, async () => {
    await callers({ schedule, engine, lanes }, 32, 100);
    expect(new Set(lanes)).toEqual(new Set([1]));
    expect(open.size).toBe(1);
    await engine.close();
  });
});
