/** Injects one fault after the other: every kind of kill early, then all kinds at random. */
import type { Deployment } from './deployment.ts';
import { faults } from './faults.ts';
import type { Options } from './options.ts';
import type { Random } from './send.ts';

export interface Done {
  name: string;
  at: number;
}

/**
 * The kills come first, with short pauses, even if the time is up before: a run of six seconds must
 * have survived them. Later, every kind of fault comes once before one repeats.
 * @param ends_at when the time is up, on the clock of `performance`
 * @param done receives each fault as it starts
 */
export async function injectFaults(
  deployment: Deployment,
  { faults: chosen, every }: Options,
  ends_at: number,
  random: Random,
  done: Done[],
): Promise<void> {
  const left_s = () => Math.max(0, (ends_at - performance.now()) / 1000);
  const pause_s = (average_s: number) => average_s * (0.5 + random());
  const act = async (name: string) => {
    done.push({ name, at: performance.now() });
    await faults[name]?.(deployment, random);
  };
  const shuffled = (names: readonly string[]) => names.toSorted(() => random() - 0.5);
  const kills = shuffled(chosen.filter((name) => name.startsWith('kill-')));
  const short_s = Math.min(every, left_s() / 3 / kills.length);
  for (const name of kills) {
    await Bun.sleep(1000 * pause_s(short_s));
    await act(name);
  }
  let bag = shuffled(chosen.filter((name) => !kills.includes(name)));
  for (;;) {
    await Bun.sleep(1000 * Math.min(pause_s(every), left_s()));
    if (left_s() === 0) return;
    if (bag.length === 0) bag = shuffled(chosen);
    const name = bag.pop();
    if (name !== undefined) await act(name);
  }
}
