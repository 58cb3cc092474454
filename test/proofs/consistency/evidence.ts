/** The record of a run of the consistency test, from which its figures are computed. */
import { isDone, isRefused, type Known } from '../../support/client.ts';
import type { Plan } from './plan.ts';

export const KINDS = ['user', 'item', 'order'] as const;
export type Kind = (typeof KINDS)[number];
/** In the order of the plan. */
export type Ids = Record<Kind, string[]>;
/**
 * Credits, stocks, and 1 for a paid order or 0 for an unpaid one; undefined if it was not found.
 */
export type Values = Record<Kind, (number | undefined)[]>;

/** One checkout. Without an answer it may also take effect after `completed_at`. */
export interface Attempt {
  /** Its index in the plan. */
  order: number;
  invoked_at: number;
  completed_at: number;
  told: Known;
}

/** A read during the checkouts. */
export interface Sample {
  kind: Kind;
  index: number;
  value: number;
  from: number;
  to: number;
}

/** The lines of an order by item, as the deployment shows them. */
interface SeenOrder {
  total_cost: number;
  lines: Map<string, number>;
}

/** The whole state between two readings that agree. */
export interface Snapshot {
  from: number;
  to: number;
  values: Values;
  orders: (SeenOrder | undefined)[];
  /** How many values still changed after all calls had been answered. */
  restless: number;
}

export interface Round {
  attempts: Attempt[];
  samples: Sample[];
  after: Snapshot;
}

export interface Evidence {
  plan: Plan;
  ids: Ids;
  before: Snapshot;
  /** The checkouts, and the same checkouts again. */
  rounds: [Round, Round];
  /** Undefined where the deployment has no /v1, as are the holds and the purchases. */
  refunds?: Refunds | undefined;
  holds?: Holds | undefined;
  purchases?: Purchases | undefined;
}

/** Refunds of whole orders, each asked for twice at the same time, and the state after them. */
export interface Refunds {
  attempts: { order: number; told: [Known, Known] }[];
  after: Snapshot;
}

/** Holds of open orders, each asked for twice at the same time, and how they were ended. */
export interface Holds {
  attempts: { order: number; told: [Known, Known] }[];
  /** The state while nobody has ended a hold. */
  held: HeldState;
  ends: { order: number; what: 'checkout' | 'release'; told: Known }[];
  after: HeldState;
}

/** What the deployment shows while nothing is in flight. */
export interface HeldState {
  items: { stock: number; held: number }[];
  /** Of the orders: open, held, paid or refunded. */
  states: string[];
}

/** Whole purchases in one call, and the state after them. */
export interface Purchases {
  attempts: PurchaseAttempt[];
  after: HeldState & {
    credits: number[];
    /** The ids of all orders of the users. */
    orders: string[];
    /** Units sold of an item that is too dear for everybody. */
    dear_sold: number;
  };
}

/** One call, sent several times under one key: a purchase, or two in a bulk of mode `all`. */
export interface PurchaseAttempt {
  asked: Asked[];
  told: Known[];
  /** The orders in its answer, as the deployment shows them afterwards. */
  made: (MadeOrder | undefined)[];
}

export interface Asked {
  /** The order of the plan whose user it has. */
  order: number;
  /** The items of the plan that it asks for. */
  lines: Plan['orders'][number]['lines'];
  /** The refusal that it cannot escape, if any. */
  must?: 'item_not_found' | 'out_of_stock' | 'insufficient_credit' | undefined;
}

export interface MadeOrder {
  id: string;
  user_id: string;
  state: string;
  total_cost: number;
  lines: { item_id: string; quantity: number }[];
}

/** Neither done nor refused: it may have taken effect and, without an answer, still may. */
export const isUnknown = ({ told }: Attempt): boolean => !isDone(told) && !isRefused(told);
