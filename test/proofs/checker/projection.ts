/**
 * A history reduced to one key. Each projection must have a serial order if the whole history has
 * one. As a look-ahead, projections also keep the search of the whole history out of dead ends.
 */
import type { Step } from './step.ts';
import { type Span, Window } from './window.ts';

/** What a step does to one key. */
export interface Move<T> extends Span {
  step: Step;
  /** The states that it may produce from this one; none if its answer is impossible here. */
  next(state: T): T[];
  /** Called for each transition that occurs in some serial order. */
  note?(before: T, after: T): void;
}

/** 'all': every serial order, to know windows; 'effects': enough for the notes; or 'one'. */
type Mode = 'all' | 'effects' | 'one';

export class Projection<T> {
  readonly key: string;
  readonly moves: readonly Move<T>[];
  /** The move at which a projection without a serial order ended. */
  stuck: Move<T> | undefined;
  private readonly first: T;
  private readonly window: Window<Move<T>>;
  private readonly text: (state: T) => string;
  private dead = new Set<string>();
  private alive = new Set<string>();
  private readonly bounds = new Map<Move<T>, { from: number; until: number }>();
  private mode: Mode = 'one';
  private left = 0;
  private horizon = 0;
  private gave_up = false;
  private furthest = Number.NEGATIVE_INFINITY;

  constructor(key: string, moves: readonly Move<T>[], first: T, text: (state: T) => string) {
    this.key = key;
    this.moves = moves;
    this.first = first;
    this.text = text;
    this.window = new Window(moves);
  }

  /** @returns whether this key alone has a serial order */
  decide(mode: Mode, budget: number): 'yes' | 'no' | 'undecided' {
    [this.left, this.horizon, this.gave_up] = [budget, Number.POSITIVE_INFINITY, false];
    this.mode = mode;
    this.alive.clear();
    this.bounds.clear();
    const serial = this.walk(this.first, Number.NEGATIVE_INFINITY);
    this.mode = 'one';
    if (this.gave_up) this.alive.clear();
    return this.gave_up ? 'undecided' : serial ? 'yes' : 'no';
  }

  /**
   * To call after decide('all') has returned 'yes'. A step can only have happened when, in some
   * serial order, all earlier steps had begun and no later step had ended.
   * @returns the steps whose windows became narrower
   */
  narrow(): Step[] {
    const narrower: Step[] = [];
    for (const move of this.moves) {
      const { from, until } = this.bounds.get(move) ?? move;
      const { step } = move;
      if (from <= step.from && until >= step.until) continue;
      step.from = Math.max(step.from, from);
      step.until = Math.min(step.until, until);
      narrower.push(step);
    }
    return narrower;
  }

  put = (move: Move<T>): void => this.window.put(move);
  pop = (): void => this.window.pop();

  /** False if no serial order continues from here; true if one may. */
  mayGoOn(state: T): boolean {
    [this.left, this.horizon, this.gave_up] = [400, this.window.order.length + 40, false];
    return this.walk(state, 0);
  }

  /** @param begun the latest start among the moves placed so far */
  private walk(state: T, begun: number): boolean {
    const due = this.window.due();
    if (!due && this.mode === 'one') return true;
    if (this.window.order.length >= this.horizon) return true;
    const print = this.window.fingerprint() + this.text(state);
    if (this.alive.has(print)) return true;
    if (this.dead.has(print)) return false;
    if (--this.left < 0) {
      this.gave_up = true;
      return true;
    }
    if (due && due.until > this.furthest) [this.stuck, this.furthest] = [due, due.until];
    const lives = this.tryAll(state, begun) || !due;
    if (!lives) this.dead.add(print);
    else if (!this.gave_up) this.alive.add(print);
    return lives;
  }

  private tryAll(state: T, begun: number): boolean {
    let lives = false;
    const moves = this.window.candidates();
    const ends = this.window.reached;
    // An observer whose answer fits can be placed now: it changes nothing.
    const fits = (move: Move<T>) => isLook(move) && move.next(state).length > 0;
    const look = this.mode === 'all' ? undefined : moves.find(fits);
    for (const move of look ? [look] : moves.sort(byPromise)) {
      const begins = Math.max(begun, move.step.from);
      for (const after of move.next(state)) {
        this.window.put(move);
        const lived = this.walk(after, begins);
        this.window.pop();
        if (this.gave_up && this.mode !== 'one') return true;
        if (!lived) continue;
        if (this.mode === 'one') return true;
        lives = true;
        move.note?.(state, after);
        this.bound(move, begins, ends);
      }
    }
    return lives;
  }

  private bound(move: Move<T>, from: number, until: number): void {
    const known = this.bounds.get(move) ?? { from, until };
    known.from = Math.min(known.from, from);
    known.until = Math.max(known.until, until);
    this.bounds.set(move, known);
  }
}

const isLook = ({ step, note }: Move<unknown>): boolean => step.observer && note === undefined;

/** Moves that showed the resulting balance come first: their answers decide whether they fit. */
const byPromise = (a: Move<unknown>, b: Move<unknown>): number =>
  Number(showsBalance(b.step)) - Number(showsBalance(a.step)) ||
  (a.until < b.until ? -1 : a.until > b.until ? 1 : 0);

export const showsBalance = ({ optional, operation: { seen } }: Step): boolean =>
  !optional && (seen.credit !== undefined || seen.stock !== undefined);
