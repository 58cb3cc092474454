/** `bun run cluster` in a folder of its own, with a stand-in for the binary unless one is given. */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cluster, isTaken } from '../../db/local/cockroach-node.ts';
import { type Child, type Stage, TOP } from './process.ts';

export async function newCluster(stage: Stage, binary?: string) {
  const folder = await stage.folder();
  const data = join(folder, 'data');
  const stand_in = join(folder, 'cockroach');
  const words = [process.execPath, join(TOP, 'test/support/cockroach-stand-in.ts'), folder];
  const program = words.map((word) => `'${word}'`).join(' ');
  const tell = `[ "$1" = version ] && exec echo 'Build Tag:        '"$(cat '${folder}/version')"`;
  await writeFile(join(folder, 'version'), 'v25.4.11');
  await writeFile(stand_in, `#!/bin/sh\n${tell}\nexec ${program} "$@"\n`);
  await chmod(stand_in, 0o755);
  const [sql, http] = await freePorts();
  let seen = 0;
  const run = (...flags: string[]): Promise<Child> =>
    stage.run(['apps/cli/cluster.ts', '--data', data, ...flags], { COCKROACH: binary ?? stand_in });
  const state = (): Cluster => JSON.parse(readFileSync(join(data, 'cluster/cluster.json'), 'utf8'));
  return {
    /** The folder of the stand-in, and the data directory below it. */
    folder,
    data,
    sql,
    http,
    run,
    /** The first run, which chooses the ports. */
    up: (...flags: string[]) => run('--sql-port', `${sql}`, '--http-port', `${http}`, ...flags),
    /** The calls of the binary since the last time. */
    calls(): string[][] {
      const path = join(folder, 'calls');
      const all = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
      const fresh = all.slice(seen);
      seen = all.length;
      return fresh.map((line) => JSON.parse(line));
    },
    state,
    pids: () => state().nodes.map(({ pid }) => pid),
  };
}

let turn = Math.floor(Math.random() * 600);

/** The first of ten free ports, twice, below the ports that the system assigns. */
async function freePorts(): Promise<[number, number]> {
  for (;;) {
    const first = 20_000 + 20 * (turn++ % 600);
    const ports = Array.from({ length: 20 }, (_, i) => first + i);
    if (!(await Promise.all(ports.map(isTaken))).includes(true)) return [first, first + 10];
  }
}
