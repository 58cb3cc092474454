/** The measured services, each in its own process, and their memory. */
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { Failure } from '../../db/failure.ts';
import { answers, type Child, freePort, type Stage } from '../../test/support/process.ts';

export interface Service {
  address: string;
  /** The peak of its resident memory since the last `forgetPeak`. */
  peakMb(): Promise<number>;
  forgetPeak(): Promise<void>;
  /** @throws Failure with its last output, if it has ended */
  assertAlive(): void;
  /** Stops it gracefully: it answers calls in flight first. */
  stop(): Promise<void>;
  kill(): Promise<unknown>;
}

/** Kassa's three services on one origin, as `bun run dev` starts them. */
export const startKassa = (
  stage: Stage,
  database_url: string,
  { lanes, auth = false }: { lanes?: number; auth?: boolean },
): Promise<Service> =>
  start(stage, ['apps/cli/dev.ts', '--empty'], {
    DATABASE_URL: database_url,
    ...(lanes !== undefined && { LANES: String(lanes) }),
    AUTH: auth ? 'on' : 'off',
  });

export const startOneTransactionEach = (stage: Stage, database_url: string): Promise<Service> =>
  start(stage, ['stress-test/bench/one-transaction-each.ts'], { DATABASE_URL: database_url });

async function start(stage: Stage, args: string[], env: Record<string, string>): Promise<Service> {
  const port = await freePort();
  const child = stage.start(args, { ...env, PORT: String(port) });
  await answers(child, port).catch((cause) => {
    throw new Failure('internal', `${args[0]} does not start:${lastLines(child)}`, { cause });
  });
  const assertAlive = () => {
    if (child.code === undefined) return;
    throw new Failure('internal', `${args[0]} ended by itself:${lastLines(child)}`);
  };
  return {
    address: `http://127.0.0.1:${port}`,
    peakMb: () => peakMb(child.pid),
    // Linux only, see proc(5).
    forgetPeak: () => writeFile(`/proc/${child.pid}/clear_refs`, '5').catch(() => {}),
    assertAlive,
    async stop() {
      assertAlive();
      child.signal('SIGTERM');
      await child.ended;
    },
    kill() {
      if (child.code === undefined) child.signal('SIGKILL');
      return child.ended;
    },
  };
}

/** The last lines of a child's error output, indented. */
export function lastLines(child: Child): string {
  const lines = child.err.trim().split('\n').slice(-5);
  return lines.map((line) => `\n  ${line || '(it said nothing)'}`).join('');
}

/** The peak on Linux; elsewhere the current value. */
async function peakMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  const kib =
    status === undefined
      ? execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
      : /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
  return Number(kib) / 1024;
}
