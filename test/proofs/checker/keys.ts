/** The projections of a history: each order alone, then each user's credit and item's stock. */

import { totalOf, type World } from '../../support/model.ts';
import { balanceMoves, balanceOf, type Effect } from './balances.ts';
import { type Move, Projection } from './projection.ts';
import { copyOf, explains, type Step } from './step.ts';

type Order = ReturnType<World['orders']['get']>;

export interface Keys {
  orders: Projection<Order>[];
  balances: Projection<number>[];
  /** Keys whose projection takes too long to decide. */
  undecided: string[];
  /** The first key whose projection has no serial order, and the step at which it ended. */
  wrong: { key: string; step: Step | undefined } | undefined;
}

/** A balance that always suffices, so that an order can be checked without its user and items. */
const PLENTY = 2 ** 51;
const ALL_BUDGET = 2_000;
const ONE_BUDGET = 50_000;
const ROUNDS = 8;

/** Refusals whose reason is another key. */
const ELSEWHERE = new Set(['insufficient_credit', 'out_of_stock', 'limit_exceeded']);

/**
 * Decides every key alone and narrows the windows of its steps to what its serial orders allow. A
 * narrower window constrains the other keys of the same step, so this repeats until nothing
 * changes. A cycle in the graph of dependencies and real time (Adya; Elle, VLDB 2020) thus leaves
 * an empty window.
 */
export function projections(steps: readonly Step[], initial: World): Keys {
  const rounds = new Rounds(steps, initial);
  for (let round = 0; round < ROUNDS && rounds.again(); round++);
  return rounds.keys();
}

class Rounds {
  private readonly steps: readonly Step[];
  private readonly initial: World;
  private readonly plenty: World;
  private readonly groups: Map<string, Step[]>;
  private readonly effects = new Map<Step, Effect[]>();
  private readonly orders = new Map<string, Projection<Order>>();
  private readonly balances = new Map<string, Projection<number>>();
  private readonly undecided = new Set<string>();
  private wrong: Keys['wrong'];
  /** Steps whose windows or effects became narrower; initially all. */
  private changed: Set<Step>;

  constructor(steps: readonly Step[], initial: World) {
    this.steps = steps;
    this.initial = initial;
    this.plenty = copyOf(initial);
    for (const user of this.plenty.users.keys()) this.plenty.users.set(user, PLENTY);
    for (const item of this.plenty.items.values()) item.stock = PLENTY;
    this.groups = grouped(steps);
    this.changed = new Set(steps);
  }

  /** @returns whether another round may find more */
  again(): boolean {
    const changed = this.changed;
    this.changed = new Set();
    for (const [id, own] of this.groups) {
      if (own.some((step) => changed.has(step))) this.order(id, own);
      if (this.wrong) return false;
    }
    for (const step of this.changed) changed.add(step);
    for (const [key, moves] of balanceMoves(this.steps, this.initial, this.effects)) {
      if (!moves) this.undecided.add(key);
      else if (moves.some(({ step }) => changed.has(step))) this.balance(key, moves);
      if (this.wrong) return false;
    }
    return this.changed.size > 0;
  }

  /** Without undecided keys: looking ahead along them takes too long. */
  keys = (): Keys => ({
    orders: [...this.orders.values()].filter(({ key }) => !this.undecided.has(key)),
    balances: [...this.balances.values()].filter(({ key }) => !this.undecided.has(key)),
    undecided: [...this.undecided],
    wrong: this.wrong,
  });

  private order(id: string, own: readonly Step[]): void {
    if (mostOf(own, this.initial, id) > PLENTY / 2) {
      this.undecided.add(`order ${id}`);
      return;
    }
    const noted = new Map(own.map((step): [Step, Effect[]] => [step, []]));
    const first = this.initial.orders.get(id);
    const projection = ofOrder(id, own, this.plenty, first, noted);
    this.orders.set(id, projection);
    if (this.settle(projection, 'effects') !== 'yes') return;
    for (const [step, effects] of noted) {
      const unlike = new Map(effects.map((effect) => [textOfEffect(effect), effect]));
      if (unlike.size !== this.effects.get(step)?.length) this.changed.add(step);
      this.effects.set(step, [...unlike.values()]);
    }
  }

  private balance(key: string, moves: readonly Move<number>[]): void {
    const first = balanceOf(this.initial, key) ?? 0;
    const projection = new Projection<number>(key, moves, first, String);
    this.balances.set(key, projection);
    this.settle(projection, 'one');
  }

