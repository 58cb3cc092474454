/** `bun run dev` on a folder, for its tests. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, call, freePort, homeOf, type Stage } from './process.ts';
import { plant } from './stores.ts';

export type Dev = Awaited<ReturnType<typeof startDev>>;

/** The arguments that start dev on this folder and a free port. */
export async function devOn(folder: string) {
  const port = await freePort();
  return { port, args: ['apps/cli/dev.ts', '--port', String(port), '--data', folder] };
}

/** Starts dev on this folder and waits until it answers. */
export async function startDev(
  stage: Stage,
  folder: string,
  flags: string[] = [],
  env: Record<string, string> = {},
) {
  const { args, port } = await devOn(folder);
  const child = stage.start([...args, ...flags], env);
  await answers(child, port);
  return {
    child,
    port,
    /** Where its data are: see `Embedded`. */
    home: homeOf(child) ?? folder,
    get: (path: string) => call(port, 'GET', path),
    post: (path: string) => call(port, 'POST', path),
  };
}

/** A folder with an empty store, as an earlier run left it, so that dev need not make one. */
export async function storeFolder(stage: Stage): Promise<string> {
  const folder = join(await stage.folder(), 'data');
  await mkdir(folder);
  await plant(folder);
  return folder;
}
