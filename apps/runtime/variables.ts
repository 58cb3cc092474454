/** The variables of the environment that configure Kassa: bounds, defaults and purposes. */
import { z } from 'zod';
import manifest from '../../package.json' with { type: 'json' };
import { networks } from './networks.ts';
import { origins } from './origins.ts';
import { storeUrl } from './store-url.ts';

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const TARGETS = 'must be hosts and ports with commas, such as order:9000,payment:9000';
const SAMPLERS = [
  ...(['always_on', 'always_off', 'traceidratio'] as const),
  ...(['parentbased_always_on', 'parentbased_always_off', 'parentbased_traceidratio'] as const),
] as const;
const ALGORITHMS = /^(?:RS256|PS256|ES256|EdDSA)(?:,(?:RS256|PS256|ES256|EdDSA))*$/;
export const FORMATS = ['auto', 'json', 'pretty'] as const;

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

/** A path. The file itself is read for each connection. */
const file = (what: string) =>
  z
    .string()
    .regex(/^\S(?:.*\S)?$/, 'must be a path')
    .optional()
    .describe(what);

export const variables = z.object({
  DATABASE_URL: storeUrl.optional().describe('the store: CockroachDB or PostgreSQL'),
  DATABASE_PASSWORD_FILE: file('file with the password; it overrides the one in DATABASE_URL'),
  DATABASE_CA_FILE: file(
    'file of authorities (PEM), one of which issued the certificate of the store',
  ),
  DATABASE_CERT_FILE: file('file with the client certificate (PEM) for the store'),
  DATABASE_KEY_FILE: file('file with the key (PEM) of that certificate'),
  HOST: z
    .string()
    .regex(/^\S+$/, 'must be a host name or an address')
    .default('127.0.0.1')
    .describe('address to listen on; 0.0.0.0 for all'),
  PORT: integer(1, 65535, 8000).describe('TCP port to listen on'),
  METRICS_PORT: whole(1, 65535)
    .optional()
    .describe('TCP port for /metrics; PORT then does not serve it'),
  ALLOWED_HOSTS: z
    .string()
    .regex(/^(?:\*|\.?[\w-][\w.-]*(?:,\.?[\w-][\w.-]*)*)$/, 'must be host names with commas, or *')
    .default('*')
    .describe('host names that callers may use for this service; * for any'),
  CORS_ORIGINS: origins
    .optional()
    .describe('other origins whose pages may call /v1 from a browser'),
  AUTH: z
    .enum(['on', 'observe', 'off'], { error: 'must be one of on, observe, off' })
    .optional()
    .describe(
      'on: only callers with a key or a token may call; observe: everybody may, and who would be refused is counted; off if it is not set',
    ),
  AUTH_JWKS: z
    .string()
    .regex(/^(?:https?:\/\/\S+|\/\S.*)$/, 'must be an http or https URL, or the path of a file')
    .optional()
    .describe(
      'the keys of whoever issues tokens (JWKS): URL or file; without it only API keys count',
    ),
  AUTH_ISSUER: z
    .string()
    .regex(/^\S+$/, 'must be one word')
    .optional()
    .describe('the `iss` of tokens'),
  AUTH_AUDIENCE: z
    .string()
    .regex(/^\S+$/, 'must be one word')
    .optional()
    .describe('the `aud` of tokens'),
  AUTH_IN_FLIGHT: z
    .string()
    .regex(/^(?:[1-9][0-9]{0,4}|100000|off)$/, 'must be a whole number from 1 to 100000, or off')
    .transform((text) => (text === 'off' ? text : Number(text)))
    .default(2000)
    .describe(
      'calls at the same time of a caller without such a limit of its own, in each process',
    ),
  AUTH_TOKEN_PER_S: whole(1, 1_000_000)
    .optional()
    .describe("calls a second for each token's `sub`, in each process; no limit if it is not set"),
  AUTH_TOKEN_IN_FLIGHT: whole(1, 100_000)
    .optional()
    .describe(
      "calls at the same time for each token's `sub`, in each process; AUTH_IN_FLIGHT if it is not set",
    ),
  AUTH_ALGORITHMS: z
    .string()
    .regex(ALGORITHMS, 'must be some of RS256, PS256, ES256, EdDSA, with commas')
    .default('RS256,PS256,ES256,EdDSA')
    .transform((text) => text.split(','))
    .describe('algorithms by which tokens may be signed'),
  TRUSTED_PROXIES: networks
    .default('')
    .describe('networks of gateways whose X-Forwarded-For says where calls come from'),
  WEBHOOK_NETWORKS: networks
    .default('')
    .describe('networks beside the public internet to which webhooks may be sent, also by http'),
  CONSOLE_TARGETS: z
    .string()
    .regex(
      /^(?:[^\s,:]+|\[[0-9a-f:.]+\]):\d{1,5}(?:,(?:[^\s,:]+|\[[0-9a-f:.]+\]):\d{1,5})*$/i,
      TARGETS,
    )
    .or(z.literal(''))
    .default('')
    .describe('where the console finds the metrics of all processes; itself if it is not set'),
  BATCH_INIT: oneOf(['on', 'off'], 'off').describe('whether batch_init is served'),
  LANES: z
    .string()
    .regex(/^(?:[1-9]|[1-5][0-9]|6[0-4]|auto)$/, 'must be a whole number from 1 to 64, or auto')
    .transform((text) => (text === 'auto' ? text : Number(text)))
    .default(1)
    .describe('connections that carry transactions; auto: as many as increase throughput'),
  BATCH_MAX: integer(1, 10_000, 512).describe('most commands in one transaction'),
  // The minimum is what the largest order needs: itself, its user, its lines and their items.
  BATCH_ROWS_MAX: integer(2002, 1_000_000, 10_000).describe(
    'most rows that one transaction locks, and most order lines that it reads',
  ),
  PIPELINE_MIN: integer(1, 10_000, 32).describe(
    'least commands for which a batch is sent before the previous commit is answered',
  ),
  QUEUE_MAX: integer(1, 1_000_000, 10_000).describe(
    'commands that may wait; beyond it calls are answered 429',
  ),
  QUEUE_ROWS_MAX: integer(2002, 10_000_000, 100_000).describe(
    'rows that unanswered commands may name; beyond it calls are answered 429',
  ),
  // Longer than CockroachDB takes to move the leases of a dead node: up to 9 s.
  DEADLINE_MS: integer(100, 60_000, 12_000).describe('from the arrival of a call to its answer'),
  AWAY_MS: integer(0, 60_000, 2000).describe(
    'how long calls wait for a store that cannot be reached; after it they are answered 503 at once',
  ),
  STATEMENT_TIMEOUT_MS: integer(50, 50_000, 5000).describe(
    'for one statement; the store enforces it',
  ),
  LOCK_TIMEOUT_MS: integer(10, 40_000, 500).describe(
    'for a lock that another session holds; after it only calls that need the row keep waiting',
  ),
  IDLE_IN_TRANSACTION_TIMEOUT_MS: integer(100, 60_000, 3000).describe(
    'after which the store ends a transaction whose service sends nothing',
  ),
  TRANSACTION_TIMEOUT_MS: integer(100, 60_000, 6000).describe(
    'after which PostgreSQL (17 or later) ends a transaction in any case',
  ),
  RESPONSE_TIMEOUT_MS: integer(100, 60_000, 2000).describe(
    'for an answer that does not wait for a lock; after it the connection is checked or replaced',
  ),
  CONNECT_TIMEOUT_MS: integer(100, 60_000, 3000).describe('for a new connection to the store'),
  CONNECTION_LIFETIME_MS: integer(0, 86_400_000, 300_000).describe(
    'after which a connection is replaced, plus or minus 10 %; 0: never',
  ),
  READ_POOL_SIZE: integer(1, 100, 4).describe('connections for reads'),
  EVENTS_KEPT_H: integer(1, 8760, 72).describe(
    'hours for which events are kept; whoever reads them must not stay away for longer',
  ),
  DRAIN_DELAY_MS: integer(0, 600_000, 0).describe(
    'from not ready to closing the port: as long as load balancers take to react',
  ),
  DRAIN_MS: integer(1200, 600_000, 20_000).describe('for calls in flight at a stop'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
    .optional()
    .describe('collector to which traces are sent, by OTLP over HTTP; without it there are none'),
  OTEL_TRACES_SAMPLER: oneOf(SAMPLERS, 'parentbased_always_on').describe(
    'which requests are traced',
  ),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .regex(/^(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?)$/, 'must be a number from 0 to 1')
    .transform(Number)
    .default(1)
    .describe('the share of requests that a sampler with a ratio takes'),
  OTEL_SDK_DISABLED: oneOf(['true', 'false'], 'false').describe('true: no traces in any case'),
  VERSION: z
    .string()
    .regex(/^[\w.+-]{1,64}$/, 'must be a version')
    .default(manifest.version)
    .describe('the release, as shown in the metrics'),
  LOG_LEVEL: oneOf(LEVELS, 'warn').describe('the lowest level that is logged'),
  LOG_FORMAT: oneOf(FORMATS, 'auto').describe(
    'of log lines; auto: pretty on a terminal, else json',
  ),
});

export type Config = z.infer<typeof variables>;
