/** When a failed event is tried again, and when it is given up. */
import { expect, test } from 'bun:test';
import { Hold, now } from '../../apps/webhooks/hold.ts';
import {
  alternate,
  due,
  dueAgain,
  failed,
  isTimeToProbe,
  nextDue,
  probe,
} from '../../apps/webhooks/plan.ts';
import { roundOf, type Sending } from '../../apps/webhooks/round.ts';
import type { Sent } from '../../apps/webhooks/send.ts';
import { Sendings } from '../../apps/webhooks/sendings.ts';
import type { Waiting } from '../../db/webhooks/rounds.ts';

const HOUR = 3600;
const waiting = (fields: Partial<Waiting> = {}): Waiting => ({
  ...{ event_id: 'a', key: 'order 1', seq: 1, type: 'order.paid', attempts: 0, first_s: 0 },
  ...{ tried_s: null, next_s: 0, error: null, dead_s: null, ...fields },
});
const away = { error: 'away', random: 0.5 };

test('it is tried again after 5 s, 10 s and so on, at least once a day, and given up after three', () => {
  const ages: number[] = [];
  for (let one = waiting({ next_s: 1000 }); one.dead_s === null; ) {
    one = failed(one, { ...away, now_s: one.next_s });
    ages.push(Number(one.tried_s) - 1000);
  }
  expect(ages.slice(0, 5)).toEqual([0, 5, 10, 20, 40]);
  const pauses = ages.slice(1).map((age, i) => age - (ages[i] ?? 0));
  expect(Math.max(...pauses)).toBeLessThanOrEqual(24 * HOUR);
  expect(ages.at(-1)).toBeWithin(72 * HOUR, 97 * HOUR);
  expect(ages.length).toBeWithin(15, 25);
});

test('the three days begin with its own first attempt, and five attempts are the least', () => {
  const waited = waiting({ first_s: 0, next_s: 100 * HOUR });
  let one = failed(waited, { ...away, now_s: 100 * HOUR });
  expect(one).toMatchObject({ dead_s: null, first_s: 100 * HOUR, attempts: 1 });
  for (const attempts of [2, 3, 4]) {
    one = failed(one, { ...away, now_s: 200 * HOUR });
    expect([one.attempts, one.dead_s]).toEqual([attempts, null]);
  }
  expect(failed(one, { ...away, now_s: 200 * HOUR }).dead_s).toBe(200 * HOUR);
});

test('an event before hundreds of others is given up after two attempts', () => {
  const first = failed(waiting(), { ...away, now_s: 0, behind: 500 });
  expect(first.dead_s).toBeNull();
  expect(failed(first, { ...away, now_s: 5, behind: 499 }).dead_s).toBeNull();
  expect(failed(first, { ...away, now_s: 5, behind: 500 }).dead_s).toBe(5);
});

test('not before the receiver has asked for', () => {
  for (const random of [0, 0.5, 1]) {
    const asked = { error: 'away', now_s: 0, retry_after_s: HOUR, random };
    expect(failed(waiting(), asked).next_s).toBe(HOUR);
    const again = waiting({ attempts: 1 });
    expect(failed(again, { ...asked, now_s: 100, retry_after_s: 1 }).next_s).toBeWithin(190, 212);
  }
});

test('only what is first of its key is due, with all behind it', () => {
  const [first, second] = [waiting({ next_s: 10 }), waiting({ event_id: 'b', seq: 2, next_s: 0 })];
  const other = waiting({ event_id: 'c', key: 'order 2', seq: 3, next_s: 5 });
  expect(due([first, second, other], 9)).toEqual([[other]]);
  expect(due([first, second, other], 10)).toEqual([[first, second], [other]]);
  expect(nextDue([first, second, other])).toBe(5);
  expect(nextDue([])).toBe(Infinity);
});

test('in an outage: after a quarter of it, from 5 s to five minutes, and not before the receiver wants', () => {
  expect(isTimeToProbe(100, 100, 104, 0)).toBeFalse();
  expect(isTimeToProbe(100, 100, 105, 0)).toBeTrue();
  expect(isTimeToProbe(100, 100, 105, 120)).toBeFalse();
  expect(isTimeToProbe(100, 0, 139, 0)).toBeTrue();
  expect(isTimeToProbe(100 * HOUR, 0, 100 * HOUR + 299, 0)).toBeFalse();
  expect(isTimeToProbe(100 * HOUR, 0, 100 * HOUR + 300, 0)).toBeTrue();
});

