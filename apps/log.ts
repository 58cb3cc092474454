/** Log lines: one JSON object each, on standard error, without SQL values and without secrets. */
import type { Log } from '../db/failure.ts';

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export function logTo(
  write: (line: string) => void,
  least: (typeof LEVELS)[number],
  service: string,
): Log {
  return (level, event, fields) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    const line = { time: new Date().toISOString(), level, service, event, ...fields };
    write(
      `${JSON.stringify(line, (_, value) => (value instanceof Error ? plain(value, level) : value))}\n`,
    );
  };
}

/**
 * Message, code, place and causes. The driver keeps query and values in properties that stay out;
 * what the store says of a malformed value (class 22) ends with that value, which is cut off.
 */
function plain(error: Error, level: string): Record<string, unknown> {
  const code = 'code' in error ? String(error.code) : '';
  const message = code.startsWith('22') ? error.message.replace(/: ".*/s, '') : error.message;
  const at = error.stack?.split('\n').filter((line) => /^\s+at /.test(line));
  const cause = error.cause instanceof Error ? { cause: plain(error.cause, level) } : {};
  const place = level === 'error' ? { at } : {};
  return { name: error.name, message, ...(code && { code }), ...place, ...cause };
}
