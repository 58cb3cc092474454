/** Keys as a table for people. */
import type { keyOf } from '../auth/wanted.ts';

type Shown = ReturnType<typeof keyOf>;

const COLUMNS: readonly [title: string, of: (key: Shown) => string | number | undefined][] = [
  ['id', ({ id }) => id],
  ['principal', ({ principal }) => principal],
  ['state', ({ state }) => state],
  ['scopes', ({ scopes }) => scopes.join(',')],
  ['user', ({ user_id }) => user_id],
  ['per second', ({ per_s }) => per_s],
  ['in flight', ({ in_flight }) => in_flight],
  ['created', ({ created_at }) => minuteOf(created_at)],
  ['expires', ({ expires_at }) => minuteOf(expires_at)],
  ['last used', ({ last_used_at }) => minuteOf(last_used_at)],
  ['revoked', ({ revoked_at }) => minuteOf(revoked_at)],
  ['name', ({ name }) => name],
];

export function tableOf(keys: readonly Shown[]): string {
  if (keys.length === 0) return 'There are no keys.';
  const rows = keys.map((key) => COLUMNS.map(([, of]) => String(of(key) ?? '-')));
  const lines = [COLUMNS.map(([title]) => title), ...rows];
  const widths = COLUMNS.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n');
}

/** In UTC. */
const minuteOf = (time: string | undefined) => time?.replace(/:\d\d\.000Z$/, 'Z');
