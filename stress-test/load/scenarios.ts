/** The course's older load: whole shopping sessions from scratch, some meant to fail. */
import type { Call, CallKind, Requests, Workload } from './calls.ts';

/**
 * Steps and weights of LoadTest1 to 6 in locustfile.py of delftdata/wdm-project-benchmark, without
 * waits. Prices 1-10, stock 100-1000 and funds 10000-100000 are the same.
 */
const STORIES: { weight: number; steps: Step[] }[] = [
  { weight: 5, steps: ['create_item', 'add_stock'] },
  {
    weight: 30, // buys one item
    steps: ['create_item', 'add_stock', 'create_user', 'add_funds', 'create', 'add', 'checkout'],
  },
  {
    weight: 25, // buys two items
    steps: [
      ...(['create_item', 'add_stock', 'create_item', 'add_stock', 'create_user'] as const),
      ...(['add_funds', 'create', 'add_first', 'add', 'checkout'] as const),
    ],
  },
  {
    weight: 20, // removes an item and adds it again
    steps: [
      ...(['create_item', 'add_stock', 'create_user', 'add_funds', 'create'] as const),
      ...(['add', 'remove', 'add', 'checkout'] as const),
    ],
  },
  {
    weight: 10, // the second item sells out first: out_of_stock
    steps: [
      ...(['create_item', 'add_stock', 'create_item', 'add_stock', 'create_user'] as const),
      ...(['add_funds', 'create', 'add_first', 'add', 'find_stock', 'sell', 'checkout'] as const),
    ],
  },
  {
    weight: 10, // the user has no credit: insufficient_credit
    steps: ['create_item', 'add_stock', 'create_user', 'create', 'add', 'checkout'],
  },
];

type Step =
  | 'create_item'
  | 'add_stock'
  | 'create_user'
  | 'add_funds'
  | 'create'
  | 'add_first'
  | 'add'
  | 'remove'
  | 'find_stock'
  | 'sell'
  | 'checkout';

interface Session {
  steps: Step[];
  at: number;
  user_id: string;
  order_id: string;
  item_ids: string[];
  stock: string;
}

/** Each call continues a session that is not waiting for an answer, or starts one. */
export function scenarios(wire: Requests, random: () => number): Workload {
  const sessions: Session[] = [];
  const free: number[] = [];
  return {
    next(call) {
      const at = free.pop() ?? sessions.push(newStory(random)) - 1;
      const session = sessions[at];
      if (!session) return false;
      call.session = at;
      fill(call, session, wire, random);
      return true;
    },
    answered(call, status, body) {
      const { session: at, kind } = call;
      const session = sessions[at];
      const went_on = session && status >= 200 && status < 300 && learn(session, body);
      if (!session || !went_on || session.at === session.steps.length) {
        sessions[at] = newStory(random);
      }
      free.push(at);
      return kind === 'read' ? 'read' : 'committed';
    },
  };
}

function newStory(random: () => number): Session {
  let left = random() * STORIES.reduce((sum, { weight }) => sum + weight, 0);
  const story = STORIES.find(({ weight }) => {
    left -= weight;
    return left < 0;
  });
  return {
    steps: story?.steps ?? ['create_item', 'add_stock'],
    at: 0,
    user_id: '',
    order_id: '',
    item_ids: [],
    stock: '',
  };
}

function fill(call: Call, session: Session, wire: Requests, random: () => number): void {
  const { order_id, user_id, item_ids } = session;
  const step = session.steps[session.at];
  const last = item_ids.at(-1) ?? '';
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const posts: Record<Exclude<Step, 'find_stock'>, () => string> = {
    create_item: () => `/stock/item/create/${between(1, 10)}`,
    add_stock: () => `/stock/add/${last}/${between(100, 1000)}`,
    create_user: () => '/payment/create_user',
    add_funds: () => `/payment/add_funds/${user_id}/${between(10_000, 100_000)}`,
    create: () => `/orders/create/${user_id}`,
    add_first: () => `/orders/addItem/${order_id}/${item_ids[0]}`,
    add: () => `/orders/addItem/${order_id}/${last}`,
    remove: () => `/orders/removeItem/${order_id}/${last}`,
    sell: () => `/stock/subtract/${last}/${session.stock}`,
    checkout: () => `/orders/checkout/${order_id}`,
  };
  call.kind = kindOf(step);
  call.wanted = step === 'find_stock' || step?.startsWith('create') === true;
  if (step === undefined || step === 'find_stock') call.request = wire.get(`/stock/find/${last}`);
  else call.request = (step === 'remove' ? wire.remove : wire.post)(posts[step]());
}

const kindOf = (step: Step | undefined): CallKind =>
  step === 'find_stock' ? 'read' : step === 'checkout' ? 'checkout' : 'write';

/** Keeps what later steps need of an answer. @returns false if it is missing */
function learn(session: Session, body: string): boolean {
  const step = session.steps[session.at++];
  const field = (name: string): string =>
    body.match(new RegExp(`"${name}"\\s*:\\s*"?([A-Za-z0-9_-]+)`))?.[1] ?? '';
  switch (step) {
    case 'create_item': {
      const item_id = field('item_id');
      session.item_ids.push(item_id);
      return item_id !== '';
    }
    case 'create_user':
      session.user_id = field('user_id');
      return session.user_id !== '';
    case 'create':
      session.order_id = field('order_id');
      return session.order_id !== '';
    case 'find_stock':
      session.stock = field('stock');
      return session.stock !== '';
    default:
      return true;
  }
}
