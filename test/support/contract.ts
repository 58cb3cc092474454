/** Holds answers to the contract of the API. */
import type { Call } from '../../apps/contract/call.ts';
import { CALLS } from '../../apps/contract/calls.ts';
import { codesOf } from '../../apps/contract/openapi.ts';
import { PROBLEM_TYPE, PROBLEMS, type ProblemCode, typeOf } from '../../apps/contract/problems.ts';

interface Answer {
  status: number;
  text: string;
  headers: Headers;
}

const known = CALLS.map((call) => ({
  call,
  pattern: new RegExp(`^${call.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}));
/** Of requests for which there is no call. */
const OF_ALL: ProblemCode[] = [
  'host_not_allowed',
  'cross_site_request',
  'unauthenticated',
  'forbidden',
];
const STRAY: readonly ProblemCode[] = [
  'route_not_found',
  'method_not_allowed',
  'method_not_implemented',
];

/** @param path without a query @throws Error if the contract does not have such an answer */
export function assertContract(method: string, path: string, { status, text, headers }: Answer) {
  if (method === 'HEAD') return;
  const call = callOf(method, path);
  const wrong = (why: string) =>
    new Error(`the contract has no such answer to ${method} ${path}: ${why}: ${status} ${text}`);
  if (status < 300) {
    if (!call) return; // pages and metrics
    if (status !== (call.status ?? 200)) throw wrong('its status is another');
    const checked = call.answer.safeParse(JSON.parse(text));
    if (!checked.success) throw wrong(checked.error.message);
    return;
  }
  const { code, type, title, status: said } = JSON.parse(text);
  const expected = PROBLEMS[code as ProblemCode];
  if (headers.get('content-type') !== PROBLEM_TYPE) throw wrong('it is no problem');
  if (expected?.status !== status || said !== status) throw wrong('its status is another');
  if (type !== typeOf(code) || title !== expected.title)
    throw wrong('its type or title is another');
  const codes = call ? codesOf(call) : [...STRAY, ...OF_ALL];
  if (!codes.includes(code)) throw wrong('its code is not among those of the call');
}

const callOf = (method: string, path: string): Call | undefined =>
  known.find(
    ({ call, pattern }) => call.methods.some((one) => one === method) && pattern.test(path),
  )?.call;
