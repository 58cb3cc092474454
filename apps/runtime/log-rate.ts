/** Of warnings that say the same, one a second: an outage is a few lines, not one for each call. */
import process from 'node:process';
import type { Log } from '../../db/failure.ts';

type Fields = Record<string, unknown>;

/** What was said of one event, route and code within this second, and has not been written yet. */
interface Held {
  count: number;
  last: Fields;
}

const EVERY_MS = 1000;

/**
 * The first warning of its event, route and code is written at once; then, for each second, the last
 * one, `suppressed` being how many more there were. Errors are all written, and so is each
 * `outcome_unknown`: its call may have taken effect, so somebody may come and ask for it.
 * @param later runs something in so many milliseconds
 * @param atExit runs something when the process ends, so that what was held back is written
 */
export function oneASecond(log: Log, later = setTimer, atExit = onExit): Log {
  const held = new Map<string, Held | undefined>();
  atExit(() => {
    for (const key of held.keys()) write(key);
  });
  return (level, event, fields) => {
    if (level !== 'warn' || fields.code === 'outcome_unknown') return log(level, event, fields);
    const key = [event, fields.route ?? '', fields.code ?? ''].join(' ');
    if (held.has(key)) {
      held.set(key, { count: (held.get(key)?.count ?? 0) + 1, last: fields });
      return;
    }
    held.set(key, undefined);
    later(EVERY_MS, () => next(key));
    log(level, event, fields);
  };

  /** A second is over. If there was nothing to write in it, the next warning is a first one again. */
  function next(key: string): void {
    if (!write(key)) held.delete(key);
    else later(EVERY_MS, () => next(key));
  }

  function write(key: string): boolean {
    const holding = held.get(key);
    if (!holding) return false;
    held.set(key, undefined);
    const { count, last } = holding;
    const [event = ''] = key.split(' ');
    log('warn', event, count > 1 ? { ...last, suppressed: count - 1 } : last);
    return true;
  }
}

function setTimer(ms: number, run: () => void): void {
  setTimeout(run, ms).unref?.();
}

function onExit(run: () => void): void {
  process.on('exit', run);
}
