/** An in-memory server of the API with one classic fault, or none, to test the consistency test. */
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Call, emptyWorld, totalOf, type World } from './model.ts';
import { perform } from './perform.ts';
import { listen } from './process.ts';

/** @returns 'ok', the code of a refusal, 'error' (a 500), or 'cut' (the connection breaks) */
type Checkout = (world: World, id: string, turn: number) => string | Promise<string>;

const PAUSE_MS = 2;

/** `turn` counts the checkouts, for faults that occur only sometimes. */
const faults = {
  /** Correct: everything in one step of the event loop. */
  honest: pay,

  /** Decides on a copy, waits, then writes the rows of the copy. */
  async 'lost-update'(world, id) {
    if (world.orders.get(id)?.paid) return 'ok';
    const copy = structuredClone(world);
    const outcome = pay(copy, id);
    await sleep(PAUSE_MS);
    if (outcome !== 'ok') return outcome;
    const { user = '', lines = new Map() } = copy.orders.get(id) ?? {};
    world.users.set(user, copy.users.get(user) ?? 0);
    for (const item of lines.keys())
      Object.assign(world.items.get(item) ?? {}, copy.items.get(item));
    Object.assign(world.orders.get(id) ?? {}, copy.orders.get(id));
    return 'ok';
  },

  /** Checks, waits, acts. */
  async oversell(world, id) {
    if (world.orders.get(id)?.paid) return 'ok';
    const outcome = pay(structuredClone(world), id);
    if (outcome !== 'ok') return outcome;
    await sleep(PAUSE_MS);
    move(world, id);
    return 'ok';
  },

  /** Charges first, and does not refund when the stock is insufficient. */
  'half-checkout'(world, id) {
    const { user = '' } = world.orders.get(id) ?? {};
    const outcome = pay(world, id);
    if (outcome === 'out_of_stock')
      perform(world, { call: 'pay', user, amount: totalOf(world, id) });
    return outcome;
  },

  /** Does not check whether the order is already paid. */
  'double-charge'(world, id) {
    const order = world.orders.get(id);
    if (!order?.paid) return pay(world, id);
    order.paid = false;
    pay(world, id);
    order.paid = true;
    return 'ok';
  },

  /** Answers every seventh checkout with success, without its effect. */
  lies: (world, id, turn) => (turn % 7 === 0 ? 'ok' : pay(world, id)),

  /** Correct, but loses answers: of checkouts done, not done, and done later. */
  'server-errors'(world, id, turn) {
    const kind = turn % 12;
    if (kind === 3) return 'error';
    if (kind === 11) {
      setTimeout(pay, 50, world, id);
      return 'cut';
    }
    const outcome = pay(world, id);
    return kind === 6 ? 'error' : kind === 9 ? 'cut' : outcome;
  },
} satisfies Record<string, Checkout>;

export type Fault = keyof typeof faults;

/** Listens on a free port of 127.0.0.1. */
export async function startRacyServer(fault: Fault) {
  const world = emptyWorld();
  const checkout: Checkout = faults[fault];
  let turn = 0;
  const server = createServer(async (request, response) => {
    request.resume();
    const answer = (status: number, body: unknown) =>
      void response.writeHead(status).end(JSON.stringify(body));
    const [, service, verb, ...rest] = request.url?.split('/') ?? [];
    const [id = ''] = rest;
    if (verb !== 'checkout' || !world.orders.has(id)) {
      const body = route(world, `${service} ${verb}`, rest);
      return answer(body ? 200 : 404, body || { code: 'not_found' });
    }
    const outcome = await checkout(world, id, ++turn);
    if (outcome === 'cut') response.destroy();
    else if (outcome === 'error') answer(500, 'an error page');
    else if (outcome !== 'ok') answer(409, { code: outcome });
    else answer(200, { order_id: id, paid: true, total_cost: totalOf(world, id) });
  });
  const origin = `http://127.0.0.1:${await listen(server)}`;
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin, stop };
}

/** All calls but checkout. @returns the body of a 200, or undefined or false for a 404 */
function route(world: World, name: string, [id = '', second = '', third = '1']: string[]) {
  const { users, items, orders } = world;
  const done = (call: Call) => perform(world, call) === 'ok';
  const fresh = crypto.randomUUID();
  const order = orders.get(id);
  switch (name) {
    case 'payment create_user':
      users.set(fresh, 0);
      return { user_id: fresh };
    case 'payment add_funds':
      return done({ call: 'addFunds', user: id, amount: Number(second) }) && { done: true };
    case 'payment find_user':
      return users.has(id) && { user_id: id, credit: users.get(id) };
    case 'stock item':
      items.set(fresh, { stock: 0, price: Number(second) });
      return { item_id: fresh };
    case 'stock add':
      return done({ call: 'addStock', item: id, amount: Number(second) }) && items.get(id);
    case 'stock find':
      return items.get(id);
    case 'orders create':
      return done({ call: 'createOrder', user: id, order: fresh }) && { order_id: fresh };
    case 'orders addItem':
      return done({ call: 'addItem', order: id, item: second, amount: Number(third) }) && {};
    case 'orders find':
      return (
        order && {
          ...{
            order_id: id,
            user_id: order.user,
            paid: order.paid,
            total_cost: totalOf(world, id),
          },
          items: [...order.lines].map(([item_id, { quantity }]) => [item_id, quantity]),
        }
      );
    default:
      return undefined;
  }
}

function pay(world: World, order: string): string {
  return perform(world, { call: 'checkout', order });
}

/** The effect of a checkout, whatever credit and stock are. */
function move({ users, items, orders }: World, id: string): void {
  const order = orders.get(id);
  if (!order) return;
  for (const [item_id, { quantity, price }] of order.lines) {
    users.set(order.user, (users.get(order.user) ?? 0) - quantity * price);
    const item = items.get(item_id);
    if (item) item.stock -= quantity;
  }
  order.paid = true;
}
