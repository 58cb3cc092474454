/** Bounds how many long reads run at once, so that the others find a free connection. */
import { systemClock } from '../clock.ts';
import { Failure } from '../failure.ts';

const WAITING_MAX = 64;
/** For one owner, so that many reads of one history leave turns to the others. */
const WAITING_OF_ONE_MAX = 4;
const TOO_MANY = 'too many statements are being read';
const TOO_MANY_OF_ONE = 'too many reads of this statement are waiting';

interface Waiting {
  owner: string;
  start(): void;
}

/** @param running_max reads that run at once, one for each owner; others wait in order of arrival */
export function turns(running_max: number) {
  const running = new Set<string>();
  let waiting: Waiting[] = [];

  const isFree = (owner: string) => running.size < running_max && !running.has(owner);

  /** @throws Failure overloaded if too many wait, or if its turn has not come by the deadline */
  return async <T>(owner: string, deadline_at: number, read: () => Promise<T>): Promise<T> => {
    if (isFree(owner)) running.add(owner);
    else await myTurn(owner, deadline_at - systemClock.now());
    try {
      return await read();
    } finally {
      running.delete(owner);
      // It takes over this place at once, so nobody who comes later can.
      const next = waiting.find((one) => isFree(one.owner));
      if (next) begin(next);
    }
  };

  function begin(one: Waiting): void {
    waiting = waiting.filter((other) => other !== one);
    running.add(one.owner);
    one.start();
  }

  function myTurn(owner: string, wait_ms: number): Promise<void> {
    const of_one = waiting.filter((one) => one.owner === owner).length;
    if (of_one >= WAITING_OF_ONE_MAX) throw new Failure('overloaded', TOO_MANY_OF_ONE);
    if (waiting.length >= WAITING_MAX) throw new Failure('overloaded', TOO_MANY);
    return new Promise((resolve, reject) => {
      const mine = {
        owner,
        start() {
          cancel();
          resolve();
        },
      };
      const cancel = systemClock.after(wait_ms, () => {
        waiting = waiting.filter((one) => one !== mine);
        reject(new Failure('overloaded', TOO_MANY));
      });
      waiting.push(mine);
    });
  }
}
