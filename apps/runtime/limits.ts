/** The limits that must fit each other. */
import type { Config } from './variables.ts';

/** A sentence for each pair of limits that do not fit. A limit that is missing fits. */
export const misfits = (config: Partial<Config>): string[] => [
  ...pairMisfits(config),
  ...drainMisfit(config),
];

type Limit = { [Name in keyof Config]-?: Config[Name] extends number ? Name : never }[keyof Config];

/** Which limit must stay within which other one, and what goes wrong otherwise. */
export const limitPairs: [inner: Limit, how: 'below' | 'at most', outer: Limit, why: string][] = [
  [
    'LOCK_TIMEOUT_MS',
    'below',
    'STATEMENT_TIMEOUT_MS',
    'or waits for locks are reported as slow statements',
  ],
  ['STATEMENT_TIMEOUT_MS', 'below', 'TRANSACTION_TIMEOUT_MS', 'or slow statements end sessions'],
  [
    'IDLE_IN_TRANSACTION_TIMEOUT_MS',
    'at most',
    'TRANSACTION_TIMEOUT_MS',
    'or it never takes effect',
  ],
  [
    'TRANSACTION_TIMEOUT_MS',
    'at most',
    'DEADLINE_MS',
    'or calls that wait for a frozen service fail first',
  ],
  ['RESPONSE_TIMEOUT_MS', 'at most', 'DEADLINE_MS', 'or calls end before a dead connection shows'],
  ['CONNECT_TIMEOUT_MS', 'at most', 'DEADLINE_MS', 'or calls end before they are connected'],
  ['AWAY_MS', 'at most', 'DEADLINE_MS', 'or calls end before the store counts as away'],
  ['PIPELINE_MIN', 'at most', 'BATCH_MAX', 'or a full batch is not sent ahead'],
  ['BATCH_MAX', 'at most', 'QUEUE_MAX', 'or no batch is ever full'],
  ['BATCH_ROWS_MAX', 'at most', 'QUEUE_ROWS_MAX', 'or no batch is ever full'],
];

/** How long a call can take: its last attempt may begin just before the deadline. */
export const longestCallMs = (
  config: Pick<Config, 'DEADLINE_MS' | 'STATEMENT_TIMEOUT_MS'>,
): number => config.DEADLINE_MS + config.STATEMENT_TIMEOUT_MS + 1000;

function pairMisfits(config: Partial<Config>): string[] {
  return limitPairs.flatMap(([inner, how, outer, why]) => {
    const [value, limit] = [config[inner], config[outer]];
    if (value === undefined || limit === undefined) return [];
    if (how === 'below' ? value < limit : value <= limit) return [];
    return [`${inner} (${value}) must be ${how} ${outer} (${limit}), ${why}`];
  });
}

function drainMisfit({ DEADLINE_MS, STATEMENT_TIMEOUT_MS, DRAIN_MS }: Partial<Config>): string[] {
  if (DEADLINE_MS === undefined || STATEMENT_TIMEOUT_MS === undefined) return [];
  const longest_ms = longestCallMs({ DEADLINE_MS, STATEMENT_TIMEOUT_MS });
  if (DRAIN_MS === undefined || longest_ms < DRAIN_MS) return [];
  return [
    `DRAIN_MS (${DRAIN_MS}) must be above DEADLINE_MS + STATEMENT_TIMEOUT_MS + 1000 (${longest_ms}), or a stop gives up calls that were accepted`,
  ];
}
