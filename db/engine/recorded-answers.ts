/**
 * Recorded answers: those that a transaction finds for its idempotency keys, and those that it
 * adds.
 */
import type postgres from 'postgres';
import type { Answer, Operation } from '../command.ts';
import { int8Array, textArray } from '../connection/arrays.ts';
import type { Sql, Statement } from '../connection/connection.ts';
import { assert, Failure } from '../failure.ts';
import { tableOf, WRITER } from '../operations-table.ts';
import { SERVICES, type Service } from '../service.ts';
import type { Result } from './work.ts';

/**
 * One statement for each service that has a key here, in the order that `RecordedAnswers` expects.
 */
export function readRecorded(sql: Sql, operations: readonly Operation[]): Statement[] {
  return servicesOf(operations).map((service) => {
    const keys = operations
      .filter((one) => one.service === service)
      .flatMap(({ key, unowned_key }) => (unowned_key === undefined ? key : [key, unowned_key]));
    return sql`
      select key, fingerprint, status, answer, expires_at > now() as live
      from ${tableOf(service)(sql)}
      where key = any(${textArray(keys.map(operationKey))}::text[])`;
  });
}

export class RecordedAnswers {
  readonly #by_service: ReadonlyMap<Service, ServiceAnswers>;

  /** @param found the rows of the statements of `readRecorded` */
  constructor(operations: readonly Operation[], found: readonly (readonly postgres.Row[])[]) {
    const services = servicesOf(operations);
    assert(found.length === services.length, 'rows for each service', found.length);
    this.#by_service = new Map(
      services.map((service, i): [Service, ServiceAnswers] => [
        service,
        new ServiceAnswers(service, found[i] ?? []),
      ]),
    );
  }

  find(operation: Operation): Result | undefined {
    return this.#of(operation).find(operation);
  }

  /** The refusal of a call that was answered under its key while nobody was known. */
  findUnowned(operation: Operation): Result | undefined {
    return this.#of(operation).findUnowned(operation);
  }

  record(operation: Operation, answer: Answer): void {
    this.#of(operation).record(operation, answer);
  }

  /**
   * Services in a fixed order, and each service's keys sorted: processes cannot deadlock on keys.
   */
  writes(sql: Sql): Statement[] {
    return [...this.#by_service.values()].flatMap((answers) => answers.writes(sql));
  }

  #of({ service, key }: Operation): ServiceAnswers {
    const answers = this.#by_service.get(service);
    assert(answers, `operation ${key} of ${service} was looked up`);
    return answers;
  }
}

interface RecordedRow {
  key: string;
  fingerprint: string;
  status: number;
  answer: string;
  live: boolean;
}

const UNOWNED =
  'this call was answered under this idempotency key before authentication was switched on, perhaps to you; nothing was done now';

/** Method and path, without the digest of a body. */
const callOf = (fingerprint: string): string => fingerprint.split(' ', 2).join(' ');

class ServiceAnswers {
  readonly #service: Service;
  readonly #live = new Map<string, RecordedRow>();
  readonly #expired: string[] = [];
  readonly #added: RecordedRow[] = [];

  constructor(service: Service, rows: readonly postgres.Row[]) {
    this.#service = service;
    for (const row of rows as readonly RecordedRow[]) {
      if (row.live) this.#live.set(row.key, row);
      else this.#expired.push(row.key);
    }
  }

  find({ key, fingerprint }: Operation): Result | undefined {
    const row = this.#live.get(operationKey(key));
    if (!row) return undefined;
    if (row.fingerprint !== fingerprint) {
      const what = callOf(row.fingerprint) === callOf(fingerprint) ? 'body' : 'method or path';
      const detail = `this idempotency key was used for another ${what}`;
      return { failure: new Failure('idempotency_key_reused', detail) };
    }
    const wrote = this.#added.includes(row); // in this very transaction
    return { answer: { status: row.status, body: row.answer }, replayed: true, wrote };
  }

  /**
   * A call of another path under that key is no repeat of this one: owners have keys of their own.
   * One with another body may be, since clients write the same body in several ways.
   */
  findUnowned({ fingerprint, unowned_key }: Operation): Result | undefined {
    if (unowned_key === undefined) return undefined;
    const row = this.#live.get(operationKey(unowned_key));
    if (!row || callOf(row.fingerprint) !== callOf(fingerprint)) return undefined;
    return { failure: new Failure('idempotency_key_unowned', UNOWNED) };
  }

  record({ key, fingerprint }: Operation, { status, body }: Answer): void {
    const row = { key: operationKey(key), fingerprint, status, answer: body, live: true };
    assert(!this.#live.has(row.key), `operation ${key} is recorded once`);
    this.#live.set(row.key, row);
    this.#added.push(row);
  }

  writes(sql: Sql): Statement[] {
    if (this.#added.length === 0) return [];
    const table = tableOf(this.#service);
    this.#added.sort((a, b) => (a.key < b.key ? -1 : 1));
    const insert = sql`
      insert into ${table(sql)} (key, fingerprint, status, answer, writer, expires_at)
      select n.key, n.fingerprint, n.status, n.answer, ${WRITER}::int8, now() + interval '24 hours'
      from unnest(${textArray(this.#added.map((row) => row.key))}::text[],
                  ${textArray(this.#added.map((row) => row.fingerprint))}::text[],
                  ${int8Array(this.#added.map((row) => row.status))}::int8[],
                  ${textArray(this.#added.map((row) => row.answer))}::text[])
        as n(key, fingerprint, status, answer)`;
    const replaced = this.#expired.filter((key) => this.#live.has(key));
    if (replaced.length === 0) return [insert];
    return [sql`delete from ${table(sql)} where key = any(${textArray(replaced)}::text[])`, insert];
  }
}

/** In a fixed order, whatever the order of the calls. */
const servicesOf = (operations: readonly Operation[]): Service[] =>
  SERVICES.filter((service) => operations.some((one) => one.service === service));

/** The prefix keeps them apart from what a probe writes, and from the markers of older versions. */
const operationKey = (key: string): string => `k:${key}`;
