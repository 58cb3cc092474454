/** An example shop to copy: `bun docs/shop.ts [ADDRESS]`. docs/shop.py is its twin. */
import { type KassaError, openClient } from 'kassa/client';

const address = process.argv[2] ?? process.env.KASSA_URL ?? 'http://127.0.0.1:8000';
const key = process.env.KASSA_KEY; // where AUTH=on
const kassa = openClient(address, { deadline_ms: 10_000, ...(key && { key }) });

type Lines = { item_id: string; quantity: number }[];

/** A purchase is one call and one transaction. @returns what the customer is told */
async function buy(user_id: string, lines: Lines, idempotency_key = crypto.randomUUID()) {
  const order = { user_id, lines, checkout: true };
  try {
    const { id, total_cost } = await kassa.orders.create(order, { idempotency_key });
    return { order_id: id, told: `paid ${total_cost}` };
  } catch (error) {
    const { code, facts } = error as KassaError;
    if (code === 'out_of_stock') {
      const left = facts.items?.map(({ wanted, available }) => `${available} of ${wanted}`);
      return { told: `out of stock, there are ${left}` };
    }
    if (code === 'insufficient_credit') return { told: `the credit lacks ${facts.shortfall}` };
    throw error; // not a refusal
  }
}

async function runExample() {
  const { id: ada } = await kassa.users.create({ credit: 100 });
  const { id: tea } = await kassa.items.create({ price: 12, stock: 10 });
  const { id: cup } = await kassa.items.create({ price: 30, stock: 5 });
  const teas = (quantity: number) => ({ item_id: tea, quantity });
  const cups = (quantity: number) => ({ item_id: cup, quantity });
  console.log('Ada has 100. There are 10 teas at 12, and 5 cups at 30.');

  const key = crypto.randomUUID(); // keep it to repeat the call, even after a crash
  const bought = await buy(ada, [teas(2), cups(1)], key);
  console.log(`Ada buys 2 teas and a cup: ${bought.told}.`);
  const again = await buy(ada, [teas(2), cups(1)], key);
  const { credit } = await kassa.users.get({ user_id: ada });
  const { size } = new Set([bought.order_id, again.order_id]);
  console.log(`Again with the same key: ${again.told}. It is ${size} order; Ada has ${credit}.`);
  console.log(`9 cups: ${(await buy(ada, [cups(9)])).told}.`);
  console.log(`2 cups: ${(await buy(ada, [cups(2)])).told}.`);

  const people = Array.from({ length: 20 }, () => kassa.users.create({ credit: 12 }));
  const buyers = await Promise.all(people);
  const sales = await Promise.all(buyers.map(({ id }) => buy(id, [teas(1)])));
  const after = await Promise.all(buyers.map(({ id }) => kassa.users.get({ user_id: id })));
  const sold = sales.filter(({ order_id }) => order_id).length;
  const unpaid = after.filter(({ credit }) => credit === 12).length;
  const { stock } = await kassa.items.get({ item_id: tea });
  console.log(`20 people want 8 teas: ${sold} get one, ${unpaid} pay nothing.`);
  console.log(`${stock} teas are left.`);
}

await runExample().catch((error) => {
  if (!/^(?:no_answer|not_kassa)$/.test(error.code)) throw error;
  console.error(`Kassa does not answer at ${address}: ${error.detail}`);
  process.exitCode = 1;
});
