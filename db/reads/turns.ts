/** Bounds how many long reads run at once, so that the others find a free connection. */
import { systemClock } from '../clock.ts';
import { Failure } from '../failure.ts';

const WAITING_MAX = 64;
const TOO_MANY = 'too many statements are being read';

/** @param at_once works that run at the same time; the others wait in order */
export function turns(at_once: number) {
  const waiting: (() => void)[] = [];
  let running = 0;

  /** @throws Failure overloaded if too many wait, or if the turn has not come by then */
  return async <T>(deadline_at: number, work: () => Promise<T>): Promise<T> => {
    if (running < at_once) running++;
    else if (waiting.length >= WAITING_MAX) throw new Failure('overloaded', TOO_MANY);
    else await turn(deadline_at - systemClock.now());
    try {
      return await work();
    } finally {
      // The next one takes the place over.
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };

  function turn(wait_ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        cancel();
        resolve();
      };
      const cancel = systemClock.after(wait_ms, () => {
        waiting.splice(waiting.indexOf(start), 1);
        reject(new Failure('overloaded', TOO_MANY));
      });
      waiting.push(start);
    });
  }
}
