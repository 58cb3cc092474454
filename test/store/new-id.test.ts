/** Ids of new rows sort next to each other, and nobody can guess one. */
import { expect, test } from 'bun:test';
import { idsAt, newId } from '../../db/new-id.ts';

const UUID_8 = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('ids are UUIDs of version 8, each different', () => {
  const ids = Array.from({ length: 20_000 }, newId);
  expect(ids.filter((id) => !UUID_8.test(id))).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
});

test('ids of one minute have one place and ascend from one millisecond to the next', () => {
  let now = 1_800_000_000_000;
  const makeId = idsAt(() => now);
  const ids = Array.from({ length: 60_000 }, () => {
    const id = makeId();
    now++;
    return id;
  });
  expect(ids).toEqual(ids.toSorted());
  expect(new Set(ids.map((id) => id.slice(0, 8))).size).toBe(1);
});

test.each([
  ['after a minute', 60_000],
  ['when the clock steps back', -1],
])('%s ids get another place', (_, step_ms) => {
  let now = 1_800_000_000_000;
  const makeId = idsAt(() => now);
  const before = makeId();
  now += step_ms;
  const ids = Array.from({ length: 100 }, makeId);
  expect(ids.filter((id) => !UUID_8.test(id))).toEqual([]);
  expect(new Set(ids.map((id) => id.slice(0, 8))).size).toBe(1);
  expect(ids[0]?.slice(0, 8)).not.toBe(before.slice(0, 8));
});

test('of two ids of one moment, only the place and the time are the same', () => {
  const makeId = idsAt(() => 1_800_000_000_000);
  const parts = Array.from({ length: 1000 }, () => makeId().slice(14));
  expect(new Set(parts).size).toBe(parts.length);
});
