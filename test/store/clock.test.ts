/** Time limits on answers do not count the time in which the event loop is blocked. */
import { expect, test } from 'bun:test';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../../db/clock.ts';

const ECHO = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer((socket) => socket.pipe(socket));
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

test('a time limit does not count the time in which the process was busy', async () => {
  const worker = new Worker(ECHO, { eval: true });
  const [port] = await once(worker, 'message');
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  let ended = 'with an answer';
  const callOff = systemClock.after(500, () => {
    ended = 'by the time limit';
  });
  const busier = setInterval(() => busy(200), 1);
  for (let trip = 0; trip < 4; trip++) {
    socket.write('hello');
    await once(socket, 'data');
  }
  clearInterval(busier);
  callOff();
  socket.destroy();
  await worker.terminate();
  expect(ended).toBe('with an answer');
});

test('a time limit ends though the process stays busy', async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const begun_at = performance.now();
  systemClock.after(100, () => resolve(performance.now() - begun_at));
  const busier = setInterval(() => busy(50), 1);
  expect(await promise).toBeLessThan(7000);
  clearInterval(busier);
});

function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}
