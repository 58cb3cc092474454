/** Bulks for tests, and the calls in them. */
import type { Kassa, Reply } from './kassa.ts';
import { callsOfV1 } from './v1.ts';

/** Method and path, and the body. */
export type Sent = readonly [call: string, body?: object];

export const bulkOn = (kassa: Kassa) => {
  const { post } = callsOfV1(kassa);
  return (mode: string, calls: readonly Sent[], headers = {}) => {
    const given = calls.map(([call, body]) => {
      const [method, path] = call.split(' ');
      return { method, path, ...(body && { body }) };
    });
    return post('/v1/bulk', { mode, calls: given }, headers);
  };
};

export const statuses = ({ body }: Reply): number[] =>
  body.results.map(({ status }: Reply) => status);

export const deposit = (user: string, amount: number): Sent => [
  `POST /v1/users/${user}/deposits`,
  { amount },
];
export const withdraw = (user: string, amount: number): Sent => [
  `POST /v1/users/${user}/withdrawals`,
  { amount },
];
