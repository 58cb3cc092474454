/** The log, by pino: one JSON object a line on standard error, without SQL values and secrets. */
import { createRequire } from 'node:module';
import process from 'node:process';
import { type Level, pino } from 'pino';
import type { Log } from '../../db/log.ts';
import type { FORMATS, LEVELS } from './variables.ts';

/**
 * The log of a process. It writes synchronously and without a worker, so an exit loses no line. The
 * reader of standard error must keep reading, or the process blocks.
 * @param format `auto` is `pretty` on a terminal if pino-pretty is there, which production lacks
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

/** The same, to any destination. */
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

/** Masks the password in the address of a store, wherever in the line it is. */
const withoutPasswords = (line: string): string =>
  line.includes('postgres')
    ? line.replaceAll(/(postgres(?:ql)?:\/\/[^\s:@/"]*:)(?:\\.|[^\s"\\])*@/g, '$1***@')
    : line;

/** Errors reduced to what may be logged, at any depth; secret fields as `***`. */
const plainFields = (fields: Record<string, unknown>, level: Level): Record<string, unknown> => {
  const plain_fields: Record<string, unknown> = {};
  for (const name in fields)
    plain_fields[name] = SECRET.test(name) ? '***' : plain(fields[name], level);
  return plain_fields;
};

/** No code logs headers of requests; this keeps secrets out should that change. */
const SECRET = /^(?:(?:proxy-)?authorization|(?:set-)?cookie|password)$/i;

function plain(value: unknown, level: Level): unknown {
  if (value instanceof Error) return plainError(value, level);
  if (Array.isArray(value)) return value.map((each) => plain(each, level));
  if (value === null || typeof value !== 'object') return value;
  const simple = Object.getPrototypeOf(value) === Object.prototype;
  return simple ? plainFields(value as Record<string, unknown>, level) : value;
}

/**
 * Message, code, stack and causes. Other properties are left out: in the driver's errors they hold
 * the query and its values. Messages about malformed values (class 22) and, in older stores, about
 * duplicate keys (23505) end with the value, so that part is cut off.
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

/** pino-pretty is a development dependency: loaded by name, so that no bundle includes it. */
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
