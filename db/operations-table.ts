/** The services' operations tables in statements. */
import type postgres from 'postgres';
import type { Service } from './service.ts';

type Sql = postgres.Sql<{ int8: number }>;

/** The version of the schema that this code knows: see `writer` in schema.ts. */
export const WRITER = 3;

/** A row that nobody reads, to find out whether the store takes writes. */
export const writeProbe = (sql: Sql, service: Service, id: string) =>
  sql`insert into ${tableOf(service)(sql)} (key, fingerprint, status, answer, writer, expires_at)
      values (${`t:${id}`}, '', 0, '', ${WRITER}::int8, now() + interval '1 hour')`;

/** The name of a service's table as a fragment of a statement. */
export const tableOf = (service: Service) => tables[service];

const tables = {
  order: (sql: Sql) => sql`order_operations`,
  payment: (sql: Sql) => sql`payment_operations`,
  stock: (sql: Sql) => sql`stock_operations`,
};