  /** Explores every serial order if there are not too many, else no more than needed. */
  private settle<T>(projection: Projection<T>, least: 'effects' | 'one') {
    const all = projection.decide('all', ALL_BUDGET);
    if (all === 'yes') for (const step of projection.narrow()) this.changed.add(step);
    const serial = all === 'undecided' ? projection.decide(least, ONE_BUDGET) : all;
    const { key, stuck } = projection;
    if (serial === 'undecided') this.undecided.add(key);
    else this.undecided.delete(key);
    if (serial === 'no') this.wrong = { key, step: stuck?.step };
    return serial;
  }
}

const textOfEffect = ({ credit, stocks }: Effect): string => `${credit} ${[...stocks].sort()}`;

/** The most that an order can have cost or been paid: PLENTY must exceed it. */
function mostOf(steps: readonly Step[], initial: World, id: string): number {
  let most = totalOf(initial, id) + (initial.orders.get(id)?.payment ?? 0);
  for (const { operation } of steps) {
    const { call } = operation;
    if (call.call === 'payOrder') most += call.amount;
    if (call.call !== 'addItem') continue;
    const line = initial.orders.get(id)?.lines.get(call.item);
    const price = Math.max(initial.items.get(call.item)?.price ?? 0, line?.price ?? 0);
    most += call.amount * Math.max(1, price);
  }
  for (const line of initial.orders.get(id)?.lines.values() ?? []) most += line.quantity;
  return most;
}

function grouped(steps: readonly Step[]): Map<string, Step[]> {
  const groups = new Map<string, Step[]>();
  for (const step of steps) {
    const { call } = step.operation;
    if (!('order' in call)) continue;
    const group = groups.get(call.order);
    if (group) group.push(step);
    else groups.set(call.order, [step]);
  }
  return groups;
}

function ofOrder(
  id: string,
  steps: readonly Step[],
  plenty: World,
  first: Order,
  noted: Map<Step, Effect[]>,
): Projection<Order> {
  const moves = steps.map((step): Move<Order> => {
    const { call, outcome } = step.operation;
    const run = tryOn(plenty, id, step);
    const move = { step, from: step.from, until: step.until, optional: step.optional };
    const next = (state: Order) => {
      const result = run(state);
      return result ? [result.after] : [];
    };
    const moving = call.call === 'checkout' || call.call === 'cancel';
    if (!moving || (step.observer && !ELSEWHERE.has(outcome))) return { ...move, next };
    const note = (state: Order) => {
      const effect = run(state)?.effect;
      if (effect) noted.get(step)?.push(effect);
    };
    return { ...move, next, note };
  });
  return new Projection(`order ${id}`, moves, first, (state) => textOf(state));
}

const textOf = (order: Order): string => {
  if (!order) return 'none';
  const lines = [...order.lines].map(([item, line]) => `${item} ${line.quantity} ${line.price}`);
  return `${order.user} ${order.paid} ${order.payment} ${lines.sort()}`;
};

/** Runs the step in a world where every balance suffices: only the order itself decides. */
function tryOn(plenty: World, id: string, { operation }: Step) {
  const elsewhere = ELSEWHERE.has(operation.outcome) && operation.call.call !== 'addItem';
  const { credit: _, ...shown } = operation.seen;
  // A refusal for lack of credit or stock: with plenty of both the call would have succeeded.
  const relaxed = elsewhere
    ? { ...operation, outcome: 'ok', seen: {} }
    : { ...operation, seen: shown };
  return (state: Order): { after: Order; effect: Effect } | undefined => {
    if (state) plenty.orders.set(id, { ...state, lines: new Map(state.lines) });
    else plenty.orders.delete(id);
    const right = explains(relaxed, plenty);
    const after = plenty.orders.get(id);
    const effect = { credit: 0, stocks: new Map<string, number>() };
    const user = after?.user ?? '';
    if (plenty.users.has(user)) {
      effect.credit = (plenty.users.get(user) ?? 0) - PLENTY;
      plenty.users.set(user, PLENTY);
    }
    for (const item_id of after?.lines.keys() ?? []) {
      const item = plenty.items.get(item_id);
      if (!item || item.stock === PLENTY) continue;
      effect.stocks.set(item_id, item.stock - PLENTY);
      item.stock = PLENTY;
    }
    if (!right || (elsewhere && after?.paid === state?.paid && after?.payment === state?.payment)) {
      return undefined;
    }
    return { after: elsewhere ? state : after, effect };
  };
}
