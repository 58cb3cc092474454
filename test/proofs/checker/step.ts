/** One operation of a history, as the checker tries it on the model: apply, compare, undo. */
import { answerIn } from '../../support/calls.ts';
import type { Bulk, Operation, Seen } from '../../support/history.ts';
import { type Call, type Order, totalOf, type World } from '../../support/model.ts';

/** A time span in which an operation may have taken effect, and its effect. */
export interface Step {
  operation: Operation;
  from: number;
  until: number;
  /** It may have had no effect: no answer came, or it was still in flight. */
  optional: boolean;
  /** Its answer says that it changed nothing. */
  observer: boolean;
  keys: readonly string[];
  /**
   * Applies it to the world. @returns whether that explains the answer; if not, discard the world
   */
  apply(world: World): boolean;
}

/** Refusals that carry no information about the state; the call had no effect. */
const MUTE = new Set([
  ...['refused', 'contention', 'overloaded', 'idempotency_key_reused', 'batch_init_disabled'],
  ...['invalid_parameter', 'unsupported_body', 'cross_site_request', 'host_not_allowed'],
  ...['route_not_found', 'method_not_allowed', 'method_not_implemented'],
]);

const LINES_MAX = 1000;

export const isRead = ({ call: { call } }: Operation): boolean => call.startsWith('find');

type Moving = Extract<Call, { call: 'checkout' | 'cancel' | 'refund' | 'refundAll' }>;
const MOVING = new Set(['checkout', 'cancel', 'refund', 'refundAll']);
/** Calls that move the money and the stock of an order. */
export const isMoving = (call: Operation['call']): call is Moving => MOVING.has(call.call);

/** @returns false if it carries no information: it had no effect and showed nothing */
export const tellsSomething = (operation: Operation): boolean =>
  !MUTE.has(operation.outcome) && !(operation.outcome === 'unknown' && isRead(operation));

export function stepOf(operation: Operation): Step {
  const { invoked_at, completed_at, outcome } = operation;
  const optional = outcome === 'unknown';
  return {
    operation,
    from: invoked_at,
    until: optional ? Number.POSITIVE_INFINITY : completed_at,
    optional,
    observer: isRead(operation) || (outcome !== 'ok' && !optional),
    keys: keysOf(operation),
    apply: (world) => explains(operation, world),
  };
}

/** The calls of a bulk; any other call itself. */
export const callsOf = (call: Operation['call']): Exclude<Operation['call'], Bulk>[] =>
  call.call === 'all' ? call.calls : [call];

/** The keys that a call names. The keys behind an order follow from the other calls on it. */
export const keysOf = ({ call }: Pick<Operation, 'call'>): string[] =>
  call.call === 'all' ? [...new Set(call.calls.flatMap(namesOf))] : namesOf(call);

const namesOf = (call: Exclude<Operation['call'], Bulk>): string[] => [
  ...('order' in call ? [`order ${call.order}`] : []),
  ...('user' in call ? [`user ${call.user}`] : []),
  ...('item' in call ? [`item ${call.item}`] : []),
];

const idOf = (key: string): string => key.slice(key.indexOf(' ') + 1);

/** Performs the call on the world. @returns whether the answer matches the recorded one */
export function explains({ call, outcome, seen }: Operation, world: World): boolean {
  const order = 'order' in call ? world.orders.get(call.order) : undefined;
  // The service never reuses an id, so an order with this id must not exist yet.
  if (call.call === 'createOrder' && order) return false;
  if (call.call === 'addItem' && outcome === 'limit_exceeded') {
    if ((order?.lines.size ?? 0) >= LINES_MAX) return true;
  }
  const answer = answerIn(world, call);
  if (outcome === 'unknown') return answer === 'ok';
  if (answer !== outcome) return false;
  return answer !== 'ok' || Object.keys(seen).length === 0 || shows(seen, visible(world, call));
}

