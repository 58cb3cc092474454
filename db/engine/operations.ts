/** What was done, so that it is done once: recorded answers, and the markers of transactions. */
import type postgres from 'postgres';
import { int8Array, textArray } from '../connection/arrays.ts';
import type { Connection, Sql, Statement } from '../connection/connection.ts';
import { assert, Failure } from '../failure.ts';
import { type Marker, readMarker, tableOf, writeMarker } from '../operations-table.ts';
import { SERVICES, type Service } from '../service.ts';
import type { Answer, Result } from './transaction.ts';

export interface Operation {
  /** Whose call it is: the same key of two services is two keys. */
  service: Service;
  /** The client's idempotency key: 1-255 printable characters. */
  key: string;
  /** Method and path: the same key for another call is refused. */
  fingerprint: string;
}

/** One statement for each service that has a key here, in the order that `Operations` takes. */
export function readOperations(sql: Sql, operations: readonly Operation[]): Statement[] {
  return servicesOf(operations).map((service) => {
    const keys = operations.filter((one) => one.service === service).map(({ key }) => key);
    return sql`
      select key, fingerprint, status, answer, expires_at > now() as live from ${table(sql, service)}
      where key = any(${textArray(keys.map(operationKey))}::text[])`;
  });
}

/** The recorded answers that a batch found, and those that it makes. */
export class Operations {
  readonly #ledgers: ReadonlyMap<Service, Ledger>;

  /** @param answers to the statements of `readOperations` */
  constructor(operations: readonly Operation[], answers: readonly (readonly postgres.Row[])[]) {
    const services = servicesOf(operations);
    assert(answers.length === services.length, 'an answer for each service', answers.length);
    const ledgers = services.map((service, i) => [service, new Ledger(service, answers[i] ?? [])]);
    this.#ledgers = new Map(ledgers as [Service, Ledger][]);
  }

  find(operation: Operation): Result | undefined {
    return this.#of(operation).find(operation);
  }

  record(operation: Operation, answer: Answer): void {
    this.#of(operation).record(operation, answer);
  }

  /** Service by service, each by key: so of two processes none waits for the other in a circle. */
  writes(sql: Sql): Statement[] {
    return [...this.#ledgers.values()].flatMap((ledger) => ledger.writes(sql));
  }

  #of({ service, key }: Operation): Ledger {
    const ledger = this.#ledgers.get(service);
    assert(ledger, `operation ${key} of ${service} was looked for`);
    return ledger;
  }
}

interface RecordedOperation {
  key: string;
  fingerprint: string;
  status: number;
  answer: string;
  live: boolean;
}

/** The same of one service. */
class Ledger {
  readonly #service: Service;
  readonly #found = new Map<string, RecordedOperation>();
  readonly #expired: string[] = [];
  readonly #made: RecordedOperation[] = [];

  constructor(service: Service, rows: readonly postgres.Row[]) {
    this.#service = service;
    for (const row of rows as readonly RecordedOperation[]) {
      if (row.live) this.#found.set(row.key, row);
      else this.#expired.push(row.key);
    }
  }

  find({ key, fingerprint }: Operation): Result | undefined {
    const row = this.#found.get(operationKey(key));
    if (!row) return undefined;
    if (row.fingerprint !== fingerprint) {
      const detail = 'this idempotency key was used for another method or path';
      return { failure: new Failure('idempotency_key_reused', detail) };
    }
    const wrote = this.#made.includes(row); // by this very transaction
    return { answer: { status: row.status, body: row.answer }, replayed: true, wrote };
  }

  record({ key, fingerprint }: Operation, { status, body }: Answer): void {
    const row = { key: operationKey(key), fingerprint, status, answer: body, live: true };
    assert(!this.#found.has(row.key), `operation ${key} is recorded once`);
    this.#found.set(row.key, row);
    this.#made.push(row);
  }

  writes(sql: Sql): Statement[] {
    if (this.#made.length === 0) return [];
    this.#made.sort((a, b) => (a.key < b.key ? -1 : 1));
    const insert = sql`
      insert into ${table(sql, this.#service)} (key, fingerprint, status, answer, expires_at)
      select n.key, n.fingerprint, n.status, n.answer, now() + interval '24 hours'
      from unnest(${textArray(this.#made.map((row) => row.key))}::text[],
                  ${textArray(this.#made.map((row) => row.fingerprint))}::text[],
                  ${int8Array(this.#made.map((row) => row.status))}::int8[],
                  ${textArray(this.#made.map((row) => row.answer))}::text[])
        as n(key, fingerprint, status, answer)`;
    const replaced = this.#expired.filter((key) => this.#found.has(key));
    if (replaced.length === 0) return [insert];
    return [
      sql`delete from ${table(sql, this.#service)}
          where key = any(${textArray(replaced)}::text[])`,
      insert,
    ];
  }
}

/**
 * Finds out whether the transaction with this marker took place, by writing the marker: if it is
 * there, it did; if it could be written, it did not and never will, since its own write must fail
 * now. Reading alone would prove nothing: the lost commit may still be on its way.
 * @throws if the store can't say: try again on another connection.
 */
export async function settle(
  connection: Connection,
  marker: Marker,
  timeout_ms: number,
): Promise<'committed' | 'undone'> {
  const { sql } = connection;
  const [mine] = await connection.flight([writeMarker(sql, marker, 'undone')], timeout_ms);
  if (mine?.status === 'fulfilled') return 'undone';
  const [answer] = await connection.flight([readMarker(sql, marker)], timeout_ms);
  if (answer?.status !== 'fulfilled') throw answer?.reason;
  const found = answer.value.at(0)?.fingerprint;
  if (found !== 'committed' && found !== 'undone') throw mine?.reason;
  return found;
}

/** In one order, whatever that of the calls is. */
const servicesOf = (operations: readonly Operation[]): Service[] =>
  SERVICES.filter((service) => operations.some((one) => one.service === service));

const table = (sql: Sql, service: Service) => tableOf(service)(sql);

const operationKey = (key: string) => `k:${key}`;
