/**
 * A small in-memory server of the API with one classic fault, or none, to test the consistency test.
 * `bun test/support/racy-server.ts --fault oversell --port 8000`
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { flags, numberFlag, usage } from './report.ts';

interface Order {
  order_id: string;
  user_id: string;
  paid: boolean;
  lines: Map<string, number>;
  total_cost: number;
}

interface World {
  users: Map<string, { credit: number }>;
  items: Map<string, { stock: number; price: number }>;
  orders: Map<string, Order>;
}

/** A refusal's code, true (paid), 'error' (a 500), or 'cut' (the connection breaks). */
type Outcome = string | true;
type Checkout = (world: World, order: Order, turn: number) => Outcome | Promise<Outcome>;

const PAUSE_MS = 2;

/** `turn` counts the checkouts, for faults that occur only sometimes. */
const faults = {
  /** Correct: everything in one step of the event loop. */
  honest: pay,

  /** Reads, waits, then writes the value it has read minus its own amount. */
  async 'lost-update'(world, order) {
    if (order.paid) return true;
    const refusal = refusalOf(world, order);
    if (refusal) return refusal;
    const user = userOf(world, order);
    const credit = user.credit - order.total_cost;
    const stocks = linesOf(world, order).map(({ item, quantity }) => item.stock - quantity);
    await sleep(PAUSE_MS);
    user.credit = credit;
    for (const [i, { item }] of linesOf(world, order).entries()) item.stock = stocks[i] ?? 0;
    order.paid = true;
    return true;
  },

  /** Checks, waits, acts. */
  async oversell(world, order) {
    if (order.paid) return true;
    const refusal = refusalOf(world, order);
    if (refusal) return refusal;
    await sleep(PAUSE_MS);
    move(world, order);
    return true;
  },

  /** Charges first, and does not refund when the stock is insufficient. */
  'half-checkout'(world, order) {
    if (order.paid) return true;
    const user = userOf(world, order);
    if (user.credit < order.total_cost) return 'insufficient_credit';
    user.credit -= order.total_cost;
    if (linesOf(world, order).some(({ item, quantity }) => item.stock < quantity)) {
      return 'out_of_stock';
    }
    for (const { item, quantity } of linesOf(world, order)) item.stock -= quantity;
    order.paid = true;
    return true;
  },

  /** Does not check whether the order is already paid. */
  'double-charge'(world, order) {
    const refusal = refusalOf(world, order);
    if (refusal && !order.paid) return refusal;
    if (!refusal) move(world, order);
    return true;
  },

  /** Answers every seventh checkout with success, without its effect. */
  lies: (world, order, turn) => (turn % 7 === 0 ? true : pay(world, order)),

  /** Correct, but loses answers: of checkouts done, not done, and done later. */
  'server-errors'(world, order, turn) {
    const kind = turn % 12;
    if (kind === 3) return 'error';
    if (kind === 11) {
      setTimeout(pay, 50, world, order);
      return 'cut';
    }
    const outcome = pay(world, order);
    return kind === 6 ? 'error' : kind === 9 ? 'cut' : outcome;
  },
} satisfies Record<string, Checkout>;

export type Fault = keyof typeof faults;
const FAULTS = Object.keys(faults) as Fault[];

/** Listens on 127.0.0.1; port 0 takes a free one. */
export async function startRacyServer(fault: Fault, port = 0) {
  const world: World = { users: new Map(), items: new Map(), orders: new Map() };
  const checkout: Checkout = faults[fault];
  let turn = 0;
  const server = createServer(async (request, response) => {
    request.resume();
    const [, service = '', verb = '', ...rest] = request.url?.split('/') ?? [];
    const order = world.orders.get(rest[0] ?? '');
    if (`${service} ${verb}` === 'orders checkout' && order) {
      return answerCheckout(response, order, await checkout(world, order, ++turn));
    }
    const body = await route(world, service, verb, rest);
    answer(response, body ? 200 : 404, body ?? { code: 'not_found' });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin, stop };
}

/** All calls but checkout. @returns undefined if something is not found */
function route(world: World, service: string, verb: string, [id = '', second, third]: string[]) {
  const { users, items, orders } = world;
  const [user, item, order] = [users.get(id), items.get(id), orders.get(id)];
  const fresh = crypto.randomUUID();
  switch (`${service} ${verb}`) {
    case 'payment create_user':
      users.set(fresh, { credit: 0 });
      return { user_id: fresh };
    case 'payment add_funds':
      if (user) user.credit += Number(second);
      return user && { done: true, ...user };
    case 'payment find_user':
      return user && { user_id: id, ...user };
    case 'stock item':
      items.set(fresh, { stock: 0, price: Number(second) });
      return { item_id: fresh };
    case 'stock add':
      if (item) item.stock += Number(second);
      return item;
    case 'stock find':
      return item;
    case 'orders create':
      if (!user) return undefined;
      orders.set(fresh, {
        order_id: fresh,
        user_id: id,
        paid: false,
        lines: new Map(),
        total_cost: 0,
      });
      return { order_id: fresh };
    case 'orders addItem':
      return order && addItem(world, order, second ?? '', Number(third ?? 1));
    case 'orders find':
      return order && { ...order, lines: undefined, items: [...order.lines] };
    default:
      return undefined;
  }
}

function addItem(world: World, order: Order, item_id: string, quantity: number) {
  const item = world.items.get(item_id);
  if (!item) return undefined;
  order.lines.set(item_id, (order.lines.get(item_id) ?? 0) + quantity);
  order.total_cost += quantity * item.price;
  return { order_id: order.order_id };
}

function pay(world: World, order: Order): Outcome {
  if (order.paid) return true;
  const refusal = refusalOf(world, order);
  if (!refusal) move(world, order);
  return refusal ?? true;
}

function refusalOf(world: World, order: Order): string | undefined {
  if (linesOf(world, order).some(({ item, quantity }) => item.stock < quantity)) {
    return 'out_of_stock';
  }
  return userOf(world, order).credit < order.total_cost ? 'insufficient_credit' : undefined;
}

function move(world: World, order: Order): void {
  userOf(world, order).credit -= order.total_cost;
  for (const { item, quantity } of linesOf(world, order)) item.stock -= quantity;
  order.paid = true;
}

const userOf = (world: World, order: Order) => world.users.get(order.user_id) ?? { credit: 0 };

const linesOf = (world: World, order: Order) =>
  [...order.lines].map(([id, quantity]) => {
    const item = world.items.get(id) ?? { stock: 0, price: 0 };
    return { item, quantity };
  });

function answerCheckout(response: ServerResponse, order: Order, outcome: Outcome): void {
  const { order_id, total_cost } = order;
  if (outcome === 'cut') response.destroy();
  else if (outcome === 'error') answer(response, 500, 'an error page');
  else if (outcome === true) answer(response, 200, { order_id, paid: true, total_cost });
  else answer(response, 409, { code: outcome });
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

if (import.meta.main) {
  const help = `Serves the API from memory, with a fault: bun test/support/racy-server.ts [options]

  --fault NAME  ${FAULTS.join(', ')} (honest)
  --port N      port to listen on (any that is free)`;
  const asked = flags(help, {
    fault: { type: 'string', default: 'honest' },
    port: { type: 'string', default: '0' },
  });
  const fault = FAULTS.find((name) => name === asked.fault);
  if (!fault) usage(`--fault must be one of ${FAULTS.join(', ')}, not ${asked.fault}`);
  const { origin } = await startRacyServer(fault, numberFlag('port', asked.port, 0, 65_535));
  console.log(`${fault} on ${origin}`);
}
