/** Reads the command line of `bun run load`. */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { readKey } from '../../test/support/key.ts';
import { flags, numberFlag, usage } from '../../test/support/report.ts';
import type { Target } from './connection.ts';
import { HELP } from './help.ts';
import { sayIgnored } from './ignored.ts';
import type { LoadResult } from './result.ts';
import { demandOf, type RowOptions, readRows, whole } from './rows.ts';
import { WORKLOADS, type WorkloadName } from './workloads.ts';

export interface Options {
  /** Without a trailing slash. It may have a path, the prefix of every call's. */
  address: string;
  target: Target;
  /** The `host` header, and the prefix of every path. */
  host: string;
  prefix: string;
  workload: WorkloadName;
  loop: LoadResult['loop'];
  seconds: number;
  warmup_s: number;
  timeout_s: number;
  seed: number;
  json: boolean;
  html: string | undefined;
  self_test: boolean;
  /** Shown with every call. */
  key: string | undefined;
  rows: RowOptions;
}

const FLAGS = {
  workload: { type: 'string', default: 'distinct' },
  clients: { type: 'string' },
  rate: { type: 'string' },
  arrivals: { type: 'string' },
  connections: { type: 'string' },
  seconds: { type: 'string', default: '10' },
  warmup: { type: 'string', default: '2' },
  timeout: { type: 'string', default: '15' },
  seed: { type: 'string' },
  prepare: { type: 'string' },
  prepared: { type: 'string' },
  orders: { type: 'string' },
  users: { type: 'string' },
  items: { type: 'string' },
  lines: { type: 'string' },
  theta: { type: 'string' },
  key: { type: 'string' },
  insecure: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  html: { type: 'string' },
  'self-test': { type: 'boolean', default: false },
} as const;

type Given = ReturnType<typeof flags<typeof FLAGS>>;

export function readOptions(): Options {
  const address = readAddress(takeAddress());
  const given = flags(HELP, FLAGS);
  const workload = WORKLOADS.find((name) => name === given.workload);
  if (!workload) usage(`--workload must be one of ${WORKLOADS.join(', ')}, not ${given.workload}`);
  sayIgnored(given, workload, address.protocol);
  const loop = readLoop(given);
  const seconds = numberFlag('seconds', given.seconds, 0.1, 86_400);
  const warmup_s = numberFlag('warmup', given.warmup, 0, 3600);
  const html = given.html === undefined ? undefined : resolve(given.html);
  if (html !== undefined && !existsSync(dirname(html))) {
    usage(`--html: there is no folder ${dirname(html)}`);
  }
  return {
    address: address.origin + address.pathname.replace(/\/+$/, ''),
    target: {
      hostname: address.hostname.replace(/^\[|\]$/g, ''),
      port: Number(address.port) || (address.protocol === 'https:' ? 443 : 80),
      tls: address.protocol === 'https:',
      insecure: given.insecure,
    },
    host: address.host,
    prefix: address.pathname.replace(/\/+$/, ''),
    workload,
    loop,
    seconds,
    warmup_s,
    timeout_s: numberFlag('timeout', given.timeout, 0.1, 600),
    seed: whole('seed', given.seed, 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32),
    json: given.json,
    html,
    self_test: given['self-test'],
    key: readKey(given.key),
    rows: readRows(given, workload, demandOf(loop, seconds + warmup_s)),
  };
}

/** Removes the address from the command line: the first argument, if it is not a flag, or a URL. */
function takeAddress(): string {
  const at = process.argv.findIndex(
    (arg, i) => i >= 2 && (i === 2 ? !arg.startsWith('-') : /^https?:\/\//.test(arg)),
  );
  return at < 0 ? 'http://127.0.0.1:8000' : (process.argv.splice(at, 1)[0] ?? '');
}

function readAddress(text: string): URL {
  const address = URL.parse(text);
  const known = address && /^https?:$/.test(address.protocol) && !address.search && !address.hash;
  if (!known)
    return usage(`The address must be http://host:port or https://host:port, not ${text}`);
  if (address.username || address.password) return usage('The address may not hold a user name');
  return address;
}

function readLoop(given: Given): Options['loop'] {
  if (given.rate === undefined) {
    if (given.arrivals ?? given.connections) {
      usage('--arrivals and --connections are for the open loop: give --rate too');
    }
    return { kind: 'closed', clients: whole('clients', given.clients, 1, 10_000) ?? 64 };
  }
  if (given.clients)
    usage('--clients makes a closed loop and --rate an open one: give one of them');
  const arrivals = given.arrivals ?? 'fixed';
  if (arrivals !== 'fixed' && arrivals !== 'poisson') {
    return usage(`--arrivals must be fixed or poisson, not ${arrivals}`);
  }
  return {
    kind: 'open',
    rate_per_s: numberFlag('rate', given.rate, 0.1, 1_000_000),
    arrivals,
    connections: whole('connections', given.connections, 1, 10_000) ?? 1024,
  };
}
