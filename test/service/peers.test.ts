/** Failures are logged with the address of the caller: of one that has left, and on Deno. */
import { afterAll, expect, test } from 'bun:test';
import { connect } from 'node:net';
import { authenticator } from '../../apps/auth/authenticate.ts';
import { failureCounter } from '../../apps/auth/failures.ts';
import { newKeyText } from '../../apps/auth/key-text.ts';
import type { Incoming, Responder } from '../../apps/http/exchange.ts';
import { type Listen, listenAt } from '../../apps/http/listen.ts';
import { answers, freePort, openStage, until } from '../support/process.ts';
import { startOnDeno } from '../support/services.ts';

const stage = openStage();
afterAll(stage.clear);
const { text: unknown } = newKeyText();

/** A port where looking up a key lasts until the caller has left, and then finds nothing. */
async function openSlow() {
  const [asked, left] = [Promise.withResolvers<void>(), Promise.withResolvers<undefined>()];
  const logged: unknown[] = [];
  const findKey = () => {
    asked.resolve();
    return left.promise;
  };
  const failures = failureCounter((_level, _event, { address }) => logged.push(address));
  const authenticate = authenticator({ findKey, failures });
  const identify = async (request: Incoming) => ({ principal: await authenticate(request) });
  const refuse = () => ({ response: new Response(), request_id: 'a', last: true });
  const responder: Responder = {
    identify,
    answer: (request) => identify(request).then(refuse, refuse),
    refuse,
  };
  const listen: Listen = ({ socket, ...where }) => {
    const close: typeof socket.close = (one) => {
      socket.close(one);
      left.resolve(undefined);
    };
    return Bun.listen({ ...where, socket: { ...socket, close } });
  };
  const port = await freePort();
  return {
    port,
    asked: asked.promise,
    logged,
    listening: listenAt(listen, '127.0.0.1', port, responder),
  };
}

test.each([
  ['a call', 'GET /v1/users HTTP/1.1\r\n'],
  ['a large body', 'POST /v1/bulk HTTP/1.1\r\nContent-Length: 100000\r\n'],
])('whoever sends %s with a wrong key and leaves is logged with their address', async (_, head) => {
  const { port, asked, logged, listening } = await openSlow();
  const client = connect(port, '127.0.0.1');
  client.write(`${head}Host: a\r\nAuthorization: Bearer ${unknown}\r\n\r\n`);
  await asked;
  client.resetAndDestroy();
  await until(() => logged.length > 0, 'the line');
  await listening.stop();
  expect(logged).toEqual(['127.0.0.1']);
});

test('on Deno a trusted gateway says where a call comes from', async () => {
  const env = { AUTH: 'on', TRUSTED_PROXIES: '127.0.0.0/8' };
  const { child, port } = await startOnDeno(stage, 'payment', env);
  await answers(child, port);
  const headers = { authorization: `Bearer ${unknown}`, 'x-forwarded-for': '203.0.113.9' };
  expect((await fetch(`http://127.0.0.1:${port}/v1/users`, { headers })).status).toBe(401);
  const line = () => /.*authentication_failed.*/.exec(child.out + child.err)?.[0];
  await until(line, 'the line');
  expect(line()).toContain('203.0.113.9');
});
