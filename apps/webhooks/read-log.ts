/** Reads the log for an endpoint, among others who read it. */
import type { Cursor } from '../../db/reads/cursor.ts';
import {
  type EventLog,
  isBusy,
  type ReadEvents,
  type WantedEvents,
} from '../../db/reads/events.ts';
import { pause } from '../http/pause.ts';

/** While too many others read it. */
const AGAIN_MS = 1000;

/** Undefined if it was not read because others were: nothing is wrong, so the lease goes on. */
export async function readLog(
  log: Pick<EventLog, 'read'>,
  cursor: Cursor,
  wanted: WantedEvents,
  signal: AbortSignal,
): Promise<ReadEvents | undefined> {
  try {
    return await log.read(cursor, { ...wanted, signal });
  } catch (error) {
    if (!isBusy(error)) throw error;
    await pause(AGAIN_MS, signal);
    return undefined;
  }
}
