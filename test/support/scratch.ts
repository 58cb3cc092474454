/** Where tests and their stores keep their files: in memory, where a machine has enough of it. */
import { readFileSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

const MEMORY = '/dev/shm';
/**
 * Far more than a run needs: each of its stores keeps its write-ahead log below half a gigabyte.
 */
const ROOM_BYTES = 8 * 2 ** 30;

/**
 * From here on temporary files of this process, and of those that get its environment, are made
 * there: a store has a thousand files, which cost a disk's file system more than the store itself.
 * A folder that is named already stays.
 */
export function useMemory(): void {
  if (!process.env.TMPDIR && isRoomy()) process.env.TMPDIR = MEMORY;
}

/** Not so on other systems than Linux, nor where nothing may be executed, as in a container. */
function isRoomy(): boolean {
  try {
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    const options = mounts.map((line) => line.split(' ')).findLast(([, at]) => at === MEMORY)?.[3];
    if (options === undefined || /\b(?:ro|noexec)\b/.test(options)) return false;
    const { bavail, bsize } = statfsSync(MEMORY);
    return Math.min(bavail * bsize, freemem()) >= ROOM_BYTES;
  } catch {
    return false;
  }
}
