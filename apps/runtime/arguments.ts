/** Command lines: known flags only, a help text, and one sentence for what is wrong. */
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { Failure } from '../../db/failure.ts';

/** Parses `process.argv`; prints `help` and exits 0 if asked to. @throws Failure */
export const readArguments = <const T extends ParseArgsOptionsConfig>(help: string, options: T) =>
  readCommand(help, options, false).values;

/** The same, with the words beside the flags: a command and what it is for. @throws Failure */
export function readCommand<const T extends ParseArgsOptionsConfig>(
  help: string,
  options: T,
  allowPositionals = true,
) {
  const given = process.argv.slice(2);
  if (given.includes('--help') || given.includes('-h')) {
    console.log(help);
    process.exit(0);
  }
  const args = joinNegatives(given, options);
  try {
    const parsed = parseArgs({
      args,
      options,
      strict: true,
      allowPositionals,
      tokens: true,
    });
    const empty = parsed.tokens.find((token) => token.kind === 'option' && token.value === '');
    if (empty?.kind === 'option') throw new Error(`${empty.rawName} must not be empty`);
    return { values: parsed.values, words: parsed.positionals };
  } catch (error) {
    const [why] = (error as Error).message.split(/[.,]?\s*\n|\. /);
    throw new Failure('invalid_parameter', `${why}; --help lists all flags`);
  }
}

/** `--minutes -5` as `--minutes=-5`: otherwise `-5` would be an unknown flag. */
function joinNegatives(given: readonly string[], options: ParseArgsOptionsConfig): string[] {
  const args: string[] = [];
  for (const arg of given) {
    const before = args.at(-1)?.match(/^--([^=]+)$/)?.[1] ?? '';
    if (/^-\.?\d/.test(arg) && options[before]?.type === 'string')
      args.push(`${args.pop()}=${arg}`);
    else args.push(arg);
  }
  return args;
}

/** The value of a number flag. @throws Failure that names the flag, unless it is within bounds */
export function numberFlag(name: string, text: string, low: number, high: number): number {
  const value = /^[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= low && value <= high) return value;
  throw wrongFlag(`--${name} must be a number from ${low} to ${high}, not ${text}`);
}

/** The same for whole numbers. */
export function wholeFlag(name: string, text: string, low: number, high: number): number {
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= low && value <= high) return value;
  throw wrongFlag(`--${name} must be a whole number from ${low} to ${high}, not ${text}`);
}

const wrongFlag = (sentence: string): Failure => new Failure('invalid_parameter', sentence);

/** Warns that a flag or a variable that was given has no effect. */
export const warnIgnored = (name: string, why: string): void =>
  console.warn(`kassa: ${name} is ignored, since ${why}`);
