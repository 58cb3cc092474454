/** The rows for `bun run load`, by its flags: how many, and how they are created. */
import { numberFlag, usage } from '../../test/support/report.ts';
import type { LoadResult } from './result.ts';
import type { WorkloadName } from './workloads.ts';

/** The source of the rows: they exist, or are created by batch_init or by single calls. */
export interface RowOptions {
  how: 'prepared' | 'batch' | 'calls';
  from: number;
  /** An upper bound, if they are created by calls. */
  orders: number;
  users: number;
  items: number;
  lines: number;
  theta: number;
  /** The time limit for creating orders by calls. */
  prepare_s: number;
}

type Name = 'prepare' | 'prepared' | 'orders' | 'users' | 'items' | 'lines' | 'theta';
export type Given = { [K in Name]?: string | undefined };

/** The size of the load: calls in total (open loop), and at the same time. */
export interface Demand {
  /** 0 if unknown. */
  calls: number;
  at_once: number;
}

export const demandOf = (loop: LoadResult['loop'], whole_s: number): Demand =>
  loop.kind === 'open'
    ? { calls: Math.ceil(loop.rate_per_s * whole_s), at_once: loop.connections }
    : { calls: 0, at_once: loop.clients };

const ONCE: readonly WorkloadName[] = ['distinct', 'zipf', 'hot'];
const CHECKOUTS: readonly WorkloadName[] = [...ONCE, 'repeats', 'course'];
/** The least users and items to create, so that concurrent calls rarely share one. */
const OWN_USERS = 1000;
/** As long as people like to wait. */
export const PREPARE_S = 20;

export function readRows(given: Given, name: WorkloadName, demand: Demand): RowOptions {
  assertTogether(given, name);
  const range = given.prepared === undefined ? undefined : readRange(given.prepared);
  const how = range ? 'prepared' : given.prepare === 'batch' ? 'batch' : 'calls';
  const lines = whole('lines', given.lines, 1, 100) ?? 2;
  const asked = count('orders', given);
  const orders = range ? range.to - range.from : (asked ?? enough(name, how, demand.calls));
  const few = how === 'batch' ? batchOf(name, orders, lines) : ownOf(name, orders, lines, demand);
  const rows: RowOptions = {
    how,
    from: range?.from ?? 0,
    orders,
    users: count('users', given) ?? (range ? 0 : few.users),
    items: count('items', given) ?? (range ? 0 : few.items),
    lines,
    theta: given.theta === undefined ? 0.99 : numberFlag('theta', given.theta, 0, 0.9999),
    prepare_s:
      asked === undefined && demand.calls === 0 && ONCE.includes(name) ? PREPARE_S : Infinity,
  };
  refuse(rows, name, demand);
  return rows;
}

/** @returns users and items for batch_init, which is cheap */
function batchOf(name: WorkloadName, orders: number, lines: number) {
  const users = CHECKOUTS.includes(name) ? orders : 10_000;
  if (name === 'hot') return { users, items: 1 };
  if (name === 'distinct' || name === 'repeats') return { users, items: orders * lines };
  return { users, items: name === 'course' ? Math.max(2, orders) : 10_000 };
}

/** @returns users and items to create by calls: no more than needed */
function ownOf(name: WorkloadName, orders: number, lines: number, { at_once }: Demand) {
  const apart = Math.max(OWN_USERS, 2 * at_once);
  const users = CHECKOUTS.includes(name) ? Math.min(orders, apart) : OWN_USERS;
  if (name === 'hot') return { users, items: 1 };
  if (name === 'distinct') return { users, items: users * lines };
  return { users, items: Math.max(lines, OWN_USERS) };
}

function assertTogether(given: Given, name: WorkloadName): void {
  const { prepare = 'calls' } = given;
  if (prepare !== 'batch' && prepare !== 'calls') {
    usage(`--prepare must be batch or calls, not ${prepare}`);
  }
  if (given.prepare && given.prepared) usage('--prepare makes rows and --prepared says they exist');
  if (given.prepared && given.orders) {
    usage('--prepared FROM..TO says how many orders there are: leave out --orders');
  }
  if (given.theta && name !== 'zipf') usage(`--theta is for --workload zipf, not ${name}`);
  if (given.lines && !['distinct', 'zipf'].includes(name)) {
    usage(`--lines is for --workload distinct and zipf, not ${name}`);
  }
  if (given.items && name === 'hot' && !given.prepared) {
    usage('--items: the workload hot has one item');
  }
}

function enough(name: WorkloadName, how: RowOptions['how'], calls: number): number {
  const once = ONCE.includes(name);
  if (once && calls > 0) return Math.min(1_000_000, Math.ceil(calls * 1.05) + 100);
  if (name === 'repeats') return how === 'batch' ? 1000 : 100;
  if (how === 'calls') return once ? 100_000 : name === 'course' ? 10_000 : 1000;
  if (name === 'zipf') return 20_000;
  return once || name === 'course' ? 100_000 : 10_000;
}

/** Refuses impossible combinations. */
function refuse(rows: RowOptions, name: WorkloadName, { at_once }: Demand): void {
  const { how, orders, users, items, lines } = rows;
  if (items > 1_000_000) usage(`${items} items are too many: at most 1000000`);
  if (how !== 'prepared') {
    const drawn = name === 'zipf' ? lines : name.startsWith('purchase') ? 2 : 1;
    if (name !== 'scenarios' && items < drawn) {
      usage(`--items must be at least ${drawn}, the lines of an order`);
    }
    const apart = Math.min(orders, at_once) * lines;
    if (name === 'distinct' && !spread(rows, name) && items < apart) {
      usage(`--items must be at least ${apart}, so that ${apart / lines} orders share none`);
    }
    return;
  }
  const buys = name.startsWith('purchase');
  const needs_users = buys || ['reads', 'add_funds', 'create'].includes(name);
  const needs_items = buys || ['reads', 'add_item'].includes(name);
  if (needs_users && users === 0) usage(`--workload ${name} on prepared rows needs --users N`);
  if (needs_items && items === 0) usage(`--workload ${name} on prepared rows needs --items N`);
  if (buys && items === 1) usage('--items: a purchase has two different items');
  if (orders === 0 && !buys && !['add_funds', 'create', 'scenarios'].includes(name)) {
    usage('--prepared: there are no orders in that range');
  }
}

/** Whether batch_init can create the orders: two random items each. */
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

export function whole(name: string, text: string | undefined, low: number, high: number) {
  if (text === undefined) return undefined;
  const value = numberFlag(name, text, low, high);
  return Number.isInteger(value) ? value : usage(`--${name} must be a whole number, not ${text}`);
}
