/** Errors: the stable codes of commands and of the store, and the classes of SQLSTATEs. */

/** Codes of a business rule: the call was decided, and its answer may be recorded. */
export type Refusal =
  | 'order_not_found'
  | 'item_not_found'
  | 'user_not_found'
  | 'refund_not_found'
  | 'already_exists'
  | 'stock_changed'
  | 'out_of_stock'
  | 'insufficient_credit'
  | 'order_empty'
  | 'already_paid'
  | 'order_held'
  | 'already_refunded'
  | 'not_paid'
  | 'refund_exceeds'
  | 'amount_mismatch'
  | 'limit_exceeded';

/** The others say that no rule has decided the call. */
export type Code =
  | Refusal
  | 'invalid_parameter'
  | 'idempotency_key_reused'
  | 'idempotency_key_unowned'
  | 'cursor_expired'
  | 'webhook_not_found'
  | 'key_not_found'
  | 'contention'
  | 'overloaded'
  | 'store_unavailable'
  | 'outcome_unknown'
  | 'not_ready'
  | 'internal';

/** An error with a code for programs, a detail for people, and a cause for the log. */
export class CodedError<C extends string> extends Error {
  constructor(
    readonly code: C,
    readonly detail: string,
    options?: { cause?: unknown; facts?: Record<string, unknown> },
  ) {
    super(`${code}: ${detail}`, options);
    this.name = new.target.name;
    this.facts = options?.facts;
  }
  /** Further fields of the problem, for programs. */
  readonly facts: Record<string, unknown> | undefined;
}

export class Failure extends CodedError<Code> {}

/** Throws if an invariant does not hold: a 500 and a log line, never a guess. */
export function assert(holds: unknown, what: string, value?: unknown): asserts holds {
  if (holds) return;
  throw new Failure(
    'internal',
    `assertion failed: ${what}${value === undefined ? '' : `: ${value}`}`,
  );
}

/** The SQLSTATE or the driver's code of an error or of its nearest cause that has one, or ''. */
export function codeOf(error: unknown): string {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && typeof e.code === 'string') return e.code;
  }
  return '';
}

/** The innermost code, from the store, the network or TLS, or ''. */
export const rootCodeOf = (error: unknown): string =>
  (error instanceof Error && rootCodeOf(error.cause)) || codeOf(error);

/** True if the server itself sent this error, so the connection is in step with the server. */
export const isServerError = (error: unknown): boolean =>
  error instanceof Error && error.name === 'PostgresError';

/**
 * Conflicts, after which the same transaction may succeed: serialization failure, deadlock, lock
 * and statement timeouts, and unique violation. The last means that another transaction has
 * inserted the row since it was looked up; the next try sees it.
 */
export const isConflict = (error: unknown): boolean =>
  ['40001', '40003', '40P01', '55P03', '57014', '23505', 'contention'].includes(codeOf(error));

/** Another session holds a row for longer than `lock_timeout`. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03';

/** A statement has waited for as long as it may, usually for a lock. */
export const isWaitInVain = (error: unknown): boolean => ['55P03', '57014'].includes(codeOf(error));

/**
 * The store is away, shutting down, full or read-only: classes 08, 53, 57P and 58, and a lost
 * socket. Or CockroachDB refuses all clients because it lacks a licence (XXC02).
 */
export const isUnavailable = (error: unknown): boolean =>
  /^(08|53|57P0[1-5]|58|25006|XXC02|store_unavailable$|CONN|E[A-Z]+$)/.test(codeOf(error));

/**
 * An internal error of the store. CockroachDB reports one when it loses a node during a statement,
 * and when it has a bug: worth a few tries, but not until the deadline. The same goes for a stale
 * plan.
 */
export const isStoreFault = (error: unknown): boolean =>
  isServerError(error) && (/^(XX(000|UUU)|53200)$/.test(codeOf(error)) || isStalePlan(error));

/**
 * A prepared statement is gone, or no longer fits the tables; the names are those of the functions
 * of PostgreSQL that report it. Another session prepares the statement again.
 */
const isStalePlan = (error: unknown): boolean =>
  codeOf(error) === '26000' ||
  (error instanceof Error &&
    'routine' in error &&
    /^(FetchPreparedStatement|RevalidateCachedQuery|transformAssignedExpr)$/.test(
      String(error.routine),
    ));

/** An error of the server that leaves the session usable; FATAL and PANIC end it. */
export const leavesSession = (error: unknown): boolean =>
  isServerError(error) &&
  (error as { severity?: string }).severity === 'ERROR' &&
  !isUnavailable(error);

/** The session or its server has changed so that this session is useless; a new one may work. */
export const isSpentSession = (error: unknown): boolean =>
  isServerError(error) && (isStalePlan(error) || codeOf(error) === '25006');

/** The disk or a limit of the store is full: retrying is pointless. */
export const isFull = (error: unknown): boolean =>
  isServerError(error) && /^53(100|400)$/.test(codeOf(error));

/** The server answers but takes no writes. */
export const refusesWrites = (error: unknown): boolean =>
  isFull(error) || (isServerError(error) && codeOf(error) === '25006');

/** The public reason why the store is unavailable; details are for the log only. */
export function whyAway(cause: unknown): string {
  const code = codesOf(cause).find((one) => one in WHY_AWAY);
  return code ? `${WHY_AWAY[code]} (${code})` : 'the store cannot be reached';
}

const WHY_AWAY: Readonly<Record<string, string>> = {
  '25006': 'the store takes no writes here: it is read-only, or a standby',
  '26000': 'a pooler gives each transaction another session of the store',
  '28000': 'the store refuses this user',
  '28P01': 'the store refuses the password of this service',
  '3D000': 'the store has no database of this name',
  '42704': 'the store refuses a parameter of DATABASE_URL',
  '53100': 'the store takes no writes: its disk is full',
  '53200': 'the store is out of memory',
  '53300': 'the store takes no more connections',
  '53400': 'the store takes no writes: a limit of its configuration is reached',
};

/** The codes of an error, of its causes, and of the errors that it aggregates. */
function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : [];
  const aggregated = error instanceof AggregateError ? error.errors.flatMap(codesOf) : [];
  return [...own, ...aggregated, ...codesOf(error.cause)];
}

/** The same transaction may succeed on another try. */
export const isTransient = (error: unknown): boolean =>
  isConflict(error) || isUnavailable(error) || isStoreFault(error);

/** A table, a column or a privilege is missing: `bun run migrate` provides it. */
export const isUnmigrated = (error: unknown): boolean =>
  /^(42P01|42703|42501)$/.test(codeOf(error));

export const notMigrated = (cause?: unknown): Failure =>
  new Failure(
    'not_ready',
    codeOf(cause) === '42501'
      ? "the store refuses this service's role: check the user of DATABASE_URL, run `bun run migrate`"
      : 'the store lacks a migration: run `bun run migrate`',
    { cause },
  );

/**
 * Errors of a COMMIT that certainly leave no trace. Every other error of a COMMIT (40003, class 08,
 * 57P01, a lost socket, an unknown one) leaves the transaction in doubt.
 */
export const isCertainAbort = (error: unknown): boolean =>
  isServerError(error) && /^(22|23|40001|40P01|40002|44|55P03)/.test(codeOf(error));
