/** A receiver of webhooks, which notes what comes, and answers as a test wants. */
import { Webhook } from 'standardwebhooks';
import type { KassaEvent } from '../../apps/client/client.ts';
import { networksIn } from '../../apps/http/networks.ts';

export interface Taken {
  /** The id of the event. */
  id: string;
  event: Omit<KassaEvent, 'created_at'> & { timestamp: string };
  /** The order, or else the user or item, that it concerns. */
  key: string;
  text: string;
  headers: Headers;
  /** From 1: how often this event has come. */
  attempt: number;
  status: number;
}

type Answer = (taken: Omit<Taken, 'status'>) => number | Response | Promise<number | Response>;

/** For the variable of services that send to this machine. */
export const LOOPBACK = '127.0.0.0/8,::1/128';

/**
 * @param answer to each request, unless a test replaces it: 200
 * @param certificate for `localhost`, to be reached by https
 */
export function openReceiver(
  answer: Answer = () => 200,
  certificate?: { cert: string; key: string },
) {
  /** All that came, in the order of the answers. */
  const taken: Taken[] = [];
  const attempts = new Map<string, number>();
  const open = new Map<string, number>();
  const receiver = { answer, overlaps: 0 };
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 60,
    ...(certificate && { tls: certificate }),
    async fetch(request) {
      const text = await request.text();
      const event = JSON.parse(text);
      const { order_id, user_id, item_id } = event.data;
      const key = order_id ?? user_id ?? item_id;
      const attempt = (attempts.get(event.id) ?? 0) + 1;
      attempts.set(event.id, attempt);
      if (open.get(key)) receiver.overlaps++;
      open.set(key, (open.get(key) ?? 0) + 1);
      const { headers } = request;
      const came = { id: event.id, event, key, text, headers, attempt };
      try {
        const answered = await receiver.answer(came);
        const status = typeof answered === 'number' ? answered : answered.status;
        taken.push({ ...came, status });
        return typeof answered === 'number' ? new Response(null, { status }) : answered;
      } finally {
        open.set(key, (open.get(key) ?? 0) - 1);
      }
    },
  });
  return Object.assign(receiver, {
    taken,
    url: `${certificate ? 'https://localhost' : 'http://127.0.0.1'}:${server.port}/hooks`,
    networks: networksIn(LOOPBACK),
    /** What it has accepted, each event once, in the order of the first time. */
    accepted(): Taken[] {
      const seen = new Set<string>();
      return taken.filter(({ id, status }) => status < 300 && seen.size < seen.add(id).size);
    },
    close: () => server.stop(true),
  });
}

/** @throws if the request is not signed with this secret */
export const verify = ({ text, headers }: Taken, secret: string): unknown =>
  new Webhook(secret).verify(text, Object.fromEntries(headers));
