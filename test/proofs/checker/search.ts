/**
 * The exact search for a serial order: Wing and Gong, "Testing and verifying concurrent objects"
 * (1993), with the memoization of Lowe, "Testing for linearizability" (2017); Knossos and Porcupine
 * call it WGL. An operation is tried once all that completed before its invocation are placed.
 */
import type { World } from '../../support/model.ts';
import { seeded } from '../../support/report.ts';
import { byEnd, type Projection } from './projection.ts';
import { copyOf } from './relax.ts';
import { describe, isRead, remember, type Step, touched } from './step.ts';
import { hashOf, Window } from './window.ts';

export interface Found {
  /** 'yes': an order was found. 'no': all were tried. 'undecided': the budget was used up. */
  serial: 'yes' | 'no' | 'undecided';
  /** The step at which the longest path of the search ended. */
  stuck: Step | undefined;
  tried: number;
}

/** A choice point of the search: the number of observers placed, and the options left to try. */
interface Choice {
  print: bigint;
  observers: number;
  options: Step[];
  next: number;
  undo: (() => void) | undefined;
}

/**
 * Depth first. After a while without progress it backtracks several levels and reorders its
 * choices, most conflicting first (restarts and weights, as in constraint solvers). Choices that
 * were only partly tried are forgotten, so 'no' still means that everything was tried.
 * @param budget the most steps to try before the search gives up
 * @param projections to look ahead along single keys; without them the search only takes longer
 */
export function search(
  steps: readonly Step[],
  initial: World,
  budget: number,
  projections: readonly Projection<unknown>[] = [],
): Found {
  const way = new Way(steps, initial, projections);
  const seen = new Set<bigint>();
  const choices: Choice[] = [];
  let [stuck, furthest] = [undefined as Step | undefined, Number.NEGATIVE_INFINITY];
  let [tried, since, patience, back] = [0, 0, PATIENCE, BACK];
  const leave = (): Choice | undefined => {
    const choice = choices.pop();
    choice?.undo?.();
    way.unobserve(choice?.observers ?? 0);
    return choice;
  };
  for (;;) {
    const observers = way.observe();
    const due = way.window.due();
    if (!due) return { serial: 'yes', stuck: undefined, tried };
    if (due.until > furthest) {
      [stuck, furthest] = [due, due.until];
      [since, patience, back] = [tried, PATIENCE, BACK];
    } else if (tried - since > patience && choices.length > 0) {
      way.unobserve(observers);
      way.blame(due);
      for (let i = 0; i <= back; i++) seen.delete(leave()?.print ?? 0n);
      [since, patience, back] = [tried, patience * 1.3, back * 1.3];
      continue;
    }
    const print = way.window.fingerprint;
    const options = seen.has(print) ? [] : way.options(due);
    seen.add(print);
    choices.push({ print, observers, options, next: 0, undo: undefined });
    // Take the next option that explains its answer, or backtrack to a level that has one.
    for (let moved = false; !moved; ) {
      const choice = choices.at(-1);
      if (!choice) return { serial: 'no', stuck, tried };
      choice.undo?.();
      choice.undo = undefined;
      const option = choice.options[choice.next++];
      if (!option) {
        leave();
        continue;
      }
      if (++tried > budget) return { serial: 'undecided', stuck, tried };
      choice.undo = way.take(option);
      moved = choice.undo !== undefined;
    }
  }
}

const PATIENCE = 300;
const BACK = 30;

/** The steps placed so far, and the world that they have produced. */
class Way {
  readonly window: Window<Step>;
  private readonly world: World;
  /** The projections that have the step, kept where the way is. */
  private readonly ahead = new Map<Step, Projection<unknown>[]>();
  private readonly random = seeded(2);
  private readonly blames = new Map<Step, number>();
  private blamed = 0;

  constructor(steps: readonly Step[], initial: World, projections: readonly Projection<unknown>[]) {
    this.window = new Window(steps.filter((step) => !(step.optional && step.observer)));
    this.world = copyOf(initial);
    for (const step of steps) this.ahead.set(step, []);
    for (const projection of projections) {
      for (const step of projection.moves.keys()) this.ahead.get(step)?.push(projection);
    }
  }

  /**
   * Places every observer whose answer is right now. An observer changes nothing, so an order that
   * places it later is also valid with it here.
   * @returns how many
   */
  observe(): number {
    let placed = 0;
    for (let before = -1; before < placed; ) {
      before = placed;
      for (const step of this.window.candidates()) {
        if (!step.observer || !this.fits(step)) continue;
        this.put(step);
        placed++;
      }
    }
    return placed;
  }

  unobserve(placed: number): void {
    for (let i = 0; i < placed; i++) this.pop();
  }

  /**
   * First the steps that were blamed most, then those that touch the keys of the step that is due,
   * then the rest, each by its end: the more were blamed, the less exactly.
   */
  options(due: Step): Step[] {
    const keys = new Set(touched(this.world, due));
    const needed = due.observer ? 4 : 1; // an observer that is due does not fit yet
    const rank = (step: Step) => {
      const near = touched(this.world, step).some((key) => keys.has(key));
      return balances(step) + (near ? needed : 0);
    };
    const disorder = Math.min(1, this.blamed / 10) * Math.min(1e6, due.until - due.from);
    const options = this.window.candidates().filter((step) => !step.observer);
    const sorted = options.map((step) => ({
      step,
      blames: this.blames.get(step) ?? 0,
      rank: disorder > 0 && this.random() < 0.1 ? 1 : rank(step),
      until: step.until + (this.random() - 0.5) * disorder,
    }));
    sorted.sort((a, b) => b.blames - a.blames || b.rank - a.rank || byEnd(a, b));
    return sorted.map(({ step }) => step);
  }

  /** From now on, tries this step as early as possible, and the others in a new random order. */
  blame(step: Step): void {
    this.blames.set(step, (this.blames.get(step) ?? 0) + 1);
    this.blamed++;
  }

  /** Does the step. @returns how to undo it, or undefined if it can't come now */
  take(step: Step): (() => void) | undefined {
    const keys = touched(this.world, step);
    const undo = remember(this.world, keys);
    const before = keys.map((key) => describe(this.world, key));
    if (!step.apply(this.world)) {
      undo();
      return undefined;
    }
    const texts = [...before, ...keys.map((key) => describe(this.world, key))];
    const change = texts.map(hashOf).reduce((a, b) => a ^ b, 0n);
    this.window.fingerprint ^= change;
    this.put(step);
    const back = () => {
      this.pop();
      this.window.fingerprint ^= change;
      undo();
    };
    if (this.ahead.get(step)?.every((projection) => projection.mayGoOn(this.world))) return back;
    back();
    return undefined;
  }

  private fits(step: Step): boolean {
    if (isRead(step.operation)) return step.apply(this.world);
    const undo = remember(this.world, touched(this.world, step));
    const right = step.apply(this.world);
    undo();
    return right;
  }

  private put(step: Step): void {
    this.window.put(step);
    for (const projection of this.ahead.get(step) ?? []) projection.put(step);
  }

  private pop(): void {
    const step = this.window.pop();
    for (const projection of this.ahead.get(step) ?? []) projection.pop();
  }
}

/** Answers with a balance decide whether a step fits. */
const balances = ({ optional, operation: { seen } }: Step): number =>
  !optional && (seen.credit !== undefined || seen.stock !== undefined) ? 2 : 0;
