/** One caller with thousands of commands, and another with one, on the real store. */
import { afterAll, afterEach, expect, test } from 'bun:test';
import { readConfig, storeOptions } from '../../apps/runtime/config.ts';
import type { Answer, Command } from '../../db/command.ts';
import { openConnection } from '../../db/connection/connect.ts';
import { groupCommit } from '../../db/engine/group-commit.ts';
import type { EngineLimits } from '../../db/engine/limits.ts';
import { storeUrl } from '../support/kassa.ts';
import { openUntil } from '../support/open.ts';
import { until } from '../support/process.ts';
import { holdLane, holdRows } from './hold.ts';

const kassa = openUntil(afterAll).kassa();
const open = openUntil(afterEach);

/** An engine, and the principals of the commands in the order in which they were decided. */
function stage(limits: Partial<EngineLimits>) {
  const options = { ...storeOptions(readConfig({}), storeUrl(), 'test'), ...limits };
  const connect = () => openConnection(options, 'transactions');
  const prefetch = async (ids: readonly string[]) => new Map(ids.map((id) => [id, {}]));
  const engine = open.closing(groupCommit({ connect, prefetch, log() {} }, options));
  const decided: string[] = [];
  const submit = (principal: string, command: Omit<Command<Answer>, 'decide' | 'principal'>) =>
    engine.submit({
      ...command,
      principal,
      decide() {
        decided.push(principal);
        return { outcome: { status: 200, body: '{}' } };
      },
    });
  return { engine, decided, submit };
}

const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

/** Submits while the lane is busy. @returns how many commands were decided before that of `one` */
async function beforeOne(
  { engine, decided, submit }: ReturnType<typeof stage>,
  flood: () => Promise<unknown>[],
  one: () => Promise<unknown>,
): Promise<number> {
  const user = await kassa.newUser();
  const { release } = await holdLane(user);
  const occupying = submit('first', { keys: { users: [user] } });
  const all = flood();
  const last = one();
  await until(() => engine.queued() === all.length + 1, 'a queue of all commands', 30_000);
  await release();
  await Promise.all([occupying, last, ...all]);
  expect(decided.length).toBe(all.length + 2);
  return decided.indexOf('one') - 1;
}

test.each([
  ['a command', {}],
  ['a checkout with a prefetch', { prefetch: 'an order' }],
])('%s of one caller goes with the next batch, although 10,000 of another wait', async (_, how) => {
  const scene = stage({ queue_max: 21_000, deadline_ms: 60_000 });
  const command = { keys: {}, ...how };
  const flood = () => many(10_000, () => scene.submit('flood', command));
  const before = await beforeOne(scene, flood, () => scene.submit('one', command));
  expect(before).toBeLessThan('prefetch' in how ? 1024 : 512);
});

test('a checkout is prefetched although another caller fills the queue with rows', async () => {
  const scene = stage({ batch_rows_max: 2002, queue_rows_max: 100_000, deadline_ms: 60_000 });
  const items = Array.from({ length: 200 }, (_, i) => `none-${i}`);
  const flood = () => many(200, () => scene.submit('flood', { keys: { items } }));
  const one = () => scene.submit('one', { keys: {}, prefetch: 'an order' });
  expect(await beforeOne(scene, flood, one)).toBeLessThan(20);
});

test('a caller that fills its half of the queue is refused, and others are not', async () => {
  const scene = stage({ queue_max: 100, batch_max: 10 });
  const refused: Promise<string>[] = [];
  const submit = () => scene.submit('flood', { keys: {} });
  const flood = () => {
    const accepted = many(50, submit);
    refused.push(...many(10, () => submit().catch(({ code }) => code)));
    return accepted;
  };
  expect(await beforeOne(scene, flood, () => scene.submit('one', { keys: {} }))).toBeLessThan(10);
  expect(await Promise.all(refused)).toEqual(many(10, () => 'overloaded'));
});

test('calls for a held row leave places to other callers, and give them back', async () => {
  const { engine, submit } = stage({ queue_max: 40, deadline_ms: 60_000 });
  const user = await kassa.newUser();
  const call = (principal: string) => submit(principal, { keys: { users: [user] } });
  for (let round = 0; round < 2; round++) {
    const { release } = await holdRows('users', [user]);
    let refused = 0;
    const flood = many(20, () => call('flood').catch(() => refused++));
    await until(() => engine.setAside() + refused === 20, 'all to be set aside or refused');
    expect(refused).toBe(10);
    const one = call('one');
    await until(() => engine.setAside() === 11, 'a place for another');
    await release();
    expect((await one).answer.status).toBe(200);
    await Promise.all(flood);
    expect(refused).toBe(10);
  }
});
