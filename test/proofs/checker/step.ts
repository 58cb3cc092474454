/** One operation of a history, as the checker tries it on the model: apply, compare, undo. */
import type { Operation } from '../../support/history.ts';
import { perform, totalOf, type World } from '../../support/model.ts';

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
  /** Applies it to the world. @returns whether that explains the answer; if not, discard the world */
  apply(world: World): boolean;
}

/** Refusals that carry no information about the state; the call had no effect. */
const MUTE = new Set([
  'refused',
  'contention',
  'overloaded',
  'invalid_parameter',
  'idempotency_key_reused',
  'unsupported_body',
  'cross_site_request',
  'host_not_allowed',
  'route_not_found',
  'method_not_allowed',
  'method_not_implemented',
  'batch_init_disabled',
]);

const LINES_MAX = 1000;

export const isRead = ({ call: { call } }: Operation): boolean =>
  call === 'findUser' || call === 'findItem' || call === 'findOrder';

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

/** The keys that a call names. The keys behind an order follow from the other calls on it. */
export function keysOf({ call }: Pick<Operation, 'call'>): string[] {
  const keys: string[] = [];
  if ('order' in call) keys.push(`order ${call.order}`);
  if ('user' in call) keys.push(`user ${call.user}`);
  if ('item' in call) keys.push(`item ${call.item}`);
  return keys;
}

/** Performs the call on the world. @returns whether the answer matches the recorded one */
export function explains(operation: Operation, world: World): boolean {
  const { call, outcome, seen } = operation;
  switch (call.call) {
    case 'findUser':
      return answers(world.users.has(call.user) ? 'ok' : 'user_not_found', operation, world);
    case 'findItem':
      return answers(world.items.has(call.item) ? 'ok' : 'item_not_found', operation, world);
    case 'findOrder':
      return answers(world.orders.has(call.order) ? 'ok' : 'order_not_found', operation, world);
    case 'createOrder':
      // The service never reuses an id, so an order with this id must not exist yet.
      return !world.orders.has(call.order) && answers(perform(world, call), operation, world);
    case 'addItem': {
      const size = world.orders.get(call.order)?.lines.size ?? 0;
      if (outcome === 'limit_exceeded' && size >= LINES_MAX) return true;
      return answers(perform(world, call), operation, world);
    }
    case 'checkout': {
      // A checkout shows the total of the order as it found it, already paid or not.
      const right = answers(perform(world, call), operation, world);
      return right && (seen.paid ?? true);
    }
    default:
      return answers(perform(world, call), operation, world);
  }
}

function answers(result: string, { call, outcome, seen }: Operation, world: World): boolean {
  if (outcome === 'unknown') return result === 'ok';
  if (result !== outcome) return false;
  if (result !== 'ok') return true;
  if (seen.credit !== undefined && 'user' in call) {
    if (world.users.get(call.user) !== seen.credit) return false;
  }
  if ('item' in call && (seen.stock !== undefined || seen.price !== undefined)) {
    const item = world.items.get(call.item);
    if (seen.stock !== undefined && item?.stock !== seen.stock) return false;
    if (seen.price !== undefined && item?.price !== seen.price) return false;
  }
  return !('order' in call) || showsOrder(world, call.order, seen);
}

function showsOrder(world: World, id: string, seen: Operation['seen']): boolean {
  if (seen.total_cost !== undefined && totalOf(world, id) !== seen.total_cost) return false;
  const order = world.orders.get(id);
  if (seen.paid !== undefined && order?.paid !== seen.paid) return false;
  if (seen.items === undefined) return true;
  return (
    seen.items.length === order?.lines.size &&
    seen.items.every(([item, quantity]) => order.lines.get(item)?.quantity === quantity)
  );
}

/** The keys that a call may change in this world: those that it or its order names. */
export function touched(world: World, { operation: { call } }: Step): string[] {
  const keys = keysOf({ call });
  const order = 'order' in call ? world.orders.get(call.order) : undefined;
  if (!order || (call.call !== 'checkout' && call.call !== 'cancel')) return keys;
  keys.push(`user ${order.user}`, ...[...order.lines.keys()].map((item) => `item ${item}`));
  return [...new Set(keys)];
}

/** @returns a function that restores the current values of these keys */
export function remember(world: World, keys: readonly string[]): () => void {
  const restores = keys.map((key) => {
    const id = key.slice(key.indexOf(' ') + 1);
    if (key.startsWith('user')) return restore(world.users, id, (credit) => credit);
    if (key.startsWith('item')) return restore(world.items, id, (item) => ({ ...item }));
    return restore(world.orders, id, (order) => ({ ...order, lines: new Map(order.lines) }));
  });
  return () => {
    for (const back of restores) back();
  };
}

function restore<T>(map: Map<string, T>, id: string, copy: (value: T) => T): () => void {
  const value = map.get(id);
  const kept = value === undefined ? undefined : copy(value);
  return () => {
    if (kept === undefined) map.delete(id);
    else map.set(id, kept);
  };
}

/** A key with its full value: two worlds are equal if these texts are, for every key. */
export function describe(world: World, key: string): string {
  const id = key.slice(key.indexOf(' ') + 1);
  if (key.startsWith('user')) return `${key} ${world.users.get(id)}`;
  if (key.startsWith('item')) return `${key} ${world.items.get(id)?.stock}`;
  const order = world.orders.get(id);
  if (!order) return `${key} none`;
  const lines = [...order.lines].map(([item, line]) => `${item} ${line.quantity} ${line.price}`);
  return `${key} ${order.user} ${order.paid} ${order.payment} ${lines.sort()}`;
}

/** A deep copy, so that the caller's world is not modified. */
export const copyOf = (world: World): World => ({
  users: new Map(world.users),
  items: new Map([...world.items].map(([id, item]) => [id, { ...item }])),
  orders: new Map(
    [...world.orders].map(([id, order]) => [id, { ...order, lines: new Map(order.lines) }]),
  ),
});
