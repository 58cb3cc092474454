/**
 * Clients that change the price of an item of their own and buy it: an order has a price that the
 * item had during the purchase. The audit cannot tell, since the store keeps no old prices.
 */
import type { Client as Api } from '../../../apps/client/client.ts';
import { type Client, isAnswer } from '../../support/client.ts';
import { seeded } from '../../support/report.ts';
import { newKey, type Random } from './send.ts';
import { apiOf, refusalOf } from './transfers.ts';
import type { Violation } from './verify.ts';

/** An item whose prices only rise, so that a lost change or an old price shows. */
interface Priced {
  item_id: string;
  /** The last price whose change was answered, and the last that was asked for. */
  sure: number;
  asked: number;
  bought: number;
}

const ITEMS = 2;
const BUYERS = 2;
const MUCH = 10 ** 14;

/** @param clients of the replicas, of which each attempt takes one */
export async function changePrices(
  clients: readonly Client[],
  seed: number,
  think_ms: number,
  stopped: () => boolean,
): Promise<{ items: Priced[]; violations: Violation[] }> {
  const violations: Violation[] = [];
  const random = seeded(seed * 100 + 77);
  const api = apiOf(clients, random);
  const items = await Promise.all(
    Array.from({ length: ITEMS }, () => runItem(api, random, think_ms, stopped, violations)),
  );
  return { items: items.flatMap((item) => item ?? []), violations };
}

async function runItem(
  api: Api,
  random: Random,
  think_ms: number,
  stopped: () => boolean,
  violations: Violation[],
): Promise<Priced | undefined> {
  const made = await api.items.create({ price: 1, stock: MUCH }).catch(refusalOf);
  const user = await api.users.create({ credit: MUCH }).catch(refusalOf);
  if (!made || !user) return undefined; // stopped before there was a service
  const item: Priced = { item_id: made.id, sure: 1, asked: 1, bought: 0 };
  const pause = () => Bun.sleep(2 * (think_ms + PAUSE_MS) * random());
  const options = () => ({ idempotency_key: newKey() });
  const change = async () => {
    for (; !stopped(); await pause()) {
      const price = ++item.asked;
      const answer = await api.items
        .changePrice({ item_id: item.item_id, price }, options())
        .catch(refusalOf);
      if (!answer) return; // without an answer it may still take effect
      item.sure = price;
    }
  };
  const buy = async () => {
    for (; !stopped(); await pause()) {
      const least = item.sure;
      const lines = [{ item_id: item.item_id, quantity: 1 }];
      const wanted = { user_id: user.id, lines, checkout: true };
      const order = await api.orders.create(wanted, options()).catch(refusalOf);
      if (!order) continue;
      item.bought++;
      const price = order.lines[0]?.unit_price ?? Number.NaN;
      if (price >= least && price <= item.asked) continue;
      const what = `has the price ${price}, not one from ${least} to ${item.asked}`;
      violations.push({ where: `order ${order.id} of item ${item.item_id}`, what });
    }
  };
  await Promise.all([change(), ...Array.from({ length: BUYERS }, buy)]);
  return item;
}

const PAUSE_MS = 50;

/** Each item has its last price. */
export async function checkPrices(items: readonly Priced[], client: Client): Promise<Violation[]> {
  const violations: Violation[] = [];
  for (const { item_id, sure, asked } of items) {
    const known = await client.get(`/v1/items/${item_id}`);
    const price = isAnswer(known) ? Number(known.body.price) : Number.NaN;
    if (price >= sure && price <= asked) continue;
    violations.push({
      where: `item ${item_id}`,
      what: `has the price ${price}, not one from ${sure} to ${asked}`,
    });
  }
  return violations;
}
