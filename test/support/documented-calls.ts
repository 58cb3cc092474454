/** The paths of the API, by which tests visit all of them. */
import { CALLS } from '../../apps/contract/calls.ts';

/**
 * @returns rows such as `[['DELETE', 'POST'], '/orders/remove/{order_id}']`, without those of /v1
 */
export const documentedCalls = (): [methods: readonly string[], path: string][] =>
  [...Map.groupBy(CALLS, ({ path }) => path)]
    .filter(([path]) => !path.startsWith('/v1/'))
    .map(([path, calls]) => [calls.flatMap(({ methods }) => methods), path]);
