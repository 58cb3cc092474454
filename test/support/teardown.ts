/** Clean-up of a proof, when it ends normally, by a failure, or by a signal. */
import { sentenceFor } from './report.ts';

export type Teardown = ReturnType<typeof openTeardown>;

/**
 * Open it before anything starts: from then on a signal runs the clean-up and exits with the
 * signal's code. Further signals are ignored, since both the terminal and `bun run` may send one.
 */
export function openTeardown() {
  const steps: (() => Promise<unknown>)[] = [];
  let running: Promise<void> | undefined;
  const undoAll = async () => {
    for (let undo = steps.pop(); undo; undo = steps.pop()) {
      await undo().catch((error) => console.error(sentenceFor(error)));
    }
  };
  for (const [signal, code] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 })) {
    process.on(signal, () => {
      running ??= undoAll().then(() => process.exit(code));
    });
  }
  return {
    /** Steps run in reverse order. */
    add: (undo: () => Promise<unknown>) => void steps.push(undo),
    /** Runs all steps, once. If a signal has started it, this never resolves: the process exits. */
    run: () => (running ??= undoAll()),
  };
}
