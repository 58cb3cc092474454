/** The lanes in use: all of them, or as many as lane-count.ts finds worthwhile. */
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Meter } from '../meter.ts';
import type { Lane } from './lane.ts';
import { type Interval, LaneCount } from './lane-count.ts';
import type { EngineLimits } from './limits.ts';

export interface LaneUseDependencies {
  clock: Clock;
  meter: Meter;
  log: Log;
  /** Returns the number of lanes for the next interval; the simulation replaces it. */
  countLanes?: ((interval: Interval) => number) | undefined;
}

export interface LaneUse {
  /** Passes every measurement on, and takes its own from them. */
  meter: Meter;
  /** The lanes that batches may use now. */
  used(): readonly Lane[];
  /** To be called for each answered command. */
  answered(): void;
  /** Ends the reviews. */
  stop(): void;
}

/**
 * A lane that leaves use finishes its batches, then closes its connection. Behind PostgreSQL's gate
 * transactions run one at a time, so there the first lane stays the only one.
 * @param lanes all lanes. It is called later, because the lanes need the meter that is returned
 */
export function laneUse(
  lanes: () => readonly Lane[],
  { lanes: max, lanes_interval_ms }: EngineLimits,
  { clock, meter, log, countLanes }: LaneUseDependencies,
): LaneUse {
  const is_auto = lanes_interval_ms > 0;
  const count = new LaneCount(max);
  const countAfter = countLanes ?? ((interval) => count.after(interval));
  let using = is_auto ? 1 : max;
  let begun_at = clock.now();
  let sums = noSums();
  let cancelReview = is_auto ? clock.after(lanes_interval_ms, review) : () => {};

  return {
    meter: {
      ...meter,
      batchTaken(commands, waited_ms) {
        sums.batches++;
        sums.commands += commands;
        meter.batchTaken(commands, waited_ms);
      },
      roundTrip(kind, ms) {
        if (kind === 'lock') {
          sums.locks++;
          sums.lock_ms += ms;
        }
        meter.roundTrip(kind, ms);
      },
    },
    used: () => lanes().slice(0, using),
    answered: () => void sums.answered++,
    stop: () => cancelReview(),
  };

  function review(): void {
    const all = lanes();
    if (all.some((lane) => lane.gated)) return;
    const { answered, batches, commands, locks, lock_ms } = sums;
    const before = using;
    using = countAfter({
      rate: (answered * 1000) / (clock.now() - begun_at),
      batch: commands / Math.max(1, batches),
      lock_ms: lock_ms / Math.max(1, locks),
      troubled: all.slice(0, using).some(({ trouble }) => trouble?.code === 'store_unavailable'),
    });
    if (using !== before) log('debug', 'lanes_changed', { lanes: using });
    for (const lane of all.slice(using)) if (lane.idle) lane.close().catch(() => {});
    sums = noSums();
    begun_at = clock.now();
    cancelReview = clock.after(lanes_interval_ms, review);
  }
}

const noSums = () => ({ answered: 0, batches: 0, commands: 0, locks: 0, lock_ms: 0 });
