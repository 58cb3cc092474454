/** Who uses a data directory: one file, so that a second `dev` is told and tools find the store. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Owner {
  pid: number;
  command: string;
  database_url: string;
}

const pathOf = (directory: string) => join(directory, 'owner.json');

export async function takeOwnership(directory: string, database_url: string): Promise<void> {
  const owner: Owner = { pid: process.pid, command: commandOf(process.pid) ?? '', database_url };
  await writeFile(pathOf(directory), JSON.stringify(owner), { mode: 0o600 });
}

export const dropOwnership = (directory: string): Promise<void> =>
  rm(pathOf(directory), { force: true });

/** The process that owns the directory, if it lives. */
export async function isOwned(directory: string): Promise<number | undefined> {
  return (await readOwner(directory))?.pid;
}

/** The living owner of the directory, with the address of its store. */
export async function readOwner(directory: string): Promise<Owner | undefined> {
  try {
    const owner = JSON.parse(await readFile(pathOf(directory), 'utf8')) as Owner;
    return commandOf(owner.pid) === owner.command ? owner : undefined;
  } catch {
    return undefined;
  }
}

/** The command line of a living process, or undefined: a process id alone may have a new bearer. */
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
