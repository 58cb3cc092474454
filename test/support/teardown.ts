/** What a proof undoes when it ends: by itself, by a failure, or because it is told to stop. */
import { sentenceFor } from './report.ts';

export interface Teardown {
  /** What is added last is undone first. */
  add(undo: () => Promise<unknown>): void;
  /** Undoes all of it, once. If a signal has begun it, this never resolves: the process ends. */
  run(): Promise<void>;
}

const SIGNALS = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const;

/**
 * Opened before anything is begun: from then on a signal undoes what there is and ends the process
 * with the signal's code. Further signals change nothing, since `bun run` may pass on one that the
 * terminal has sent already.
 */
export function openTeardown(): Teardown {
  const steps: (() => Promise<unknown>)[] = [];
  let running: Promise<void> | undefined;
  const undoAll = async () => {
    for (let undo = steps.pop(); undo; undo = steps.pop()) {
      await undo().catch((error) => console.error(sentenceFor(error)));
    }
  };
  for (const [signal, code] of SIGNALS) {
    process.on(signal, () => {
      running ??= undoAll().then(() => process.exit(code));
    });
  }
  return {
    add: (undo) => void steps.push(undo),
    run: () => (running ??= undoAll()),
  };
}
