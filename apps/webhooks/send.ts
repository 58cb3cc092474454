/** Sends one signed event to an endpoint: bounded in time and size, without redirects. */
import http from 'node:http';
import https from 'node:https';
import { Webhook } from 'standardwebhooks';
import type { Secret } from '../../db/webhooks/endpoints.ts';
import manifest from '../../package.json' with { type: 'json' };
import type { Networks } from '../http/networks.ts';
import { traceSending } from '../http/tracing.ts';
import { CLOSED, reasonOf } from './reason.ts';
import { lookupFor, refusalOf } from './target.ts';

interface Message {
  /** The id of the event: the same whenever it is sent. */
  id: string;
  /** JSON. */
  payload: string;
}

export type Sent =
  | 'delivered'
  /** The receiver wants no more. */
  | 'gone'
  | Failed;

interface Failed {
  /** For people. It says nothing of what the receiver answered but its status. */
  error: string;
  /** The receiver does not take this event, but may take others. */
  refused?: true;
  /** The receiver asked for that. */
  retry_after_s?: number;
}

export interface Sender {
  /** Never throws. @param signal ends it, as if it had failed */
  send(message: Message, signal: AbortSignal): Promise<Sent>;
  close(): void;
}

/** From the start of the connection to the head of the answer. */
const SEND_MS = 10_000;
/** What is kept open between two requests. */
const IDLE_MS = 15_000;
/** Of the answer's head. Its body is not read. */
const HEAD_MAX_BYTES = 16 * 1024;

/** @param secrets each signs while it is valid; without one nothing is sent */
export function senderTo(
  url: string,
  secrets: readonly Secret[],
  networks: Networks,
  connections: number,
  version: string = manifest.version,
): Sender {
  const { protocol, hostname } = new URL(url);
  const { request, Agent } = protocol === 'https:' ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: connections, timeout: IDLE_MS });
  const lookup = lookupFor(protocol, networks);
  const headersOf = signing(secrets, version);
  const options = { method: 'POST', agent, lookup, maxHeaderSize: HEAD_MAX_BYTES };
  return {
    async send(message, signal) {
      const refused = refusalOf(url, networks);
      if (refused) return { error: `the URL ${refused}` };
      const headers = headersOf(message);
      if (!headers) return { error: 'the endpoint has no secret' };
      const traced = traceSending(traceparentIn(message.payload), hostname);
      if (traced.traceparent) headers.traceparent = traced.traceparent;
      const first = await once(message.payload, headers, signal);
      // A receiver may close a connection that was kept open, just when it is used again.
      const again = typeof first === 'object' && first.error === CLOSED;
      const sent = again ? await once(message.payload, headers, signal) : first;
      traced.end(typeof sent === 'string' ? undefined : sent.error);
      return sent;
    },
    close: () => agent.destroy(),
  };

  /** One request. Whatever happens, it ends when the time is up, or the signal aborts. */
  async function once(
    payload: string,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Sent> {
    const { promise, resolve } = Promise.withResolvers<Sent>();
    const ended = new AbortController();
    const fail = (error: unknown) => resolve({ error: reasonOf(error) });
    const late = () => resolve({ error: `no answer within ${SEND_MS / 1000} s` });
    const stop = () => resolve({ error: 'the worker stopped' });
    const timer = setTimeout(late, SEND_MS);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      const sending = request(url, { ...options, headers, signal: ended.signal }, (answer) => {
        resolve(outcomeOf(answer));
        drain(answer);
      });
      sending.on('error', fail);
      sending.on('upgrade', (_, socket) => {
        socket.destroy();
        resolve({ error: 'the receiver answered 101' });
      });
      sending.on('close', () => fail(undefined));
      sending.end(payload);
    } catch (error) {
      fail(error);
    }
    const sent = await promise;
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    // A connection whose answer has come is used again.
    if (typeof sent === 'object' && !sent.error.startsWith('the receiver')) ended.abort();
    return sent;
  }
}

/** @returns the headers of a request; undefined if no secret is valid */
function signing(secrets: readonly Secret[], version: string) {
  const signers = secrets.map(({ secret, until_s }) => ({
    webhook: new Webhook(secret),
    until_ms: until_s === null ? Infinity : 1000 * until_s,
  }));
  return ({ id, payload }: Message): Record<string, string> | undefined => {
    const now = new Date();
    const valid = signers.filter(({ until_ms }) => until_ms > now.getTime());
    if (valid.length === 0) return undefined;
    return {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(payload)),
      'user-agent': `Kassa/${version}`,
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': valid.map(({ webhook }) => webhook.sign(id, now, payload)).join(' '),
    };
  };
}

/** Of the call that the event tells of. */
const traceparentIn = (payload: string): string | undefined =>
  payload.includes('"traceparent"') ? JSON.parse(payload).traceparent : undefined;

const RETRY_AFTER_MAX_S = 24 * 3600;

function outcomeOf({ statusCode: status = 0, headers }: http.IncomingMessage): Sent {
  if (status >= 200 && status < 300) return 'delivered';
  if (status === 410) return 'gone';
  const after = headers['retry-after'];
  const asked = after !== undefined && /^\d{1,9}$/.test(after);
  const of_event =
    status >= 400 && status < 500 && ![401, 403, 404, 408, 425, 429].includes(status);
  return {
    error: `the receiver answered ${status}`,
    ...(of_event && { refused: true }),
    ...(asked && { retry_after_s: Math.min(Number(after), RETRY_AFTER_MAX_S) }),
  };
}

/** A small rest is read, so that the connection can be used again. */
const REST_MAX_BYTES = 16 * 1024;
const REST_MS = 1000;

function drain(answer: http.IncomingMessage): void {
  const timer = setTimeout(() => answer.destroy(), REST_MS);
  answer.on('error', () => {});
  answer.on('close', () => clearTimeout(timer));
  let bytes = 0;
  answer.on('data', (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    if (bytes > REST_MAX_BYTES) answer.destroy();
  });
}
