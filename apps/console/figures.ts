/** What the metrics of all processes say: null where no process answers, which is not the same as 0. */
import type { Frame } from './frame.ts';
import type { Measured } from './processes.ts';
import { quantilesOf, type Sample, sumOf, sumsBy } from './samples.ts';

const [REQUESTS, ROUND_TRIPS] = [
  'kassa_http_request_duration_seconds',
  'kassa_round_trip_duration_seconds',
];
const READS = ['GET', 'HEAD', 'OPTIONS'];
const QUIET = ['/health/live', '/health/ready', '/metrics'];

type Figures = Pick<
  Frame,
  'window_s' | 'requests' | 'latency_ms' | 'parts_ms' | 'queue' | 'batch' | 'retries' | 'in_doubt'
> & { refused: Frame['purchases']['refused']; listeners: number | null; lag_s: number | null };

export function figuresOf({ grown, counted, latest, window_s }: Measured): Figures {
  const asked = ({ route = '' }: Sample['labels']) => !QUIET.includes(route);
  const writes = (labels: Sample['labels']) => !READS.includes(labels.method ?? '');
  const failed = (labels: Sample['labels']) => asked(labels) && Number(labels.status) >= 500;
  const of = (kind: string) => (labels: Sample['labels']) => labels.round_trip === kind;
  const transactions = sumOf(grown, 'kassa_batch_commands_count');
  const known = window_s > 0;
  const highest = (name: string) =>
    latest.reduce<number | null>(
      (most, one) => (one.name === name ? Math.max(most ?? 0, one.value) : most),
      null,
    );
  return {
    window_s,
    refused: known ? sumsBy(grown, 'kassa_problems_total', 'code') : null,
    requests: known
      ? {
          rate: sumOf(grown, `${REQUESTS}_count`, asked),
          failed: sumOf(grown, `${REQUESTS}_count`, failed),
        }
      : null,
    latency_ms: quantilesOf(grown, REQUESTS, writes),
    parts_ms: {
      queue: quantilesOf(grown, 'kassa_queue_wait_seconds'),
      lock: quantilesOf(grown, ROUND_TRIPS, of('lock')),
      commit: quantilesOf(grown, ROUND_TRIPS, of('commit')),
    },
    queue:
      latest.length === 0
        ? null
        : {
            length: sumOf(latest, 'kassa_queue_length'),
            set_aside: sumOf(latest, 'kassa_commands_set_aside'),
            oldest_ms: 1000 * (highest('kassa_queue_age_seconds') ?? 0),
          },
    batch:
      transactions === 0
        ? null
        : { mean: sumOf(grown, 'kassa_batch_commands_sum') / transactions, transactions },
    retries: known ? sumsBy(grown, 'kassa_retries_total', 'sqlstate') : null,
    in_doubt: known ? sumOf(counted, 'kassa_commits_ambiguous_total') : null,
    listeners: latest.length === 0 ? null : sumOf(latest, 'kassa_event_listeners'),
    lag_s: highest('kassa_webhook_lag_seconds'),
  };
}
