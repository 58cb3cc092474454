/** Bounds how many long reads run at once, so that the others find a free connection. */
import { systemClock } from '../clock.ts';
import { Failure } from '../failure.ts';

const WAITING_MAX = 64;
const TOO_MANY = 'too many statements are being read';

/** @param running_max reads that run at once; others wait in order of arrival */
export function turns(running_max: number) {
  const waiting: (() => void)[] = [];
  let running = 0;

  /** @throws Failure overloaded if too many wait, or if its turn has not come by the deadline */
  return async <T>(deadline_at: number, read: () => Promise<T>): Promise<T> => {
    if (running < running_max) running++;
    else if (waiting.length >= WAITING_MAX) throw new Failure('overloaded', TOO_MANY);
    else await myTurn(deadline_at - systemClock.now());
    try {
      return await read();
    } finally {
      // The next in line takes over this place, so nobody who comes later can.
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };

  function myTurn(wait_ms: number): Promise<void> {
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
