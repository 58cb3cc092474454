/** The configuration: each variable within its bounds or named. And a log without SQL values. */
import { expect, test } from 'bun:test';
import { z } from 'zod';
import { createUser } from '../../apps/payment/commands.ts';
import { loadConfig, readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { limitPairs, longestCallMs } from '../../apps/runtime/limits.ts';
import { logTo } from '../../apps/runtime/log.ts';
import { type Config, variables } from '../../apps/runtime/variables.ts';
import { Failure } from '../../db/failure.ts';
import { openStore } from '../../db/store.ts';
import { connect, fittingEnvironment } from '../support/kassa.ts';
import { freePort } from '../support/process.ts';

type Name = keyof typeof variables.shape;
const names = Object.keys(variables.shape) as Name[];

/** The type of a variable without its default, and the default. */
function innerOf(name: Name) {
  const outer: z.ZodType = variables.shape[name];
  const inner =
    outer instanceof z.ZodDefault || outer instanceof z.ZodOptional ? outer.unwrap() : outer;
  return { inner, otherwise: outer.parse(undefined) };
}

const numbers = names.flatMap((name) => {
  const { inner, otherwise } = innerOf(name);
  const number = inner instanceof z.ZodPipe ? inner.out : inner; // text, then a number
  if (!(number instanceof z.ZodNumber)) return [];
  const [low, high] = [number.minValue ?? Number.NaN, number.maxValue ?? Number.NaN];
  return [{ name, low, high, otherwise: Number(otherwise ?? low) }];
});
const choices = names.flatMap((name) => {
  const { inner, otherwise } = innerOf(name);
  return inner instanceof z.ZodEnum ? [{ name, values: inner.options, otherwise }] : [];
});

/** The error for a wrong environment, which is one sentence. */
function complaintAbout(environment: Record<string, string>, read = readConfig): string {
  try {
    read(environment);
  } catch (error) {
    if (error instanceof Failure && !error.detail.includes('\n')) return error.detail;
    throw error;
  }
  return '';
}

test('an empty environment gives every default', () => {
  const config = readConfig({});
  expect(config).toMatchObject({ HOST: '127.0.0.1', PORT: 8000, BATCH_INIT: 'off', LANES: 1 });
  expect(Object.keys(config).sort()).toEqual(
    names.filter((name) => !/^(?:DATABASE_|METRICS_PORT$)/.test(name)).sort(),
  );
});

test('LANES is a number from 1 to 64, or auto: up to eight, adjusted every second', () => {
  const lanesOf = (LANES: string) => {
    const { lanes, lanes_interval_ms } = storeOptions(readConfig({ LANES }), 'postgres://a/b', '');
    return [lanes, lanes_interval_ms];
  };
  expect(['1', '64', 'auto'].map(lanesOf)).toEqual([
    [1, 0],
    [64, 0],
    [8, 1000],
  ]);
  for (const LANES of ['0', '65', '1.5', 'AUTO', 'automatic', 'two']) {
    const said = 'configuration: LANES must be a whole number from 1 to 64, or auto';
    expect(complaintAbout({ LANES })).toBe(said);
  }
});

test('the environment overrides a default of the service', () => {
  const defaults: Partial<Config> = { PORT: 8001, BATCH_INIT: 'on' };
  expect(readConfig({}, defaults)).toMatchObject(defaults);
  expect(readConfig({ PORT: '9000', BATCH_INIT: 'off' }, defaults)).toMatchObject({
    PORT: 9000,
    BATCH_INIT: 'off',
  });
});

test('every variable has a description, and times have their unit in the name', () => {
  for (const name of names) expect(variables.shape[name].description).toMatch(/^\S.{8,}/);
  expect(names.filter((name) => /(TIMEOUT|DEADLINE|DRAIN)$/.test(name))).toEqual([]);
  expect(numbers.length).toBeGreaterThan(8);
  expect(choices.length).toBe(3);
});

test.each(numbers)(
  '$name accepts $low to $high and nothing else',
  ({ name, low, high, otherwise }) => {
    expect(Number.isSafeInteger(low) && Number.isSafeInteger(high)).toBe(true);
    for (const value of [low, high, otherwise]) {
      expect(readConfig(fittingEnvironment({ [name]: value }))[name]).toBe(value);
    }
    for (const value of [low - 1, high + 1, low + 0.5, '1e99', 'abc', 'true', 'NaN', 'Infinity']) {
      expect(complaintAbout({ [name]: String(value) })).toStartWith(
        `configuration: ${name} must be`,
      );
    }
  },
);

test.each(numbers)('a blank $name is unset or wrong, and not zero', ({ name }) => {
  for (const blank of [' ', '\t']) {
    const environment = { [name]: blank };
    if (complaintAbout(environment) === '') expect(readConfig(environment)).toEqual(readConfig({}));
    else expect(complaintAbout(environment)).toContain(name);
  }
});

test.each(choices)('$name is one of its words', ({ name, values, otherwise }) => {
  for (const value of values) expect(readConfig({ [name]: String(value) })[name]).toBe(value);
  for (const value of ['loud', 'ON', 'true', ' ']) {
    expect(complaintAbout({ [name]: value })).toContain(
      `${name} must be one of ${values.join(', ')}`,
    );
  }
  expect(values).toContain(otherwise as string);
});

test.each([
  'postgres://kassa:secret@db:5432/kassa',
  'postgresql://kassa@db/kassa?sslmode=verify-full',
  'postgres://kassa:secret@a:26257,b:26257,c:26257/kassa',
])('DATABASE_URL may be %s', (url) => {
  expect(readConfig({ DATABASE_URL: url }).DATABASE_URL).toBe(url);
});

test.each(['db', 'mysql://kassa:secret@db/kassa', 'http://db', 'postgres//db'])(
  'DATABASE_URL may not be %s, and the error does not repeat it',
  (url) => {
    const complaint = complaintAbout({ DATABASE_URL: url });
    expect(complaint).toStartWith('configuration: DATABASE_URL must look like postgres://');
    expect(complaint).not.toContain('secret');
  },
);

const wrong: [environment: Record<string, string>, said: string][] = [
  [{ DATABASE_URL: 'postgres://kassa:secret@db:99999/kassa' }, 'must have ports from 1 to 65535'],
  [{ DATABASE_URL: 'postgres://kassa:secret%@db/kassa' }, 'DATABASE_URL must have %25'],
  [{ DATABASE_URL: 'postgres://kassa:secret@db/kassa?sslmode=on' }, 'sslmode in DATABASE_URL'],
  [{ DATABASE_CERT_FILE: '/nowhere' }, 'DATABASE_CERT_FILE is set without DATABASE_KEY_FILE'],
  [{ DATABASE_PASSWORD_FILE: '/nowhere' }, 'DATABASE_PASSWORD_FILE /nowhere cannot be read'],
  [{ HOST: 'a host' }, 'HOST must be a host name'],
];
test.each(wrong)('%j is refused with one sentence, without the password', (environment, said) => {
  const DATABASE_URL = 'postgres://kassa:secret@db/kassa';
  const complaint = complaintAbout({ DATABASE_URL, ...environment }, loadConfig);
  expect(complaint).toContain(said);
  expect(complaint).not.toContain('secret');
});

test('an empty variable counts as unset', () => {
  const empty = Object.fromEntries(names.map((name) => [name, '']));
  expect(readConfig(empty)).toEqual(readConfig({}));
});

test('unrelated variables are ignored', () => {
  expect(readConfig({ KUBERNETES_PORT: 'tcp://10.0.0.1:443', lanes: '0' })).toEqual(readConfig({}));
});

test('all wrong variables are named together', () => {
  const complaint = complaintAbout(Object.fromEntries(names.map((name) => [name, ' no '])));
  for (const name of names) expect(complaint).toContain(`${name} must `);
});

test('the defaults fit each other, and every limit is in a pair', () => {
  expect(() => readConfig({})).not.toThrow();
  const bound = new Set(['DRAIN_MS', ...limitPairs.flatMap(([inner, , outer]) => [inner, outer])]);
  const limits = numbers.map(({ name }) => name).filter((name) => /_MS$|_MAX$|_MIN$/.test(name));
  const free = ['BATCH_ROWS_MAX', 'CONNECTION_LIFETIME_MS', 'DRAIN_DELAY_MS']; // not related to another
  expect([...bound].sort()).toEqual(limits.filter((name) => !free.includes(name)).sort() as never);
});

test.each(limitPairs)('%s must be %s %s, %s', (inner, how, outer, why) => {
  const value = 300;
  const least = how === 'below' ? value + 1 : value;
  const complaintAt = (limit: number) =>
    complaintAbout({ [inner]: String(value), [outer]: String(limit) });
  const sentence = (limit: number) =>
    `${inner} (${value}) must be ${how} ${outer} (${limit}), ${why}`;
  expect(complaintAt(least - 1)).toContain(sentence(least - 1));
  expect(complaintAt(least)).not.toContain(sentence(least));
});

test('DRAIN_MS is longer than a call whose last attempt begins just before its deadline', () => {
  const limits = { DEADLINE_MS: 7000, STATEMENT_TIMEOUT_MS: 3000 };
  const least = longestCallMs(limits) + 1;
  expect(least).toBe(11_001);
  const complaintAt = (DRAIN_MS: number) =>
    complaintAbout(
      Object.fromEntries(
        Object.entries({ ...limits, DRAIN_MS }).map(([name, value]) => [name, `${value}`]),
      ),
    );
  expect(complaintAt(least)).toBe('');
  expect(complaintAt(least - 1)).toBe(
    'configuration: DRAIN_MS (11000) must be above DEADLINE_MS + STATEMENT_TIMEOUT_MS + 1000 (11000), or a stop gives up calls that were accepted',
  );
});

test('all pairs that do not fit are named together, also beside wrong variables', () => {
  const complaint = complaintAbout({
    ...{ DEADLINE_MS: '100', DRAIN_MS: '1200', QUEUE_MAX: '1', LANES: '0' },
  });
  expect(complaint).toContain('LANES must be');
  for (const [inner, outer] of [
    ['TRANSACTION_TIMEOUT_MS', 'DEADLINE_MS'],
    ['AWAY_MS', 'DEADLINE_MS'],
    ['BATCH_MAX', 'QUEUE_MAX'],
  ]) {
    expect(complaint).toMatch(new RegExp(`${inner} \\(\\d+\\) must be at most ${outer} `));
  }
  expect(complaint).toContain('DRAIN_MS (1200) must be above ');
});

const collect = (least: Config['LOG_LEVEL'] = 'debug') => {
  const lines: string[] = [];
  return { lines, log: logTo((line) => lines.push(line), least, 'test') };
};

test('a log line is one JSON object with time, level, service and event', () => {
  const { lines, log } = collect();
  log('warn', 'two_lines', { text: 'a\nb', error: new Error('c\nd', { cause: new Error('e') }) });
  expect(lines.map((line) => [line.indexOf('\n') + 1, line.endsWith('\n')])).toEqual([
    [lines[0]?.length ?? 0, true],
  ]);
  const line = JSON.parse(lines[0] ?? '');
  expect(line).toMatchObject({ level: 'warn', service: 'test', event: 'two_lines', text: 'a\nb' });
  expect(line.error).toMatchObject({ message: 'c\nd', cause: { message: 'e' } });
  expect(Math.abs(Date.parse(line.time) - Date.now())).toBeLessThan(60_000);
});

test('lines below LOG_LEVEL are not logged', () => {
  const { lines, log } = collect('warn');
  for (const level of ['debug', 'info', 'warn', 'error'] as const) log(level, level, {});
  expect(lines.map((line) => JSON.parse(line).event)).toEqual(['warn', 'error']);
});

test('the log of a store that cannot be reached does not contain the password', async () => {
  const { lines, log } = collect();
  const url = `postgres://kassa:hush-hush@127.0.0.1:${await freePort()}/kassa`;
  const config = readConfig(fittingEnvironment({ DEADLINE_MS: 300, CONNECT_TIMEOUT_MS: 200 }));
  const store = openStore({ ...storeOptions(config, url, 'test'), services: ['order'], log });
  const command = { ...createUser('ann'), decide: () => ({ outcome: { status: 200, body: '' } }) };
  const refused = await store.write(command).catch((error) => error);
  log('error', 'request_failed', { error: refused });
  await store.close();
  expect(lines.join('')).toContain('store_unavailable');
  expect(lines.join('')).not.toContain('hush');
});

/** Statements that the store refuses, each with a private value. */
const refused = {
  'a constraint': `insert into users (id, credit) values ($1, -7531)`,
  'a repeated key': `insert into users (id, credit) values ($1, 7531), ($1, 7531)`,
  'a malformed value': `select $1::text::int8`,
};
test.each(Object.entries(refused))(
  'the log of %s does not contain values',
  async (_, statement) => {
    const connection = await connect();
    const error = await connection.sql.unsafe(statement, ['private-id']).catch((cause) => cause);
    await connection.close();
    const { lines, log } = collect();
    log('error', 'batch_refused', { error: new Failure('internal', 'refused', { cause: error }) });
    expect(lines.join('')).toContain(error.code);
    expect(lines.join('')).not.toContain('private-id');
    expect(lines.join('')).not.toContain('7531');
  },
);

/** The messages of other servers, which have the value elsewhere. */
const words = [
  ['22P02', 'could not parse "private-id" as type int: strconv.ParseInt: parsing "private-id": no'],
  ['23505', `duplicate key value (id)=('private-id') violates unique constraint "users_pkey"`],
] as const;
test.each(words)('the log of %s as CockroachDB words it does not contain values', (code, said) => {
  const { lines, log } = collect();
  log('error', 'batch_refused', { error: Object.assign(new Error(said), { code }) });
  expect(lines.join('')).toContain(code);
  expect(lines.join('')).toContain(said.slice(0, 15));
  expect(lines.join('')).not.toContain('private-id');
});
