/** Which lanes batches may use: all, or as many as lane-count.ts finds to pay for themselves. */
import type { Clock } from '../clock.ts';
import type { Log } from '../failure.ts';
import type { Meter } from '../meter.ts';
import type { Lane } from './lane.ts';
import { type Interval, LaneCount } from './lane-count.ts';

export interface LaneUseLimits {
  /** Connections that carry transactions, each one batch at a time; at most, with the next. */
  lanes: number;
  /** How often it is thought over how many of them are used; 0: all of them, always. */
  lanes_interval_ms: number;
}

export interface LaneUseGround {
  clock: Clock;
  meter: Meter;
  log: Log;
  /** Says after each interval how many to use; a simulation puts its own in the place of ours. */
  countLanes?: ((interval: Interval) => number) | undefined;
}

export interface LaneUse {
  /** For the engine: passes on what it is told, and learns from it. */
  meter: Meter;
  /** The lanes that batches may use now. */
  used(): readonly Lane[];
  answered(): void;
  /** Thinks it over no more. */
  stop(): void;
}

/**
 * A lane that is not used any more ends what it has begun, then its connection. Behind PostgreSQL's
 * gate lanes take turns, so it stays with one.
 * @param lanes all of them; made with the meter that is returned, so asked for later
 */
export function laneUse(
  lanes: () => readonly Lane[],
  { lanes: max, lanes_interval_ms }: LaneUseLimits,
  { clock, meter, log, countLanes }: LaneUseGround,
): LaneUse {
  const auto = lanes_interval_ms > 0;
  const count = new LaneCount(max);
  const after = countLanes ?? ((interval) => count.after(interval));
  let using = auto ? 1 : max;
  let from = clock.now();
  let sums = none();
  let callOff = auto ? clock.after(lanes_interval_ms, think) : () => {};

  return {
    meter: {
      ...meter,
      batchDeparted(commands, waited_ms) {
        sums.batches++;
        sums.departed += commands;
        meter.batchDeparted(commands, waited_ms);
      },
      flew(flight, ms) {
        if (flight === 'lock') {
          sums.locks++;
          sums.lock_ms += ms;
        }
        meter.flew(flight, ms);
      },
    },
    used: () => lanes().slice(0, using),
    answered: () => void sums.answered++,
    stop: () => callOff(),
  };

  function think(): void {
    const all = lanes();
    if (all.some((lane) => lane.gated)) return;
    const { answered, batches, departed, locks, lock_ms } = sums;
    const before = using;
    using = after({
      rate: (answered * 1000) / (clock.now() - from),
      batch: departed / Math.max(1, batches),
      lock_ms: lock_ms / Math.max(1, locks),
      troubled: all.slice(0, using).some(({ trouble }) => trouble?.code === 'store_unavailable'),
    });
    if (using !== before) log('debug', 'lanes_changed', { lanes: using });
    for (const lane of all.slice(using)) if (lane.idle) lane.close().catch(() => {});
    sums = none();
    from = clock.now();
    callOff = clock.after(lanes_interval_ms, think);
  }
}

const none = () => ({ answered: 0, batches: 0, departed: 0, locks: 0, lock_ms: 0 });
