/** The command line of `bun run load`: what it says, and what it may not. */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { flags, numberFlag, usage } from '../../test/report.ts';
import type { Target } from './connection.ts';
import { HELP } from './help.ts';
import type { LoadResult } from './result.ts';
import { WORKLOADS, type WorkloadName } from './workloads.ts';

export interface Options {
  /** Without a slash at its end; it may have a path, which goes before every call's. */
  address: string;
  target: Target;
  /** The `host` header, and the path before every call's. */
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
  rows: RowOptions;
}

/** Where the rows come from: they exist, are made by batch_init, or by single calls. */
export interface RowOptions {
  how: 'prepared' | 'batch' | 'calls';
  from: number;
  orders: number;
  users: number;
  items: number;
  lines: number;
  theta: number;
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
  const loop = readLoop(given);
  const seconds = numberFlag('seconds', given.seconds, 0.1, 86_400);
  const warmup_s = numberFlag('warmup', given.warmup, 0, 3600);
  const calls = loop.kind === 'open' ? Math.ceil(loop.rate_per_s * (seconds + warmup_s)) : 0;
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
    rows: readRows(given, workload, isLoopback(address.hostname), calls),
  };
}

/** Takes out of the command line its first argument if that is no flag, or one like an address. */
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

const isLoopback = (hostname: string): boolean =>
  /^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(hostname);

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

/** @param calls how many an open loop will make; 0 if that isn't known */
function readRows(given: Given, name: WorkloadName, local: boolean, calls: number): RowOptions {
  const prepare = given.prepare ?? (local ? 'batch' : 'calls');
  if (prepare !== 'batch' && prepare !== 'calls') {
    usage(`--prepare must be batch or calls, not ${prepare}`);
  }
  if (given.prepare && given.prepared) usage('--prepare makes rows and --prepared says they exist');
  if (given.theta && name !== 'zipf') usage(`--theta is for --workload zipf, not ${name}`);
  if (given.lines && !['distinct', 'zipf'].includes(name)) {
    usage(`--lines is for --workload distinct and zipf, not ${name}`);
  }
  if (given.items && name === 'hot' && !given.prepared)
    usage('--items: the workload hot has one item');
  const range = given.prepared === undefined ? undefined : readRange(given.prepared);
  const how = range ? 'prepared' : prepare === 'batch' ? 'batch' : 'calls';
  const lines = whole('lines', given.lines, 1, 100) ?? 2;
  const orders = range
    ? range.to - range.from
    : (count('orders', given) ?? enough(name, how, calls));
  const checks_out = ['distinct', 'zipf', 'hot', 'repeats', 'course'].includes(name);
  const few = how === 'batch' ? 10_000 : 1000;
  const users = count('users', given) ?? (how === 'prepared' ? 0 : checks_out ? orders : few);
  const items =
    count('items', given) ?? (how === 'prepared' ? 0 : mostItems(name, orders, lines, few));
  const theta = given.theta === undefined ? 0.99 : numberFlag('theta', given.theta, 0, 0.9999);
  const rows = { how, from: range?.from ?? 0, orders, users, items, lines, theta } as const;
  refuse(rows, name, given.prepared !== undefined && given.orders !== undefined);
  return rows;
}

function mostItems(name: WorkloadName, orders: number, lines: number, few: number): number {
  if (name === 'hot') return 1;
  if (name === 'distinct' || name === 'repeats') return orders * lines;
  return name === 'course' ? Math.max(2, orders) : few;
}

function enough(name: WorkloadName, how: RowOptions['how'], calls: number): number {
  const once = name === 'distinct' || name === 'zipf' || name === 'hot';
  if (once && calls > 0) return Math.min(1_000_000, Math.ceil(calls * 1.05) + 100);
  if (name === 'repeats') return how === 'batch' ? 1000 : 100;
  if (how === 'calls') return once ? 5000 : name === 'course' ? 10_000 : 1000;
  if (name === 'zipf') return 20_000;
  return once || name === 'course' ? 100_000 : 10_000;
}

/** Says what can't be done with these rows. */
function refuse(rows: RowOptions, name: WorkloadName, both: boolean): void {
  const { how, orders, users, items, lines } = rows;
  if (both) usage('--prepared FROM..TO says how many orders there are: leave out --orders');
  const drawn = name === 'zipf' ? lines : 1;
  if (how !== 'prepared' && name !== 'scenarios' && items < drawn) {
    usage(`--items must be at least ${drawn}, the lines of an order`);
  }
  if (how !== 'prepared' && name === 'distinct' && !spread(rows, name) && items < orders * lines) {
    usage(`--items must be at least ${orders * lines}, so that ${orders} orders share none`);
  }
  if (items > 1_000_000) usage(`${items} items are too many: at most 1000000`);
  if (how !== 'prepared') return;
  const needs_users = ['reads', 'add_funds', 'create'].includes(name);
  const needs_items = ['reads', 'add_item'].includes(name);
  if (needs_users && users === 0) usage(`--workload ${name} on prepared rows needs --users N`);
  if (needs_items && items === 0) usage(`--workload ${name} on prepared rows needs --items N`);
  if (orders === 0 && !['add_funds', 'create', 'scenarios'].includes(name)) {
    usage('--prepared: there are no orders in that range');
  }
}

/** Whether batch_init can make the orders: two random items each, no choice of which. */
export const spread = (rows: RowOptions, name: WorkloadName): boolean =>
  rows.how === 'batch' && name !== 'zipf' && (name !== 'distinct' || rows.lines === 2);

function readRange(text: string): { from: number; to: number } {
  const [, from, to] = text.match(/^([0-9]{1,9})\.\.([0-9]{1,9})$/) ?? [];
  if (from === undefined || to === undefined || Number(from) > Number(to)) {
    return usage(`--prepared must be a range of orders such as 0..100000, not ${text}`);
  }
  return { from: Number(from), to: Number(to) };
}

const count = (name: 'orders' | 'users' | 'items', given: Given): number | undefined =>
  whole(name, given[name], 1, 1_000_000);

function whole(name: string, text: string | undefined, low: number, high: number) {
  if (text === undefined) return undefined;
  const value = numberFlag(name, text, low, high);
  return Number.isInteger(value) ? value : usage(`--${name} must be a whole number, not ${text}`);
}
