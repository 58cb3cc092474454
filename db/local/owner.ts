/** The owner of a data directory: a file that stops a second `dev` and leads tools to the store. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';

export interface Owner {
  pid: number;
  command: string;
  /** Set once the store runs. */
  database_url?: string;
}

const pathOf = (directory: string) => join(directory, 'owner.json');

/**
 * Makes this process the owner of the directory. Of several concurrent claims one succeeds.
 * @throws Failure internal that names the living owner
 */
export async function claim(directory: string): Promise<void> {
  const mine = await writeAside(directory, undefined);
  try {
    for (;;) {
      if (await linked(mine, pathOf(directory))) return;
      const owner = await readOwner(directory);
      if (owner) {
        const detail = `${directory} is in use by process ${owner.pid}: stop that first`;
        throw new Failure('internal', detail);
      }
      // A dead owner's file is renamed first: of several processes one succeeds and removes it.
      const stale = `${pathOf(directory)}.${randomUUID()}`;
      await rename(pathOf(directory), stale).catch(() => {});
      await rm(stale, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}

/** Publishes the address of the store to the tools. */
export async function announce(directory: string, database_url: string): Promise<void> {
  await rename(await writeAside(directory, database_url), pathOf(directory));
}

export const release = (directory: string): Promise<void> => rm(pathOf(directory), { force: true });

/** The living owner of the directory, with the address of its store. */
export async function readOwner(directory: string): Promise<Owner | undefined> {
  try {
    const owner = JSON.parse(await readFile(pathOf(directory), 'utf8')) as Owner;
    return commandOf(owner.pid) === owner.command ? owner : undefined;
  } catch {
    return undefined;
  }
}

async function writeAside(directory: string, database_url: string | undefined): Promise<string> {
  const path = `${pathOf(directory)}.${randomUUID()}`;
  const owner = { pid: process.pid, command: commandOf(process.pid), database_url };
  await writeFile(path, JSON.stringify(owner), { mode: 0o600 });
  return path;
}

const linked = (from: string, to: string): Promise<boolean> =>
  link(from, to).then(
    () => true,
    (error) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );

/** The command line of a living process, or undefined: process ids are reused. */
export function commandOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() || undefined;
  } catch {}
  try {
    const ps = execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { stdio: 'pipe' });
    return String(ps).trim() || undefined;
  } catch {
    return undefined;
  }
}
