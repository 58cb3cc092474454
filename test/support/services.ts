/** Services as processes, the way they are deployed, on the store of the run. */
import { afterAll } from 'bun:test';
import { join } from 'node:path';
import { type Kassa, openKassa, storeUrl } from './kassa.ts';
import { answers, type Child, freePort, openStage, type Stage, TOP } from './process.ts';
import { withPort } from './store-address.ts';

export const SERVICES = ['order', 'payment', 'stock', 'webhooks'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface Running {
  child: Child;
  port: number;
}

/** A stage for services, and Kassa on the same store. Both end after the tests of the file. */
export function openStageAndKassa(): { stage: Stage; kassa: Kassa } {
  const [stage, kassa] = [openStage(), openKassa()];
  afterAll(async () => {
    await kassa.close();
    await stage.clear();
  });
  return { stage, kassa };
}

/**
 * Starts one service, on a free port unless PORT is given, and waits until it answers on `path`.
 */
export async function startService(
  stage: Stage,
  name: ServiceName,
  env: Record<string, string> = {},
  path?: string,
): Promise<Running> {
  const port = Number(env.PORT ?? (await freePort()));
  const settings = { DATABASE_URL: storeUrl(), PORT: String(port), ...env };
  const child = stage.start([`apps/${name}/main.ts`], settings);
  await answers(child, port, path);
  return { child, port };
}

/** Starts one service on Deno, with the least permissions, and does not wait for it. */
export async function startOnDeno(
  stage: Stage,
  name: ServiceName,
  more: Record<string, string> = {},
): Promise<Running> {
  const port = await freePort();
  const args = ['serve', '--quiet', '--no-prompt', '--allow-net', '--allow-env'];
  args.push('--allow-sys=hostname'); // pino asks for it on import
  args.push('--host', '127.0.0.1', '--port', String(port), `apps/${name}/main.ts`);
  const folder = { DENO_DIR: await stage.folder(), DENO_NO_UPDATE_CHECK: '1' };
  const env = { DATABASE_URL: storeUrl(), ...folder, ...more };
  return { child: stage.start(args, env, join(TOP, 'node_modules/deno/deno')), port };
}

/** The address of the run's database, at a port on which nothing listens. */
export const absentStore = async (): Promise<string> => withPort(storeUrl(), await freePort());

/** The text of a service's metrics. */
export const scrape = async (port: number): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