/** The state of what a call names. An answer shows some of it. */
export function visible(world: World, call: Operation['call']): Seen {
  const id = 'order' in call ? call.order : '';
  const order = world.orders.get(id);
  return {
    ...('user' in call && { credit: world.users.get(call.user) ?? 0 }),
    ...('item' in call && world.items.get(call.item)),
    ...(order && {
      paid: order.paid,
      total_cost: totalOf(world, id),
      items: [...order.lines].map(([item, { quantity }]): [string, number] => [item, quantity]),
    }),
  };
}

/** Whether what the answer showed is so now. An answer has the items in any order. */
function shows(seen: Seen, now: Seen): boolean {
  for (const name of Object.keys(seen) as (keyof Seen)[]) {
    const [value, current] = [seen[name], now[name]];
    if (name !== 'items') {
      if (value !== undefined && value !== (current ?? value)) return false;
    } else if (linesOf(seen) !== linesOf(now)) return false;
  }
  return true;
}

const linesOf = ({ items }: Seen): string | undefined =>
  items && (items.length === 1 ? `${items[0]}` : items.map(String).sort().join(';'));

/** The keys that a call may change in this world: those that it or its order names. */
export function touched(world: World, { operation: { call }, keys }: Step): readonly string[] {
  const moving = callsOf(call).filter(isMoving);
  if (moving.length === 0) return keys;
  return [
    ...new Set([...keys, ...moving.flatMap(({ order }) => keysBehind(world.orders.get(order)))]),
  ];
}

/** The user and the items of an order. */
export const keysBehind = ofOrder(
  (order) => [`user ${order.user}`, ...[...order.lines.keys()].map((item) => `item ${item}`)],
  [] as string[],
);

/** The map of the world that has this key. */
const mapOf = ({ users, items, orders }: World, key: string): Map<string, unknown> =>
  key.startsWith('user') ? users : key.startsWith('item') ? items : orders;

/** @returns undefined if there is no such user or item; none is created later */
export const balanceOf = ({ users, items }: World, key: string): number | undefined =>
  key.startsWith('user') ? users.get(idOf(key)) : items.get(idOf(key))?.stock;

/** Sets the credit of a user or the stock of an item, if there is one. */
export function setBalance({ users, items }: World, key: string, balance: number): void {
  const id = idOf(key);
  const item = items.get(id);
  if (key.startsWith('user') && users.has(id)) users.set(id, balance);
  if (key.startsWith('item') && item) items.set(id, { ...item, stock: balance });
}

/** @returns a function that restores the current values of these keys */
export function remember(world: World, keys: readonly string[]): () => void {
  const before = keys.map((key) => [mapOf(world, key), idOf(key)] as const);
  const values = before.map(([map, id]) => map.get(id));
  return () => {
    for (const [i, [map, id]] of before.entries()) {
      if (values[i] === undefined) map.delete(id);
      else map.set(id, values[i]);
    }
  };
}

/** A key with its full value: two worlds are equal if these texts are, for every key. */
export function describe(world: World, key: string): string {
  const id = idOf(key);
  if (key.startsWith('user')) return `${key} ${world.users.get(id)}`;
  if (key.startsWith('item')) return `${key} ${world.items.get(id)?.stock}`;
  return `${key} ${describeOrder(world.orders.get(id))}`;
}

export const describeOrder = ofOrder((order) => {
  const lines = [...order.lines].map(([item, line]) => `${item} ${Object.values(line).join(' ')}`);
  return `${order.user} ${order.paid} ${order.payment} ${order.held_until} ${lines.sort()}`;
}, 'none');

/** A function of an order, computed once for each: no call modifies an order, it replaces it. */
function ofOrder<T>(compute: (order: Order) => T, none: T): (order: Order | undefined) => T {
  const known = new WeakMap<Order, T>();
  return (order) => {
    if (!order) return none;
    const found = known.get(order) ?? compute(order);
    known.set(order, found);
    return found;
  };
}
