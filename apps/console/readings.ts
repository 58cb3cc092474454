/** Reads each thing again and again, and tells which have not been read for too long. */
import { Failure } from '../../db/failure.ts';
import type { Log } from '../../db/log.ts';
import { pause } from '../http/pause.ts';
import type { Frame } from './frame.ts';

export type Thing = keyof Frame['trouble'];

const EVERY_MS = 1000;
/** An answer that takes longer is trouble at once; the read itself may go on for long. */
const SLOW_MS = 2000;
const SLOW_AFTER_MS: Partial<Record<Thing, number>> = { log: 3000, holds: 10_000 };
const OF_THE_STORE: readonly Thing[] = ['store', 'log', 'items', 'holds', 'webhooks'];

interface Reading {
  answered_at: number;
  /** Undefined while it rests. */
  begun_at: number | undefined;
  /** Why the last one failed. */
  error: unknown;
}

export class Readings {
  readonly #log: Log;
  readonly #all = new Map<Thing, Reading>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Until the signal aborts. @param rest for how long, after it took so long */
  async repeat(
    what: Thing,
    signal: AbortSignal,
    work: () => Promise<void>,
    rest: (took_ms: number) => number = () => EVERY_MS,
  ): Promise<void> {
    const now = performance.now();
    const reading: Reading = { answered_at: now, begun_at: undefined, error: undefined };
    this.#all.set(what, reading);
    while (!signal.aborted) {
      const begun_at = performance.now();
      reading.begun_at = begun_at;
      try {
        await work();
        this.answered(what);
      } catch (error) {
        if (!reading.error) this.#log('warn', 'console_trouble', { what, error });
        reading.error = error;
      }
      reading.begun_at = undefined;
      await pause(reading.error ? EVERY_MS : rest(performance.now() - begun_at), signal);
    }
  }

  /** What reads on in one go has got an answer. */
  answered(what: Thing): void {
    const reading = this.#all.get(what);
    if (!reading) return;
    reading.error = undefined;
    reading.answered_at = performance.now();
    if (reading.begun_at !== undefined) reading.begun_at = reading.answered_at;
  }

  /** What is in trouble, and for how many seconds it has not been read. */
  trouble(): Frame['trouble'] {
    const found: Frame['trouble'] = {};
    const late = [...this.#all].filter(([what, reading]) => reading.error || isSlow(what, reading));
    for (const [what] of late) if (what !== 'store') found[what] = this.#age(what);
    const silent = late.filter(
      ([what, { error }]) => OF_THE_STORE.includes(what) && (!error || isAway(error)),
    );
    if (silent.length < 2 && !silent.some(([what]) => what === 'store')) return found;
    for (const what of OF_THE_STORE) found[what] = this.#age(what);
    return found;
  }

  #age(what: Thing): number {
    return (performance.now() - (this.#all.get(what)?.answered_at ?? 0)) / 1000;
  }
}

const isSlow = (what: Thing, { begun_at = Infinity }: Reading): boolean =>
  performance.now() - begun_at > (SLOW_AFTER_MS[what] ?? SLOW_MS);

/** Other failures, such as a missing privilege, are answers of the store. */
const isAway = (error: unknown): boolean =>
  error instanceof Failure && error.code === 'store_unavailable';
