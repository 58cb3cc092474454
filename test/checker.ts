/**
 * Strict serializability of recorded histories: is there one serial order of all calls that explains
 * every answer by the sequential model and keeps real time? Each component of keys (users, items and
 * orders that calls connect) is decided apart, since what is true of each is true of the whole
 * (P-compositionality: Horn and Kroening, "Faster linearizability checking", 2015).
 */
import { diagnose, type Violation, type Wrong } from './checker-diagnosis.ts';
import { projections } from './checker-keys.ts';
import { withoutItem } from './checker-relax.ts';
import { search } from './checker-search.ts';
import { keysOf, type Step, stepOf, tellsSomething } from './checker-step.ts';
import type { Operation } from './history.ts';
import type { World } from './model.ts';

export type { Violation } from './checker-diagnosis.ts';
export { pathOf, record } from './checker-record.ts';

/**
 * How a component was decided.
 * `exact`: a serial order of it was found, or it was shown that there is none.
 * `necessary`: too large for that. Each key alone has a serial order, within windows narrowed by all
 * other keys; and what is left without the items in `without` was searched too, part by part. A
 * violation that only shows when those items are ordered together with the rest may be missed.
 */
export interface Component {
  keys: number;
  operations: number;
  method: 'exact' | 'necessary';
  without: string[];
  /** Keys that were not even decided alone. */
  undecided: string[];
}

export interface Result {
  violations: Violation[];
  components: Component[];
  /** Operations that were checked. */
  operations: number;
  /** Operations that say nothing: refused unseen, or reads without an answer. */
  mute: number;
}

export interface Limits {
  /** Steps that may be tried for each component: a hundred thousand take one to three seconds. */
  budget: number;
  /** Steps that may be tried to find the name of a violation. */
  repairs: number;
}

/** @param initial the world before the first call; it is left as it is */
export function check(
  history: readonly Operation[],
  initial: World,
  limits: Partial<Limits> = {},
): Result {
  const { budget, repairs } = { budget: 100_000, repairs: 200_000, ...limits };
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
    without: [],
    undecided: [],
  };
  const { serial, wrong, undecided } = decideOnce(operations, initial, budget);
  if (serial !== 'undecided') return { component, wrong };
  const parts = decideParts(operations, initial, budget);
  const { without } = parts;
  return {
    component: { ...component, method: 'necessary' as const, without, undecided },
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
 * What connects everything is an item that all buy. Without the hottest items, whose stock is then
 * taken to be endless and unseen, the rest falls into parts that can be decided.
 */
function decideParts(operations: readonly Operation[], initial: World, budget: number) {
  const without: string[] = [];
  let [left, world] = [operations, initial];
  for (let open = true; open && without.length < ITEMS_LEFT_OUT; ) {
    const item = hottestItem(left, without);
    if (item === undefined) break;
    without.push(item);
    ({ operations: left, initial: world } = withoutItem(left, world, item));
    open = false;
    for (const part of components(left, world, new Set(without))) {
      const { serial, wrong } = decideOnce(part, world, budget / ITEMS_LEFT_OUT);
      if (wrong) return { without, wrong };
      open ||= serial === 'undecided';
    }
  }
  return { without, wrong: undefined };
}

const ITEMS_LEFT_OUT = 4;

function hottestItem(operations: readonly Operation[], without: readonly string[]) {
  const counts = new Map<string, number>();
  for (const { call } of operations) {
    if (!('item' in call) || without.includes(call.item)) continue;
    counts.set(call.item, (counts.get(call.item) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

/** Operations by the keys that connect them: union and find. */
function components(
  operations: readonly Operation[],
  initial: World,
  without: ReadonlySet<string> = new Set(),
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
    keysOf(operation).filter((key) => !without.has(key.replace('item ', '')));
  for (const operation of operations) join(kept(operation));
  for (const [id, order] of initial.orders) {
    const items = [...order.lines.keys()].filter((item) => !without.has(item));
    join([`order ${id}`, `user ${order.user}`, ...items.map((item) => `item ${item}`)]);
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
