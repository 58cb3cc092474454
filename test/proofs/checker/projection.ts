/**
 * A history reduced to one key. Each projection must have a serial order if the whole history has
 * one. As a look-ahead, projections also keep the search of the whole history out of dead ends.
 */
import type { World } from '../../support/model.ts';
import type { Step } from './step.ts';
import { type Span, Window } from './window.ts';

/** A step as it acts on one key. */
export interface Move<T> extends Step {
  /** The step itself, whose times may become narrower. */
  step: Step;
  /** The states that it may produce from this one; none if its answer is impossible here. */
  next(state: T): T[];
  /** Called with each state that it finds in some serial order. */
  note?(before: T): void;
}

/** 'all': every serial order, to know windows; 'effects': enough for the notes; or 'one'. */
type Mode = 'all' | 'effects' | 'one';

export class Projection<T> {
  /** The step at which a projection without a serial order ended. */
  stuck: Step | undefined;
  private readonly window: Window<Move<T>>;
  readonly moves: ReadonlyMap<Step, Move<T>>;
  private readonly dead = new Set<string>();
  private readonly alive = new Set<string>();
  private readonly bounds = new Map<Move<T>, { from: number; until: number }>();
  private mode: Mode = 'one';
  private left = 0;
  private horizon = 0;
  private gave_up = false;
  private furthest = Number.NEGATIVE_INFINITY;

  constructor(
    readonly key: string,
    moves: readonly Move<T>[],
    private readonly state: { of(world: World): T; text(state: T): string },
  ) {
    this.window = new Window(moves);
    this.moves = new Map(moves.map((move) => [move.step, move]));
  }

  /** @returns whether this key alone has a serial order */
  decide(initial: World, mode: Mode, budget: number): 'yes' | 'no' | 'undecided' {
    [this.left, this.horizon, this.gave_up] = [budget, Number.POSITIVE_INFINITY, false];
    this.mode = mode;
    this.alive.clear();
    this.bounds.clear();
    const serial = this.walk(this.state.of(initial), Number.NEGATIVE_INFINITY);
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
    for (const [step, move] of this.moves) {
      const { from, until } = this.bounds.get(move) ?? move;
      if (from <= step.from && until >= step.until) continue;
      step.from = Math.max(step.from, from);
      step.until = Math.min(step.until, until);
      narrower.push(step);
    }
    return narrower;
  }

  put(step: Step): void {
    const move = this.moves.get(step);
    if (move) this.window.put(move);
  }

  pop(): void {
    this.window.pop();
  }

  /** False if no serial order continues from here; true if one may. */
  mayGoOn(world: World): boolean {
    [this.left, this.horizon, this.gave_up] = [400, this.window.order.length + 40, false];
    return this.walk(this.state.of(world), 0);
  }

  /** @param begun the latest start among the moves placed so far */
  private walk(state: T, begun: number): boolean {
    const due = this.window.due();
    if (!due && this.mode === 'one') return true;
    if (this.window.order.length >= this.horizon) return true;
    const print = `${this.window.fingerprint} ${this.state.text(state)}`;
    if (this.alive.has(print)) return true;
    if (this.dead.has(print)) return false;
    if (--this.left < 0) {
      this.gave_up = true;
      return true;
    }
    if (due && due.until > this.furthest) [this.stuck, this.furthest] = [due.step, due.until];
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
    for (const move of look ? [look] : moves.sort(byEnd)) {
      const begins = Math.max(begun, move.step.from);
      for (const after of move.next(state)) {
        this.window.put(move);
        const lived = this.walk(after, begins);
        this.window.pop();
        if (this.gave_up && this.mode !== 'one') return true;
        if (!lived) continue;
        if (this.mode === 'one') return true;
        lives = true;
        move.note?.(state);
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

const isLook = ({ observer, note }: Move<unknown>): boolean => observer && note === undefined;

/** Infinity less Infinity is not a number. */
export const byEnd = (a: Pick<Span, 'until'>, b: Pick<Span, 'until'>): number =>
  a.until < b.until ? -1 : a.until > b.until ? 1 : 0;
