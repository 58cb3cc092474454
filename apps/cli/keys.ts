/** `bun run keys`: makes, lists and revokes the API keys of the store. */
import { codeOf, Failure, isUnmigrated, notMigrated } from '../../db/failure.ts';
import { type Key, type Keys, keys } from '../../db/keys/keys.ts';
import { isKeyText, newKeyText } from '../auth/key-text.ts';
import { keyOf, wantedOf } from '../auth/wanted.ts';
import { SCOPES } from '../contract/scopes.ts';
import { readCommand } from '../runtime/arguments.ts';
import { exitWith } from '../runtime/exit.ts';
import { openTool } from './connect.ts';
import { type Flags, wishOf } from './key-flags.ts';
import { tableOf } from './key-table.ts';

const HELP = `Makes API keys, lists them, and revokes them. The store keeps their hashes only.

  bun run keys create --scopes A,B [--id ID] [--principal ID] [--name TEXT] [--user ID]
                      [--per-second N] [--in-flight N] [--expires-in TIME] [--quiet]
  bun run keys list
  bun run keys revoke ID

  --scopes A,B       what the key permits; as the last argument, without a value: lists all scopes
  --id ID            its public id (default: random)
  --principal ID     who calls with it, as records and logs name them; a key that replaces another
                     has the same (default: the id)
  --name TEXT        a description
  --user ID          restrict the key to this user's wallet and orders
  --per-second N     the most calls in a second, in each process (default: no limit)
  --in-flight N      the most calls at the same time, in each process (default: AUTH_IN_FLIGHT of
                     the services, which is 2000 unless it is set)
  --expires-in TIME  such as 90s, 15m, 12h or 30d (default: never)
  --quiet            print the key and nothing else
  --data DIR         the running dev store, if DATABASE_URL is not set (.data)
  --help             this text

Exit code 0: done; 1: refused by the store, or by a rule; 2: it could not be run.`;

const FORBIDDEN =
  'this role may not do that: use kassa_webhooks, or the role that owns the tables; kassa_reader may list';

/** Rows at a time. */
const PAGE = 1000;

const FLAGS = {
  scopes: { type: 'string' },
  id: { type: 'string' },
  principal: { type: 'string' },
  name: { type: 'string' },
  user: { type: 'string' },
  'per-second': { type: 'string' },
  'in-flight': { type: 'string' },
  'expires-in': { type: 'string' },
  quiet: { type: 'boolean' },
  data: { type: 'string' },
} as const;

try {
  if (asksForScopes(process.argv.slice(2))) {
    console.log(SCOPES.join('\n'));
    process.exit(0);
  }
  const { values, words } = readCommand(HELP, FLAGS);
  const { data, ...flags } = values;
  const work = commandOf(words, flags);
  const connection = await openTool(data, 'keys');
  const read = async (statement: Parameters<Parameters<typeof keys>[0]['read']>[0]) =>
    connection.whileAlive(statement(connection.sql));
  console.log(await work(keys({ read })).catch(explain));
  await connection.close();
} catch (error) {
  exitWith(error);
}

/** `--scopes` without a value. */
function asksForScopes(args: readonly string[]): boolean {
  return args.at(-1) === '--scopes' && (args.length === 1 || args.join(' ') === 'create --scopes');
}

/** What is wrong with the command line is said before the store is asked. @throws Failure */
function commandOf(words: readonly string[], flags: Flags): (all: Keys) => Promise<string> {
  const [command, id, ...more] = words;
  const given = Object.keys(flags);
  if (command === 'create' && id === undefined) return create(flags);
  if (command === 'list' && id === undefined && given.length === 0) return list;
  if (command === 'revoke' && id !== undefined && more.length === 0 && given.length === 0) {
    return revoke(id);
  }
  const known = ['create', 'list', 'revoke'].includes(command ?? '');
  const wrong = known ? `this is no complete \`${command}\`` : 'say create, list or revoke';
  const flag = known && command !== 'create' && given[0];
  throw wrongLine(flag ? `${command} does not take --${flag}` : wrong);
}

function create(flags: Flags): (all: Keys) => Promise<string> {
  const wanted = wantedOf(wishOf(flags));
  return async (all) => {
    const { text, hash } = newKeyText();
    const made = keyOf(await all.create(wanted, hash));
    if (flags.quiet) return text;
    const until = made.expires_at ? `expires at ${made.expires_at}` : 'does not expire';
    const what = `${made.id}: ${made.scopes.join(', ')}; it ${until}`;
    return `${what}\nThe key follows. Nobody can show it again.\n\n${text}`;
  };
}

async function list(all: Keys): Promise<string> {
  const rows: Key[] = [];
  for (let page: Key[]; ; rows.push(...page)) {
    page = await all.list(PAGE, rows.at(-1)?.id ?? '');
    if (page.length === 0) return tableOf(rows.map(keyOf));
  }
}

function revoke(id: string): (all: Keys) => Promise<string> {
  if (isKeyText(id)) throw wrongLine('revoke takes the id of a key, not the key: see keys list');
  return async (all) => {
    const row = await all.revoke(id);
    if (!row) throw new Failure('key_not_found', `no key ${id}`);
    const at = keyOf(row).revoked_at;
    return `${id} was revoked at ${at}; every process refuses it within 5 seconds`;
  };
}

function wrongLine(what: string): Failure {
  return new Failure('invalid_parameter', `${what}; --help lists commands and flags`);
}

function explain(error: unknown): never {
  if (codeOf(error) === '42501') throw new Failure('not_ready', FORBIDDEN, { cause: error });
  throw isUnmigrated(error) ? notMigrated(error) : error;
}
