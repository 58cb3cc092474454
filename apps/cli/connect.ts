/** How the command-line tools reach the store: DATABASE_URL, or the dev store that runs now. */
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { codeOf, Failure, isServerError } from '../../db/failure.ts';
import { readOwner } from '../../db/local/owner.ts';
import { describeStore, environment, readConfig, storeOptions } from '../runtime/config.ts';

/** @throws Failure with one sentence if there is no store or it doesn't answer */
export async function openTool(data: string, name: string): Promise<Connection> {
  const config = readConfig(environment());
  const database_url = config.DATABASE_URL ?? (await readOwner(data))?.database_url;
  if (!database_url) {
    const detail = `no store: set DATABASE_URL, or start \`bun run dev\` (nothing runs on ${data})`;
    throw new Failure('store_unavailable', detail);
  }
  return connectOrSay(storeOptions(config, database_url, name));
}

/** What the store has against a migration is for people, not a bug of ours. */
export const refusedMigration = (error: unknown): unknown =>
  isServerError(error) && error instanceof Error
    ? new Failure(
        'not_ready',
        `the store refuses the migration: ${error.message}${remedy(error)}`,
        {
          cause: error,
        },
      )
    : error;

const remedy = ({ message }: Error): string =>
  /^permission denied for table /.test(message)
    ? ': the tables belong to another role: migrate as that one, or change their owner'
    : '';

/** Opens a connection, or says in one sentence which store does not answer, and why. */
export function connectOrSay(address: Parameters<typeof openConnection>[0]): Promise<Connection> {
  return openConnection(address, 'tools').catch((cause) => {
    if (codeOf(cause) === 'internal') throw cause;
    const store = describeStore(address.database_url);
    const { code, detail } = rootOf(cause);
    const known: Record<string, string> = {
      '3D000': 'has no such database',
      '28P01': 'refuses this password',
      '28000': 'refuses this user',
      '25006': 'is a standby (to read from one: target_session_attrs=any in DATABASE_URL)',
      '26000':
        'is behind a pooler that gives each transaction another session (set pool_mode = session)',
      ...Object.fromEntries(NOT_TRUSTED.map((one) => [one, `is not trusted (${one})`])),
      ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for another host',
      CERT_HAS_EXPIRED: 'has a certificate that has expired',
    };
    const why = known[code] ?? `does not answer (${code || detail})`;
    throw new Failure('store_unavailable', `the store at ${store} ${why}`, { cause });
  });
}

/** What a certificate is refused for whose authority is none of ours. */
const NOT_TRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
];

/** The code that the store, the network or TLS gave; else what the innermost Failure says. */
function rootOf(error: unknown): { code: string; detail: string } {
  let detail = '';
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof Failure) detail = e.detail;
    else if (codeOf(e) !== '') return { code: codeOf(e), detail };
  }
  return { code: '', detail };
}