test('in an outage that event is tried whose last try is longest ago, or which somebody has asked for', () => {
  const at = (tried_s: number, key: string) => waiting({ key, tried_s, next_s: 9 * HOUR });
  const [old, young] = [at(90, 'order 1'), at(100, 'order 2')];
  const behind = waiting({ key: 'order 2', seq: 9 });
  expect(probe([young, old, behind])).toEqual(old);
  const asked = waiting({ key: 'order 3', next_s: 0 });
  expect(probe([young, old, asked])).toEqual(asked);
  expect(probe([])).toBeUndefined();
});

test('after an outage all is due at once, but what has failed often within a minute', () => {
  const [few, often] = [
    waiting({ attempts: 3, next_s: HOUR }),
    waiting({ attempts: 4, next_s: HOUR }),
  ];
  expect(dueAgain(few, 10, 0.5).next_s).toBe(10);
  expect(dueAgain(often, 10, 0.5).next_s).toBe(40);
  expect(dueAgain({ ...often, next_s: 12 }, 10, 0.5).next_s).toBe(12);
});

test('what waited and what is new take turns', () => {
  expect(alternate(['a', 'b', 'c'], ['1'])).toEqual(['a', '1', 'b', 'c']);
  expect(alternate([], ['1', '2'])).toEqual(['1', '2']);
});

const sending = (fields: Partial<Waiting>): Sending => ({
  ...waiting(fields),
  payload: '{}',
  stored: false,
});
const BEFORE = { waiting: [], failing_since_s: null, away: false, has_dead: false, now_s: 100 };

test('a round writes what failed, what waits behind it, and what was delivered at last', () => {
  const [bad, behind] = [sending({ event_id: 'bad' }), sending({ event_id: 'behind', seq: 2 })];
  const [well, late] = [
    sending({ event_id: 'well', key: 'order 2' }),
    { ...sending({ event_id: 'late', key: 'order 3' }), stored: true },
  ];
  const outcomes = new Map<string, Sent>([
    ['bad', { error: 'away' }],
    ['well', 'delivered'],
    ['late', 'delivered'],
  ]);
  const round = roundOf([bad, behind, well, late], outcomes, BEFORE);
  expect(round.added.map(({ event_id, attempts }) => [event_id, attempts])).toEqual([
    ['bad', 1],
    ['behind', 0],
  ]);
  expect([round.changed, round.delivered, round.disabled]).toEqual([[], ['late'], null]);
  expect(roundOf([well], outcomes, { ...BEFORE, has_dead: true }).delivered).toEqual(['well']);
});

test('an outage ends with a delivery, and then all that waits is due', () => {
  const others = [waiting({ event_id: 'other', key: 'order 9', next_s: HOUR })];
  const before = { ...BEFORE, waiting: others, failing_since_s: 50 };
  const well = sending({ event_id: 'well' });
  const delivered = roundOf([well], new Map([['well', 'delivered' as const]]), before);
  expect(delivered).toMatchObject({
    failing_since_s: null,
    changed: [{ event_id: 'other', next_s: 100 }],
  });
  const failed = roundOf([well], new Map([['well', { error: 'away' }]]), before);
  expect(failed).toMatchObject({ failing_since_s: 50, changed: [] });
  expect(roundOf([well], new Map(), { ...BEFORE, away: true }).failing_since_s).toBe(100);
});

test('an outage is five keys that fail in a row, not five failures, nor refusals of single events', async () => {
  let answer: Sent = { error: 'away' };
  const sender = { send: async () => answer, close: () => {} };
  const hold = new Hold({ webhook_id: 'w', id: 'l', version: 1 }, now());
  const never = new AbortController().signal;
  const sendings = new Sendings(
    sender,
    hold,
    never,
    () => {},
    () => 1,
  );
  const send = (key: string) => sendings.sendAll([], [sending({ key, event_id: key })], new Map());
  for (let i = 0; i < 9; i++) await send('order 1');
  for (const key of ['2', '3', '4']) await send(`order ${key}`);
  expect(sendings.away).toBeFalse();
  await send('order 5');
  expect(sendings.away).toBeTrue();
  sendings.failing_keys.clear();
  answer = { error: 'the receiver answered 422', refused: true };
  for (let i = 0; i < 9; i++) await send(`order ${i}`);
  expect(sendings.away).toBeFalse();
  hold.end();
});
