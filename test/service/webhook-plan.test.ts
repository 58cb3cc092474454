/** When a failed event is tried again, and when it is given up. */
import { expect, test } from 'bun:test';
import { due, failed, probe } from '../../apps/webhooks/plan.ts';
import type { Waiting } from '../../db/webhooks/leases.ts';

const HOUR = 3600;
const waiting = (fields: Partial<Waiting> = {}): Waiting => ({
  ...{ event_id: 'a', key: 'order 1', seq: 1, type: 'order.paid', attempts: 0, first_s: 0 },
  ...{ tried_s: null, next_s: 0, error: null, dead_s: null, ...fields },
});

test('it is tried again after 5 s, 10 s and so on, at least once a day, and given up after three', () => {
  const ages: number[] = [];
  for (let one = waiting(); one.dead_s === null; ) {
    one = failed(one, 'away', Math.max(0, one.next_s), 0, 0.5);
    ages.push(Number(one.tried_s));
  }
  expect(ages.slice(0, 5)).toEqual([0, 5, 10, 20, 40]);
  const pauses = ages.slice(1).map((age, i) => age - (ages[i] ?? 0));
  expect(Math.max(...pauses)).toBeLessThanOrEqual(24 * HOUR);
  expect(ages.at(-1)).toBeWithin(72 * HOUR, 97 * HOUR);
  expect(ages.length).toBeWithin(15, 25);
});

test('not before the receiver has asked for', () => {
  for (const random of [0, 0.5, 1]) {
    expect(failed(waiting(), 'away', 0, HOUR, random).next_s).toBe(HOUR);
    expect(failed(waiting(), 'away', 100, 1, random).next_s).toBeWithin(190, 212);
  }
});

test('only what is first of its key is due, with all behind it', () => {
  const [first, second] = [waiting({ next_s: 10 }), waiting({ event_id: 'b', seq: 2, next_s: 0 })];
  const other = waiting({ event_id: 'c', key: 'order 2', seq: 3, next_s: 5 });
  expect(due([first, second, other], 9)).toEqual([[other]]);
  expect(due([first, second, other], 10)).toEqual([[first, second], [other]]);
});

test('in an outage: after a quarter of it, from 5 s to an hour, the one tried longest ago', () => {
  const at = (tried_s: number, key: string) => waiting({ key, tried_s, next_s: 9 * HOUR });
  const [old, young] = [at(90, 'order 1'), at(100, 'order 2')];
  const all = [young, old, waiting({ key: 'order 2', seq: 9 })];
  expect(probe(all, 100, 104)).toEqual([]);
  expect(probe(all, 100, 105)).toEqual([old]);
  expect(probe(all, 100, 105, 120)).toEqual([]);
  const late = [at(40 * HOUR, 'order 1')];
  expect(probe(late, 0, 41 * HOUR - 1)).toEqual([]);
  expect(probe(late, 0, 41 * HOUR)).toEqual(late);
  const asked = waiting({ key: 'order 3', next_s: 0 });
  expect(probe([young, asked], 100, 101)).toEqual([asked]);
});
