/** What the consistency test sets up: users with credit, items with stock, and their orders. */

export interface Settings {
  /** Every order wants the same item. */
  hot: boolean;
  items: number;
  stock: number;
  price: number;
  users: number;
  credit: number;
  checkouts: number;
}

/** Users, items and orders are known by their index until they have ids. */
export interface Plan {
  name: string;
  items: { price: number; stock: number }[];
  users: { credit: number }[];
  orders: {
    user: number;
    lines: (readonly [item: number, quantity: number])[];
    total_cost: number;
  }[];
  /** Concurrent checkouts of each order. */
  clicks: number;
}

type Random = () => number;

/** The course's plan: each order has one unit of one random item, so most must be refused. */
export function planSingles(settings: Settings, random: Random): Plan {
  const { price, stock, credit } = settings;
  const items = Array.from({ length: settings.items }, () => ({ price, stock }));
  const users = Array.from({ length: settings.users }, () => ({ credit }));
  const orders = buyers(settings, random).map((user) => ({
    user,
    lines: [[below(items.length, random), 1] as const],
    total_cost: price,
  }));
  return { name: 'singles', items, users, orders, clicks: 1 };
}

/**
 * Orders of two to four items, one to three of each. Every fourth item has stock for half of its
 * demand, and every fourth user lacks one unit of money, so both kinds of refusal occur. The others
 * have plenty, so nothing stops a checkout that happens twice.
 */
export function planBaskets(settings: Settings, random: Random): Plan {
  const n_items = settings.hot ? 4 : Math.max(4, settings.items);
  const prices = Array.from({ length: n_items }, (_, i) => settings.price * (1 + (i % 3)));
  const wanted = prices.map(() => 0);
  const owed = Array.from({ length: settings.users }, () => 0);
  const orders = buyers(settings, random).map((user) => {
    const chosen = shuffled(n_items, random).slice(0, 2 + below(3, random));
    const lines = chosen.map((item) => [item, 1 + below(3, random)] as const);
    let total_cost = 0;
    for (const [item, quantity] of lines) {
      wanted[item] = (wanted[item] ?? 0) + quantity;
      total_cost += quantity * (prices[item] ?? 0);
    }
    owed[user] = (owed[user] ?? 0) + total_cost;
    return { user, lines, total_cost };
  });
  return {
    name: 'baskets',
    items: prices.map((price, i) => ({ price, stock: stockFor(wanted[i] ?? 0, i) })),
    users: owed.map((sum, i) => ({ credit: i % 4 === 0 ? Math.max(0, sum - 1) : sum * 4 })),
    orders,
    clicks: 2,
  };
}

const stockFor = (wanted: number, i: number): number =>
  i % 4 === 0 ? Math.ceil(wanted / 2) : wanted * 3;

/** One user for each order, in random order; users repeat if there are too few. */
function buyers({ users, checkouts }: Settings, random: Random): number[] {
  const turns = shuffled(users, random);
  return Array.from({ length: checkouts }, (_, i) => turns[i % users] ?? 0);
}

const below = (n: number, random: Random): number => Math.floor(random() * n);

function shuffled(n: number, random: Random): number[] {
  const places = Array.from({ length: n }, (_, i) => ({ i, place: random() }));
  return places.sort((a, b) => a.place - b.place).map(({ i }) => i);
}
