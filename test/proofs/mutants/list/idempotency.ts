/** Mutants: idempotency, and the operations of each service. */
import { type Mutant, mutant } from '../mutant.ts';

const engine = ['transaction', 'faults', 'engine', 'checkout'];

export const idempotencyMutants: readonly Mutant[] = [
  mutant(
    'recorded answers are not found',
    'recorded-answers.ts',
    'if (!row) return undefined;',
    'return undefined;',
    ['idempotency'],
  ),
  mutant(
    'answers are not recorded',
    'decide.ts',
    'if (operation) recorded.record(operation, answer);',
    '',
    ['idempotency'],
  ),
  mutant(
    'the fingerprint is not compared',
    'recorded-answers.ts',
    'if (row.fingerprint !== fingerprint) {',
    'if (false) {',
    ['idempotency'],
  ),
  mutant(
    'the fingerprint has no method',
    'submit.ts',
    '${c.req.method} ${c.req.path}',
    '${c.req.path}',
    ['idempotency'],
  ),
  mutant(
    'expired answers are repeated',
    'recorded-answers.ts',
    'if (row.live) this.#live',
    'if (true) this.#live',
    ['idempotency'],
  ),
  mutant(
    'all chunks of a batch_init share one key',
    'submit.ts',
    'operation && from > 0 ?',
    'operation && from < 0 ?',
    ['idempotency', 'batch-init'],
  ),
  mutant(
    'text in arrays is not quoted',
    'arrays.ts',
    '`"${v.replace(/["\\\\]/g, \'\\\\$&\')}"`',
    'v',
    ['idempotency'],
  ),

  // The operations of each service, and the upgrade that gave each its own table.
  mutant(
    "each role may touch payment's records",
    'roles.ts',
    "[operationsTable(service)]: ['select', 'insert', 'delete'],",
    "[operationsTable(service)]: ['select', 'insert', 'delete'],\n  payment_operations: ['select', 'insert', 'delete'],",
    ['roles'],
  ),
  mutant(
    'all keys are recorded with the orders',
    'submit.ts',
    "SERVICE_OF[c.req.path.split('/')[1] ?? '']",
    'SERVICE_OF.orders',
    ['idempotency', 'roles'],
  ),
  mutant(
    'a batch looks up the keys of its first service only',
    'recorded-answers.ts',
    'SERVICES.filter((service) => operations.some((one) => one.service === service));',
    'SERVICES.filter((service) => operations[0]?.service === service);',
    ['idempotency'],
  ),
  mutant(
    "a lost commit is settled in another service's table",
    'in-doubt.ts',
    "[writeMarker(sql, marker, 'undone')]",
    "[writeMarker(sql, { ...marker, service: 'stock' }, 'undone')]",
    engine,
  ),
  mutant(
    'the upgrade drops the keys of payment',
    '0002_operations_of_each_service.sql',
    "'% /payment/%'",
    "'% /payments/%'",
    ['upgrade'],
  ),
  mutant(
    'the upgrade copies only the first few thousand keys',
    'migrate.ts',
    'statement.startsWith(AGAIN) && changed > 0',
    'statement.startsWith(AGAIN) && changed < 0',
    ['upgrade'],
  ),
  mutant(
    'the upgrade lets the old version go on writing',
    '0002_operations_of_each_service.sql',
    'ALTER TABLE IF EXISTS "operations" RENAME TO "operations_closing";',
    'CREATE TABLE IF NOT EXISTS "operations_closing" AS SELECT * FROM "operations";',
    ['upgrade'],
  ),
  mutant(
    'a sweep without an index deletes a renewed record',
    'sweep.ts',
    'where key = any(${keys}::text[]) and expires_at < now()',
    'where key = any(${keys}::text[])',
    ['sweep'],
  ),
];
