/** The projections of a history: each order alone, then each user's credit and item's stock. */
import type { Operation } from '../../support/history.ts';
import type { Order, World } from '../../support/model.ts';
import { balanceMoves, type Effect } from './balances.ts';
import { type Move, Projection } from './projection.ts';
import { ENDLESS, endless, isModest } from './relax.ts';
import {
  balanceOf,
  callsOf,
  describeOrder,
  explains,
  isMoving,
  keysBehind,
  type Step,
  setBalance,
} from './step.ts';

export interface Keys {
  /** The projections, for the search to look ahead along them. */
  projections: Projection<unknown>[];
  /** The first key whose projection has no serial order, and the step at which it ended. */
  wrong: { key: string; step: Step | undefined } | undefined;
}

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
export function decideKeys(steps: readonly Step[], initial: World): Keys {
  const rounds = new Rounds(steps, initial);
  for (let round = 0; round < ROUNDS && rounds.again(); round++);
  return rounds.keys();
}

/** The effects that a step may have had, by their text. */
type Effects = Map<string, Effect>;

class Rounds {
  /** Every balance suffices, so that an order can be checked without its user and items. */
  private readonly plenty: World;
  private readonly orders = new Map<string, Step[]>();
  private readonly effects = new Map<Step, Effects>();
  private readonly projections = new Map<string, Projection<unknown>>();
  /** Keys whose projection takes too long to decide. */
  private readonly undecided = new Set<string>();
  private wrong: Keys['wrong'];
  /** Steps whose windows or effects became narrower; initially all. */
  private changed: Set<Step>;

  constructor(
    private readonly steps: readonly Step[],
    private readonly initial: World,
  ) {
    this.plenty = endless(initial, () => false);
    for (const step of steps) {
      const { call } = step.operation;
      // A call of a bulk that was refused may have been able to succeed.
      if (call.call === 'all' && step.observer) continue;
      const named = callsOf(call).flatMap((one) => ('order' in one ? one.order : []));
      for (const id of new Set(named)) this.orders.set(id, [...(this.orders.get(id) ?? []), step]);
    }
    this.changed = new Set(steps);
  }

  /** @returns whether another round may find more */
  again(): boolean {
    const changed = this.changed;
    this.changed = new Set();
    for (const [id, own] of this.orders) {
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
  keys(): Keys {
    const all = [...this.projections.values()];
    return { projections: all.filter(({ key }) => !this.undecided.has(key)), wrong: this.wrong };
  }

  private order(id: string, own: readonly Step[]): void {
    const key = `order ${id}`;
    const first = this.initial.orders.get(id);
    const alone = { ...this.initial, orders: new Map(first && [[id, first]]) };
    if (
      !isModest(
        own.map(({ operation }) => operation),
        alone,
      )
    ) {
      this.undecided.add(key);
      return;
    }
    const noted = new Map(own.map((step): [Step, Effects] => [step, new Map()]));
    const moves = own.map((step) => moveOf(this.plenty, id, step, noted.get(step)));
    const state = { of: (world: World) => world.orders.get(id), text: describeOrder };
    if (this.settle(new Projection<Order | undefined>(key, moves, state), 'effects') !== 'yes')
      return;
    for (const [step, effects] of noted) {
      if (effects.size !== this.effects.get(step)?.size) this.changed.add(step);
      this.effects.set(step, effects);
    }
  }

  private balance(key: string, moves: readonly Move<number>[]): void {
    const state = { of: (world: World) => balanceOf(world, key) ?? 0, text: String };
    this.settle(new Projection<number>(key, moves, state), 'one');
  }

  /** Explores every serial order if there are not too many, else no more than needed. */
  private settle(projection: Projection<unknown>, least: 'effects' | 'one') {
    const { key } = projection;
    this.projections.set(key, projection);
    const all = projection.decide(this.initial, 'all', ALL_BUDGET);
    if (all === 'yes') for (const step of projection.narrow()) this.changed.add(step);
    const serial = all === 'undecided' ? projection.decide(this.initial, least, ONE_BUDGET) : all;
    if (serial === 'undecided') this.undecided.add(key);
    else this.undecided.delete(key);
    if (serial === 'no') this.wrong = { key, step: projection.stuck };
    return serial;
  }
}

/** The calls of a bulk on one order; any other call itself. */
function partOf(call: Operation['call'], order: string): Operation['call'] {
  if (call.call !== 'all') return call;
  const calls = call.calls.filter((one) => 'order' in one && one.order === order);
  return { call: 'all', calls };
}

/** What a step does to an order, and its effect on others; undefined if its answer is wrong. */
type Run = { after: Order | undefined; effect: Effect } | undefined;

/** The step in a world where every balance suffices: only the order itself decides. */
function moveOf(
  plenty: World,
  id: string,
  step: Step,
  effects: Effects | undefined,
): Move<Order | undefined> {
  const { operation } = step;
  const { outcome, seen } = operation;
  const call = partOf(operation.call, id);
  const elsewhere = ELSEWHERE.has(outcome);
  const moving = isMoving(call);
  const refused = elsewhere && call.call !== 'addItem';
  const { credit: _, ...shown } = seen;
  // A refusal for lack of credit or stock: with plenty of both the call would have succeeded.
  const relaxed = refused
    ? { ...operation, call, outcome: 'ok', seen: {} }
    : { ...operation, call, seen: shown };
  const known = new Map<Order | undefined, Run>();
  const run = (state: Order | undefined): Run => {
    if (known.has(state)) return known.get(state);
    if (state) plenty.orders.set(id, state);
    else plenty.orders.delete(id);
    const right = explains(relaxed, plenty);
    const after = plenty.orders.get(id);
    const effect = new Map<string, number>();
    for (const key of keysBehind(after)) {
      const change = (balanceOf(plenty, key) ?? ENDLESS) - ENDLESS;
      if (change !== 0) effect.set(key, change);
      setBalance(plenty, key, ENDLESS);
    }
    const same = describeOrder(after) === describeOrder(state);
    const ran = right && !(refused && same) && { after: refused ? state : after, effect };
    known.set(state, ran || undefined);
    return ran || undefined;
  };
  const next = (state: Order | undefined) => {
    const result = run(state);
    return result ? [result.after] : [];
  };
  if (!moving || (step.observer && !elsewhere)) return { ...step, step, next };
  const note = (state: Order | undefined) => {
    const effect = run(state)?.effect;
    if (effect) effects?.set(`${[...effect].sort()}`, effect);
  };
  return { ...step, step, next, note };
}
