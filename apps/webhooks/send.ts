/** Sends one signed event to an endpoint: bounded in time and size, without redirects. */
import http from 'node:http';
import https from 'node:https';
import { Webhook } from 'standardwebhooks';
import type { Secret } from '../../db/webhooks/endpoints.ts';
import manifest from '../../package.json' with { type: 'json' };
import { traceSending } from '../http/tracing.ts';
import { lookupFor, type Networks, refusalOf } from './target.ts';

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
const RETRY_AFTER_MAX_S = 24 * 3600;
/** Of the answer's head. Its body is not read. */
const HEAD_MAX_BYTES = 16 * 1024;

/** @param secrets at least one; each signs while it is valid */
export function senderTo(
  url: string,
  secrets: readonly Secret[],
  networks: Networks,
  connections: number,
): Sender {
  const { protocol, hostname } = new URL(url);
  const { request, Agent } = protocol === 'https:' ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: connections, timeout: IDLE_MS });
  const lookup = lookupFor(protocol, networks);
  const signers = secrets.map(({ secret, until_s }) => ({
    webhook: new Webhook(secret),
    until_ms: until_s === null ? Infinity : 1000 * until_s,
  }));
  const signaturesOf = (id: string, at: Date, payload: string) =>
    signers
      .filter(({ until_ms }) => until_ms > at.getTime())
      .map(({ webhook }) => webhook.sign(id, at, payload))
      .join(' ');
  return {
    async send({ id, payload }, signal) {
      const refused = refusalOf(url, networks);
      if (refused) return { error: `the URL ${refused}` };
      const traced = traceSending(traceparentIn(payload), hostname);
      const now = new Date();
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(payload),
        'user-agent': `Kassa/${manifest.version}`,
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': signaturesOf(id, now, payload),
        ...(traced.traceparent && { traceparent: traced.traceparent }),
      };
      const ended = new AbortController();
      const end = () => ended.abort();
      const timer = setTimeout(end, SEND_MS);
      signal.addEventListener('abort', end);
      const options = { method: 'POST', headers, agent, lookup, signal: ended.signal };
      const sent = await new Promise<Sent>((resolve) => {
        const sending = request(url, { ...options, maxHeaderSize: HEAD_MAX_BYTES }, (answer) => {
          resolve(outcomeOf(answer));
          answer.on('error', () => {});
          drain(answer);
        });
        sending.on('error', (error) => resolve({ error: reasonOf(error, signal) }));
        sending.end(payload);
      });
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      traced.end(typeof sent === 'string' ? undefined : sent.error);
      return sent;
    },
    close: () => agent.destroy(),
  };
}

/** Of the call that the event tells of. */
const traceparentIn = (payload: string): string | undefined =>
  payload.includes('"traceparent"') ? JSON.parse(payload).traceparent : undefined;

/** A small rest is read, so that the connection can be used again. */
const REST_MAX_BYTES = 16 * 1024;
const REST_MS = 1000;

function drain(answer: http.IncomingMessage): void {
  const timer = setTimeout(() => answer.destroy(), REST_MS);
  answer.on('close', () => clearTimeout(timer));
  let bytes = 0;
  answer.on('data', (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    if (bytes > REST_MAX_BYTES) answer.destroy();
  });
}

function outcomeOf({ statusCode: status = 0, headers }: http.IncomingMessage): Sent {
  if (status >= 200 && status < 300) return 'delivered';
  if (status === 410) return 'gone';
  const after = headers['retry-after'];
  const asked = after !== undefined && /^\d{1,9}$/.test(after);
  return {
    error: `the receiver answered ${status}`,
    ...(asked && { retry_after_s: Math.min(Number(after), RETRY_AFTER_MAX_S) }),
  };
}

function reasonOf(error: Error & { code?: string }, signal: AbortSignal): string {
  if (signal.aborted) return 'the worker stopped';
  if (error.name === 'AbortError' || error.name === 'TimeoutError') {
    return `no answer within ${SEND_MS / 1000} s`;
  }
  return error.message.slice(0, 200) || error.code || 'it could not be sent';
}
