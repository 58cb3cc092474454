/** The configuration: the only reader of the environment. Read once, checked, and passed on. */
import { z } from 'zod';
import { readCredentials } from '../../db/connection/credentials.ts';
import { Failure } from '../../db/failure.ts';
import type { StoreOptions } from '../../db/store.ts';
import manifest from '../../package.json' with { type: 'json' };
import { FORMATS, LEVELS } from './log.ts';
import { misspelt } from './misspelt.ts';

const whole = (low: number, high: number) => {
  const error = `must be a whole number from ${low} to ${high}`;
  return z
    .string()
    .regex(/^[0-9]{1,9}$/, error)
    .transform(Number)
    .pipe(z.number().min(low, error).max(high, error));
};
const integer = (low: number, high: number, otherwise: number) =>
  whole(low, high).default(otherwise);

const oneOf = <const T extends readonly [string, ...string[]]>(values: T, otherwise: T[number]) =>
  z.enum(values, { error: `must be one of ${values.join(', ')}` }).default(otherwise as never);

/** A path, not looked at here: the file is read for each connection. */
const file = (what: string) =>
  z
    .string()
    .regex(/^\S(?:.*\S)?$/, 'must be a path')
    .optional()
    .describe(what);

/** Several hosts may stand where one does: a connection goes to the first that answers. */
const STORE_URL = /^postgres(?:ql)?:\/\/(?:[^\s@/]*@)?([^\s@/?]+)(\/[^\s?]*)?(?:\?\S*)?$/;

/** Host and database of a store's address, for people: without user, password and options. */
export const describeStore = (database_url: string): string =>
  STORE_URL.exec(database_url)?.slice(1).join('') ?? 'an address that cannot be read';

/** Every variable, its bounds, its default and what it is for. README's table is this table. */
export const variables = z.object({
  DATABASE_URL: z
    .string()
    .regex(STORE_URL, 'must look like postgres://user:password@host:port/database')
    .optional()
    .describe('the store: CockroachDB or PostgreSQL'),
  DATABASE_PASSWORD_FILE: file('file with the password; stands above one in DATABASE_URL'),
  DATABASE_CA_FILE: file('file of authorities (PEM) that issue the certificate of the store'),
  DATABASE_CERT_FILE: file('file with our certificate (PEM) for the store'),
  DATABASE_KEY_FILE: file('file with the key (PEM) of that certificate'),
  HOST: z
    .string()
    .regex(/^\S+$/, 'must be a host name or an address')
    .default('127.0.0.1')
    .describe('address to listen on; 0.0.0.0 for all'),
  PORT: integer(1, 65535, 8000).describe('TCP port to listen on'),
  METRICS_PORT: whole(1, 65535)
    .optional()
    .describe('TCP port for /metrics alone, which PORT then does not have'),
  ALLOWED_HOSTS: z
    .string()
    .regex(/^(?:\*|\.?[\w-][\w.-]*(?:,\.?[\w-][\w.-]*)*)$/, 'must be host names with commas, or *')
    .default('*')
    .describe('names by which callers may ask for this service; * for any'),
  BATCH_INIT: oneOf(['on', 'off'], 'off').describe('whether batch_init is served'),
  LANES: z
    .string()
    .regex(/^(?:[1-9]|[1-5][0-9]|6[0-4]|auto)$/, 'must be a whole number from 1 to 64, or auto')
    .transform((text) => (text === 'auto' ? text : Number(text)))
    .default(1)
    .describe('connections that carry transactions; auto: as many as pay for themselves'),
  BATCH_MAX: integer(1, 10_000, 512).describe('commands in one transaction, at most'),
  // At least what one order needs that is full: itself, its user, its lines and their items.
  BATCH_ROWS_MAX: integer(2002, 1_000_000, 10_000).describe(
    'rows that one transaction locks and order lines that it reads, at most',
  ),
  PIPELINE_MIN: integer(1, 10_000, 32).describe(
    'commands that are sent behind a commit under way, at least',
  ),
  QUEUE_MAX: integer(1, 1_000_000, 10_000).describe('commands that may wait; then 429'),
  // Longer than CockroachDB takes to move the leases of a node that died: up to 9 s.
  DEADLINE_MS: integer(100, 60_000, 12_000).describe('from arrival to an answer'),
  AWAY_MS: integer(0, 60_000, 2000).describe(
    'how long calls wait for a store that cannot be reached; then 503 at once',
  ),
  STATEMENT_TIMEOUT_MS: integer(50, 50_000, 5000).describe('for one statement, kept by the store'),
  LOCK_TIMEOUT_MS: integer(10, 40_000, 500).describe(
    'for a lock that another session holds; then only calls that need the row wait for it',
  ),
  IDLE_IN_TRANSACTION_TIMEOUT_MS: integer(100, 60_000, 3000).describe(
    'after which the store ends a transaction whose service has stopped answering',
  ),
  TRANSACTION_TIMEOUT_MS: integer(100, 60_000, 6000).describe(
    'after which PostgreSQL (17 or later) ends a transaction, whatever its service does',
  ),
  RESPONSE_TIMEOUT_MS: integer(100, 60_000, 2000).describe(
    'for an answer that waits for no lock; after it a connection is taken for dead, or asked after',
  ),
  CONNECT_TIMEOUT_MS: integer(100, 60_000, 3000).describe('for a new connection to the store'),
  CONNECTION_LIFETIME_MS: integer(0, 86_400_000, 300_000).describe(
    'after which a connection is replaced, give or take a tenth; 0: never',
  ),
  READ_POOL_SIZE: integer(1, 100, 4).describe('connections for reads'),
  DRAIN_DELAY_MS: integer(0, 600_000, 0).describe(
    'from not ready to closing the port: as long as load balancers take to notice',
  ),
  DRAIN_MS: integer(1200, 600_000, 20_000).describe('for what is in flight when told to stop'),
  VERSION: z
    .string()
    .regex(/^[\w.+-]{1,64}$/, 'must be a version')
    .default(manifest.version)
    .describe('the release that runs, as metrics tell it'),
  LOG_LEVEL: oneOf(LEVELS, 'warn').describe('the least level that is logged'),
  LOG_FORMAT: oneOf(FORMATS, 'auto').describe(
    'of log lines; auto: pretty on a terminal, else json',
  ),
});

