/** Decides the commands of a batch in order, each on the rows as the ones before it left them. */
import type { Rows } from '../command.ts';
import { Failure } from '../failure.ts';
import { countKeys, mergeKeys } from '../row-keys.ts';
import type { LockedRows } from './locked-rows.ts';
import { assertOwn, ownRows } from './own-rows.ts';
import type { RecordedAnswers } from './recorded-answers.ts';
import { type Held, type RowName, rowNames } from './row-name.ts';
import type { Result, Work } from './work.ts';

/** The rows and recorded answers that a transaction has read under its locks. */
export interface Locked {
  rows: LockedRows;
  recorded: RecordedAnswers;
  /** Rows of the batch that another session holds. */
  held: Held;
}

/** Lines that a single command may read: enough for a chunk of batch_init over large orders. */
export const LINES_ALONE_MAX = 100_000;
/**
 * For the answers recorded and the events told in one transaction; the last command may pass it.
 * CockroachDB accepts messages of up to 16 MiB.
 */
const TEXTS_MAX_BYTES = 4 * 1024 * 1024;

/**
 * @param rows_max rows and lines of the commands that are decided; the first command always fits,
 *   and those that do not are left for another transaction
 * @returns the result of each command
 */
export function decideAll(works: readonly Work[], locked: Locked, rows_max: number): Result[] {
  const { rows, recorded, held } = locked;
  let [size, bytes] = [0, 0];
  return works.map((work) => {
    const answered = work.operation && recorded.find(work.operation);
    if (answered) return answered;
    const row = held.size > 0 && heldOf(work, held);
    if (row) return { held: row };
    const { lines, whole } = rows.linesOf(work.keys.orders ?? [], work.command.only_user);
    if (!whole && works.length === 1) return { failure: tooLarge() };
    const is_full = size > 0 && size + countKeys(work.keys) + lines > rows_max;
    if (!whole || is_full || bytes + rows.events_bytes > TEXTS_MAX_BYTES) return { lines };
    size += countKeys(work.keys) + lines;
    const result = decide(work, rows, recorded);
    if ('answer' in result) bytes += result.answer.body.length;
    return result;
  });
}

/** A row that the command needs and another session holds. What it may not see it does not need. */
function heldOf({ keys, command: { only_user } }: Work, held: Held): RowName | undefined {
  const isSeen = (id: string) => only_user === undefined || held.get(`orders/${id}`) === only_user;
  const orders = keys.orders?.filter(isSeen) ?? [];
  return rowNames({ ...keys, orders }).find((name) => held.has(name));
}

const tooLarge = () =>
  new Failure('limit_exceeded', `it concerns more than ${LINES_ALONE_MAX} lines of orders`);

/** Whether its caller may know of all that the command names, and so of earlier calls for it. */
const seesAll = (seen: Rows, { keys, only_user }: Work['command']): boolean =>
  only_user === undefined ||
  (countKeys(keys) > 0 && (keys.orders ?? []).every((id) => seen.order(id) !== undefined));

function decide(
  { command, keys, operation }: Work,
  rows: LockedRows,
  recorded: RecordedAnswers,
): Result {
  try {
    rows.principal = command.principal;
    const { only_user } = command;
    const seen: Rows = only_user === undefined ? rows : ownRows(rows, only_user);
    const unowned = operation && recorded.findUnowned(operation);
    if (unowned && seesAll(seen, command)) return unowned;
    const decision = command.decide(seen);
    if ('lock' in decision) return { lock: mergeKeys(keys, decision.lock) };
    const { outcome: answer, changes } = decision;
    if (changes && only_user !== undefined) assertOwn(seen, changes, only_user);
    if (changes) rows.apply(changes, command);
    if (operation) recorded.record(operation, answer);
    const wrote = changes !== undefined || operation !== undefined;
    return { answer, replayed: false, wrote };
  } catch (cause) {
    const bug = () => new Failure('internal', 'a decision broke', { cause });
    return { failure: cause instanceof Failure ? cause : bug() };
  }
}
