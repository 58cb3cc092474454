/** Log lines, by pino: one JSON object each, on standard error, without SQL values and secrets. */
import { createRequire } from 'node:module';
import process from 'node:process';
import { type Level, pino } from 'pino';
import type { Log } from '../../db/failure.ts';

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export const FORMATS = ['auto', 'json', 'pretty'] as const;

/**
 * The log of a process. It writes synchronously, by no worker: what was logged is out before the
 * next statement runs, so an exit loses nothing. (Whoever reads standard error must keep reading.)
 * @param format `auto` is for people at a terminal if pino-pretty is there, which production lacks
 */
export function openLog(
  least: (typeof LEVELS)[number],
  format: (typeof FORMATS)[number],
  service: string,
): Log {
  const destination = pino.destination({ fd: 2, sync: true });
  const pretty = format === 'pretty' || (format === 'auto' && process.stderr.isTTY === true);
  const render = (pretty && prettyFormat()) || ((line: string) => line);
  const log = logTo((line) => destination.write(render(line)), least, service);
  if (format === 'pretty' && !prettyFormat()) log('warn', 'pino_pretty_missing', {});
  return log;
}

/** The same, to anywhere. */
export function logTo(
  write: (line: string) => void,
  least: (typeof LEVELS)[number],
  service: string,
): Log {
  const logger = pino(
    {
      level: least,
      base: { service },
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write: (line: string) => write(withoutPasswords(line)) },
  );
  return (level, event, fields) => {
    if (logger.isLevelEnabled(level)) logger[level](plainFields(fields, level), event);
  };
}

/** A store's address is shown without its password, wherever it stands. */
const withoutPasswords = (line: string): string =>
  line.includes('postgres')
    ? line.replaceAll(/(postgres(?:ql)?:\/\/[^\s:@/"]*:)(?:\\.|[^\s"\\])*@/g, '$1***@')
    : line;

/** Errors as what may be told of them, at any depth; fields that carry a secret as `***`. */
const plainFields = (fields: Record<string, unknown>, level: Level): Record<string, unknown> => {
  const told: Record<string, unknown> = {};
  for (const name in fields) told[name] = SECRET.test(name) ? '***' : plain(fields[name], level);
  return told;
};

/** Nothing logs a request's headers; whoever does so one day, does it without these. */
const SECRET = /^(?:(?:proxy-)?authorization|(?:set-)?cookie|password)$/i;

function plain(value: unknown, level: Level): unknown {
  if (value instanceof Error) return plainError(value, level);
  if (Array.isArray(value)) return value.map((each) => plain(each, level));
  if (value === null || typeof value !== 'object') return value;
  const simple = Object.getPrototypeOf(value) === Object.prototype;
  return simple ? plainFields(value as Record<string, unknown>, level) : value;
}

/**
 * Message, code, place and causes. The driver keeps query and values in properties that stay out;
 * what the store says of a malformed value (class 22), and older ones of a key that is there
 * already (23505), ends with that value, which is cut off.
 */
function plainError(error: Error, level: Level): Record<string, unknown> {
  const code = 'code' in error ? String(error.code) : '';
  const values = code.startsWith('22') ? /:? ?".*/s : code === '23505' ? /[: ]*\(.*\)=\(.*/s : /$/;
  const message = error.message.replace(values, '');
  const at = error.stack?.split('\n').filter((line) => /^\s+at /.test(line));
  const cause = error.cause instanceof Error ? { cause: plainError(error.cause, level) } : {};
  const place = level === 'error' ? { at } : {};
  return { name: error.name, message, ...(code && { code }), ...place, ...cause };
}

/** pino-pretty is a part for development; it is asked for by name, so that no bundle takes it in. */
function prettyFormat(): ((line: string) => string) | undefined {
  const load = createRequire(import.meta.url);
  try {
    const { prettyFactory } = load('pino-pretty') as PinoPretty;
    const prettify = prettyFactory({
      colorize: process.stderr.isTTY === true,
      messageKey: 'event',
      translateTime: 'SYS:HH:MM:ss.l',
      ignore: 'service',
    });
    return (line) => prettify(line) ?? line;
  } catch {
    return undefined;
  }
}

interface PinoPretty {
  prettyFactory(options: Record<string, unknown>): (line: string) => string | undefined;
}
