/** What a round of deliveries leaves to write. Pure. */
import type { Round, Waiting } from '../../db/webhooks/rounds.ts';
import { dueAgain, failed } from './plan.ts';
import type { Sent } from './send.ts';

/** An event that a round delivers. */
export interface Sending extends Waiting {
  payload: string;
  /** It is among those that wait in the store already. */
  stored: boolean;
}

interface Before {
  waiting: readonly Waiting[];
  failing_since_s: number | null;
  /** The receiver counts as away. */
  away: boolean;
  /** Delivered events may be among those that were given up. */
  has_dead: boolean;
  now_s: number;
}

/** @param outcomes by the id of the event, of those whose requests have ended */
export function roundOf(
  sendings: readonly Sending[],
  outcomes: ReadonlyMap<string, Sent>,
  { waiting, failing_since_s: since_s, away, has_dead, now_s }: Before,
): Omit<Round, 'cursor' | 'number'> {
  const behind = (key: string) => waiting.filter((one) => one.key === key).length - 1;
  const left = sendings.flatMap((one): Sending[] => {
    const sent = outcomes.get(one.event_id);
    if (sent === 'delivered') return [];
    if (sent === undefined) return one.stored ? [] : [one]; // behind another, or not ended
    const { error, retry_after_s } = sent === 'gone' ? { error: GONE, retry_after_s: 0 } : sent;
    const failure = { error, retry_after_s, now_s, behind: away ? 0 : behind(one.key) };
    const { payload, stored } = one;
    return [{ ...failed(one, failure), payload, stored }];
  });
  const delivered = sendings.filter(({ event_id }) => outcomes.get(event_id) === 'delivered');
  const recovered = since_s !== null && delivered.length > 0 && !away;
  const sent = new Set(sendings.map(({ event_id }) => event_id));
  const others = waiting.filter(({ event_id }) => !sent.has(event_id));
  return {
    failing_since_s: away ? (since_s ?? now_s) : recovered ? null : since_s,
    disabled: [...outcomes.values()].includes('gone') ? GONE : null,
    added: left.filter(({ stored }) => !stored),
    changed: [
      ...left.filter(({ stored }) => stored),
      ...(recovered ? others.map((one) => dueAgain(one, now_s)) : []),
    ],
    delivered: delivered.filter(({ stored }) => stored || has_dead).map(({ event_id }) => event_id),
  };
}

/** What waits after a round, in order. */
export function waitingAfter(
  waiting: readonly Waiting[],
  { delivered, changed, added }: Pick<Round, 'delivered' | 'changed' | 'added'>,
): Waiting[] {
  const known = [...changed, ...added].map(({ event_id }) => event_id);
  const gone = new Set([...delivered, ...known]);
  const left = waiting.filter(({ event_id }) => !gone.has(event_id));
  return [...left, ...changed, ...added]
    .filter(({ dead_s }) => dead_s === null)
    .toSorted((a, b) => a.seq - b.seq);
}

const GONE = 'the receiver answered 410: it wants no more';
