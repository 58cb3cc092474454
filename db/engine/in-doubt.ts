/** In-doubt transactions: their COMMIT was sent and its answer was lost. */
import { type Place, readPlace, writeTombstone } from '../batches-table.ts';
import { backOff, type Clock } from '../clock.ts';
import type { Connection } from '../connection/connection.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { Meter } from '../meter.ts';
import type { FifoLock } from './fifo-lock.ts';
import type { LaneConnection } from './lane-connection.ts';
import { failureOf, type LaneTrouble } from './lane-trouble.ts';
import type { Attempt } from './transaction.ts';
import { type Entry, lastDeadline } from './work.ts';

type InDoubt = Extract<Attempt, { end: 'ambiguous' }>;
export type Resolved = Exclude<Attempt, InDoubt>;

/** The parts of the lane on which the transaction ran. */
export interface SettlingLane {
  readonly lock: FifoLock;
  readonly connection: LaneConnection;
  readonly trouble: LaneTrouble;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  /** For one round trip. */
  readonly commit_ms: number;
}

/**
 * Finds out how the transaction ended, in as many tries as the last deadline of its commands
 * allows.
 * @returns undefined if that stays unknown; then every command has been answered
 */
export async function resolveInDoubt(
  lane: SettlingLane,
  attempt: InDoubt,
  entries: readonly Entry[],
): Promise<Resolved | undefined> {
  const { trouble, clock, meter } = lane;
  trouble.note('warn', 'commit_ambiguous', attempt.error, entries.length);
  meter.commitAmbiguous();
  for (let tries = 1; ; tries++) {
    const truth = await trySettling(lane, attempt.place);
    if (truth === 'committed') return { end: truth, results: attempt.results };
    if (truth === 'undone') return { end: 'aborted', error: lostCommit(attempt.error) };
    if (clock.now() > lastDeadline(entries)) break;
    await backOff(clock, tries);
  }
  meter.commitSettled('unknown');
  rejectInDoubt(entries, attempt);
  return undefined;
}

/** Holds the lane's lock, so that the tombstone is not written inside another batch's transaction. */
async function trySettling(
  { lock, connection, trouble, clock, log, meter, commit_ms }: SettlingLane,
  place: Place,
): Promise<'committed' | 'undone' | undefined> {
  const release = await lock.acquire();
  return connection
    .use(async (open) => {
      const begun_at = clock.now();
      try {
        const truth = await settle(open, place, commit_ms);
        meter.roundTrip('settle', clock.now() - begun_at);
        meter.commitSettled(truth);
        log('warn', 'commit_settled', { truth });
        return truth;
      } catch (error) {
        open.destroy();
        trouble.note('warn', 'settle_failed', error);
        return undefined;
      }
    })
    .finally(release);
}

/**
 * Finds out whether the transaction at this place of the log committed, by writing a tombstone at
 * the same place. If a row is there already, it is the transaction's own, or another, which took the
 * place first. If the write succeeds, the transaction has not committed and never will, because its
 * own row must now fail. Reading the place would prove nothing: the lost COMMIT may still be on its
 * way to the server.
 * @throws if the store cannot tell; repeat it on another connection
 */
export async function settle(
  connection: Connection,
  place: Place,
  timeout_ms: number,
): Promise<'committed' | 'undone'> {
  const { sql } = connection;
  const [written] = await connection.roundTrip([writeTombstone(sql, place)], timeout_ms);
  if (written?.status === 'fulfilled' && written.value.length > 0) return 'undone';
  const [read] = await connection.roundTrip([readPlace(sql, place)], timeout_ms);
  if (read?.status !== 'fulfilled') throw read?.reason;
  const found = read.value.at(0);
  if (found) return found.id === place.id ? 'committed' : 'undone';
  if (written?.status !== 'fulfilled') throw written?.reason;
  return 'undone'; // what came before it is lost too
}

const lostCommit = (cause: unknown) =>
  new Failure('store_unavailable', 'the commit was lost', { cause });

/**
 * The outcome is unknown only for commands whose effects or answers the transaction would write.
 */
function rejectInDoubt(entries: readonly Entry[], { results, error }: InDoubt): void {
  const detail = 'the answer of the commit was lost; repeat the call with the same key';
  for (const [i, entry] of entries.entries()) {
    const result = results[i];
    if (!result || !('answer' in result)) entry.reject(failureOf(error));
    else if (result.wrote) entry.reject(new Failure('outcome_unknown', detail));
    else if (result.replayed) entry.resolve({ ...result, batch: entries.length, attempt: 1 });
    else entry.reject(failureOf(error));
  }
}
