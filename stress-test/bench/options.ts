/** The command line of the bench. */
import { flags, numberFlag, usage } from '../../test/support/report.ts';

export const PARTS = [
  'checkout',
  'calls',
  'purchase',
  'size',
  'lines',
  'processes',
  'lanes',
  'open-loop',
  'start',
  'memory',
  'auth',
] as const;
export type Part = (typeof PARTS)[number];

export interface Settings {
  quick: boolean;
  parts: readonly Part[];
  clients: readonly number[];
  repeat: number;
  seconds: number;
  warmup_s: number;
  html: string;
  json: string | undefined;
}

const HELP = `Compares Kassa with the usual implementation and with pgbench, on one machine, in one run.

  bun run bench [options]

  --quick          the main figures in under three minutes: fewer clients, no repeats
  --only LIST      only these of ${PARTS.join(', ')}
  --auth           what a key costs: checkouts and purchases with AUTH=off and AUTH=on in turn
  --clients LIST   concurrent clients (1,16,64,256,1000)
  --repeat N       measurements of each figure (3, quick: 1); tables show median and spread
  --seconds S      of each measurement (4, quick: 1.3), after a warm-up of a third of that
  --html FILE      the report with charts (.data/bench.html)
  --json FILE      all figures
  --help           this text

It runs on its own embedded PostgreSQL or, with DATABASE_URL set, on that server, where it creates
databases and drops them again. Exit code 0: measured; 1: a side's answers and its database
disagree, or an audit found a violation; 2: the bench could not run.`;

const CLIENTS_MAX = 10_000;

export function readSettings(): Settings {
  const given = flags(HELP, {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    auth: { type: 'boolean', default: false },
    clients: { type: 'string' },
    repeat: { type: 'string' },
    seconds: { type: 'string' },
    html: { type: 'string', default: '.data/bench.html' },
    json: { type: 'string' },
  });
  const { quick } = given;
  const seconds = numberFlag('seconds', given.seconds ?? (quick ? '1.3' : '4'), 0.2, 3600);
  return {
    quick,
    parts: partsOf(given.only, given.auth),
    clients: clientsOf(given.clients ?? '1,16,64,256,1000'),
    repeat: whole('repeat', given.repeat ?? (quick ? '1' : '3'), 1, 100),
    seconds,
    warmup_s: Math.round((seconds / 3) * 10) / 10,
    html: given.html,
    json: given.json,
  };
}

/** Without --only all but `auth`, which --auth adds. */
function partsOf(list: string | undefined, auth: boolean): Part[] {
  if (list === undefined) return PARTS.filter((part) => auth || part !== 'auth');
  const asked = list.split(',');
  const unknown = asked.find((name) => !PARTS.includes(name as Part));
  if (unknown !== undefined) {
    return usage(`--only takes ${PARTS.join(', ')}, not ${unknown || 'nothing'}`);
  }
  return PARTS.filter((part) => asked.includes(part) || (auth && part === 'auth'));
}

const clientsOf = (list: string): number[] =>
  [...new Set(list.split(',').map((text) => whole('clients', text, 1, CLIENTS_MAX)))].sort(
    (a, b) => a - b,
  );

function whole(name: string, text: string, low: number, high: number): number {
  const value = numberFlag(name, text, low, high);
  return Number.isInteger(value) ? value : usage(`--${name} must be a whole number, not ${text}`);
}
