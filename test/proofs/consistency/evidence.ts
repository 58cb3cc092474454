/** The record of a run of the consistency test, from which its figures are computed. */
import { isAnswer, type Known } from '../../support/client.ts';
import type { Plan } from './plan.ts';

/** One checkout. Without an answer it may also take effect after `completed_at`. */
export interface Attempt {
  /** Its index in the plan. */
  order: number;
  invoked_at: number;
  completed_at: number;
  told: Known;
}

export type Kind = 'user' | 'item' | 'order';

/** A read during the checkouts: a credit, a stock, or 1 for a paid order and 0 for an unpaid one. */
export interface Sample {
  reader: number;
  kind: Kind;
  index: number;
  value: number;
  from: number;
  to: number;
}

export interface SeenOrder {
  paid: boolean;
  total_cost: number;
  lines: Map<string, number>;
}

/** The whole state between two readings that agree; undefined for what was not found. */
export interface Snapshot {
  from: number;
  to: number;
  credits: (number | undefined)[];
  stocks: (number | undefined)[];
  orders: (SeenOrder | undefined)[];
  /** How many values still changed after all calls had been answered. */
  restless: number;
}

/** In the order of the plan. */
export interface Ids {
  users: string[];
  items: string[];
  orders: string[];
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
}

/** Neither done nor refused: it may have taken effect and, without an answer, still may. */
export const isUnknown = ({ told }: Attempt): boolean =>
  !isAnswer(told) ||
  told.status < 200 ||
  told.status >= 500 ||
  (told.status >= 300 && told.status < 400);

/** The code of a refusal, where the deployment gives one. */
export const codeOf = (told: Known | undefined): unknown =>
  told && isAnswer(told) ? told.body?.code : undefined;
