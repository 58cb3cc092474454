/** The configuration: each variable is within its bounds, or the error names it. */
import { expect, test } from 'bun:test';
import { z } from 'zod';
import { loadConfig, readConfig, storeOptions } from '../../apps/runtime/config.ts';
import { limitPairs, longestCallMs } from '../../apps/runtime/limits.ts';
import { type Config, variables } from '../../apps/runtime/variables.ts';
import { Failure } from '../../db/failure.ts';
import { fittingEnvironment } from '../support/fitting.ts';

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
    names
      .filter((name) => !/^(?:DATABASE_|METRICS_PORT$|CORS_ORIGINS$|OTEL_EXPORTER_)/.test(name))
      .filter((name) => !/^AUTH(?:_JWKS|_ISSUER|_AUDIENCE|_TOKEN_\w+)?$/.test(name))
      .sort(),
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

test('AUTH_IN_FLIGHT is a number from 1 to 100000, or off', () => {
  const read = (AUTH_IN_FLIGHT?: string) =>
    readConfig({ ...(AUTH_IN_FLIGHT && { AUTH_IN_FLIGHT }) }).AUTH_IN_FLIGHT;
  expect([read(), read('1'), read('100000'), read('off')]).toEqual([2000, 1, 100_000, 'off']);
  for (const AUTH_IN_FLIGHT of ['0', '100001', '-1', 'none']) {
    const said = 'configuration: AUTH_IN_FLIGHT must be a whole number from 1 to 100000, or off';
    expect(complaintAbout({ AUTH_IN_FLIGHT })).toBe(said);
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
  expect(choices.length).toBe(6);
});

test.each(numbers)('$name accepts $low to $high only', ({ name, low, high, otherwise }) => {
  expect(Number.isSafeInteger(low) && Number.isSafeInteger(high)).toBe(true);
  for (const value of [low, high, otherwise]) {
    expect(readConfig(fittingEnvironment({ [name]: value }))[name]).toBe(value);
  }
  const words = ['1e99', 'abc', 'true', 'NaN', 'Infinity'];
  for (const value of [low - 1, high + 1, low + 0.5, ...words]) {
    expect(complaintAbout({ [name]: `${value}` })).toStartWith(`configuration: ${name} must be`);
  }
  for (const blank of [' ', '\t']) {
    const complaint = complaintAbout({ [name]: blank });
    if (complaint === '') expect(readConfig({ [name]: blank })).toEqual(readConfig({}));
    else expect(complaint).toContain(name);
  }
});

test.each(choices)('$name is one of its words', ({ name, values, otherwise }) => {
  for (const value of values) expect(readConfig({ [name]: String(value) })[name]).toBe(value);
  const said = `${name} must be one of ${values.join(', ')}`;
  for (const value of ['loud', 'ON', 'TRUE', ' ']) {
    expect(complaintAbout({ [name]: value })).toContain(said);
  }
  expect([...values, undefined]).toContain(otherwise as string);
});

test('the keys of an issuer need its name and an audience, or any token of it would count', () => {
  const [AUTH_JWKS, AUTH_ISSUER, AUTH_AUDIENCE] = ['/keys.json', 'https://id.example', 'kassa'];
  const AUTH = 'on';
  const complaint = complaintAbout({ AUTH, AUTH_JWKS, PORT: '0' });
  expect(complaint).toContain('PORT must be');
  expect(complaint).toEndWith('AUTH_JWKS needs AUTH_ISSUER; AUTH_JWKS needs AUTH_AUDIENCE');
  const without_audience = { AUTH, AUTH_JWKS, AUTH_ISSUER, AUTH_AUDIENCE: '' };
  expect(complaintAbout(without_audience)).toBe('configuration: AUTH_JWKS needs AUTH_AUDIENCE');
  const wrong = { AUTH, AUTH_JWKS, AUTH_ISSUER: 'two words', AUTH_AUDIENCE };
  expect(complaintAbout(wrong)).toBe('configuration: AUTH_ISSUER must be one word');
  const complete = { AUTH_JWKS, AUTH_ISSUER, AUTH_AUDIENCE };
  for (const AUTH of ['on', 'observe', 'off']) {
    expect(readConfig({ AUTH, ...complete })).toMatchObject({ AUTH_JWKS });
  }
  const unset = 'configuration: AUTH_JWKS needs AUTH: on, observe or off';
  expect(complaintAbout(complete)).toBe(unset);
});

test.each(['ISSUER', 'AUDIENCE', 'ALGORITHMS', 'TOKEN_PER_S', 'TOKEN_IN_FLIGHT'])(
  'AUTH_%s means nothing without the keys of an issuer, and is refused, unless AUTH is off',
  (name) => {
    const set = { [`AUTH_${name}`]: name === 'ALGORITHMS' ? 'ES256' : '7' };
    for (const AUTH of ['on', 'observe', '']) {
      const complaint = complaintAbout({ AUTH, ...set });
      expect(complaint).toBe(`configuration: AUTH_${name} needs AUTH_JWKS`);
    }
    expect(complaintAbout({ AUTH: 'off', ...set })).toBe('');
  },
);

test('tokens are never signed by a shared secret, or not at all', () => {
  for (const AUTH_ALGORITHMS of ['none', 'HS256', 'RS256,HS256', 'RS256,none', 'RS256,', 'rs256']) {
    expect(complaintAbout({ AUTH_ALGORITHMS })).toStartWith('configuration: AUTH_ALGORITHMS must');
  }
  const config = readConfig({ AUTH: 'off', AUTH_ALGORITHMS: 'ES256' });
  expect(config.AUTH_ALGORITHMS).toEqual(['ES256']);
});

test.each([
  'postgres://kassa:secret@db:5432/kassa',
  'postgresql://kassa@db/kassa?sslmode=verify-full',
  'postgres://kassa:secret@a:26257,b:26257,c:26257/kassa',
])('DATABASE_URL may be %s', (url) => {
  expect(readConfig({ DATABASE_URL: url }).DATABASE_URL).toBe(url);
});

test('CORS_ORIGINS is a list of origins as browsers send them', () => {
  for (const CORS_ORIGINS of [
    'https://shop.example',
    'http://localhost:3000,https://shop.example:8443,http://[::1]:5173,https://xn--bcher-kva.example',
  ]) {
    expect(readConfig({ CORS_ORIGINS }).CORS_ORIGINS).toEqual(CORS_ORIGINS.split(','));
  }
});

const SHOP = 'must name https://shop.example, as browsers send it, not';
test.each([
  ['*', 'must name each origin: with * any page could make purchases for its visitors'],
  ['https://shop.example,*', 'must name each origin: with *'],
  ['null', 'must name each origin: null is the origin of every sandboxed page and local file'],
  ['https://*.example', 'must be origins separated by commas, such as https://shop.example'],
  ['shop.example', 'must be origins separated by commas'],
  ['ftp://shop.example', 'must be origins separated by commas'],
  ['file:///shop', 'must be origins separated by commas'],
  ['https://shop.example,', 'must be origins separated by commas'],
  ['https://shop.example, https://a.example', 'must be origins separated by commas'],
  ['https://shop.example/', `${SHOP} https://shop.example/`],
  ['https://shop.example/page?a', `${SHOP} https://shop.example/page?a`],
  ['https://user:secret@shop.example', 'must be origins separated by commas'],
  ['https://Shop.example', `${SHOP} https://Shop.example`],
  ['HTTPS://shop.example', `${SHOP} HTTPS://shop.example`],
  ['https://shop.example:443', `${SHOP} https://shop.example:443`],
  ['https://shop.example:99999', 'must be origins separated by commas'],
])('CORS_ORIGINS=%s is refused', (CORS_ORIGINS, said) => {
  const complaint = complaintAbout({ CORS_ORIGINS });
  expect(complaint).toStartWith(`configuration: CORS_ORIGINS ${said}`);
  expect(complaint).not.toContain('secret');
});

const wrong: [environment: Record<string, string>, said: string][] = [
  ...['db', 'mysql://kassa:secret@db/kassa', 'http://db', 'postgres//db'].map(
    (url): [Record<string, string>, string] => [
      { DATABASE_URL: url },
      'configuration: DATABASE_URL must look like postgres://',
    ],
  ),
  [{ DATABASE_URL: 'postgres://kassa:secret@db:99999/kassa' }, 'must have ports from 1 to 65535'],
  [{ DATABASE_URL: 'postgres://kassa:secret%@db/kassa' }, 'DATABASE_URL must have %25'],
  [{ DATABASE_URL: 'postgres://kassa:secret@db/kassa?sslmode=on' }, 'sslmode in DATABASE_URL'],
  [{ DATABASE_CERT_FILE: '/nowhere' }, 'DATABASE_CERT_FILE is set without DATABASE_KEY_FILE'],
  [{ DATABASE_PASSWORD_FILE: '/nowhere' }, 'DATABASE_PASSWORD_FILE /nowhere cannot be read'],
  [{ HOST: 'a host' }, 'HOST must be a host name'],
  ...Object.entries({
    '10.0.0.1': ': 10.0.0.1 is an address; write 10.0.0.1/32',
    '10.0.0.0/8,fd00::1': ': fd00::1 is an address; write fd00::1/128',
    '10.0.0.0/33': ': 10.0.0.0/33 is none',
    '10.0.0.0/8/8': ': 10.0.0.0/8/8 is none',
    '10.0.0.0/': ': 10.0.0.0/ is none',
    '10/8': ': 10/8 is none',
    'fe80::%eth0/64': ': fe80::%eth0/64 is none',
    private: ': private is none',
    '10.0.0.0/8,': '',
    '10.0.0.5/8': ': 10.0.0.5/8 begins at 10.0.0.0; write 10.0.0.0/8',
    'fd00::1/8': ': fd00::1/8 begins at fd00::; write fd00::/8',
    '0.0.0.0/0': ': 0.0.0.0/0 is every address',
    '::/0': ': ::/0 is every address',
    '::ffff:10.0.0.0/104': ': ::ffff:10.0.0.0/104 is IPv4; write it so',
    '012.0.0.0/8': ': 012.0.0.0/8 is none',
  }).flatMap(([text, why]) =>
    ['WEBHOOK_NETWORKS', 'TRUSTED_PROXIES'].map((name): [Record<string, string>, string] => [
      { [name]: text },
      `${name} must be networks with commas, such as 10.1.0.0/16,fd00::/8${why}`,
    ]),
  ),
  ...['collector:4318', 'grpc://collector:4317', '/v1/traces'].map(
    (text): [Record<string, string>, string] => [
      { OTEL_EXPORTER_OTLP_ENDPOINT: text },
      'OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL',
    ],
  ),
];
test.each(wrong)('%j is refused with one sentence, without the password', (environment, said) => {
  const DATABASE_URL = 'postgres://kassa:secret@db/kassa';
  const complaint = complaintAbout({ DATABASE_URL, ...environment }, loadConfig);
  expect(complaint).toContain(said);
  expect(complaint).not.toContain('secret');
});

test('networks may have blanks around their commas', () => {
  const read = (TRUSTED_PROXIES: string) => readConfig({ TRUSTED_PROXIES }).TRUSTED_PROXIES;
  expect(read('10.0.0.0/8 , ::1/128,10.0.0.1/32')).toBe('10.0.0.0/8,::1/128,10.0.0.1/32');
});

test('an empty variable counts as unset, and unrelated variables are ignored', () => {
  const empty = Object.fromEntries(names.map((name) => [name, '']));
  const unrelated = { KUBERNETES_PORT: 'tcp://10.0.0.1:443', lanes: '0' };
  expect(readConfig({ ...empty, ...unrelated })).toEqual(readConfig({}));
});

test('all wrong variables are named together', () => {
  const complaint = complaintAbout(Object.fromEntries(names.map((name) => [name, ' no '])));
  for (const name of names) expect(complaint).toContain(`${name} must `);
});

test('the defaults fit each other, and every limit is in a pair', () => {
  expect(() => readConfig({})).not.toThrow();
  const bound = new Set(['DRAIN_MS', ...limitPairs.flatMap(([inner, , outer]) => [inner, outer])]);
  const limits = numbers.map(({ name }) => name).filter((name) => /_MS$|_MAX$|_MIN$/.test(name));
  const free = ['CONNECTION_LIFETIME_MS', 'DRAIN_DELAY_MS']; // not related to another
  expect([...bound].sort()).toEqual(limits.filter((name) => !free.includes(name)).sort() as never);
});

test.each(limitPairs)('%s must be %s %s, %s', (inner, how, outer, why) => {
  const value = 3000; // within the bounds of all
  const least = how === 'below' ? value + 1 : value;
  const complaintAt = (limit: number) =>
    complaintAbout({ [inner]: String(value), [outer]: String(limit) });
  const sentence = (limit: number) =>
    `${inner} (${value}) must be ${how} ${outer} (${limit}), ${why}`;
  expect(complaintAt(least - 1)).toContain(sentence(least - 1));
  expect(complaintAt(least)).not.toContain(sentence(least));
});

test('DRAIN_MS is longer than a call whose last attempt begins just before its deadline', () => {
  expect(longestCallMs({ DEADLINE_MS: 7000, STATEMENT_TIMEOUT_MS: 3000 })).toBe(11_000);
  const limits = { DEADLINE_MS: '7000', STATEMENT_TIMEOUT_MS: '3000' };
  expect(complaintAbout({ ...limits, DRAIN_MS: '11001' })).toBe('');
  expect(complaintAbout({ ...limits, DRAIN_MS: '11000' })).toBe(
    'configuration: DRAIN_MS (11000) must be above DEADLINE_MS + STATEMENT_TIMEOUT_MS + 1000 (11000), or a stop gives up calls that were accepted',
  );
});

test('all pairs that do not fit are named together, also beside wrong variables', () => {
  const unfit = { DEADLINE_MS: '100', DRAIN_MS: '1200', QUEUE_MAX: '1', LANES: '0' };
  const complaint = complaintAbout(unfit);
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
