/** Connects command-line tools to the store: DATABASE_URL, or the dev store that runs now. */
import { openConnection } from '../../db/connection/connect.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { codeOf, Failure, isServerError } from '../../db/failure.ts';
import { readOwner } from '../../db/local/owner.ts';
import { warnIgnored } from '../runtime/arguments.ts';
import { environment, loadConfig, storeOptions } from '../runtime/config.ts';
import { describeStore } from '../runtime/store-url.ts';

export const DEFAULT_DATA = '.data';

/**
 * @param data the flag --data, if it was given
 * @throws Failure with one sentence if there is no store or it does not answer
 */
export async function openTool(data: string | undefined, name: string): Promise<Connection> {
  const config = loadConfig(environment());
  if (config.DATABASE_URL && data) warnIgnored('--data', 'DATABASE_URL is set');
  const folder = data ?? DEFAULT_DATA;
  const database_url = config.DATABASE_URL ?? (await readOwner(folder))?.database_url;
  if (!database_url) {
    const none = `no \`bun run dev\` runs on ${folder} (--data names another folder)`;
    const detail = `no store: ${none}, and DATABASE_URL is not set`;
    throw new Failure('store_unavailable', detail);
  }
  return connectOrSay(storeOptions(config, database_url, name));
}

/** An error of the store in a migration is a sentence for people: it is no bug. */
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
    ? ': the tables belong to another role: migrate as that role, or change their owner'
    : '';

/** Opens a connection. @throws Failure with one sentence: which store does not answer, and why */
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

/** The errors for a certificate whose authority is not trusted. */
const NOT_TRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
];

/** The code of the store, the network or TLS; without one, the detail of the innermost Failure. */
function rootOf(error: unknown): { code: string; detail: string } {
  let detail = '';
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof Failure) detail = e.detail;
    else if (codeOf(e) !== '') return { code: codeOf(e), detail };
  }
  return { code: '', detail };
}
