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
import { isExpiry, STORE_TIMING, withExpiries } from './expiries.ts';
import { decideKeys } from './keys.ts';
import { endless, isModest, keysOfOrders, relaxed } from './relax.ts';
import { search } from './search.ts';
import { keysOf, stepOf, tellsSomething } from './step.ts';

export { record, recordEach } from './record.ts';

/**
 * How some operations were decided. `exact`: a serial order was found, or it was proved that there
 * is none. `necessary`: they were too many for that. Each key alone has a serial order, within
 * windows narrowed by all other keys, and so has what was left when some keys were left out, where
 * that was decided. An anomaly across more keys may be missed.
 */
type Method = 'exact' | 'necessary';

/**
 * @param initial the world before the first call; it is not modified
 * @param budget the most steps to try for each component: 100,000 take one to three seconds
 * @param repairs the most steps to try to find the name of a violation
 * @param timing how exactly the end of a hold is known
 */
export function check(
  history: readonly Operation[],
  initial: World,
  { budget = 100_000, repairs = 200_000, timing = STORE_TIMING } = {},
) {
  const telling = withExpiries(history.filter(tellsSomething), timing);
  const mute = history.filter((operation) => !tellsSomething(operation));
  const violations: Violation[] = [];
  const parts: { operations: number; method: Method }[] = [];
  for (const operations of components(telling, initial)) {
    const { serial, wrong } = decide(operations, initial, budget);
    const exact = serial !== 'undecided';
    const found = exact ? wrong : decideParts(operations, initial, budget / 4);
    const recorded = operations.filter((operation) => !isExpiry(operation));
    parts.push({ operations: recorded.length, method: exact ? 'exact' : 'necessary' });
    if (found) violations.push(diagnose({ ...found, mute, repairs }));
  }
  return { violations, components: parts, operations: history.filter(tellsSomething).length };
}

/** First each key alone, then all of them together. */
function decide(
  operations: readonly Operation[],
  initial: World,
  budget: number,
): { serial: 'yes' | 'no' | 'undecided'; wrong?: Wrong } {
  const steps = operations.map(stepOf);
  const { projections, wrong } = decideKeys(steps, initial);
  if (wrong) {
    const { key, step } = wrong;
    return { serial: 'no', wrong: { operations, initial, key, at: step?.operation } };
  }
  const { serial, stuck } = search(steps, initial, budget, projections);
  if (serial !== 'no') return { serial };
  return { serial, wrong: { operations, initial, key: undefined, at: stuck?.operation } };
}

/**
 * Weaker, but feasible: reduced to some of its keys, a component falls into parts that can be
 * decided. First all users without the items; then each item alone with its orders; then all but
 * the items that connect most, until everything that is left is decided.
 */
function decideParts(
  operations: readonly Operation[],
  initial: World,
  budget: number,
): Wrong | undefined {
  let wrong: Wrong | undefined;
  /** @returns whether no other parts need to be looked at */
  const look = (keeps: (key: string) => boolean): boolean => {
    const rest = endless(initial, keeps);
    const parts = components(relaxed(operations, initial, keeps), rest, keeps);
    const found = parts.map((part) => decide(part, rest, budget));
    wrong = found.find((part) => part.wrong)?.wrong;
    return wrong !== undefined || found.every(({ serial }) => serial !== 'undecided');
  };
  if (!isModest(operations, initial)) return undefined;
  look((key) => key.startsWith('user'));
  const items = itemsByUse(operations);
  for (const item of items) if (!wrong) look((key) => key === item);
  for (let out = 1; out <= ITEMS_LEFT_OUT && out <= items.length && !wrong; out++) {
    if (look((key) => !items.slice(0, out).includes(key))) break;
  }
  return wrong;
}

const ITEMS_LEFT_OUT = 4;

function itemsByUse(operations: readonly Operation[]): string[] {
  const items = operations.flatMap(keysOf).filter((key) => key.startsWith('item'));
  const uses = [...Map.groupBy(items, (item) => item)];
  return uses.sort(([, a], [, b]) => b.length - a.length).map(([item]) => item);
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
  for (const [id, keys] of keysOfOrders([], initial)) {
    join([`order ${id}`, ...[...keys].filter(keeps)]);
  }
  const groups = Map.groupBy(operations, (operation) => find(kept(operation)[0] ?? ''));
  return [...groups.values()];
}
