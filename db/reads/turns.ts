/** Reads that cost much take turns: a few at once, those of different callers in turn. */
import { type Clock, systemClock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { FairQueue, type Waiting } from '../fair-queue.ts';
import { Tally } from '../tally.ts';

export interface Caller extends Waiting {
  /** Parts of the room for reads, a whole number; 1 if it is not given. */
  size?: number;
  /** Aborted when nobody waits for the read any more: it gives up its place. */
  signal?: AbortSignal | undefined;
}

interface Most {
  /** Room for reads that run at once. */
  room: number;
  /** Of it, the part of those without a name together; all of it if it is not given. */
  nobody_max?: number;
  /** Reads that wait for their turn. */
  waiting: number;
  /** What a read is told that finds no place, or whose turn does not come by its deadline. */
  refusal: string;
}

/** @throws Failure overloaded */
export type InTurn = <T>(caller: Caller, read: () => Promise<T>) => Promise<T>;

/**
 * A caller with a name begins a read if its reads take less room than is free: alone it takes half.
 * Where authentication is off there are no others to leave room to. The last read may take more
 * than what is left, so a large one never waits for small ones.
 */
export function turns(
  { room, nobody_max = room, waiting: waiting_max, refusal }: Most,
  clock: Pick<Clock, 'now' | 'after'> = systemClock,
): InTurn {
  const taken = new Tally();
  let free = room;
  const waiting = new FairQueue<Caller & { start(): void }>();

  return async (caller, read) => {
    if (mayBegin(caller)) take(caller, 1);
    else await myTurn(caller);
    try {
      return await read();
    } finally {
      take(caller, -1);
      // They take over this room at once, so nobody who comes later can.
      for (const next of waiting.take(room, begins)) next.start();
    }
  };

  function mayBegin({ principal }: Caller): boolean {
    const own = taken.of(principal);
    return principal === undefined ? free > 0 && own < nobody_max : own < free;
  }

  function begins(next: Caller): boolean {
    const may = mayBegin(next);
    if (may) take(next, 1);
    return may;
  }

  function take({ principal, size = 1 }: Caller, sign: 1 | -1): void {
    taken.add(principal, sign * size);
    free -= sign * size;
  }

  function myTurn(caller: Caller): Promise<void> {
    const { principal, deadline_at, signal } = caller;
    const places = waiting_max - waiting.length;
    const own = principal === undefined ? 0 : waiting.callsOf(principal);
    if (own >= places || signal?.aborted) throw new Failure('overloaded', refusal);
    return new Promise((resolve, reject) => {
      const start = () => {
        end();
        resolve();
      };
      const mine = { ...caller, start };
      const tooLate = () => {
        end();
        waiting.remove(mine);
        reject(new Failure('overloaded', refusal));
      };
      const wait_ms = deadline_at - clock.now();
      const cancel = clock.after(wait_ms, tooLate);
      signal?.addEventListener('abort', tooLate);
      const end = () => {
        cancel();
        signal?.removeEventListener('abort', tooLate);
      };
      waiting.push(mine);
    });
  }
}

/** The reads of each owner one at a time, so that those of one leave turns to the others. */
export function oneOfEach(most: Omit<Most, 'room'>) {
  const owners = new Map<string, { inTurn: InTurn; reads: number }>();
  return async <T>(owner: string, deadline_at: number, read: () => Promise<T>): Promise<T> => {
    const its = owners.get(owner) ?? { inTurn: turns({ ...most, room: 1 }), reads: 0 };
    owners.set(owner, its);
    its.reads++;
    try {
      return await its.inTurn({ principal: undefined, deadline_at }, read);
    } finally {
      if (--its.reads === 0) owners.delete(owner);
    }
  };
}
