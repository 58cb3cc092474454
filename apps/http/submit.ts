/** Submits a command to the store, and renders its outcome as the answer. */
import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Answer, Command, Decision, Operation, Outcome } from '../../db/command.ts';
import { assert, Failure } from '../../db/failure.ts';
import type { Service } from '../../db/service.ts';
import type { Store } from '../../db/store.ts';
import type { Call } from '../contract/call.ts';
import { PROBLEM_TYPE } from '../contract/problems.ts';
import type { Env, Exchange } from './exchange.ts';
import { askedBy, owned } from './owned.ts';
import { problem, RequestError } from './problem.ts';

/** Runs a command. With an Idempotency-Key the answer is recorded, or the recorded one is sent. */
export const submit = (c: Context<Env>, store: Store, command: Command): Promise<Response> =>
  run(c, store, answering(c, command), operationOf(c));

/** Runs a command of /v1. The body is part of the call that a key stands for. */
export function submitJson(
  c: Context<Env>,
  store: Store,
  call: Call,
  command: Command,
): Promise<Response> {
  return run(c, store, answering(c, command, formOf(call)), operationFor(c, call));
}

/** The operation of a call of /v1, whose key is for its body too; undefined if it has no key. */
export function operationFor(c: Context<Env>, call: Call): Operation | undefined {
  const operation = operationOf(c);
  if (operation && call.body && c.env.body) {
    operation.fingerprint += ` ${createHash('sha256').update(c.env.body).digest('base64')}`;
  }
  return operation;
}

/** Runs a command that renders its answer itself. */
export async function run(
  c: Context<Env>,
  store: Store,
  command: Command<Answer>,
  operation: Operation | undefined,
): Promise<Response> {
  const { answer, replayed, batch, attempt } = await store.write(command, operation);
  Object.assign(c.env, { batch, attempt });
  if (answer.status === 201) c.header('location', `${c.req.path}/${idIn(answer.body)}`);
  return send(c, answer, replayed);
}

