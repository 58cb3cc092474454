/** What was done, so that it is done once: recorded answers, and the markers of transactions. */
import { int8Array, textArray } from './arrays.ts';
import type { Connection, Statement } from './connection.ts';
import { assert, Failure } from './failure.ts';
import type { Answer, Result } from './transaction.ts';

export interface Operation {
  /** The client's idempotency key: 1-255 printable characters. */
  key: string;
  /** Method and path: the same key for another call is refused. */
  fingerprint: string;
}

export interface RecordedOperation {
  key: string;
  fingerprint: string;
  status: number;
  answer: string;
  live: boolean;
}

export function readOperations(sql: Connection['sql'], keys: readonly string[]): Statement[] {
  if (keys.length === 0) return [];
  return [
    sql`select key, fingerprint, status, answer, expires_at > now() as live from operations
        where key = any(${textArray(keys.map(operationKey))}::text[])`,
  ];
}

/** The recorded answers that a batch found, and those that it makes. */
export class Operations {
  readonly #found = new Map<string, RecordedOperation>();
  readonly #expired: string[] = [];
  readonly #made: RecordedOperation[] = [];

  constructor(rows: readonly RecordedOperation[]) {
    for (const row of rows) {
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

  writes(sql: Connection['sql']): Statement[] {
    if (this.#made.length === 0) return [];
    this.#made.sort((a, b) => (a.key < b.key ? -1 : 1)); // of two processes none waits in a circle
    const insert = sql`
      insert into operations (key, fingerprint, status, answer, expires_at)
      select n.key, n.fingerprint, n.status, n.answer, now() + interval '24 hours'
      from unnest(${textArray(this.#made.map((row) => row.key))}::text[],
                  ${textArray(this.#made.map((row) => row.fingerprint))}::text[],
                  ${int8Array(this.#made.map((row) => row.status))}::int8[],
                  ${textArray(this.#made.map((row) => row.answer))}::text[])
        as n(key, fingerprint, status, answer)`;
    const replaced = this.#expired.filter((key) => this.#found.has(key));
    if (replaced.length === 0) return [insert];
    return [sql`delete from operations where key = any(${textArray(replaced)}::text[])`, insert];
  }
}

export const writeMarker = (sql: Connection['sql'], marker: string, end: 'committed' | 'undone') =>
  sql`insert into operations (key, fingerprint, status, answer, expires_at)
      values (${markerKey(marker)}, ${end}, 0, '', now() + interval '1 hour')`;

/**
 * Finds out whether the transaction with this marker took place, by writing the marker: if it is
 * there, it did; if it could be written, it did not and never will, since its own write must fail
 * now. Reading alone would prove nothing: the lost commit may still be on its way.
 * @throws if the store can't say: try again on another connection.
 */
export async function settle(
  connection: Connection,
  marker: string,
  timeout_ms: number,
): Promise<'committed' | 'undone'> {
  const [mine] = await connection.flight(
    [writeMarker(connection.sql, marker, 'undone')],
    timeout_ms,
  );
  if (mine?.status === 'fulfilled') return 'undone';
  const read = connection.sql`select fingerprint from operations where key = ${markerKey(marker)}`;
  const [answer] = await connection.flight([read], timeout_ms);
  if (answer?.status !== 'fulfilled') throw answer?.reason;
  const found = answer.value.at(0)?.fingerprint;
  if (found !== 'committed' && found !== 'undone') throw mine?.reason;
  return found;
}

const markerKey = (marker: string) => `t:${marker}`;
const operationKey = (key: string) => `k:${key}`;
