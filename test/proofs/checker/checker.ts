/**
 * Checks recorded histories for strict serializability: is there one serial order of all calls that
 * explains every answer by the sequential model and respects real time? Each component of keys
 * (users, items and orders that calls connect) is decided separately, since a history is
 * serializable if and only if each of its components is (P-compositionality: Horn and Kroening,
 * "Faster linearizability checking", 2015). Hand-written: Porcupine and Knossos need another
 * runtime, and neither falls back to necessary conditions where a component is too large.
 */

import type { Operation } from '../../support/history.ts';
import type { World } from '../../support/model.ts';
import { diagnose, type Violation, type Wrong } from './diagnosis.ts';
import { projections } from './keys.ts';
import { isModest, keysOfOrders, relaxed } from './relax.ts';
import { search } from './search.ts';
import { keysOf, type Step, stepOf, tellsSomething } from './step.ts';

export { record } from './record.ts';

/**
 * How a component was decided.
 * `exact`: a serial order was found, or it was proved that there is none.
 * `necessary`: too large for that. Each key alone has a serial order, within windows narrowed by all
 * other keys; and the views were searched exactly as far as they say. An anomaly across more keys
 * than one view has may be missed.
 */
interface Component {
  keys: number;
  operations: number;
  method: 'exact' | 'necessary';
  /** Keys that were not decided even alone. */
  undecided: string[];
  views: View[];
}

/** A component reduced to some of its keys. The balances of the others are endless and unseen. */
interface View {
  kept: string;
  /** How many independent parts it has, and how many of them were decided exactly. */
  parts: number;
  decided: number;
}

export interface Result {
  violations: Violation[];
  components: Component[];
  /** Operations that were checked. */
  operations: number;
  /** Operations that carry no information: refused before they ran, or reads without an answer. */
  mute: number;
}

export interface CheckOptions {
  /** The most steps to try for each component: a hundred thousand take one to three seconds. */
  budget: number;
  /** The most steps to try to find the name of a violation. */
  repairs: number;
}

/** @param initial the world before the first call; it is not modified */
export function check(
  history: readonly Operation[],
  initial: World,
  options: Partial<CheckOptions> = {},
): Result {
  const { budget, repairs } = { budget: 100_000, repairs: 200_000, ...options };
  const telling = history.filter(tellsSomething);
  const mute = history.filter((operation) => !tellsSomething(operation));
  const result: Result = {
    violations: [],
    components: [],
    operations: telling.length,
    mute: mute.length,
  };
  for (const operations of components(telling, initial)) {
    const { component, wrong } = decide(operations, initial, budget);
    result.components.push(component);
    if (wrong) result.violations.push(diagnose({ ...wrong, mute, repairs }));
  }
  return result;
}

function decide(operations: readonly Operation[], initial: World, budget: number) {
  const component: Component = {
    keys: new Set(operations.flatMap(keysOf)).size,
    operations: operations.length,
    method: 'exact',
    undecided: [],
    views: [],
  };
  const { serial, wrong, undecided } = decideOnce(operations, initial, budget);
  if (serial !== 'undecided') return { component, wrong };
  const parts = decideParts(operations, initial, budget);
  return {
    component: { ...component, method: 'necessary' as const, undecided, views: parts.views },
    wrong: parts.wrong,
  };
}

/** First each key alone, then all of them together. */
function decideOnce(operations: readonly Operation[], initial: World, budget: number) {
  const steps = operations.map(stepOf);
  const keys = projections(steps, initial);
  const { undecided } = keys;
  const wrongAt = (step: Step | undefined, key?: string): Wrong => ({
    operations,
    initial,
    at: step?.operation,
    key,
  });
  if (keys.wrong) {
    return { serial: 'no', undecided, wrong: wrongAt(keys.wrong.step, keys.wrong.key) };
  }
  const { serial, stuck } = search(steps, initial, budget, keys);
  return { serial, undecided, wrong: serial === 'no' ? wrongAt(stuck) : undefined };
}

/**
 * Weaker, but feasible: reduced to some of its keys, a component falls into parts that can be
 * decided. First all users without the items; then each item alone with its orders; then all but
 * the items that connect most, until everything that is left is decided.
 */
function decideParts(operations: readonly Operation[], initial: World, budget: number) {
  const views: View[] = [];
  const orders = keysOfOrders(operations, initial);
  let wrong: Wrong | undefined;
  const look = (kept: string, keeps: (key: string) => boolean): View => {
    const view = { kept, parts: 0, decided: 0 };
    const rest = relaxed(operations, initial, keeps);
    const near = rest.operations.filter(({ call }) =>
      'order' in call ? [...(orders.get(call.order) ?? [])].some(keeps) : true,
    );
    for (const part of components(near, rest.initial, keeps)) {
      const found = decideOnce(part, rest.initial, budget / 4);
      wrong ??= found.wrong;
      view.parts++;
      if (found.serial !== 'undecided') view.decided++;
    }
    views.push(view);
    return view;
  };
  if (!isModest(operations, initial)) return { views, wrong };
  look('users', (key) => key.startsWith('user'));
  const items = itemsByUse(operations);
  for (const item of items) if (!wrong) look(item, (key) => key === item);
  const out = new Set<string>();
  for (const item of items.slice(0, ITEMS_LEFT_OUT)) {
    if (wrong) break;
    out.add(item);
    const view = look(`all but ${[...out].join(', ')}`, (key) => !out.has(key));
    if (view.decided === view.parts) break;
  }
  return { views, wrong };
}

const ITEMS_LEFT_OUT = 4;

function itemsByUse(operations: readonly Operation[]): string[] {
  const counts = new Map<string, number>();
  for (const { call } of operations) {
    if ('item' in call) counts.set(`item ${call.item}`, (counts.get(`item ${call.item}`) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([key]) => key);
}

/** Groups operations by the keys that connect them (union-find). */
function components(
  operations: readonly Operation[],
  initial: World,
  keeps: (key: string) => boolean = () => true,
): Operation[][] {
  const parents = new Map<string, string>();
  const find = (key: string): string => {
    let root = key;
    for (let up = parents.get(root); up !== undefined; up = parents.get(root)) root = up;
    if (root !== key) parents.set(key, root);
    return root;
  };
  const join = (keys: readonly string[]) => {
    for (const key of keys) {
      const [a, b] = [find(keys[0] ?? key), find(key)];
      if (a !== b) parents.set(a, b);
    }
  };
  const kept = (operation: Pick<Operation, 'call'>) =>
    keysOf(operation).filter((key) => key.startsWith('order') || keeps(key));
  for (const operation of operations) join(kept(operation));
  for (const [id, order] of initial.orders) {
    const balances = [`user ${order.user}`, ...[...order.lines.keys()].map((key) => `item ${key}`)];
    join([`order ${id}`, ...balances.filter(keeps)]);
  }
  const groups = new Map<string, Operation[]>();
  for (const operation of operations) {
    const root = find(kept(operation)[0] ?? '');
    const group = groups.get(root);
    if (group) group.push(operation);
    else groups.set(root, [operation]);
  }
  return [...groups.values()];
}
