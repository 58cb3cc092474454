/** A command on its way through the engine, and the result that a transaction gives it. */
import type { Answer, Command, Keys, Operation, Submitted } from '../command.ts';
import { Failure } from '../failure.ts';
import { countKeys } from '../row-keys.ts';
import type { PrincipalName } from '../tally.ts';
import type { TransactionTrace } from '../trace.ts';
import type { RowName } from './row-name.ts';

/** What a transaction needs of a command. */
export interface Work {
  command: Command<Answer>;
  /** The rows to lock: the command's own keys, and those that were prefetched or learnt since. */
  keys: Keys;
  /** The key under which the answer is recorded. */
  operation?: Operation | undefined;
}

/** A queued command, with its caller's promise. Times are in milliseconds of the engine's clock. */
export interface Entry extends Work {
  /** Whose turn it takes. */
  principal: PrincipalName;
  arrived_at: number;
  deadline_at: number;
  /** Lines of its orders, as far as they are known. */
  lines: number;
  /** How often its batch timed out on a lock although none of the batch's rows was held. */
  stalls: number;
  /** Commands whose batches stalled run only with others of their group. 0: not stalled. */
  group: number;
  resolve(submitted: Submitted): void;
  reject(failure: Failure): void;
}

/**
 * A command's result if its transaction commits: decided, or left for another transaction, because
 * it needs further rows, or a row that another session holds, or because the batch is full.
 */
export type Result =
  | { answer: Answer; replayed: boolean; wrote: boolean }
  | { failure: Failure }
  | { lock: Keys }
  | { held: RowName }
  | { lines: number };

/** Rows that the command locks and lines that it reads, as far as they are known. */
export const rowsNeeded = ({ keys, lines }: Entry): number =>
  countKeys(keys) + Math.max(lines, keys.items?.length ?? 0);

/** Rejects a command whose deadline has passed: nothing of it was done, or all of it was undone. */
export function expire(entry: Entry, trouble: Failure | undefined): void {
  const untried = 'waited in the queue past the deadline; nothing was tried';
  entry.reject(trouble ?? new Failure('overloaded', untried));
}

/**
 * Rejects a command that waits for a row of another session.
 * @param row if it is known
 */
export function rejectHeld(entry: Entry, row?: RowName): void {
  const detail = row
    ? `another session of the store holds ${row}; nothing changed`
    : 'it waited for locks of other sessions for too long; nothing changed';
  entry.reject(new Failure('contention', detail));
}

/** Begins the span of an attempt, if a request of these commands is traced. */
export function traceOf(entries: readonly Entry[], attempt: number): TransactionTrace | undefined {
  const first = entries.find(({ command }) => command.trace)?.command.trace;
  if (!first) return undefined;
  const traces = entries.flatMap(({ command }) => command.trace ?? []);
  return first.transaction(traces, entries.length, attempt);
}

export const lastDeadline = (entries: readonly Entry[]): number =>
  Math.max(...entries.map((entry) => entry.deadline_at));
