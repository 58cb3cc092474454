/** Command lines: known flags only, a help text, and one sentence for what is wrong. */
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { Failure } from '../../db/failure.ts';

/** Parses `process.argv`; prints `help` and exits 0 if asked to. @throws Failure */
export function readArguments<const T extends ParseArgsOptionsConfig>(help: string, options: T) {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    console.log(help);
    process.exit(0);
  }
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    const [why] = (error as Error).message.split(/[.,]?\s*\n|\. /);
    throw new Failure('invalid_parameter', `${why}; --help lists what there is`);
  }
}
