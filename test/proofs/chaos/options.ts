/** The command line of the chaos test: its text, and which faults are done where. */
import { Failure } from '../../../db/failure.ts';
import { assertAddress } from '../../support/client.ts';
import { foreignStore } from '../../support/own-database.ts';
import { flags, numberFlag, sentenceFor, usage } from '../../support/report.ts';
import { faults, TO_A_LIMIT, TO_OUR_SERVER } from './faults.ts';

const names = Object.keys(faults);
const HELP = `Runs Kassa (three services and one process that serves all), puts load on it from many clients,
does a fault every few seconds, audits all the while, and at the end compares the journals of the
clients with the store: every 200 is there, every refusal left nothing, every unknown became one or
none. The kills come first, each kind once, however short the run.

  bun run chaos [options]

  --minutes N       how long (2)
  --seed N          choice of faults and calls (random); the same seed makes the same choices
  --clients N       clients at the same time (24)
  --think MS        pause of a client after each of its calls, on average (0: as fast as it goes)
  --every N         seconds between faults, on average (3)
  --faults A,B      only these: ${names.slice(0, 5).join(', ')},
                    ${names.slice(5, 9).join(', ')},
                    ${names.slice(9, 14).join(', ')},
                    ${names.slice(14).join(', ')}; or none
  --address A       an address in place of a deployment of our own: load and journal, no faults but
                    those that you do meanwhile
                    (http://host:port, or orders=http://…,payment=http://…,stock=http://…)
  --help            this text

The store is an embedded PostgreSQL or, with DATABASE_URL set, a new database on that server, which
is removed at the end. Left out there: ${TO_OUR_SERVER.join(', ')}, since its processes are not
ours, and before PostgreSQL 17 ${TO_A_LIMIT.join(', ')}. The services reach the store through proxies,
which speak its TLS. With --address and DATABASE_URL the store of that deployment is audited.

Exit code 0: faults were done and nothing was violated; 1: something was; 2: it could not be run, or
no fault was done and \`--faults none\` was not given.`;

export interface Options {
  minutes: number;
  seed: number;
  clients: number;
  /** Milliseconds between a client's calls, on average. */
  think: number;
  /** Seconds. */
  every: number;
  faults: string[];
  /** They were asked for one by one. */
  by_name: boolean;
  /** It was asked for that there are none. */
  none: boolean;
  /** '' for a deployment of our own. */
  address: string;
  /** DATABASE_URL. */
  server_url: string | undefined;
}

export function readOptions(): Options {
  const given = flags(HELP, {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    clients: { type: 'string', default: '24' },
    think: { type: 'string', default: '0' },
    every: { type: 'string', default: '3' },
    faults: { type: 'string', default: '' },
    address: { type: 'string', default: '' },
  });
  const chosen =
    given.faults === '' ? names : given.faults === 'none' ? [] : given.faults.split(',');
  const unknown = chosen.find((name) => !names.includes(name));
  if (given.address) sayOrDo(() => assertAddress(given.address));
  if (unknown !== undefined) usage(`--faults: there is no ${unknown}; --help lists what there is`);
  return {
    minutes: numberFlag('minutes', given.minutes, 0.05, 600),
    seed: numberFlag('seed', given.seed, 0, 1e9),
    clients: numberFlag('clients', given.clients, 1, 1000),
    think: numberFlag('think', given.think, 0, 60_000),
    every: numberFlag('every', given.every, 0.1, 600),
    faults: chosen,
    by_name: given.faults !== '',
    none: given.faults === 'none',
    address: given.address,
    server_url: sayOrDo(foreignStore),
  };
}

/**
 * Takes faults out of those to be done and says so, and why.
 * @throws Failure if one of them was asked for by name
 */
export function leaveOut(options: Options, which: readonly string[], why: string): void {
  const out = options.faults.filter((name) => which.includes(name));
  if (out.length === 0) return;
  if (options.by_name) {
    const what = `--faults: ${out.join(', ')} cannot be done, since ${why}`;
    throw new Failure('invalid_parameter', what);
  }
  options.faults = options.faults.filter((name) => !out.includes(name));
  if (options.faults.length === 0) console.log(`no faults are done, since ${why}`);
  else console.log(`left out, since ${why}: ${out.join(', ')}`);
}

function sayOrDo<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    return usage(sentenceFor(error));
  }
}
