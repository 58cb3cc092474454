/** Gives the commands of a batch their results. */
import { Failure } from '../failure.ts';
import type { RowName } from './row-name.ts';
import type { Entry, Result } from './work.ts';

interface Lane {
  /** Takes commands that need other rows locked, to the head of the queue. */
  putBack(entries: Entry[]): void;
  /** Takes a command that needs a row held by another session. */
  setAside(entry: Entry, row: RowName): void;
}

/** @param attempt the one that committed, from 1 */
export function answerAll(
  lane: Lane,
  entries: readonly Entry[],
  results: readonly Result[],
  attempt: number,
): void {
  const again: Entry[] = [];
  for (const [i, entry] of entries.entries()) {
    const result = results[i];
    if (!result) entry.reject(new Failure('internal', 'a command got no result'));
    else if ('answer' in result) entry.resolve({ ...result, batch: entries.length, attempt });
    else if ('failure' in result) entry.reject(result.failure);
    else if ('held' in result) lane.setAside(entry, result.held);
    else again.push(Object.assign(entry, 'lock' in result ? { keys: result.lock } : result));
  }
  if (again.length > 0) lane.putBack(again);
}

export function rejectAll(entries: readonly Entry[], failure: Failure): void {
  for (const entry of entries) entry.reject(failure);
}