export type Config = z.infer<typeof variables>;
export type Environment = Record<string, string | undefined>;

type Limit = { [Name in keyof Config]-?: Config[Name] extends number ? Name : never }[keyof Config];

/** Which limit has to stay within which other one, and what would not hold otherwise. */
export const nested: [inner: Limit, how: 'below' | 'at most', outer: Limit, why: string][] = [
  [
    'LOCK_TIMEOUT_MS',
    'below',
    'STATEMENT_TIMEOUT_MS',
    'or waits for locks are reported as slow statements',
  ],
  ['STATEMENT_TIMEOUT_MS', 'below', 'TRANSACTION_TIMEOUT_MS', 'or slow statements end sessions'],
  [
    'IDLE_IN_TRANSACTION_TIMEOUT_MS',
    'at most',
    'TRANSACTION_TIMEOUT_MS',
    'or it never takes effect',
  ],
  [
    'TRANSACTION_TIMEOUT_MS',
    'at most',
    'DEADLINE_MS',
    'or calls that wait for a frozen service fail first',
  ],
  ['RESPONSE_TIMEOUT_MS', 'at most', 'DEADLINE_MS', 'or calls end before a dead connection shows'],
  ['CONNECT_TIMEOUT_MS', 'at most', 'DEADLINE_MS', 'or calls end before they are connected'],
  ['AWAY_MS', 'at most', 'DEADLINE_MS', 'or calls end before the store counts as away'],
  ['PIPELINE_MIN', 'at most', 'BATCH_MAX', 'or more is waited for than one batch takes'],
  ['BATCH_MAX', 'at most', 'QUEUE_MAX', 'or no batch is ever full'],
];

/** An attempt that begins just before the deadline still has its locks and its commit before it. */
export const longestCallMs = (
  config: Pick<Config, 'DEADLINE_MS' | 'STATEMENT_TIMEOUT_MS'>,
): number => config.DEADLINE_MS + config.STATEMENT_TIMEOUT_MS + 1000;

