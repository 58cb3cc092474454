/** Settings of tests, with limits that fit each other. */
import { readConfig } from '../../apps/runtime/config.ts';
import { limitPairs, longestCallMs } from '../../apps/runtime/limits.ts';
import type { Config } from '../../apps/runtime/variables.ts';

const DEFAULTS = readConfig({});

/** These settings, with the other limits adjusted where their defaults do not fit. */
export function fitting(settings: Partial<Config>): Partial<Config> {
  const fit = { ...settings };
  // Limits of tokens mean something beside the keys of an issuer only.
  if (Object.keys(fit).some((name) => name.startsWith('AUTH_TOKEN_'))) fit.AUTH ??= 'off';
  const all = (): Config => ({ ...DEFAULTS, ...fit });
  if (fit.DRAIN_MS !== undefined && longestCallMs(all()) >= fit.DRAIN_MS) {
    const room_ms = fit.DRAIN_MS - 1001;
    fit.STATEMENT_TIMEOUT_MS ??= fit.DEADLINE_MS
      ? room_ms - fit.DEADLINE_MS
      : Math.floor(room_ms / 3);
    fit.DEADLINE_MS ??= room_ms - fit.STATEMENT_TIMEOUT_MS;
  }
  for (let i = 0; i < limitPairs.length; i++) {
    for (const [inner, how, outer] of limitPairs) {
      const room = how === 'below' ? 1 : 0;
      const { [inner]: low, [outer]: high } = all();
      if (low + room <= high) continue;
      if (fit[inner] === undefined) fit[inner] = high - room;
      else fit[outer] ??= low + room;
    }
  }
  const longest_ms = longestCallMs(all());
  if (longest_ms >= all().DRAIN_MS) fit.DRAIN_MS ??= longest_ms + 1;
  return fit;
}

/** The same as an environment, for a process. */
export const fittingEnvironment = (settings: Partial<Config>): Record<string, string> =>
  Object.fromEntries(Object.entries(fitting(settings)).map(([name, value]) => [name, `${value}`]));
