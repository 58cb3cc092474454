/** What was answered is let go of: a service's memory stays flat however long it runs. */
import { expect, test } from 'bun:test';
import type { Connection } from '../db/connection.ts';
import { connect } from './kassa.ts';

const FLIGHTS = 50;

test('a connection keeps nothing of the flights that it has answered', async () => {
  const connection = await connect();
  const answers: WeakRef<object>[] = [];
  for (let i = 0; i < FLIGHTS; i++) answers.push(await fly(connection));
  await Bun.sleep(0); // lets go of the last one's promises
  Bun.gc(true);
  // The collector may take a few for alive that a register still names.
  const kept = answers.filter((answer) => answer.deref() !== undefined).length;
  expect(kept).toBeLessThan(FLIGHTS / 5);
  await connection.close();
});

async function fly(connection: Connection): Promise<WeakRef<object>> {
  const [answer] = await connection.flight([connection.sql`select 1 as one`], 5000);
  if (answer?.status !== 'fulfilled') throw answer?.reason;
  return new WeakRef(answer.value);
}
