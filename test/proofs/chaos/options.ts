/** The command line of the chaos test, and which faults are possible where. */
import { warnIgnored } from '../../../apps/runtime/arguments.ts';
import { Failure } from '../../../db/failure.ts';
import { readKey } from '../../support/key.ts';
import { flags, numberFlag, usage, wholeFlag } from '../../support/report.ts';
import { faults, TO_A_LIMIT, TO_OUR_SERVER } from './faults.ts';

const names = Object.keys(faults);
const HELP = `Starts Kassa (three services, and one process that serves all), loads it from many clients,
injects a fault every few seconds and audits the store meanwhile. At the end it compares the journals
of the clients with the store: every 200 took effect once, no refusal had an effect, and every
unknown outcome is one or the other. Every kind of kill comes first, however short the run.

  bun run chaos [options]

  --minutes N       duration (2)
  --seed N          seed of the choice of faults and calls (random)
  --clients N       concurrent clients (24)
  --think MS        pause of a client after each call, on average (0)
  --every N         seconds between faults, on average (3)
  --faults A,B      only these: ${names.slice(0, 5).join(', ')},
                    ${names.slice(5, 9).join(', ')},
                    ${names.slice(9, 14).join(', ')},
                    ${names.slice(14).join(', ')}; or none
  --address A       test this deployment instead: load and journal, without faults of its own
                    (http://host:port, or orders=http://…,payment=http://…,stock=http://…)
  --key KEY         an API key or a token for --address, where it has AUTH=on; better in the variable
                    KASSA_KEY, which other users of the machine do not see, or in the file
                    KASSA_KEY_FILE. It needs the scope admin, or those to read and write orders,
                    wallets and stock
  --auth            run its own services with AUTH=on, and send a key with every call
  --help            this text

The store is an embedded PostgreSQL or, with DATABASE_URL set, a new database on that server, which
is removed at the end. On a foreign server ${TO_OUR_SERVER.join(' and ')} are left out and, before
PostgreSQL 17, ${TO_A_LIMIT.join(', ')}. The services reach the store through proxies, which speak TLS
with it. With --address and DATABASE_URL the test audits the store of that deployment.

Exit code 0: faults were injected and no violation was found; 1: a violation was found; 2: the test
could not run, or no fault was injected without \`--faults none\`.`;

export type Options = ReturnType<typeof readOptions>;

export function readOptions() {
  const given = flags(HELP, {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    clients: { type: 'string', default: '24' },
    think: { type: 'string', default: '0' },
    every: { type: 'string' },
    faults: { type: 'string' },
    address: { type: 'string' },
    key: { type: 'string' },
    auth: { type: 'boolean', default: false },
  });
  const none = given.faults === 'none';
  const chosen = none ? [] : (given.faults?.split(',') ?? names);
  const unknown = chosen.find((name) => !names.includes(name));
  const idle = given.address ? 'the deployment at --address is not ours' : '--faults is none';
  if (given.every && (given.address || none)) warnIgnored('--every', idle);
  if (given.auth && given.address) warnIgnored('--auth', idle);
  if (given.key && !given.address) warnIgnored('--key', 'the services are its own');
  if (unknown !== undefined) usage(`--faults: there is no ${unknown}; --help lists them`);
  return {
    minutes: numberFlag('minutes', given.minutes, 0.05, 600),
    seed: wholeFlag('seed', given.seed, 0, 1e9),
    clients: wholeFlag('clients', given.clients, 1, 1000),
    think: numberFlag('think', given.think, 0, 60_000),
    every: numberFlag('every', given.every ?? '3', 0.1, 600),
    faults: chosen,
    by_name: given.faults !== undefined,
    none,
    /** Undefined to start a deployment. */
    address: given.address,
    key: given.address ? readKey(given.key) : undefined,
    auth: given.auth,
  };
}

/**
 * Removes faults from the run, and prints why.
 * @throws Failure if --faults names one of them
 */
export function leaveOut(options: Options, which: readonly string[], why: string): void {
  const out = options.faults.filter((name) => which.includes(name));
  if (out.length === 0) return;
  if (options.by_name) {
    const what = `--faults: ${out.join(', ')} not possible, since ${why}`;
    throw new Failure('invalid_parameter', what);
  }
  options.faults = options.faults.filter((name) => !out.includes(name));
  if (options.faults.length === 0) console.log(`no faults are possible, since ${why}`);
  else console.log(`left out, since ${why}: ${out.join(', ')}`);
}
