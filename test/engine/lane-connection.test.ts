/** The connection of a lane: replaced when it is stale, but never under another transaction. */
import { expect, test } from 'bun:test';
import { systemClock } from '../../db/clock.ts';
import type { Connection } from '../../db/connection/connection.ts';
import { Reach } from '../../db/connection/outage.ts';
import { LaneConnection } from '../../db/engine/lane-connection.ts';
import { silentMeter } from '../../db/meter.ts';

test('a stale connection serves on while a transaction uses it, and is replaced after', async () => {
  const opened: Connection[] = [];
  const connect = async () => {
    const connection = { alive: true, stale: false, gated: false, close: async () => {} };
    opened.push(connection as Connection);
    return connection as Connection;
  };
  const deps = {
    connect,
    log: () => {},
    clock: systemClock,
    meter: silentMeter,
    reach: new Reach(),
  };
  const lane = new LaneConnection(deps, 1000, () => {});
  const same = async (connection: Connection) => connection;
  await lane.use(async (first) => {
    Object.assign(first, { stale: true });
    expect(await lane.use(same)).toBe(first);
  });
  expect(opened.length).toBe(1);
  expect(await lane.use(same)).toBe(opened[1] as Connection);
  expect(opened.length).toBe(2);
});