/** The id comes first in the answer. It may have many lines, so it is not parsed. */
function idIn(body: string): string {
  const [, id] = /^\{"id":"([\w-]+)"/.exec(body) ?? [];
  assert(id, 'an answer 201 begins with an id');
  return id;
}

/** Rows in one transaction of a batch_init: few enough for other calls to run in between. */
const CHUNK_ROWS = 2000;

/**
 * Runs a large call as commands of at most `CHUNK_ROWS` rows, each in its own transaction. With an
 * Idempotency-Key each chunk is recorded separately, so a repeat continues where the first attempt
 * stopped, and two concurrent attempts do each chunk once.
 * @param commandFor the command for rows `from` to `to - 1`
 */
export async function submitInChunks(
  c: Context<Env>,
  store: Store,
  n: number,
  commandFor: (from: number, to: number) => Command,
): Promise<Response> {
  const operation = operationOf(c);
  let all_replayed = true;
  for (let from = 0; ; from += CHUNK_ROWS) {
    const to = Math.min(n, from + CHUNK_ROWS);
    const command = answering(c, commandFor(from, to));
    const { answer, replayed } = await store
      .write(command, chunkOf(operation, from))
      .catch((error) => Promise.reject(afterSome(error, from)));
    all_replayed &&= replayed;
    if (answer.status !== 200 && from > 0) throw halfDone(from, answer);
    if (to === n || answer.status !== 200) return send(c, answer, all_replayed);
  }
}

const chunkOf = (operation: Operation | undefined, from: number): Operation | undefined =>
  operation && from > 0 ? partOf(operation, from) : operation;

/** Keys of clients are printable, so a key with a control character never equals one. */
export const partOf = ({ key, unowned_key, ...operation }: Operation, part: number): Operation => ({
  ...{ ...operation, key: `${key}\u0001${part}` },
  ...(unowned_key !== undefined && { unowned_key: `${unowned_key}\u0001${part}` }),
});

/** Once a chunk has committed, an error no longer means that nothing was done. */
function afterSome(error: unknown, rows: number): unknown {
  if (!(error instanceof Failure) || rows === 0 || error.code === 'internal') return error;
  return halfDone(rows, error);
}

function halfDone(rows: number, cause: unknown): Failure {
  const detail = `the first ${rows} rows are written, the others may be: repeat the call`;
  return new Failure('outcome_unknown', detail, { cause });
}

/** Renders the answer inside the transaction, since its bytes are recorded there. */
function answering(c: Context<Env>, command: Command, form: Form = PATHS): Command<Answer> {
  const { request_id } = c.env;
  const own = owned(command, c.env);
  return {
    ...own,
    ...askedBy(c.env),
    decide(rows): Decision<Answer> {
      const decision = own.decide(rows);
      if ('lock' in decision) return decision;
      return { ...decision, outcome: form(decision.outcome, request_id) };
    },
  };
}

type Form = (outcome: Outcome, request_id: string) => Answer;

const PATHS: Form = (outcome, request_id) =>
  'body' in outcome
    ? { status: 200, body: JSON.stringify(outcome.body) }
    : problem(outcome.refusal, outcome.detail, request_id);

/** With the status of the call, and with the facts of a refusal. */
const formOf =
  ({ status = 200 }: Call): Form =>
  (outcome, request_id) =>
    'body' in outcome
      ? { status, body: JSON.stringify(outcome.body) }
      : problem(outcome.refusal, outcome.detail, request_id, outcome.facts);

function operationOf(c: Context<Env>): Operation | undefined {
  const key = c.req.header('idempotency-key');
  if (key === undefined) return undefined;
  if (!/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw new Failure('invalid_parameter', 'Idempotency-Key must be 1-255 printable characters');
  }
  const [, first = '', second = ''] = c.req.path.split('/');
  const service = SERVICE_OF[first === 'v1' ? `v1/${second}` : first];
  assert(service, 'a path of a service', c.req.path);
  return { service, ...keyOf(c.env, key), fingerprint: `${c.req.method} ${c.req.path}` };
}

/** A key is its caller's own. Keys of clients are printable, so no two callers have one in common. */
const keyOf = ({ principal }: Exchange, key: string): Pick<Operation, 'key' | 'unowned_key'> => {
  if (!principal) return { key };
  const owned = `${principal.name}\u0002${principal.user_id ?? ''}\u0002${key}`;
  return { key: owned, unowned_key: key };
};

/** By the beginning of the path. */
const SERVICE_OF: Readonly<Record<string, Service>> = {
  orders: 'order',
  payment: 'payment',
  stock: 'stock',
  'v1/users': 'payment',
  'v1/items': 'stock',
  'v1/orders': 'order',
  'v1/bulk': 'order',
};

export function send(c: Context<Env>, { status, body }: Answer, replayed: boolean): Response {
  if (replayed) c.header('idempotency-replayed', 'true');
  const failed = status >= 400;
  if (failed) c.env.problem = body;
  const content_type = failed ? PROBLEM_TYPE : 'application/json';
  return c.body(body, status as ContentfulStatusCode, { 'content-type': content_type });
}

/** An estimate: a line has 28 bytes, and an id, which has 36 if Kassa made it. */
const BYTES_A_ROW = 64;

/**
 * Refuses a body before it is parsed, if its command would find the queue full: parsing a burst of
 * large bodies would block the process.
 */
export const assertRoom =
  (store: Store) =>
  (c: Context<Env>): void =>
    store.assertRoom(Math.ceil((c.env.body?.length ?? 0) / BYTES_A_ROW), c.env.principal?.name);

/** batch_init is for load tests: on in development, elsewhere only where it is configured. */
export const assertBatchInit = (on: boolean) => (): void => {
  if (!on) throw new RequestError('batch_init_disabled', 'set BATCH_INIT=on to allow it');
};

/** The ids of a batch_init, `from` to `to - 1`, as strings. */
export const idsUpTo = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i));
