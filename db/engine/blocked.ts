/** A batch that timed out on a lock: which of its commands may have waited for it. */
import type { Entry } from './work.ts';

/** Splits a batch by the table that the error names. `others` cannot have caused the wait. */
export function splitBlocked(
  batch: readonly Entry[],
  error: unknown,
): { suspects?: Entry[]; others?: Entry[] } {
  const table = tableIn(error);
  return Object.groupBy(batch, (entry) => (mayWaitFor(table, entry) ? 'suspects' : 'others'));
}

/** PostgreSQL names the table on which it waited. */
const tableIn = (error: unknown): string =>
  /relation "(\w+)"/.exec(String((error as { where?: unknown }).where))?.[1] ?? '';

/** Commands with orders write lines; commands with idempotency keys write recorded answers. */
function mayWaitFor(table: string, { command, operation }: Entry): boolean {
  if (table === 'order_lines')
    return (command.keys.orders ?? command.keys.new_orders) !== undefined;
  const [, service] = /^(\w+)_operations$/.exec(table) ?? [];
  return service === undefined || operation?.service === service;
}
