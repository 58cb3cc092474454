/** The sequential model of the API: its state, as plain maps, and its calls. */
export interface World {
  users: Map<string, number>;
  items: Map<string, { price: number; stock: number }>;
  orders: Map<string, Order>;
}

export interface Order {
  user: string;
  paid: boolean;
  payment: number;
  lines: Map<string, { quantity: number; price: number; refunded: number }>;
  /**
   * The second at which its hold expires, which may have passed; or, where no time passes, the
   * number of the hold.
   */
  held_until: number | undefined;
}

export type Call =
  | { call: 'addFunds' | 'pay'; user: string; amount: number }
  | { call: 'payOrder'; user: string; order: string; amount: number }
  | { call: 'cancel'; user: string; order: string; amount: number | undefined }
  | { call: 'addStock' | 'subtractStock'; item: string; amount: number }
  | { call: 'createOrder'; user: string; order: string }
  | { call: 'addItem'; order: string; item: string; amount: number }
  | { call: 'removeItem'; order: string; item: string }
  | { call: 'removeOrder'; order: string }
  | { call: 'hold'; order: string; ttl_s: number; number?: number }
  | { call: 'release'; order: string }
  | { call: 'checkout'; order: string }
  | { call: 'refund'; order: string; item: string; amount: number; restock: boolean }
  | { call: 'refundAll'; order: string; restock: boolean };

/** A new order, its lines and its checkout or hold in one call: all of it, or nothing. */
export interface Purchase {
  call: 'purchase';
  user: string;
  order: string;
  /** Each item once. */
  lines: readonly (readonly [item: string, amount: number])[];
  /** It holds its lines for so long, and is not paid. */
  hold_s?: number | undefined;
}

/** The calls that have the same effect together. */
export const stepsOf = ({ user, order, lines, hold_s }: Purchase): Call[] => [
  { call: 'createOrder', user, order },
  ...lines.map(([item, amount]): Call => ({ call: 'addItem', order, item, amount })),
  hold_s === undefined ? { call: 'checkout', order } : { call: 'hold', order, ttl_s: hold_s },
];

export const LIMIT = 2 ** 53 - 1;

export const emptyWorld = (): World => ({ users: new Map(), items: new Map(), orders: new Map() });

/** A new order. */
export const openOrder = (user: string): Order => ({
  ...{ user, paid: false, payment: 0, held_until: undefined },
  lines: new Map(),
});

export const totalOf = ({ orders }: World, order: string): number =>
  [...(orders.get(order)?.lines.values() ?? [])].reduce((sum, l) => sum + l.quantity * l.price, 0);

/** The amount that was given back for the order. */
export const refundedOf = ({ lines }: Order): number =>
  [...lines.values()].reduce((sum, line) => sum + line.refunded * line.price, 0);
