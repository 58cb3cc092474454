/** The flags of `bun test`. It takes unknown ones without a word, and then runs every test. */
const FLAGS = [
  ...['-t', '--test-name-pattern', '--parallel', '--bail', '--concurrent', '--coverage'],
  ...['--coverage-dir', '--coverage-reporter', '--dots', '--max-concurrency', '--only'],
  ...['--only-failures', '--pass-with-no-tests', '--path-ignore-patterns', '--randomize'],
  ...['--reporter', '--reporter-outfile', '--rerun-each', '--retry', '--seed', '--shard'],
  ...['--timeout', '--todo', '--update-snapshots', '--update-timings', '-u'],
];

/** The first flag that is none of them. */
export const strayFlag = (given: readonly string[]): string | undefined =>
  given.find((arg) => arg.startsWith('-') && !FLAGS.includes(arg.split('=')[0] ?? ''));
