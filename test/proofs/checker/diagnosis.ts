/**
 * Names a violation by the smallest repair of the history. If the history is right without the
 * effect of one call, that call's 200 was false; if it is right with the effect twice, it took
 * effect twice; and so on.
 */
import type { Operation } from '../../support/history.ts';
import type { World } from '../../support/model.ts';
import { ALWAYS, REPAIRS } from './repairs.ts';
import { search } from './search.ts';
import { isRead, type Step, stepOf } from './step.ts';

export interface Violation {
  /** The name of the anomaly; 'no serial order' if no single repair explains it. */
  name: string;
  /** One sentence with the ids. */
  detail: string;
}

/** Operations for which there is no serial order. */
export interface Wrong {
  operations: readonly Operation[];
  initial: World;
  /** The one beyond which no serial order leads. */
  at: Operation | undefined;
  /** The key that shows it alone, if one does. */
  key: string | undefined;
}

/** The most operations on which repairs are tried; a longer history is cut to a prefix. */
const SMALL = 150;
const BUDGET = 2_000;

/**
 * @param mute operations without information about the state; they may have had an effect
 * @param repairs the most steps to try to find a name
 */
export function diagnose(
  wrong: Wrong & { mute: readonly Operation[]; repairs: number },
): Violation {
  const { at, key } = wrong;
  const found = repaired(wrong);
  const { name, operation } = found ?? { name: 'no serial order', operation: at };
  const call = operation
    ? `${JSON.stringify(operation.call)} of client ${operation.client}, answered ` +
      `${operation.outcome} ${JSON.stringify(operation.seen)}`
    : 'nothing';
  const whose = key ? `the calls on ${key}` : 'the calls';
  const what = found ? `${name}: ${call}` : `none leads past ${call}`;
  return { name, detail: `${whose} have no serial order; ${what}` };
}

function repaired({ operations, initial, mute, at, repairs }: Parameters<typeof diagnose>[0]) {
  const end = operations.length <= SMALL ? ALWAYS : (at?.completed_at ?? 0);
  const near = operations.filter((operation) => operation.invoked_at <= end);
  if (near.length > SMALL) return undefined;
  // Calls in flight at the end of the prefix may belong to it or come later.
  const ofPrefix = (step: Step) => ({ ...step, optional: step.optional || step.until > end });
  const steps = near.map(stepOf).map(ofPrefix);
  let left = repairs;
  const holds = (tried: readonly Step[]) => {
    if (left <= 0) return false;
    const found = search(tried, initial, Math.min(left, BUDGET));
    left -= found.tried + tried.length;
    return found.serial === 'yes';
  };
  const silent = mute.filter((operation) => !isRead(operation)).map(stepOf);
  const by_end = [...steps, ...silent].sort((a, b) => (a.until < b.until ? 1 : -1));
  for (const repair of REPAIRS) {
    for (const step of by_end) {
      const others = steps.filter((other) => other !== step);
      const name = repair(step, others, holds);
      if (name) return { name, operation: step.operation };
    }
  }
  return undefined;
}
