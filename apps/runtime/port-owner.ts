/** Finds the process that listens on a TCP port: on Linux, among the user's own processes. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const LISTEN = '0A';
const COMMAND_MAX_LENGTH = 60;

/** `process 4711 (bun apps/cli/dev.ts)`, or undefined if the system does not tell. */
export function portOwner(port: number): string | undefined {
  const sockets = new Set(['tcp', 'tcp6'].flatMap((table) => listenersIn(table, port)));
  if (sockets.size === 0) return undefined;
  const pid = ignoreErrors(() => readdirSync('/proc'), [])
    .filter((name) => /^\d+$/.test(name))
    .find((name) => filesOf(name).some((file) => sockets.has(file)));
  return pid && `process ${pid} (${commandOf(pid)})`;
}

/** The sockets that listen on the port, as /proc/PID/fd names them. */
function listenersIn(table: string, port: number): string[] {
  const lines = ignoreErrors(() => readFileSync(`/proc/net/${table}`, 'utf8'), '').split('\n');
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    const is_listener = state === LISTEN && Number.parseInt(local.split(':')[1] ?? '', 16) === port;
    return is_listener ? [`socket:[${inode}]`] : [];
  });
}

/** What the open files of a process are; none if it belongs to another user. */
function filesOf(pid: string): string[] {
  const folder = `/proc/${pid}/fd`;
  const names = ignoreErrors(() => readdirSync(folder), []);
  return names.map((name) => ignoreErrors(() => readlinkSync(`${folder}/${name}`), ''));
}

function commandOf(pid: string): string {
  const words = ignoreErrors(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'), '').split('\0');
  const command = words.join(' ').trim();
  const is_long = command.length > COMMAND_MAX_LENGTH;
  return is_long ? `${command.slice(0, COMMAND_MAX_LENGTH)}…` : command;
}

/** Processes come and go, and other systems have no /proc. */
function ignoreErrors<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
