/** A receiver to copy: `WEBHOOK_SECRET=… bun docs/receiver.ts [PORT]`. Its twin is receiver.py. */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';

const port = Number(process.argv[2] ?? 9000);
const webhook = new Webhook(process.env.WEBHOOK_SECRET ?? '');
/** In production a table, written in the transaction of your work, with the id as its key. */
const handled = new Set<string>();

interface Event {
  id: string;
  type: string;
  data: { order_id?: string; amount?: number };
}

function handle({ type, data }: Event) {
  if (type === 'order.paid') console.log(`order ${data.order_id} is paid: ${data.amount}`);
}

createServer(async (request, response) => {
  const answer = (status: number) => response.writeHead(status).end();
  try {
    const body = await text(request); // the raw bytes: serialized again, JSON no longer matches
    const event = webhook.verify(body, request.headers as Record<string, string>) as Event;
    if (!handled.has(event.id)) handle(event);
    handled.add(event.id);
    answer(204);
  } catch (error) {
    answer(error instanceof Error && error.name === 'WebhookVerificationError' ? 401 : 500);
  }
}).listen(port, '127.0.0.1', () => console.log(`a receiver on http://127.0.0.1:${port}`));
