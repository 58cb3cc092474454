/** Measures the time from `bun run dev` to the first answer, on a new store. */
import { join } from 'node:path';
import { answers, freePort, type Stage } from '../../test/support/process.ts';

/** @param stage used only here, and cleared @returns seconds */
export async function measureStart(stage: Stage): Promise<number> {
  const [port, folder] = [await freePort(), await stage.folder()];
  const began = performance.now();
  const args = ['run', 'dev', '--port', String(port), '--data', join(folder, 'data')];
  await answers(stage.start(args), port);
  const took_s = (performance.now() - began) / 1000;
  await stage.clear();
  return took_s;
}
