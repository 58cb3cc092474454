/** The answers within the answer of a bulk: a status and a body each. */
import type { Answer, Command, Decision, Outcome } from '../../db/command.ts';
import { Failure } from '../../db/failure.ts';
import { countKeys } from '../../db/row-keys.ts';
import {
  ANSWERS_TOGETHER_MAX_BYTES,
  ROWS_TOGETHER_MAX,
  type Together,
  together,
} from '../../db/together.ts';
import type { Exchange } from '../http/exchange.ts';
import { askedBy, owned } from '../http/owned.ts';
import { problem } from '../http/problem.ts';
import type { Ready } from './calls.ts';

/**
 * All calls as one command: it answers each of them, or with the first refusal.
 * @throws Failure limit_exceeded if they name too many rows
 */
export function allOf(calls: readonly Ready[], exchange: Exchange): Command<Answer> {
  const { request_id } = exchange;
  const command = together(
    calls.map(({ command }) => owned(command, exchange)),
    (body, index) => result(calls[index]?.call.status ?? 200, JSON.stringify(body)),
  );
  if (countKeys(command.keys) > ROWS_TOGETHER_MAX) {
    const detail = `the calls name more than ${ROWS_TOGETHER_MAX} rows: send fewer calls`;
    throw new Failure('limit_exceeded', detail);
  }
  return rendered({ ...command, ...askedBy(exchange) }, (outcome) => {
    if ('answers' in outcome) return { status: 200, body: resultsOf(outcome.answers) };
    const { index, refusal, detail, facts } = outcome;
    return problem(refusal, `calls[${index}]: ${detail}`, request_id, { index, ...facts });
  });
}

/** One call of a bulk in mode `each`. */
export const oneOf = (
  { call: { status = 200 }, command }: Ready,
  exchange: Exchange,
): Command<Answer> =>
  rendered({ ...owned(command, exchange), ...askedBy(exchange) }, (outcome: Outcome) =>
    'body' in outcome
      ? { status, body: JSON.stringify(outcome.body) }
      : problem(outcome.refusal, outcome.detail, undefined, outcome.facts),
  );

function rendered<A extends Outcome | Together>(
  command: Command<A>,
  render: (outcome: A) => Answer,
): Command<Answer> {
  return {
    ...command,
    decide(rows): Decision<Answer> {
      const decision = command.decide(rows);
      if ('lock' in decision) return decision;
      const { status, body } = render(decision.outcome);
      return { ...decision, outcome: { status, body } };
    },
  };
}

/** The answer to a call that failed before a rule decided. Bugs are thrown again, to be logged. */
export function failed(error: unknown): Answer {
  if (!(error instanceof Failure) || error.code === 'internal') throw error;
  const { code, detail, facts } = error;
  return problem(code, detail, undefined, facts);
}

/**
 * Renders answers in the order of their arrival. Beyond the limit it keeps only the status: that
 * happens only to answers that show large orders which this bulk did not send.
 */
export function resultKeeper(): (answer: Answer) => string {
  let bytes = 0;
  return ({ status, body }) => {
    bytes += body.length;
    return bytes > ANSWERS_TOGETHER_MAX_BYTES ? `{"status":${status}}` : result(status, body);
  };
}

const result = (status: number, body: string): string => `{"status":${status},"body":${body}}`;
export const resultsOf = (results: readonly string[]): string =>
  `{"results":[${results.join(',')}]}`;
