/** Renders every error: a stable code as application/problem+json (RFC 9457). */
import { CodedError } from '../../db/failure.ts';
import {
  PROBLEM_TYPE,
  PROBLEMS,
  type ProblemCode,
  RETRY_LATER,
  type RequestCode,
  typeOf,
} from '../contract/problems.ts';

export class RequestError extends CodedError<RequestCode> {}

export interface Problem {
  status: number;
  body: string;
  headers: Record<string, string>;
}

/**
 * @param detail for people: it names the ids concerned, and never SQL, stacks or hosts
 * @param facts further fields, for programs
 */
export function problem(
  code: ProblemCode,
  detail: string,
  request_id: string | undefined,
  facts?: Record<string, unknown>,
): Problem {
  const { status, title } = PROBLEMS[code];
  const type = typeOf(code);
  return {
    status,
    body: JSON.stringify({ type, title, status, detail, code, request_id, ...facts }),
    headers: {
      'content-type': PROBLEM_TYPE,
      ...(RETRY_LATER.has(code) ? { 'retry-after': '1' } : {}),
    },
  };
}
