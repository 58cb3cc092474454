/** `bun run audit`: checks in one snapshot that records explain every credit, stock and total. */
import { codeOf, Failure, isUnmigrated, notMigrated } from '../../db/failure.ts';
import { audit, type Finding } from '../../db/maintenance/audit.ts';
import { readArguments } from '../runtime/arguments.ts';
import { exitWith } from '../runtime/exit.ts';
import { openTool } from './connect.ts';

const HELP = `Checks the invariants of the store in one snapshot. It may run under full load.

  bun run audit [--data DIR] [--json]

  --data DIR    the running dev store to check, if DATABASE_URL is not set (.data)
  --json        the findings as JSON
  --help        this text

Exit code 0: every invariant holds; 1: one is violated; 2: it could not be run.`;

const FORBIDDEN =
  "this role may not read every table: run the audit as kassa_reader or as the tables' owner";

try {
  const { data, json } = readArguments(HELP, {
    data: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  const connection = await openTool(data, 'audit');
  const findings = await audit(connection).catch((error) => {
    if (codeOf(error) === '42501') throw new Failure('not_ready', FORBIDDEN, { cause: error });
    throw isUnmigrated(error) ? notMigrated(error) : error;
  });
  await connection.close();
  console.log(json ? JSON.stringify(findings, null, 2) : table(findings));
  process.exit(findings.some((finding) => finding.violations > 0) ? 1 : 0);
} catch (error) {
  exitWith(error, 2);
}

function table(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ invariant, rows, violations, examples }) => [
    `${String(rows).padStart(10)}  ${String(violations).padStart(10)}  ${invariant}`,
    ...examples.map((example) => `${' '.repeat(24)}  ${example}`),
  ]);
  const sum = findings.reduce((total, finding) => total + finding.violations, 0);
  const verdict = sum === 0 ? 'Every number is explained.' : `${sum} violations.`;
  return ['      rows  violations  invariant', ...lines, '', verdict].join('\n');
}
