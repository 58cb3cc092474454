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

export class RequestError extends CodedError<RequestCode> {
  /** Of the answer, in addition. */
  headers: Readonly<Record<string, string>> = {};
}

export interface Problem {
  status: number;
  body: string;
  headers: Record<string, string>;
}

/**
 * @param detail for people: it names the ids concerned, and never SQL, stacks or hosts
 * @param facts further fields, for programs
 * @param headers take the place of those that the code has
 */
export function problem(
  code: ProblemCode,
  detail: string,
  request_id: string | undefined,
  facts?: Record<string, unknown>,
  headers?: Readonly<Record<string, string>>,
): Problem {
  const { status, title } = PROBLEMS[code];
  const type = typeOf(code);
  return {
    status,
    body: JSON.stringify({ type, title, status, detail, code, request_id, ...facts }),
    headers: {
      'content-type': PROBLEM_TYPE,
      ...(RETRY_LATER.has(code) ? { 'retry-after': '1' } : {}),
      ...(code === 'unauthenticated' ? { 'www-authenticate': 'Bearer' } : {}),
      ...headers,
    },
  };
}
