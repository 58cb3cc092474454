/** Injects one fault after the other: every kind of kill early, then all kinds at random. */
import type { Deployment } from './deployment.ts';
import { faults, KILLS } from './faults.ts';

export interface Plan {
  /** Names of the faults. */
  faults: readonly string[];
  /** Seconds between two faults, on average. */
  every: number;
  /** When the time is up, on the clock of `performance`. */
  ends_at: number;
}

export interface Done {
  name: string;
  at: number;
}

/**
 * The kills come first, with short pauses, even if the time is up before: a run of six seconds must
 * have survived them. Later, every kind of fault comes once before one repeats.
 * @param done receives each fault as it starts
 */
export async function injectFaults(
  deployment: Deployment,
  plan: Plan,
  random: () => number,
  done: Done[],
): Promise<void> {
  const left_s = () => (plan.ends_at - performance.now()) / 1000;
  const pause = (average_s: number) => Bun.sleep(1000 * average_s * (0.5 + random()));
  const act = async (name: string) => {
    done.push({ name, at: performance.now() });
    await faults[name]?.(deployment, random);
  };
  const shuffled = (names: readonly string[]) => names.toSorted(() => random() - 0.5);
  const kills = shuffled(plan.faults.filter((name) => KILLS.includes(name)));
  const short_s = Math.min(plan.every, left_s() / 3 / kills.length);
  for (const name of kills) {
    await pause(short_s);
    await act(name);
  }
  let bag = shuffled(plan.faults.filter((name) => !kills.includes(name)));
  while (left_s() > 0) {
    await Promise.race([pause(plan.every), Bun.sleep(Math.max(0, left_s() * 1000))]);
    if (left_s() <= 0) break;
    if (bag.length === 0) bag = shuffled(plan.faults);
    const name = bag.pop();
    if (name !== undefined) await act(name);
  }
}
