/** The configuration: the only reader of the environment. It is read once and checked. */
import { type CredentialFiles, readCredentials } from '../../db/connection/credentials.ts';
import { Failure } from '../../db/failure.ts';
import type { StoreOptions } from '../../db/store.ts';
import { misfits } from './limits.ts';
import { misspelt } from './misspelt.ts';
import { type Config, variables } from './variables.ts';

export type Environment = Record<string, string | undefined>;

/**
 * Parses the environment. An empty variable counts as unset.
 * @param defaults values that differ from the usual defaults here, such as a service's own port
 * @throws Failure that names every wrong variable, and every pair of limits that do not fit
 */
export function readConfig(environment: Environment, defaults: Partial<Config> = {}): Config {
  const { config, errors } = parse(environment, defaults);
  assertNone(errors);
  return config as Config;
}

/**
 * The configuration at the start of a process: like `readConfig`, and it checks the files that the
 * environment names.
 * @param demands what else must hold here: a sentence for each thing that does not
 * @throws Failure that names everything that is wrong
 */
export function loadConfig(
  environment: Environment,
  defaults: Partial<Config> = {},
  demands: (config: Partial<Config>) => string[] = () => [],
): Config {
  const { config, errors } = parse(environment, defaults);
  const { DATABASE_URL } = config;
  const of_files = environment.DATABASE_URL ? credentialErrors(DATABASE_URL, filesOf(config)) : [];
  assertNone([...errors, ...of_files, ...demands(config)]);
  return config as Config;
}

/** The variables that are valid, and a sentence for each error. */
function parse(environment: Environment, defaults: Partial<Config>) {
  const errors: string[] = [];
  const valid: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(variables.shape)) {
    const otherwise = defaults[name as keyof Config];
    const text = environment[name] || (otherwise === undefined ? undefined : String(otherwise));
    const { data, error } = schema.safeParse(text);
    if (error) errors.push(...error.issues.map(({ message }) => `${name} ${message}`));
    else if (data !== undefined) valid[name] = data;
  }
  const config = valid as Partial<Config>;
  const is_set = (name: keyof Config) => Boolean(environment[name] || defaults[name]);
  const is_off = config.AUTH === 'off';
  return { config, errors: [...errors, ...misfits(config), ...tokenErrors(is_set, is_off)] };
}

const OF_JWKS = ['AUTH_ISSUER', 'AUTH_AUDIENCE'] as const;
const OF_TOKENS = [
  ...OF_JWKS,
  ...(['AUTH_ALGORITHMS', 'AUTH_TOKEN_PER_S', 'AUTH_TOKEN_IN_FLIGHT'] as const),
];

/**
 * Without issuer and audience any token of that issuer would count, whoever it was meant for. And
 * whoever sets up tokens believes that they count; `AUTH=off` says that they do not.
 */
function tokenErrors(is_set: (name: keyof Config) => boolean, is_off: boolean): string[] {
  const has_keys = is_set('AUTH_JWKS');
  const lacking = OF_JWKS.filter((name) => has_keys && !is_set(name));
  const idle = OF_TOKENS.filter((name) => !has_keys && !is_off && is_set(name));
  return [
    ...lacking.map((name) => `AUTH_JWKS needs ${name}`),
    ...idle.map((name) => `${name} needs AUTH_JWKS`),
    ...(has_keys && !is_set('AUTH') ? ['AUTH_JWKS needs AUTH: on, observe or off'] : []),
  ];
}

function assertNone(errors: readonly string[]): void {
  if (errors.length === 0) return;
  throw new Failure('invalid_parameter', `configuration: ${errors.join('; ')}`);
}

/** An address without options, to check the files by themselves. */
const PLAIN_URL = 'postgres://user@host/database';

/** What is wrong with the options of the address, and with the files. */
function credentialErrors(database_url: string | undefined, files: CredentialFiles): string[] {
  const names_files = /[?&]ssl(?:rootcert|cert|key)=/.test(database_url ?? '');
  const addresses = names_files ? [database_url] : [database_url, PLAIN_URL];
  const errors = new Set<string>();
  for (const address of addresses) {
    if (address === undefined) continue;
    try {
      readCredentials(address, files);
      break;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      errors.add(error.detail.replace('configuration: ', ''));
    }
  }
  return [...errors];
}

/** The environment of this process. Warns about variables that look misspelt, once. */
export function environment(): Environment {
  for (const line of misspelt(Object.keys(process.env), Object.keys(variables.shape))) {
    if (!warned.has(line)) console.warn(`kassa: ${line}`);
    warned.add(line);
  }
  return process.env;
}
const warned = new Set<string>();

/** Where `bun run cluster` looks for the binary of CockroachDB. The services do not use it. */
export const cockroachIn = ({ COCKROACH, PATH }: Environment) => ({ given: COCKROACH, path: PATH });

/**
 * The part of the configuration that the store needs.
 * @throws Failure that names a variable whose file cannot be read or has the wrong content
 */
export function storeOptions(
  config: Config,
  database_url: string,
  name: string,
): Omit<StoreOptions, 'log' | 'services'> {
  const files = filesOf(config);
  assertNone(credentialErrors(database_url, files));
  return { database_url, files, ...limits(config, name) };
}

const filesOf = (config: Partial<Config>): CredentialFiles => ({
  password_file: config.DATABASE_PASSWORD_FILE,
  ca_file: config.DATABASE_CA_FILE,
  cert_file: config.DATABASE_CERT_FILE,
  key_file: config.DATABASE_KEY_FILE,
});

/** An interval holds hundreds of batches, so that intervals can be compared. */
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
  queue_rows_max: config.QUEUE_ROWS_MAX,
  deadline_ms: config.DEADLINE_MS,
  log_kept_h: config.EVENTS_KEPT_H,
  away_ms: config.AWAY_MS,
  read_pool_size: config.READ_POOL_SIZE,
});