const drainMisfit = (config: Config): string[] =>
  longestCallMs(config) < config.DRAIN_MS
    ? []
    : [
        `DRAIN_MS (${config.DRAIN_MS}) must be above DEADLINE_MS + STATEMENT_TIMEOUT_MS + 1000 (${longestCallMs(config)}), or a stop gives up calls that were accepted`,
      ];

/** A sentence for each pair of limits that do not fit. */
const pairMisfits = (config: Config): string[] =>
  nested
    .filter(([inner, how, outer]) =>
      how === 'below' ? config[inner] >= config[outer] : config[inner] > config[outer],
    )
    .map(
      ([inner, how, outer, why]) =>
        `${inner} (${config[inner]}) must be ${how} ${outer} (${config[outer]}), ${why}`,
    );

/**
 * Reads the environment. Empty means unset.
 * @param defaults what is different where this is read, such as a service's own port
 * @throws Failure naming every variable that is wrong, and every pair that does not fit
 */
export function readConfig(environment: Environment, defaults: Partial<Config> = {}): Config {
  const set = Object.entries(environment).filter(([, value]) => value !== '');
  const otherwise = Object.entries(defaults).map(([name, value]) => [name, String(value)]);
  const parsed = variables.safeParse(Object.fromEntries([...otherwise, ...set]));
  const wrong = parsed.success
    ? [...pairMisfits(parsed.data), ...drainMisfit(parsed.data)]
    : parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
  if (parsed.success && wrong.length === 0) return parsed.data;
  throw new Failure('invalid_parameter', `configuration: ${wrong.join('; ')}`);
}

/** The environment of this process; what looks misspelt there is said, once, on standard error. */
export function environment(): Environment {
  const unsaid = misspelt(Object.keys(process.env), Object.keys(variables.shape)).filter(
    (line) => !said.has(line),
  );
  for (const line of unsaid) console.warn(`kassa: ${line}`);
  for (const line of unsaid) said.add(line);
  return process.env;
}
const said = new Set<string>();

/** Of `bun run cluster` alone: where the binary of CockroachDB is. The services don't know it. */
export const cockroachIn = ({ COCKROACH, PATH }: Environment) => ({ given: COCKROACH, path: PATH });

/**
 * The part of the configuration that the store needs.
 * @throws Failure naming a variable whose file cannot be read or does not hold what it should
 */
export function storeOptions(
  config: Config,
  database_url: string,
  name: string,
): Omit<StoreOptions, 'log' | 'services'> {
  const files = {
    password_file: config.DATABASE_PASSWORD_FILE,
    ca_file: config.DATABASE_CA_FILE,
    cert_file: config.DATABASE_CERT_FILE,
    key_file: config.DATABASE_KEY_FILE,
  };
  readCredentials(database_url, files); // said at the start, not at the first call
  return { database_url, files, ...limits(config, name) };
}

/** Long enough for hundreds of batches, so that intervals can be compared. */
const AUTO_LANES = { max: 8, interval_ms: 1000 };

const limits = (config: Config, name: string) => ({
  application_name: `kassa-${name}`,
  connection_lifetime_ms: config.CONNECTION_LIFETIME_MS,
  connect_timeout_ms: config.CONNECT_TIMEOUT_MS,
  statement_timeout_ms: config.STATEMENT_TIMEOUT_MS,
  lock_timeout_ms: config.LOCK_TIMEOUT_MS,
  idle_in_transaction_timeout_ms: config.IDLE_IN_TRANSACTION_TIMEOUT_MS,
  transaction_timeout_ms: config.TRANSACTION_TIMEOUT_MS,
  response_timeout_ms: config.RESPONSE_TIMEOUT_MS,
  lanes: config.LANES === 'auto' ? AUTO_LANES.max : config.LANES,
  lanes_interval_ms: config.LANES === 'auto' ? AUTO_LANES.interval_ms : 0,
  batch_max: config.BATCH_MAX,
  batch_rows_max: config.BATCH_ROWS_MAX,
  pipeline_min: config.PIPELINE_MIN,
  queue_max: config.QUEUE_MAX,
  deadline_ms: config.DEADLINE_MS,
  away_ms: config.AWAY_MS,
  read_pool_size: config.READ_POOL_SIZE,
});
