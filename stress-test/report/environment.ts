/** What a report says about its run: command line and machine. It loads no library of charts. */
import { cpus, release, totalmem, type } from 'node:os';
import manifest from '../../package.json' with { type: 'json' };

/** The command line as typed, but for a key, for the page; take it before flags are read. */
export const commandLine = (command: string): string =>
  [command, ...process.argv.slice(2).map(withoutKey)]
    .map((arg, i) => (i === 0 || /^[\w./:=,@+-]+$/.test(arg) ? arg : JSON.stringify(arg)))
    .join(' ');

const withoutKey = (arg: string, i: number, args: readonly string[]): string =>
  args[i - 1] === '--key' ? '…' : arg.replace(/^--key=.*/s, '--key=…');

/** What the figures depend on. It names neither a machine nor a person. */
export function describeMachine(): Record<string, string> {
  const cores = cpus();
  return {
    CPU: cores[0]?.model.trim() || 'unknown',
    Cores: String(cores.length),
    Memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    System: `${type()} ${release()} ${process.arch}`,
    Versions: `Kassa ${manifest.version}, Bun ${Bun.version}`,
    Date: `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
  };
}
