/** How to reach the store: its address and credentials, and the limits of a session there. */
import type { CredentialFiles } from './credentials.ts';

export interface StoreAddress {
  /** postgres://user:password@host[:port][,host2…]/database[?sslmode=…] */
  database_url: string;
  files?: CredentialFiles;
  application_name: string;
  /** For TCP, TLS and authentication together. */
  connect_timeout_ms: number;
  /** For an answer that does not wait for a lock. */
  response_timeout_ms: number;
  /** The server enforces it; the client waits a little longer, then gives up the connection. */
  statement_timeout_ms: number;
  /** How long a transaction may wait for its client before the server ends the session. */
  idle_in_transaction_timeout_ms: number;
  /** How long a statement may wait for a lock on PostgreSQL; then its batch is split. */
  lock_timeout_ms: number;
  /** How long a transaction may last in all, whatever its client does. */
  transaction_timeout_ms: number;
  /** A connection turns stale at about this age; 0 is never. */
  connection_lifetime_ms: number;
}

/** `tools` (migrations, audits) read whole tables without a time limit; the others read by key. */
export type Purpose = 'transactions' | 'reads' | 'tools';

/** The hosts with their ports, for people: without user and password. */
export const hostsOf = (database_url: string): string[] => {
  const [, hosts = ''] = /^\w+:\/\/(?:[^@/]*@)?([^/?]*)/.exec(database_url) ?? [];
  return decodeURIComponent(hosts).split(',');
};
