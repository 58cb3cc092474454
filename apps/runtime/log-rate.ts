/** Limits equal warnings to one a second: an outage makes a few lines, not one for each call. */
import process from 'node:process';
import type { Log } from '../../db/log.ts';

type Fields = Record<string, unknown>;

/** Equal warnings of this second that have not been written. */
interface Withheld {
  count: number;
  last: Fields;
}

const EVERY_MS = 1000;
/** Warnings are equal if they agree in the event and in these. Refused callers have the last two. */
const EQUAL = ['route', 'code', 'address', 'why'] as const;

/**
 * Writes the first of equal warnings at once, and after that the last of each second, with the
 * number of the others as `suppressed`. Errors are always written, and so is
 * `outcome_unknown`: its call may have taken effect, so an operator may have to look for it.
 * @param later runs a function after so many milliseconds
 * @param atExit runs a function when the process ends, to write what is still withheld
 */
export function oneASecond(log: Log, later = setTimer, atExit = onExit): Log {
  const held = new Map<string, Withheld | undefined>();
  atExit(() => {
    for (const key of held.keys()) write(key);
  });
  return (level, event, fields) => {
    if (level !== 'warn' || fields.code === 'outcome_unknown') return log(level, event, fields);
    const key = [event, ...EQUAL.map((name) => fields[name] ?? '')].join(' ');
    if (held.has(key)) {
      held.set(key, { count: (held.get(key)?.count ?? 0) + 1, last: fields });
      return;
    }
    held.set(key, undefined);
    later(EVERY_MS, () => next(key));
    log(level, event, fields);
  };

  /** A second is over. If it had no warning, the next one is written at once again. */
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
