/** Kassa behind a server with one fault in its purchases, to test the consistency test. */
import { type Kassa, openKassa } from './kassa.ts';

interface Sent {
  path: string;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of two calls
  body: any;
  key: string | undefined;
}
type Send = (sent: Sent) => Promise<Pick<Awaited<ReturnType<Kassa['call']>>, 'status' | 'body'>>;

const faults = {
  /** Gives the money back. */
  async 'free of charge'(send, sent) {
    const reply = await send(sent);
    if (reply.status !== 201) return reply;
    const path = `/v1/users/${reply.body.user_id}/deposits`;
    await send({ path, body: { amount: reply.body.total_cost }, key: sent.key });
    return reply;
  },

  /** Says that an order is paid which is not. */
  async 'not paid'(send, sent) {
    const reply = await send({ ...sent, body: { ...sent.body, checkout: false } });
    return { ...reply, body: { ...reply.body, state: 'paid' } };
  },

  /** Keeps an order when the purchase is refused. */
  async 'left when refused'(send, sent) {
    const reply = await send(sent);
    const body = { user_id: sent.body.user_id };
    if (reply.status >= 400) await send({ ...sent, body, key: undefined });
    return reply;
  },

  /** Ignores the key. */
  repeated: (send, sent) => send({ ...sent, key: undefined }),

  /** Does what it can of a bulk, and says that it was refused. */
  async 'done in part'(send, sent) {
    if (sent.path !== '/v1/bulk') return send(sent);
    const reply = await send({ ...sent, body: { ...sent.body, mode: 'each' } });
    const results: { status: number; body: unknown }[] = reply.body.results;
    return results.find(({ status }) => status >= 400) ?? reply;
  },
} satisfies Record<string, (send: Send, sent: Sent) => ReturnType<Send>>;

export type PurchaseFault = keyof typeof faults;

/** Listens on a free port. Other calls than purchases are those of Kassa. */
export function startFaultyPurchases(fault: PurchaseFault) {
  const kassa = openKassa();
  const send: Send = ({ path, body, key }) =>
    kassa.call(
      'POST',
      path,
      { 'content-type': 'application/json', ...(key && { 'idempotency-key': key }) },
      JSON.stringify(body),
    );
  const server = Bun.serve({
    port: 0,
    async fetch(request) {
      const path = new URL(request.url).pathname;
      const is_purchase = path === '/v1/orders' || path === '/v1/bulk';
      if (request.method !== 'POST' || !is_purchase) return kassa.fetch(request);
      const key = request.headers.get('idempotency-key') ?? undefined;
      const { status, body } = await faults[fault](send, { path, body: await request.json(), key });
      return Response.json(body, { status });
    },
  });
  const stop = async () => {
    await server.stop(true);
    await kassa.close();
  };
  return { origin: `http://127.0.0.1:${server.port}`, stop };
}
