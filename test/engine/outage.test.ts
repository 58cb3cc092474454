/** When calls fail at once because the store is out of reach, and when that is over. */
import { beforeEach, expect, test } from 'bun:test';
import { systemClock } from '../../db/clock.ts';
import { Outage, Reach } from '../../db/connection/outage.ts';

let now = 0;
beforeEach(() => {
  now = 0;
});

const AWAY_MS = 1000;
const outage = (reach = new Reach()) =>
  new Outage({ ...systemClock, now: () => now }, AWAY_MS, reach);

/** An attempt to connect that fails at once, at this time. */
async function failAt(time: number, of: Outage): Promise<void> {
  now = time;
  await of.connect(() => Promise.reject(new Error('refused'))).catch(() => {});
}

test('a connection that another opens ends an outage, and the next outage begins anew', async () => {
  const reach = new Reach();
  const [lane, pool] = [outage(reach), outage(reach)];
  await failAt(0, lane);
  expect(lane.away).toBe(false);
  await failAt(1000, lane);
  expect([lane.away, lane.refuses]).toEqual([true, true]);
  now = 1100;
  await pool.connect(async () => 'connected');
  expect([lane.away, lane.refuses]).toEqual([false, false]);
  await failAt(1200, lane);
  await failAt(2100, lane);
  expect(lane.away).toBe(false);
  await failAt(2200, lane);
  expect(lane.away).toBe(true);
});

test('after a silence an attempt is waited for, and another one beside it adds nothing', async () => {
  const pool = outage();
  await failAt(0, pool);
  await failAt(1000, pool);
  now = 5000;
  const [one, other] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const attempts = [pool.connect(() => one.promise)];
  now = 5900;
  expect(pool.away).toBe(false);
  attempts.push(pool.connect(() => other.promise));
  now = 6000;
  expect(pool.away).toBe(true);
  for (const { reject } of [one, other]) reject(new Error('refused'));
  await Promise.allSettled(attempts);
});

test('after a silence an attempt that fails tells that the store is away still', async () => {
  const pool = outage();
  await failAt(0, pool);
  await failAt(5000, pool);
  now = 5010;
  expect(pool.away).toBe(true);
});
