/** Reads that wait at the same moment are answered by one statement, each within its time. */

import type { Trying } from '../connection/pool.ts';
import { Failure } from '../failure.ts';
import type { Meter } from '../meter.ts';
import { Apart } from './apart.ts';

/** Finds rows by their ids, a part at a time; an id of which no row has come does not exist. */
export type Find<Row> = (ids: readonly string[], trying: Trying) => AsyncIterable<readonly Row[]>;

export interface Bounds {
  /** Ids of one statement, at most. */
  ids_max: number;
  /** Reads of this kind that may wait; the next one is refused with `overloaded`. */
  queue_max: number;
  /** From arrival to an answer. */
  deadline_ms: number;
  /** Why nobody should wait for the store any more, if so. */
  away(): Failure | undefined;
}

interface Wait<Row> {
  id: string;
  deadline_at: number;
  /** Of its statement, if it has left the queue. */
  trying?: Trying;
  resolve(row: Row | undefined): void;
  reject(error: unknown): void;
}

/** Statements of one kind under way at the same time: while one is answered, the next gathers. */
const UNDER_WAY_MAX = 2;
/** Between two looks at what waits for too long. */
const SWEEP_MS = 100;

/**
 * Alone, no read waits for another; each is sent after its call has arrived, so it sees all that
 * was answered before. Who waits, for a statement, a connection or an answer, is told at the
 * deadline what it waited for, and as soon as the store is away. Rows that others hold are asked
 * for apart.
 */
export function together<Row extends { id: string }>(
  find: Find<Row>,
  bounds: Bounds,
  meter: Meter,
): (id: string) => Promise<Row | undefined> {
  /** In order of arrival. */
  const unanswered = new Set<Wait<Row>>();
  const apart = new Apart<Wait<Row>>({
    ask,
    isWaiting: (wait) => unanswered.has(wait),
    release(waits) {
      queue.unshift(...waits);
      depart();
    },
  });
  let queue: Wait<Row>[] = [];
  let under_way = 0;
  /** What statements wait for, until one succeeds: who is in the queue waits for it too. */
  let obstacle: unknown;
  let sweeping = false;

  return (id) =>
    new Promise((resolve, reject) => {
      if (queue.length + apart.size >= bounds.queue_max) {
        return reject(new Failure('overloaded', 'too many reads wait; nothing was tried'));
      }
      const wait = { id, deadline_at: performance.now() + bounds.deadline_ms, resolve, reject };
      unanswered.add(wait);
      if (!sweeping) setTimeout(sweep, SWEEP_MS);
      sweeping = true;
      if (apart.takes(wait)) return;
      queue.push(wait);
      if (under_way < UNDER_WAY_MAX && queue.length === 1) setImmediate(depart);
    });

  function depart(): void {
    while (queue.length > 0 && under_way < UNDER_WAY_MAX) {
      const waits = queue.splice(0, bounds.ids_max).filter((wait) => !apart.takes(wait));
      if (waits.length > 0) void answer(waits);
    }
  }

  async function answer(waits: Wait<Row>[]): Promise<void> {
    under_way++;
    meter.readTogether(waits.length);
    apart.add(await ask(waits));
    under_way--;
    depart();
  }

  /** @returns those whose statement has waited for a lock in vain; the others are answered */
  async function ask(waits: readonly Wait<Row>[]): Promise<Wait<Row>[]> {
    const trying: Trying = {
      deadline_at: Math.max(...waits.map((wait) => wait.deadline_at)),
      waits_for_locks: false,
    };
    const asking = Map.groupBy(waits, ({ id }) => id);
    for (const wait of waits) wait.trying = trying;
    const end = (id: string, tell: (wait: Wait<Row>) => void) => {
      for (const wait of asking.get(id) ?? []) {
        unanswered.delete(wait);
        tell(wait);
      }
      asking.delete(id);
    };
    try {
      for await (const rows of find([...asking.keys()], trying)) {
        for (const row of rows) end(row.id, (wait) => wait.resolve(row));
      }
      for (const id of asking.keys()) end(id, (wait) => wait.resolve(undefined));
      obstacle = undefined;
    } catch (error) {
      obstacle = error;
      if (error instanceof Failure && error.code === 'contention')
        return [...asking.values()].flat();
      for (const id of asking.keys()) end(id, (wait) => wait.reject(error));
    }
    return [];
  }

  function sweep(): void {
    const before = unanswered.size;
    const away = bounds.away();
    for (const wait of unanswered) {
      if (!away && wait.deadline_at > performance.now()) break;
      unanswered.delete(wait);
      obstacle = wait.trying?.trouble ?? obstacle;
      wait.reject(away ?? obstacle ?? tooSlow(wait));
    }
    if (unanswered.size < before) queue = queue.filter((wait) => unanswered.has(wait));
    sweeping = unanswered.size > 0;
    if (sweeping) setTimeout(sweep, SWEEP_MS);
  }
}

const tooSlow = ({ trying }: Wait<unknown>): Failure =>
  trying
    ? new Failure('store_unavailable', 'the store gave no answer before the deadline')
    : new Failure('overloaded', 'waited in the queue past the deadline; nothing was tried');
