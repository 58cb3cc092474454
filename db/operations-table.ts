/** The services' operations tables in statements, and the markers of transactions in them. */
import type postgres from 'postgres';
import type { Service } from './service.ts';

type Sql = postgres.Sql<{ int8: number }>;

/** Identifies a transaction: a fresh id, and the service whose table holds the marker. */
export interface Marker {
  service: Service;
  id: string;
}

/**
 * Every transaction writes a marker. `2` is the version of the schema: see `writer` in schema.ts.
 */
export const writeMarker = (sql: Sql, { service, id }: Marker, end: 'committed' | 'undone') =>
  sql`insert into ${tableOf(service)(sql)} (key, fingerprint, status, answer, writer, expires_at)
      values (${markerKey(id)}, ${end}, 0, '', 2, now() + interval '1 hour')`;

export const readMarker = (sql: Sql, { service, id }: Marker) =>
  sql`select fingerprint from ${tableOf(service)(sql)} where key = ${markerKey(id)}`;

const markerKey = (id: string) => `t:${id}`;

/** The name of a service's table as a fragment of a statement. */
export const tableOf = (service: Service) => tables[service];

const tables = {
  order: (sql: Sql) => sql`order_operations`,
  payment: (sql: Sql) => sql`payment_operations`,
  stock: (sql: Sql) => sql`stock_operations`,
};
