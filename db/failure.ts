/** The vocabulary of what can go wrong: the README's stable codes, one error class, SQLSTATE classes. */

/** Codes that a rule gives: the call was decided, and the answer may be recorded. */
export type Refusal =
  | 'order_not_found'
  | 'item_not_found'
  | 'user_not_found'
  | 'out_of_stock'
  | 'insufficient_credit'
  | 'order_empty'
  | 'already_paid'
  | 'not_paid'
  | 'amount_mismatch'
  | 'limit_exceeded';

/** Codes of calls that no rule decided. */
export type Code =
  | Refusal
  | 'malformed_request'
  | 'invalid_parameter'
  | 'request_timeout'
  | 'body_too_large'
  | 'head_too_large'
  | 'route_not_found'
  | 'method_not_allowed'
  | 'method_not_implemented'
  | 'batch_init_disabled'
  | 'cross_site_request'
  | 'host_not_allowed'
  | 'unsupported_body'
  | 'idempotency_key_reused'
  | 'contention'
  | 'overloaded'
  | 'store_unavailable'
  | 'outcome_unknown'
  | 'not_ready'
  | 'internal';

/** The project's only error class: a code for programs, a detail for people, a cause for the log. */
export class Failure extends Error {
  constructor(
    readonly code: Code,
    readonly detail: string,
    options?: { cause?: unknown; headers?: Record<string, string> },
  ) {
    super(`${code}: ${detail}`, options);
    this.name = 'Failure';
    this.headers = options?.headers ?? {};
  }
  readonly headers: Record<string, string>;
}

/** Throws if what must hold does not: an answer of 500 and a log line, never a guess. */
export function assert(holds: unknown, what: string, value?: unknown): asserts holds {
  if (holds) return;
  throw new Failure(
    'internal',
    `assertion failed: ${what}${value === undefined ? '' : `: ${value}`}`,
  );
}

/** The SQLSTATE or the driver's code of an error, looked for along the causes, or ''. */
export function codeOf(error: unknown): string {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && typeof e.code === 'string') return e.code;
  }
  return '';
}

/** The innermost code, or '': what the store, the network or TLS gave. */
export const rootCodeOf = (error: unknown): string =>
  (error instanceof Error && rootCodeOf(error.cause)) || codeOf(error);

/** True if the server itself answered with this error, so the connection is in step with it. */
export const isServerError = (error: unknown): boolean =>
  error instanceof Error && error.name === 'PostgresError';

/**
 * Conflicts, after which the same transaction may well succeed: serialization failure, deadlock,
 * lock and statement timeouts, and a unique violation, which says that somebody else made the row
 * since it was looked for (the next try will see it).
 */
export const isConflict = (error: unknown): boolean =>
  ['40001', '40003', '40P01', '55P03', '57014', '23505', 'contention'].includes(codeOf(error));

/** Somebody else holds a row for longer than `lock_timeout`. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03';

/** A statement has waited for a lock, or for what else takes its time, for as long as it may. */
export const isWaitInVain = (error: unknown): boolean => ['55P03', '57014'].includes(codeOf(error));

/**
 * The store is away, going, full or read-only: classes 08, 53, 57P and 58, and a lost socket; or
 * CockroachDB lets nobody in for want of a licence (XXC02).
 */
export const isUnavailable = (error: unknown): boolean =>
  /^(08|53|57P0[1-5]|58|25006|XXC02|store_unavailable$|CONN|E[A-Z]+$)/.test(codeOf(error));

/**
 * The store has failed within. CockroachDB answers so where a node is lost under a statement, as
 * well as where it has a bug with it: worth a few tries, but not to the deadline. So is a plan that
 * is stale.
 */
export const isStoreFault = (error: unknown): boolean =>
  isServerError(error) && (/^(XX(000|UUU)|53200)$/.test(codeOf(error)) || isStalePlan(error));

/**
 * What the session had prepared is gone, or does not fit the tables any more: the functions of
 * PostgreSQL that say so. In another session it is prepared anew.
 */
const isStalePlan = (error: unknown): boolean =>
  codeOf(error) === '26000' ||
  (error instanceof Error &&
    'routine' in error &&
    /^(FetchPreparedStatement|RevalidateCachedQuery|transformAssignedExpr)$/.test(
      String(error.routine),
    ));

/** The server's own error in a session that goes on; FATAL and PANIC end it, whoever says so. */
export const leavesSession = (error: unknown): boolean =>
  isServerError(error) &&
  (error as { severity?: string }).severity === 'ERROR' &&
  !isUnavailable(error);

/** The session, or its server, is not what it was when it was made; another one may be. */
export const isSpentSession = (error: unknown): boolean =>
  isServerError(error) && (isStalePlan(error) || codeOf(error) === '25006');

/** No room for what is written, on the disk or by a limit: not to be waited for. */
export const isFull = (error: unknown): boolean =>
  isServerError(error) && /^53(100|400)$/.test(codeOf(error));

/** The server answers, and takes no writes. */
export const refusesWrites = (error: unknown): boolean =>
  isFull(error) || (isServerError(error) && codeOf(error) === '25006');

/** What may be told to anybody about a store that cannot do its work; the rest is for the log. */
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

/** The codes of an error, of its causes, and of those that it sums up. */
function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : [];
  const summed = error instanceof AggregateError ? error.errors.flatMap(codesOf) : [];
  return [...own, ...summed, ...codesOf(error.cause)];
}

/** The same transaction may succeed when it is tried again. */
export const isTransient = (error: unknown): boolean =>
  isConflict(error) || isUnavailable(error) || isStoreFault(error);

/** No such table or column, or our role may not touch it: what `bun run migrate` brings is missing. */
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
 * Errors that a COMMIT answers and that certainly leave nothing behind. Everything else on a COMMIT
 * (40003, class 08, 57P01, a lost socket, the unknown) is ambiguous.
 */
export const isCertainAbort = (error: unknown): boolean =>
  isServerError(error) && /^(22|23|40001|40P01|40002|44|55P03)/.test(codeOf(error));

/** Where the parts report what people should know: `event` is a stable name, errors go in fields. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  event: string,
  fields: Record<string, unknown>,
) => void;
